//! Everything that stands in a ledger's file, table by table, as a ledger in a database has it: with names in place of their
//! numbers, and days as numbers. Nobody writes to the file meanwhile: what is handed out is all there is.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, Statement};

use super::failure::{failure, system};
use super::identity::{Lock, lock};
use super::names::Named;
use super::open::catch_up;
use super::store::Store;
use crate::config::LedgerFile;
use crate::ledger::error::LedgerError;
use crate::ledger::journal;

/// What a ledger consists of, by the tables of one in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Calls: their holds and their endings.
    Bookings,
    /// Corrections and grants.
    Changes,
    /// What was settled and adjusted, by day.
    DaySums,
    /// What copies would have cost, by day.
    Savings,
    /// Answers that are kept for copies.
    Answers,
    /// Jobs.
    Jobs,
    /// What was made, and whose it is.
    Things,
    /// Caller keys that the ledger has a say on.
    CallerKeys,
    /// What was done to them.
    KeyEvents,
    /// Before which day entries have been removed.
    Pruned,
    /// How long calls have waited.
    Waits,
    /// Calls that were refused, or cost nothing, by the minute.
    Asks,
}

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// None.
    Null,
    /// A number, also a day, a moment, or 0 and 1 for no and yes.
    Integer(i64),
    /// Words.
    Text(&'a str),
    /// Anything else.
    Bytes(&'a [u8]),
}

/// How a column of a database's table stands in the file's: under which name, and as what.
pub(super) enum Stored {
    /// As it is.
    Same(&'static str),
    /// As the number of a name.
    Name(&'static str, Named),
    /// As a date in words.
    Date(&'static str),
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Bookings,
        Self::Changes,
        Self::DaySums,
        Self::Savings,
        Self::Answers,
        Self::Jobs,
        Self::Things,
        Self::CallerKeys,
        Self::KeyEvents,
        Self::Pruned,
        Self::Waits,
        Self::Asks,
    ];

    /// What it is called, in a file and in a database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bookings => "bookings",
            Self::Changes => "changes",
            Self::DaySums => "day_sums",
            Self::Savings => "savings",
            Self::Answers => "answers",
            Self::Jobs => "jobs",
            Self::Things => "things",
            Self::CallerKeys => "caller_keys",
            Self::KeyEvents => "key_events",
            Self::Pruned => "pruned",
            Self::Waits => "waits",
            Self::Asks => "asks",
        }
    }

    /// Its columns, as a database has them; the first of them is the one it is in the order of.
    #[must_use]
    #[rustfmt::skip]
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Bookings => &[
                "call", "replica", "held_in", "held_at", "day", "team", "key_id", "member", "route", "request_id", "reserve",
                "retry_key", "fingerprint", "ended_in", "ended_at", "kind", "credits", "reason", "outcome", "response_id",
                "input_tokens", "output_tokens", "sent_at",
            ],
            Self::Changes => &[
                "seq", "kind", "call", "at", "day", "team", "key_id", "route", "request_id", "response_id", "credits", "reason",
                "until", "basis",
            ],
            Self::DaySums => &[
                "day", "team", "key_id", "member", "route", "outcome", "calls", "final", "estimated", "input_tokens",
                "output_tokens", "adjusted_final", "adjusted_estimated",
            ],
            Self::Savings => &["day", "team", "key_id", "route", "copies", "credits"],
            Self::Answers => &["call", "kept_until", "sealed"],
            Self::Jobs => &[
                "call", "upstream_id", "team", "key_id", "route", "day", "reserve", "began_at", "state", "seen_at", "credits",
                "derived",
            ],
            Self::Things => &["seq", "kind", "id", "team", "made_at"],
            Self::CallerKeys => &[
                "id", "team", "sha256", "in_file", "lineage", "added_at", "made_for", "expires_at", "revoked_at",
            ],
            Self::KeyEvents => &["seq", "at", "key_id", "team", "kind", "by", "detail", "expires_at"],
            Self::Pruned => &["before"],
            Self::Waits => &["call", "queued"],
            Self::Asks => &["minute", "team", "route", "code", "count", "seconds"],
        }
    }

    pub(super) fn stored(self, column: &'static str) -> Stored {
        match (self, column) {
            (Self::Changes, "day" | "until") | (Self::Pruned, "before") => Stored::Date(column),
            (Self::Changes | Self::CallerKeys | Self::KeyEvents, _) => Stored::Same(column),
            (_, "held_in") => Stored::Same("hold_seq"),
            (_, "ended_in") => Stored::Same("end_seq"),
            (_, "team") => Stored::Name(column, Named::Team),
            (_, "key_id") => Stored::Name("key", Named::Key),
            (_, "member") => Stored::Name(column, Named::Member),
            (_, "route") => Stored::Name(column, Named::Route),
            (_, "outcome") => Stored::Name(column, Named::Outcome),
            (_, "reason" | "code") => Stored::Name(column, Named::Reason),
            _ => Stored::Same(column),
        }
    }
}

/// What is added up to be held against another home of the same ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Summed {
    /// "sums of days", "calls" or "changes".
    pub of: String,
    /// In days since the epoch.
    pub day: i64,
    /// The team.
    pub team: String,
    /// The key; empty for none.
    pub key_id: String,
}

/// How many, and how many millionths of a credit.
pub type Sums = BTreeMap<Summed, [i64; 2]>;

