//! Reading where it keeps nobody waiting: on threads that may block, a few at a time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::error::LedgerError;
use super::reading::Reading;

/// Readings at the same time.
const AT_ONCE: usize = 4;

/// Opens another reading.
type Open = dyn Fn() -> Result<Box<dyn Reading>, LedgerError> + Send + Sync;

/// Answers questions to a ledger, away from event loops. Cheap to clone.
#[derive(Clone)]
pub struct Reads {
    open: Arc<Open>,
    idle: Arc<Mutex<Vec<Box<dyn Reading>>>>,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads").field("room", &self.room.available_permits()).finish_non_exhaustive()
    }
}

impl Reads {
    /// Over whatever `open` opens.
    pub fn new(open: impl Fn() -> Result<Box<dyn Reading>, LedgerError> + Send + Sync + 'static) -> Self {
        Self { open: Arc::new(open), idle: Arc::default(), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Opens a reading of one's own.
    ///
    /// # Errors
    /// When the ledger cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Reading>, LedgerError> {
        (self.open)()
    }

    /// Lets `look` look. Dropping the future does not stop a look that has begun.
    ///
    /// # Errors
    /// What `look` says, or that the ledger cannot be opened.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn Reading) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        // Never closed.
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(std::io::Error::other)?;
        let reads = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _room = room;
            let idle = || reads.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = idle().pop();
            let reading = match kept {
                Some(reading) => reading,
                None => reads.open()?,
            };
            let looked = look(&*reading)?;
            // One that failed is not kept: the file may have been replaced by hand, and the next opens it again.
            idle().push(reading);
            Ok(looked)
        });
        looked.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic).into()))
    }
}
