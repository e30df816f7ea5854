//! The SQLite file itself: opening it, and its schema.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::failure::{failure, system};
use super::names::Names;
use crate::config::Durability;
use crate::credits::Credits;
use crate::ledger::entry::day_of;
use crate::ledger::error::LedgerError;
use crate::ledger::facts::{CallId, OpenHold};
use crate::ledger::journal::{Position, Progress};

/// What brings a file from each version to the next; the first makes it. A released step is never changed.
const MIGRATIONS: [&str; 7] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
];
/// The schema this program reads and writes.
pub(super) const VERSION: i64 = 7;
const _: () = assert!(VERSION.unsigned_abs() == MIGRATIONS.len() as u64, "one step per version");
/// `application_id` in the file's header, so that `file` and we know one when we see it: four letters.
const APPLICATION_ID: i64 = 0x4d76_4777;

/// An open ledger file that can be written.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) names: Names,
    /// Which ledger it was at the last write, and the number of its last entry.
    pub(super) last_written: Option<(i64, i64)>,
}

/// Of which version a file is, and whether it is ours.
pub(super) enum Kind {
    /// Nothing is in it yet.
    Empty,
    /// A ledger of this version.
    Ours(i64),
    /// Something else.
    Foreign,
}

/// Looks what a file is.
pub(super) fn kind(connection: &Connection) -> rusqlite::Result<Kind> {
    let read = |pragma| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (read("application_id")?, tables) {
        (APPLICATION_ID, _) => Kind::Ours(read("user_version")?),
        (_, 0) => Kind::Empty,
        _ => Kind::Foreign,
    })
}

/// Makes the folder that a ledger is in, if it is not there.
fn make_folder(path: &Path) -> Result<(), LedgerError> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|error| system(folder, &error)),
        None => Ok(()),
    }
}

impl Store {
    /// Makes the file, with nothing in it, if it is not there.
    ///
    /// # Errors
    /// With words for the operator.
    pub(super) fn make(path: &Path) -> Result<(), LedgerError> {
        make_folder(path)?;
        let made = std::fs::File::options().append(true).create(true).open(path);
        made.map(drop).map_err(|error| system(path, &error))
    }

    /// Opens the file, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// With words for the operator, before anything is written.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, LedgerError> {
        make_folder(path)?;
        // Made by SQLite, and not by `make`: what that closes would take the locks of a connection of this process away.
        Self::open_with(path, durability, OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens the file, which must be there.
    ///
    /// # Errors
    /// As [`Store::open`], and that there is none.
    pub fn open_existing(path: &Path, durability: Durability) -> Result<Self, LedgerError> {
        if !path.exists() {
            return Err(LedgerError::Missing { path: path.to_owned() });
        }
        Self::open_with(path, durability, OpenFlags::empty())
    }

    fn open_with(path: &Path, durability: Durability, make: OpenFlags) -> Result<Self, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | make;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| failure(path, &error))?;
        let mut store =
            Self { connection, path: path.to_owned(), names: Names::default(), last_written: None };
        store.prepare(durability)?;
        Ok(store)
    }

    fn prepare(&mut self, durability: Durability) -> Result<(), LedgerError> {
        let Self { connection, path, .. } = self;
        let failed = |error: rusqlite::Error| failure(path, &error);
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(32);
        match kind(connection).map_err(failed)? {
            Kind::Foreign => return Err(LedgerError::Foreign { path: path.clone() }),
            Kind::Ours(version) if version > VERSION => {
                let what = format!("schema {version}, this program knows {VERSION}");
                return Err(LedgerError::Newer { path: path.clone(), what });
            }
            Kind::Empty | Kind::Ours(_) => {}
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        set_synchronous(connection, durability == Durability::Fsync).map_err(failed)?;
        migrate(connection).map_err(failed)
    }

    /// Brings what stands in the write-ahead log into the file itself, so that the file alone is the ledger. Where a
    /// reader is in the way, or the disk, the log stays: it is as good.
    pub(super) fn truncate_log(&self) {
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "the ledger's write-ahead log stays beside it");
        }
    }

    /// The last call that was ever held.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_call(&self) -> Result<CallId, LedgerError> {
        last_call(&self.connection).map_err(|error| failure(&self.path, &error))
    }

    /// Holds that have no ending: after a crash, calls whose fate is unknown.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open_holds(&self) -> Result<Vec<OpenHold>, LedgerError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT call, t.name, k.name, r.name, request_id, reserve, held_at, day FROM bookings INDEXED BY open_calls
                 JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
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
                    at: Timestamp::from_microsecond(row.get(6)?).unwrap_or_default(),
                    day: day_of(row.get(7)?),
                })
            })?;
            rows.collect::<Result<_, _>>()
        };
        read().map_err(|error| failure(&self.path, &error))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose the journal is, and how far it has been merged.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn progress(&self) -> Result<Progress, LedgerError> {
        progress(&self.connection).map_err(|error| failure(&self.path, &error))
    }
}

/// One transaction a step. Each begins by taking the right to write: a step that is looked at first and waits then would
/// be refused where another has written meanwhile.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    loop {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = match kind(&change)? {
            Kind::Ours(version) => version,
            Kind::Empty | Kind::Foreign => 0,
        };
        let Some(step) = usize::try_from(version).ok().and_then(|done| MIGRATIONS.get(done)) else {
            return Ok(());
        };
        change.execute_batch(step)?;
        change.pragma_update(None, "user_version", version + 1)?;
        change.pragma_update(None, "application_id", APPLICATION_ID)?;
        change.commit()?;
    }
}

pub(super) fn last_call(connection: &Connection) -> rusqlite::Result<CallId> {
    connection.query_row("SELECT coalesce(max(call), 0) FROM bookings", [], |row| row.get(0))
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
