//! What the server says, as the rest of the program hears it: in its own words, and never with the URL.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;

use crate::ledger::error::LedgerError;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server, or the way there.
    #[error(transparent)]
    Database(#[from] Error),
    /// The connection ended, and nobody said why.
    #[error("the connection is closed")]
    Closed,
    /// What it is brought from or to.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What is written out could not be.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// The same.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl Failure {
    /// Of the ledger in `place`.
    pub(super) fn of(self, place: &str) -> LedgerError {
        match self {
            Self::Database(error) => failure(place, &error),
            Self::Closed => LedgerError::Database { place: place.to_owned(), what: self.to_string() },
            Self::Ledger(error) => error,
            Self::Csv(error) => LedgerError::Output(error.into()),
            Self::Output(error) => LedgerError::Output(error),
        }
    }
}

/// An error about the ledger in `place`.
pub(super) fn failure(place: &str, error: &Error) -> LedgerError {
    LedgerError::Database { place: place.to_owned(), what: words(error) }
}

/// What the server said, with its code; or else the error with all that it rests on.
fn words(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        let more = [said.detail(), said.hint()].into_iter().flatten();
        let what = more.fold(said.message().to_owned(), |what, more| format!("{what}; {more}"));
        return format!("{what} (SQLSTATE {})", said.code().code());
    }
    let mut what = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        what = format!("{what}: {error}");
        cause = error.source();
    }
    what
}
