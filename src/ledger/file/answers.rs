//! Sealed answers in the ledger's file, written beside the one writer of entries, which never waits for them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{
    CachedStatement, Connection, OpenFlags, OptionalExtension, Params, TransactionBehavior, params,
};

use super::failure::failure;
use crate::ledger::answers::Answers;
use crate::ledger::error::LedgerError;
use crate::ledger::facts::CallId;

/// Takes out what is past its time, and what a call has already.
const PAST: &str = "DELETE FROM answers WHERE kept_until <= ?1 OR call = ?2 RETURNING length(sealed)";
/// Takes out the oldest.
const OLDEST: &str = "DELETE FROM answers WHERE call = (SELECT call FROM answers ORDER BY kept_until LIMIT 1)
   RETURNING length(sealed)";

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

/// How many bytes went with the rows that a statement took out.
fn taken_out(mut statement: CachedStatement<'_>, parameters: impl Params) -> rusqlite::Result<i64> {
    statement.query_map(parameters, |row| row.get::<_, i64>(0))?.sum()
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
            // A ledger that was restored from a backup gives numbers once more, of calls that it does not know.
            let mut left =
                *bytes - taken_out(change.prepare_cached(PAST)?, params![now.as_microsecond(), call])?;
            while left + length > total {
                match taken_out(change.prepare_cached(OLDEST)?, [])? {
                    0 => break,
                    freed => left -= freed,
                }
            }
            change.prepare_cached("INSERT INTO answers VALUES (?1, ?2, ?3)")?.execute(params![
                call,
                until.as_microsecond(),
                sealed
            ])?;
            change.commit()?;
            *bytes = left + length;
            Ok(())
        })
    }

    fn expire(&self, now: Timestamp) -> Result<(), LedgerError> {
        self.with(|Opened { connection, bytes }| {
            // No call has this number.
            *bytes -= taken_out(connection.prepare_cached(PAST)?, params![now.as_microsecond(), 0])?;
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

#[cfg(test)]
mod tests {
    use super::super::store::Store;
    use super::*;
    use crate::config::Durability;

    #[test]
    fn answers_are_kept_for_their_time_and_the_oldest_go_when_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        drop(Store::open(&path, Durability::Os).unwrap());
        let at = |second| Timestamp::from_second(second).unwrap();
        let table = Table::of(path.clone());
        let keep = |call, size, until| table.keep(call, &vec![7; size], (at(0), at(until)), 100).unwrap();
        let found = |call, now| table.find(call, at(now)).unwrap().map(|sealed| sealed.len());
        keep(1, 40, 100);
        keep(2, 40, 200);
        assert_eq!(
            [found(1, 99), found(1, 100), found(2, 100), found(3, 0)],
            [Some(40), None, Some(40), None]
        );
        keep(3, 40, 300);
        assert_eq!([found(1, 0), found(2, 0), found(3, 0)], [None, Some(40), Some(40)], "the oldest went");
        // A number that is given once more.
        keep(2, 10, 400);
        assert_eq!(found(2, 0), Some(10));
        keep(4, 50, 500);
        assert_eq!(
            [found(2, 0), found(3, 0), found(4, 0)],
            [Some(10), Some(40), Some(50)],
            "they fit, to the byte"
        );
        table.expire(at(300)).unwrap();
        assert_eq!([found(3, 0), found(4, 0)], [None, Some(50)]);
        // Whoever opens it anew counts the same.
        let again = Table::of(path);
        again.keep(5, &[7; 40], (at(301), at(600)), 100).unwrap();
        assert_eq!([found(2, 0), found(4, 0), found(5, 0)], [Some(10), Some(50), Some(40)]);
        again.keep(6, &[7; 1], (at(301), at(600)), 100).unwrap();
        assert_eq!([found(2, 0), found(4, 0)], [None, Some(50)]);
    }
}
