//! Answers at rest, for copies of their calls: sealed bytes that nothing here can read.

use std::fmt::Debug;

use jiff::Timestamp;

use super::error::LedgerError;
use super::facts::CallId;

/// Where sealed answers are kept. Reads and writes the disk: not for an event loop.
pub trait Answers: Debug + Send + Sync {
    /// Keeps the answer of a call, as of the first moment and until the second. Those that are past their time go, and then the oldest until all of them
    /// are `total` bytes at most.
    ///
    /// # Errors
    /// When it cannot be written; it is not kept then.
    fn keep(
        &self,
        call: CallId,
        sealed: &[u8],
        from_until: (Timestamp, Timestamp),
        total: usize,
    ) -> Result<(), LedgerError>;

    /// Takes those out that are past their time.
    ///
    /// # Errors
    /// When it cannot be written.
    fn expire(&self, now: Timestamp) -> Result<(), LedgerError>;

    /// The answer of a call, if it is kept.
    ///
    /// # Errors
    /// When it cannot be read.
    fn find(&self, call: CallId, now: Timestamp) -> Result<Option<Vec<u8>>, LedgerError>;
}
