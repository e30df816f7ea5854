//! Sealed answers in the ledger's file, written beside the one writer of entries, which never waits for them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::failure::failure;
use crate::ledger::answers::Answers;
use crate::ledger::error::LedgerError;
use crate::ledger::facts::CallId;

/// The table of answers, opened when it is first needed.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    open: Mutex<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    connection: Connection,
    /// Bytes of all that is kept.
    bytes: i64,
}

impl Table {
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, open: Mutex::new(None) }
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Opened) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = || {
            let table = match &mut *open {
                Some(table) => table,
                none => none.insert(Opened::open(&self.path)?),
            };
            ask(table)
        };
        let asked = asked();
        if asked.is_err() {
            // The file may be another by now: the next opens it anew.
            *open = None;
        }
        asked.map_err(|error| failure(&self.path, &error))
    }
}

impl Opened {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        // What is lost of them with a power cut is no credit.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let sum = "SELECT coalesce(sum(length(sealed)), 0) FROM answers";
        let bytes = connection.query_row(sum, [], |row| row.get(0))?;
        Ok(Self { connection, bytes })
    }
}

impl Answers for Table {
    fn keep(
        &self,
        call: CallId,
        sealed: &[u8],
        (now, until): (Timestamp, Timestamp),
        total: usize,
    ) -> Result<(), LedgerError> {
        let [total, length] = [total, sealed.len()].map(|size| i64::try_from(size).unwrap_or(i64::MAX));
        self.with(|Opened { connection, bytes }| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut left = *bytes;
            {
                let gone = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
                let mut expire = change
                    .prepare_cached("DELETE FROM answers WHERE kept_until <= ?1 RETURNING length(sealed)")?;
                for length in expire.query_map([now.as_microsecond()], gone)? {
                    left -= length?;
                }
                let mut oldest = change.prepare_cached(
                    "DELETE FROM answers WHERE call = (SELECT call FROM answers ORDER BY kept_until LIMIT 1)
                     RETURNING length(sealed)",
                )?;
                while left + length > total {
                    match oldest.query_row([], gone).optional()? {
                        Some(length) => left -= length,
                        None => break,
                    }
                }
                change.prepare_cached("INSERT INTO answers VALUES (?1, ?2, ?3)")?.execute(params![
                    call,
                    until.as_microsecond(),
                    sealed
                ])?;
            }
            change.commit()?;
            *bytes = left + length;
            Ok(())
        })
    }

    fn find(&self, call: CallId, now: Timestamp) -> Result<Option<Vec<u8>>, LedgerError> {
        self.with(|Opened { connection, .. }| {
            connection
                .prepare_cached("SELECT sealed FROM answers WHERE call = ?1 AND kept_until > ?2")?
                .query_row(params![call, now.as_microsecond()], |row| row.get(0))
                .optional()
        })
    }
}