const SUMS: &str = "
    SELECT 'sums of days', day, (SELECT name FROM names WHERE names.id = team), (SELECT name FROM names WHERE names.id = key),
           sum(calls), sum(final + estimated)
    FROM day_sums GROUP BY day, team, key
    UNION ALL
    SELECT 'calls', day, (SELECT name FROM names WHERE names.id = team), (SELECT name FROM names WHERE names.id = key),
           count(*), sum(credits)
    FROM bookings GROUP BY day, team, key
    UNION ALL
    SELECT 'changes', unixepoch(day) / 86400, team, coalesce(key_id, ''), count(*), sum(credits)
    FROM changes GROUP BY day, team, key_id";

pub(super) fn sums(connection: &Connection) -> rusqlite::Result<Sums> {
    let mut statement = connection.prepare(SUMS)?;
    let rows = statement.query_map([], |row| {
        let summed = Summed { of: row.get(0)?, day: row.get(1)?, team: row.get(2)?, key_id: row.get(3)? };
        Ok((summed, [row.get(4)?, row.get(5)?]))
    })?;
    rows.collect()
}

/// A ledger's file, with all that was ever written to it, as it is for as long as this is held.
#[derive(Debug)]
pub struct Dump {
    // In this order: who closes the lock's file first takes SQLite's own locks of it away.
    store: Store,
    _lock: Lock,
}

impl Dump {
    /// Opens it, brings its journal in, and keeps everybody from writing.
    ///
    /// # Errors
    /// That a gateway has it, that a crash has left calls open in it, or what SQLite says.
    pub fn open(settings: &LedgerFile) -> Result<Self, LedgerError> {
        let path = &settings.path;
        if path.exists() {
            // One that runs is told of at once: its journal is not waited for.
            drop(lock(path)?);
        }
        catch_up(settings)?;
        // Before SQLite has it open, as a gateway does.
        let lock = lock(path)?;
        let dump = Self { store: Store::open_existing(path, settings.durability)?, _lock: lock };
        dump.begin()?;
        Ok(dump)
    }

    fn begin(&self) -> Result<(), LedgerError> {
        let Store { connection, path, .. } = &self.store;
        let refused = |what: String| Err(LedgerError::Failed { path: path.clone(), what });
        // Commands write beside the lock: theirs would be missing where the ledger goes.
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| failure(path, &error))?;
        let found = journal::find(path, self.store.progress()?).map_err(|error| system(path, &error))?;
        if found.iter().any(|file| !file.unmerged.entries.is_empty()) {
            return refused("a gateway has written to it just now; stop it, and begin again".to_owned());
        }
        let open: i64 = connection
            .query_row("SELECT count(*) FROM bookings WHERE end_seq IS NULL", [], |row| row.get(0))
            .map_err(|error| failure(path, &error))?;
        match open {
            0 => Ok(()),
            open => refused(format!(
                "calls that a crash left open are not settled yet ({open}): start and stop the gateway once on this file, so \
                 that they are booked in doubt"
            )),
        }
    }

    /// All that stands in a table.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn read(&self, table: Table) -> Result<Contents<'_>, LedgerError> {
        let Store { connection, path, .. } = &self.store;
        let statement = connection.prepare(&select(table)).map_err(|error| failure(path, &error))?;
        Ok(Contents { statement, columns: table.columns().len(), path })
    }

    /// What it adds up to.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn sums(&self) -> Result<Sums, LedgerError> {
        sums(&self.store.connection).map_err(|error| failure(&self.store.path, &error))
    }
}

/// A name that is missing is a null, which no database takes: nothing is left out silently.
fn select(table: Table) -> String {
    let columns = table.columns().iter().copied().map(|column| match table.stored(column) {
        Stored::Same(own) => own.to_owned(),
        Stored::Name(own, _) => format!("(SELECT name FROM names WHERE names.id = {own})"),
        Stored::Date(own) => format!("unixepoch({own}) / 86400"),
    });
    format!("SELECT {} FROM {} ORDER BY 1", columns.collect::<Vec<_>>().join(", "), table.name())
}

/// What stands in a table, to be read row by row.
#[derive(Debug)]
pub struct Contents<'d> {
    statement: Statement<'d>,
    columns: usize,
    path: &'d Path,
}

impl Contents<'_> {
    /// From the first row on.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn rows(&mut self) -> Result<Rows<'_>, LedgerError> {
        let Self { statement, columns, path } = self;
        let rows = statement.query([]).map_err(|error| failure(path, &error))?;
        Ok(Rows { found: rows, columns: *columns, path })
    }
}

/// The rows that are left.
pub struct Rows<'c> {
    found: rusqlite::Rows<'c>,
    columns: usize,
    path: &'c Path,
}

impl Rows<'_> {
    /// The next, in the order of [`Table::columns`].
    ///
    /// # Errors
    /// What SQLite says.
    pub fn take(&mut self) -> Result<Option<Vec<Cell<'_>>>, LedgerError> {
        let Self { found, columns, path } = self;
        let Some(row) = found.next().map_err(|error| failure(path, &error))? else { return Ok(None) };
        let cells = (0..*columns).map(|at| cell(row.get_ref(at)?, at)).collect::<rusqlite::Result<_>>();
        cells.map(Some).map_err(|error| failure(path, &error))
    }
}

fn cell(value: ValueRef<'_>, at: usize) -> rusqlite::Result<Cell<'_>> {
    Ok(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Text(text) => {
            Cell::Text(std::str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(at, error))?)
        }
        ValueRef::Blob(bytes) => Cell::Bytes(bytes),
        // No column has one.
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidColumnType(at, String::new(), Type::Real)),
    })
}
