//! The SQLite file itself: opening it, its schema, and writing a batch as one transaction.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

use super::{Basis, CallId, Command, Ending, NewEnding, NewHold};
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

    /// Writes something that changes nothing, to see whether the disk takes it.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        self.connection
            .pragma_update(None, "user_version", VERSION)
            .map_err(|error| Self::failure(&self.path, error))
    }

    /// Brings what stands in the write-ahead log into the file itself, so that the file alone is the ledger. Where a
    /// reader is in the way, or the disk, the log stays: it is as good.
    pub(super) fn merge(&self) {
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
        let synchronous = match durability {
            Durability::Fsync => "FULL",
            Durability::Os => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
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
            .query_row("SELECT call FROM entries WHERE kind = 'hold' ORDER BY call DESC LIMIT 1", [], |row| {
                row.get(0)
            })
            .optional()
            .map(Option::unwrap_or_default)
            .map_err(|error| Self::failure(&self.path, error))
    }

    /// Holds that have no ending: after a crash, calls whose fate is unknown.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn open_holds(&self) -> Result<Vec<OpenHold>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT h.call, h.team, h.key_id, h.route, h.request_id, h.credits, h.day
                 FROM open_calls o CROSS JOIN entries h ON h.call = o.call AND h.kind = 'hold' ORDER BY o.call",
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

    /// Whether a command could be written, without writing it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn try_write(&mut self, command: &Command) -> Result<(), StoreError> {
        let mut attempt = || {
            let change = self.connection.transaction()?;
            match command {
                Command::Hold(hold) => write_hold(&change, hold)?,
                Command::End(ending) => drop(write_ending(&change, ending)?),
            }
            change.rollback()
        };
        attempt().map_err(|error| Self::failure(&self.path, error))
    }

    /// Writes commands, all of them or none. Returns those that were written: an ending whose hold was never written
    /// has nothing to end, and is left out.
    ///
    /// # Errors
    /// What SQLite says; nothing has been written then.
    pub fn write<'c>(
        &mut self,
        commands: impl IntoIterator<Item = &'c Command>,
    ) -> Result<Vec<&'c Command>, StoreError> {
        let write = || {
            let change = self.connection.transaction()?;
            let mut written = Vec::new();
            for command in commands {
                let is_written = match command {
                    Command::Hold(hold) => write_hold(&change, hold).map(|()| true)?,
                    Command::End(ending) => write_ending(&change, ending)?,
                };
                written.extend(is_written.then_some(command));
            }
            change.commit().map(|()| written)
        };
        write().map_err(|error| Self::failure(&self.path, error))
    }
}

/// A day as the ledger writes it; a day nobody could have written is the first of all.
pub(super) fn date(text: &str) -> Date {
    text.parse().unwrap_or(Date::MIN)
}

pub(super) fn signed(credits: Credits) -> i64 {
    i64::try_from(credits.millionths()).unwrap_or(i64::MAX)
}

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn write_hold(change: &Transaction<'_>, hold: &NewHold) -> rusqlite::Result<()> {
    change
        .prepare_cached(
            "INSERT INTO entries (kind, call, at, day, team, key_id, route, request_id, credits)
             VALUES ('hold', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            hold.call,
            micros(hold.at),
            hold.day.to_string(),
            &*hold.account.team,
            &*hold.account.key_id,
            hold.account.route,
            hold.request_id,
            signed(hold.reserve)
        ])?;
    change.prepare_cached("INSERT INTO open_calls (call) VALUES (?1)")?.execute([hold.call])?;
    Ok(())
}

fn write_ending(change: &Transaction<'_>, ending: &NewEnding) -> rusqlite::Result<bool> {
    let (kind, credits, basis, reason) = match ending.ending {
        Ending::Settled { credits, basis, reason } => {
            ("settled", signed(credits), Some(basis), (basis == Basis::Estimated).then_some(reason))
        }
        Ending::Voided { reason } => ("voided", 0, None, Some(reason)),
    };
    // The ending of a hold that was refused by the disk, and so never written, is none.
    let open = change.prepare_cached("DELETE FROM open_calls WHERE call = ?1")?.execute([ending.call])?;
    if open == 0 {
        return Ok(false);
    }
    let day = ending.day.to_string();
    let (input, output) = (tokens(ending.usage.input_tokens), tokens(ending.usage.output_tokens));
    change
        .prepare_cached(
            "INSERT INTO entries (kind, call, at, day, team, key_id, route, request_id, response_id, credits, basis,
                                  reason, outcome, input_tokens, output_tokens, sent_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            kind,
            ending.call,
            micros(ending.at),
            day,
            &*ending.account.team,
            &*ending.account.key_id,
            ending.account.route,
            ending.request_id,
            ending.response_id,
            credits,
            basis.map(Basis::as_str),
            reason,
            ending.outcome,
            input,
            output,
            ending.sent_at.map(micros),
        ])?;
    let estimated = if basis == Some(Basis::Estimated) { credits } else { 0 };
    change
        .prepare_cached(
            "INSERT INTO day_sums (day, team, key_id, route, outcome, calls, final, estimated, input_tokens, output_tokens)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET calls = calls + 1, final = final + excluded.final,
               estimated = estimated + excluded.estimated, input_tokens = input_tokens + excluded.input_tokens,
               output_tokens = output_tokens + excluded.output_tokens",
        )?
        .execute(params![
            day,
            &*ending.account.team,
            &*ending.account.key_id,
            ending.account.route,
            ending.outcome,
            credits - estimated,
            estimated,
            input.unwrap_or(0),
            output.unwrap_or(0),
        ])?;
    Ok(true)
}

fn tokens(count: Option<u64>) -> Option<i64> {
    count.and_then(|count| i64::try_from(count).ok())
}
