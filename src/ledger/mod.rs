//! The ledger: every credit that was held, settled, given back, corrected or granted, durable before
//! anything depends on it, and never edited.
//!
//! Invariants, for every prefix of the entries:
//! - a call is held before it is ended, and ended once: settled or voided;
//! - nothing is sent upstream before its hold is here, at the configured durability;
//! - for every team and period, settled ≤ truly billed ≤ settled + in doubt.

pub mod counts;
pub mod entry;
pub mod journal;
mod merge;
mod read;
mod recent;
mod store;
mod upkeep;
mod writer;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use jiff::Timestamp;
use jiff::civil::Date;
use tokio::sync::oneshot;

pub use read::{Adjusted, Booked, Reader, Span, Spend, Total};
pub use recent::{Call, Found, Search, TeamDay};
pub use store::{OpenHold, Store, StoreError};
pub use writer::SqliteLedger;

use crate::credits::Credits;
use crate::meter::Usage;
use crate::metrics::OTHER;
use crate::route::Route;

/// Joins the entries of one call. Ours, because request ids may be the callers' and need not be unique.
pub type CallId = i64;

/// Whom a call is booked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Name of the team.
    pub team: Arc<str>,
    /// Public id of the key.
    pub key_id: Arc<str>,
    /// The route; none where it is one that this program does not know.
    pub route: Option<Route>,
}

impl Account {
    /// The route's name.
    #[must_use]
    pub fn route_label(&self) -> &'static str {
        self.route.map_or(OTHER, Route::label)
    }
}

/// A hold to be written before its call may be sent.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// The call.
    pub call: CallId,
    /// Whom it is booked on.
    pub account: Account,
    /// The id that the caller sees.
    pub request_id: String,
    /// What is held.
    pub reserve: Credits,
    /// When.
    pub at: Timestamp,
    /// The calendar day it is booked on, in the configured zone; its ending is booked on the same.
    pub day: Date,
}

/// The ending of a hold.
#[derive(Clone, Debug)]
pub struct NewEnding {
    /// The call.
    pub call: CallId,
    /// Whom it is booked on.
    pub account: Account,
    /// The id that the caller sees.
    pub request_id: String,
    /// What was held.
    pub reserve: Credits,
    /// The day of the hold.
    pub day: Date,
    /// When it ended.
    pub at: Timestamp,
    /// When it was sent upstream, if it was.
    pub sent_at: Option<Timestamp>,
    /// How the call ended, as its record says.
    pub outcome: &'static str,
    /// The upstream's id of the response.
    pub response_id: Option<String>,
    /// What the upstream reported.
    pub usage: Usage,
    /// What is booked.
    pub ending: Ending,
}

/// The one ending that a hold has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The credits are spent.
    Settled {
        /// How many.
        credits: Credits,
        /// Whether the upstream said so.
        basis: Basis,
        /// Why, where it is an estimate.
        reason: &'static str,
    },
    /// The credits are free again: the upstream provably did no work that is charged.
    Voided {
        /// What proves it.
        reason: &'static str,
    },
}

/// What a settled figure rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The upstream's own figure.
    Final,
    /// The reserve, because there is no figure. In doubt until reconciled.
    Estimated,
}

impl Basis {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Estimated => "estimated",
        }
    }
}

/// A correction of what a call was booked at, by the upstream's own list.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// The call as it is booked.
    pub booked: Booked,
    /// What the upstream says it cost.
    pub figure: Credits,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// One thing to write.
#[derive(Clone, Debug)]
pub enum Command {
    /// Before sending.
    Hold(NewHold),
    /// At the end.
    End(NewEnding),
}

/// The ledger could not write: nothing may be sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the ledger cannot write: {0}")]
pub struct Unavailable(pub Arc<str>);

/// What becomes of a hold that is to be written: a future that is ready when it is durable, or could not be written and
/// is not there.
#[derive(Debug)]
pub enum Receipt {
    /// It is durable.
    Written,
    /// It could not be written.
    Refused(Unavailable),
    /// It will be told.
    Waiting(oneshot::Receiver<Result<(), Unavailable>>),
}

impl Future for Receipt {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Written => Poll::Ready(Ok(())),
            Self::Refused(why) => Poll::Ready(Err(why.clone())),
            Self::Waiting(answer) => Pin::new(answer)
                .poll(cx)
                .map(|told| told.unwrap_or_else(|_| Err(Unavailable("its writer has gone".into())))),
        }
    }
}

/// Where entries are written. One writer per gateway.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Writes a hold.
    fn hold(&self, hold: NewHold) -> Receipt;

    /// Writes an ending. Never refused: what cannot be written now is kept and written when it can be.
    fn end(&self, ending: NewEnding);

    /// Returns when everything asked for so far is written, or could not be, and the database is whole in itself.
    fn flush(&self);
}
