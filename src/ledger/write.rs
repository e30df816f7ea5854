//! How entries are written, whatever keeps them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::facts::{Aside, Command, NewEnding, NewHold, NewJob, NewThing};

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

/// What is written beside holds and endings.
#[derive(Clone, Debug)]
pub enum Note {
    /// Something has become of a job.
    Job(NewJob),
    /// Something was made.
    Made(NewThing),
}

impl From<Note> for Command {
    fn from(note: Note) -> Self {
        match note {
            Note::Job(job) => Self::Job(job),
            Note::Made(made) => Self::Made(made),
        }
    }
}

/// Where entries are written. One writer per gateway.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Writes a hold.
    fn hold(&self, hold: NewHold) -> Receipt;

    /// Writes an ending. Never refused: what cannot be written now is kept and written when it can be. An ending of a
    /// hold that was refused is none.
    fn end(&self, ending: NewEnding);

    /// Writes what stands beside the books. Lost where the ledger cannot be written.
    fn aside(&self, aside: Aside);

    /// Writes what becomes of a job, or whose a thing is. Never refused, as an ending.
    fn note(&self, note: Note);

    /// Looks whether the ledger is still the one that was opened. Where it is not, nothing is held until it is again.
    fn look(&self) {}

    /// Returns when everything asked for so far is written, or could not be, and what is kept is whole in itself.
    fn flush(&self);
}
