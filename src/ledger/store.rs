//! The SQLite file itself: opening it, and its schema.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, OpenFlags};

use super::CallId;
use super::journal::{Position, Progress};
use crate::config::Durability;
use crate::credits::Credits;

/// What brings a file from each version to the next; the first makes it. A released step is never changed.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];
/// The schema this program reads and writes.
const VERSION: i64 = 1;
const _: () = assert!(VERSION.unsigned_abs() == MIGRATIONS.len() as u64, "one step per version");
/// `application_id` in the file's header, so that `file` and we know one when we see it: four letters.
const APPLICATION_ID: i64 = 0x4d76_4777;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite or the system refused.
    #[error("{path}: {error}", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
    /// The folder cannot be made.
    #[error("cannot make {path}: {error}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Somebody else's database.
    #[error("{path} is a database, but not a ledger of this program; name another file in `ledger.path`", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// From the future.
    #[error("{path} was written by a newer version (schema {found}, this program knows {VERSION}); run that version, or restore a backup", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Damaged.
    #[error("{path} is damaged: {what}; keep the damaged file, and restore a backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        what: String,
    },
}

impl StoreError {
    /// Whether one entry is at fault, and not the disk: trying again cannot help.
    #[must_use]
    pub fn is_of_one_entry(&self) -> bool {
        use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
        let Self::Sqlite { error, .. } = self else { return false };
        matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
    }
}

/// An open ledger file that can be written.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
}

/// A hold that has no ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// The call.
    pub call: CallId,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// As the caller saw it.
    pub request_id: String,
    /// What is held.
    pub reserve: Credits,
    /// On which day.
    pub day: Date,
}

impl Store {
    /// Opens the file, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// With words for the operator, before anything is written.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
        }
        let failed = |error| Self::failure(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        let mut store = Self { connection, path: path.to_owned() };
        store.prepare(durability)?;
        Ok(store)
    }

    /// Brings what stands in the write-ahead log into the file itself, so that the file alone is the ledger. Where a
    /// reader is in the way, or the disk, the log stays: it is as good.
    pub(super) fn truncate_log(&self) {
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "the ledger's write-ahead log stays beside it");
        }
    }

    fn prepare(&mut self, durability: Durability) -> Result<(), StoreError> {
        let path = self.path.clone();
        let failed = |error| Self::failure(&path, error);
        let connection = &mut self.connection;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(16);
        let read = |connection: &Connection, pragma: &str| {
            connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
        };
        let version = read(connection, "user_version").map_err(failed)?;
        let application = read(connection, "application_id").map_err(failed)?;
        let tables = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
            .map_err(failed)?;
        if version > VERSION && application == APPLICATION_ID {
            return Err(StoreError::Newer { path, found: version });
        }
        if tables > 0 && application != APPLICATION_ID {
            return Err(StoreError::Foreign { path });
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        set_synchronous(connection, durability == Durability::Fsync).map_err(failed)?;
        let mut migrate = |(step, change): (i64, &&str)| {
            let transaction = connection.transaction()?;
            transaction.execute_batch(change)?;
            transaction.pragma_update(None, "user_version", step + 1)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.commit()
        };
        let done = usize::try_from(version).unwrap_or(0);
        (0..).zip(&MIGRATIONS).skip(done).try_for_each(&mut migrate).map_err(failed)?;
        Ok(())
    }

    pub(super) fn failure(path: &Path, error: rusqlite::Error) -> StoreError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => {
                StoreError::Damaged { path: path.to_owned(), what: error.to_string() }
            }
            _ => StoreError::Sqlite { path: path.to_owned(), error },
        }
    }

    /// The last call that was ever held.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn last_call(&self) -> Result<CallId, StoreError> {
        self.connection
            .query_row("SELECT coalesce(max(call), 0) FROM bookings", [], |row| row.get(0))
            .map_err(|error| Self::failure(&self.path, error))
    }

    /// Holds that have no ending: after a crash, calls whose fate is unknown.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn open_holds(&self) -> Result<Vec<OpenHold>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT call, team, key_id, route, request_id, reserve, day FROM bookings INDEXED BY open_calls
                 WHERE end_seq IS NULL ORDER BY call",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(OpenHold {
                    call: row.get(0)?,
                    team: row.get(1)?,
                    key_id: row.get(2)?,
                    route: row.get(3)?,
                    request_id: row.get(4)?,
                    reserve: Credits::from_millionths(row.get::<_, i64>(5)?.unsigned_abs()),
                    day: date(&row.get::<_, String>(6)?),
                })
            })?;
            rows.collect::<Result<_, _>>()
        };
        read().map_err(|error| Self::failure(&self.path, error))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose the journal is, and how far it has been merged.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn progress(&self) -> Result<Progress, StoreError> {
        progress(&self.connection).map_err(|error| Self::failure(&self.path, error))
    }
}

/// What the database that a connection reads says of its journal.
pub(super) fn progress(connection: &Connection) -> rusqlite::Result<Progress> {
    connection.query_row("SELECT ledger, generation, position FROM progress", [], |row| {
        let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        Ok(Progress { ledger: number(0)?, merged: Position { generation: number(1)?, offset: number(2)? } })
    })
}

/// Whether commits wait for the disk. Between two that do, those that do not survive whatever the system survives, and
/// the next that does takes them along.
pub(super) fn set_synchronous(connection: &Connection, full: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })
}

/// A day as the ledger writes it; a day nobody could have written is the first of all.
pub(super) fn date(text: &str) -> Date {
    text.parse().unwrap_or(Date::MIN)
}

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}
