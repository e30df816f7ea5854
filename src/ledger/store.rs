//! The SQLite file itself: opening it, its schema, and writing a batch as one transaction.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{Adjustment, Basis, CallId, Command, Ending, NewEnding, NewHold};
use crate::account::Grant;
use crate::config::Durability;
use crate::credits::Credits;

/// The schema this program reads and writes.
const VERSION: i64 = 1;
const SCHEMA: &str = include_str!("schema.sql");
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

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// One value as CSV has it (RFC 4180).
fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            if text.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.into_owned()
            }
        }
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => String::new(),
    }
}

/// An open ledger file that can be written.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
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
        if version == 0 {
            let make = |connection: &mut Connection| {
                let change = connection.transaction()?;
                change.execute_batch(SCHEMA)?;
                change.pragma_update(None, "user_version", VERSION)?;
                change.pragma_update(None, "application_id", APPLICATION_ID)?;
                change.commit()
            };
            make(connection).map_err(failed)?;
        }
        Ok(())
    }

    fn failure(path: &Path, error: rusqlite::Error) -> StoreError {
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

    /// Writes a grant, with the reason for it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn grant(&mut self, grant: &Grant, why: &str, at: Timestamp) -> Result<(), StoreError> {
        let Grant { team, credits, from, until } = grant;
        self.connection
            .execute(
                "INSERT INTO entries (kind, at, day, team, credits, reason, until) VALUES ('granted', ?1, ?2, ?3, ?4, ?5, ?6)",
                params![micros(at), from.to_string(), team, signed(*credits), why, until.to_string()],
            )
            .map(|_| ())
            .map_err(|error| Self::failure(&self.path, error))
    }

    /// Settles which entries are to go, and writes them as CSV with headings. Returns how many they are.
    ///
    /// # Errors
    /// What SQLite or the output says.
    pub fn export(&mut self, before: Date, out: &mut impl Write) -> std::io::Result<usize> {
        let mut export = || -> Result<usize, ExportError> {
            self.connection.execute("DROP TABLE IF EXISTS temp.going", [])?;
            self.connection.execute(
                "CREATE TEMP TABLE going AS SELECT seq FROM entries
                 WHERE day < ?1 AND kind <> 'granted' AND call NOT IN (SELECT call FROM open_calls)
                   AND call < (SELECT max(call) FROM entries WHERE kind = 'hold')",
                [before.to_string()],
            )?;
            let mut statement = self.connection.prepare(
                "SELECT entries.* FROM temp.going CROSS JOIN entries ON entries.seq = going.seq ORDER BY going.seq",
            )?;
            writeln!(out, "{}", statement.column_names().join(","))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    let separator = if column == 0 { "" } else { "," };
                    write!(out, "{separator}{}", cell(row.get_ref(column)?))?;
                }
                writeln!(out)?;
                count += 1;
            }
            Ok(count)
        };
        export().map_err(|error| match error {
            ExportError::Io(error) => error,
            ExportError::Sqlite(error) => std::io::Error::other(error.to_string()),
        })
    }

    /// Removes the entries that [`Store::export`] has written, a few at a time, so that a running gateway need not
    /// wait. No sum changes.
    ///
    /// # Errors
    /// What SQLite says; what is left can be exported and pruned again.
    pub fn prune(&mut self, before: Date) -> Result<usize, StoreError> {
        let prune = || {
            // First, so that sums of those days are never held against what is still there of them.
            self.connection.execute("INSERT INTO pruned (before) VALUES (?1)", [before.to_string()])?;
            let mut removed = 0;
            loop {
                let change = self.connection.unchecked_transaction()?;
                let some = "(SELECT seq FROM temp.going ORDER BY seq LIMIT 5000)";
                let count = change.execute(&format!("DELETE FROM entries WHERE seq IN {some}"), [])?;
                change.execute(&format!("DELETE FROM temp.going WHERE seq IN {some}"), [])?;
                change.commit()?;
                removed += count;
                if count == 0 {
                    return Ok(removed);
                }
            }
        };
        prune().map_err(|error| Self::failure(&self.path, error))
    }

    /// Writes corrections, all of them or none. What was in doubt is final then.
    ///
    /// # Errors
    /// What SQLite says; nothing has been written then.
    pub fn adjust(&mut self, adjustments: &[Adjustment]) -> Result<(), StoreError> {
        let mut write = || {
            let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for adjustment in adjustments {
                // Somebody may have corrected it since it was read: then it is left as it is.
                let corrected: i64 = change.query_row(
                    "SELECT coalesce(sum(credits), 0) + (SELECT credits FROM entries WHERE kind = 'settled' AND call = ?1)
                     FROM entries WHERE kind = 'adjusted' AND call = ?1",
                    [adjustment.booked.call],
                    |row| row.get(0),
                )?;
                if corrected == signed(adjustment.booked.credits) {
                    write_adjustment(&change, adjustment)?;
                }
            }
            change.commit()
        };
        write().map_err(|error| Self::failure(&self.path, error))
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

fn signed(credits: Credits) -> i64 {
    i64::try_from(credits.millionths()).unwrap_or(i64::MAX)
}

fn micros(at: Timestamp) -> i64 {
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

fn write_adjustment(change: &Transaction<'_>, adjustment: &Adjustment) -> rusqlite::Result<()> {
    let Adjustment { booked, figure, reason, at } = adjustment;
    let difference = signed(*figure) - signed(booked.credits);
    change.execute(
        "INSERT INTO entries (kind, call, at, day, team, key_id, route, request_id, response_id, credits, basis, reason)
         VALUES ('adjusted', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'final', ?10)",
        params![
            booked.call,
            micros(*at),
            booked.day.to_string(),
            booked.team,
            booked.key_id,
            booked.route,
            booked.request_id,
            booked.response_id,
            difference,
            reason
        ],
    )?;
    // What was estimated moves over to the final figures with all of it.
    let doubt = if booked.in_doubt { signed(booked.credits) } else { 0 };
    change.execute(
        "UPDATE day_sums SET final = final + ?1, estimated = estimated - ?2, adjusted_final = adjusted_final + ?1,
           adjusted_estimated = adjusted_estimated - ?2
         WHERE day = ?3 AND team = ?4 AND key_id = ?5 AND route = ?6 AND outcome = ?7",
        params![
            difference + doubt,
            doubt,
            booked.day.to_string(),
            booked.team,
            booked.key_id,
            booked.route,
            booked.outcome
        ],
    )?;
    Ok(())
}

fn tokens(count: Option<u64>) -> Option<i64> {
    count.and_then(|count| i64::try_from(count).ok())
}
