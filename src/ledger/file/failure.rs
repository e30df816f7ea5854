//! What SQLite says, as the rest of the program hears it.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::ledger::error::LedgerError;

/// An error of SQLite about the file at `path`.
pub(super) fn failure(path: &Path, error: &rusqlite::Error) -> LedgerError {
    let (path, what) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LedgerError::Damaged { path, what },
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            LedgerError::Unmergeable { path, what }
        }
        // Ours, from within a transaction.
        None if matches!(error, rusqlite::Error::ToSqlConversionFailure(_)) => {
            LedgerError::Unmergeable { path, what }
        }
        _ => LedgerError::Failed { path, what },
    }
}

/// An error of the system about the file at `path`.
pub(super) fn system(path: &Path, error: &std::io::Error) -> LedgerError {
    LedgerError::Failed { path: path.to_owned(), what: error.to_string() }
}
