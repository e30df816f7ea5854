//! The way back: a new ledger's file from the rows of a ledger in a database. It has another name until it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::dump::{Cell, Stored, Sums, Table, sums};
use super::failure::{failure, system};
use super::read::Reader;
use super::store::Store;
use crate::config::Durability;
use crate::ledger::error::LedgerError;
use crate::ledger::journal;
use crate::ledger::reading::Reading;

/// Entries of calls have numbers, corrections have none.
const LAST_ENTRY: &str = "UPDATE progress SET last_seq = (
    SELECT coalesce(max(max(hold_seq, coalesce(end_seq, hold_seq))), 0) FROM bookings)";

/// A file in the making.
#[derive(Debug)]
pub struct Load {
    store: Store,
    /// What puts a row in, for each of [`Table::ALL`].
    inserts: [String; Table::ALL.len()],
    path: PathBuf,
    // Behind the store, which has it open.
    partial: Partial,
}

/// The file under its first name. What is left of it goes with this.
#[derive(Debug)]
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        for beside in ["", "-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(with(&self.0, beside));
        }
    }
}

impl Load {
    /// Makes a file with nothing in it, where there is none.
    ///
    /// # Errors
    /// That there is one, or what the system says.
    pub fn new(path: &Path) -> Result<Self, LedgerError> {
        // A journal would be taken for the new ledger's, and is not.
        let mut names = [path.to_owned()].into_iter().chain(journal::paths(path));
        if let Some(path) = names.find(|path| path.exists()) {
            let what = "it is there already; name a new file".to_owned();
            return Err(LedgerError::Failed { path, what });
        }
        let partial = Partial(with(path, ".partial"));
        match fs::remove_file(&partial.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(&partial.0, &error)),
            _ => {}
        }
        let store = Store::open(&partial.0, Durability::Fsync)?;
        // All of it is one transaction: a log would hold everything once more, and lie beside.
        let begun = store.connection.execute_batch("PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE");
        begun.map_err(|error| failure(&partial.0, &error))?;
        Ok(Self { store, inserts: Table::ALL.map(insert), path: path.to_owned(), partial })
    }

    /// Takes a row, in the order of [`Table::columns`]. `held_in` and `ended_in` of calls are the numbers of their entries,
    /// none of which stands at two.
    ///
    /// # Errors
    /// That it is none of such a table, or what the system says. The file is of no use then.
    pub fn take(&mut self, table: Table, row: &[Cell<'_>]) -> Result<(), LedgerError> {
        let Self { store: Store { connection, names, path, .. }, inserts, .. } = self;
        let mut take = || {
            let mut statement = connection.prepare_cached(&inserts[table as usize])?;
            for (at, (column, cell)) in table.columns().iter().copied().zip(row).enumerate() {
                let stored = match (table.stored(column), *cell) {
                    (Stored::Name(_, kind), Cell::Text(name)) => {
                        Cell::Integer(names.number(connection, kind, name)?)
                    }
                    (_, cell) => cell,
                };
                statement.raw_bind_parameter(at + 1, stored)?;
            }
            statement.raw_execute().map(drop)
        };
        take().map_err(|error| failure(path, &error))
    }

    /// What it adds up to by now.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn sums(&self) -> Result<Sums, LedgerError> {
        sums(&self.store.connection).map_err(|error| failure(&self.store.path, &error))
    }

    /// Ends it: it is on the disk, agrees with itself, and has its name.
    ///
    /// # Errors
    /// What does not agree, or what the system says. There is no file then.
    pub fn finish(self) -> Result<(), LedgerError> {
        let Self { store, inserts: _, path, partial } = self;
        let ended = store.connection.execute_batch(&format!("{LAST_ENTRY}; COMMIT"));
        ended.map_err(|error| failure(&path, &error))?;
        drop(store);
        if let Some(wrong) = Reader::open(&partial.0)?.verify()?.into_iter().next() {
            let what = format!("what was written does not agree with itself, and is not kept: {wrong}");
            return Err(LedgerError::Failed { path, what });
        }
        fs::rename(&partial.0, &path).map_err(|error| system(&path, &error))
    }
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn insert(table: Table) -> String {
    let (columns, values): (Vec<_>, Vec<_>) = (1..)
        .zip(table.columns().iter().copied())
        .map(|(at, column)| match table.stored(column) {
            // That a call has ended after all is nothing a file tells apart from an operator's word; its reason says it.
            Stored::Same("basis") => ("basis", format!("nullif(?{at}, 'late')")),
            Stored::Same(own) | Stored::Name(own, _) => (own, format!("?{at}")),
            Stored::Date(own) => (own, format!("date(?{at} * 86400, 'unixepoch')")),
        })
        .unzip();
    format!("INSERT INTO {} ({}) VALUES ({})", table.name(), columns.join(", "), values.join(", "))
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Integer(number) => ToSqlOutput::Owned(Value::Integer(number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::dump::Dump;
    use super::*;
    use crate::config::LedgerFile;
    use crate::credits::Credits;
    use crate::credits::budget::Grant;
    use crate::ledger::entry::{EndEntry, Entry, HoldEntry, Kind, SavingEntry, ThingEntry};
    use crate::ledger::reading::Upkeep;

    fn hold(call: i64, member: &'static str) -> Entry<'static> {
        Entry::Hold(HoldEntry {
            call,
            at: 1_700_000_000_000_000 + call,
            day: 19_675,
            team: "growth",
            key_id: "aaaaaaaa",
            member,
            route: "chat_completions",
            request_id: "a-request",
            reserve: 5_000_000,
            retry: None,
            replica: 0,
        })
    }

    fn end(call: i64, kind: Kind) -> Entry<'static> {
        Entry::End(EndEntry {
            call,
            at: 1_700_000_001_000_000 + call,
            kind,
            credits: 5_000_000,
            reason: Some("no_figure").filter(|_| kind == Kind::Estimated),
            outcome: "completed",
            response_id: None,
            input_tokens: Some(7),
            output_tokens: None,
            sent_at: Some(1_700_000_000_500_000),
        })
    }

    fn ledger(path: &Path, entries: &[Entry<'_>]) -> LedgerFile {
        let settings = LedgerFile { path: path.to_owned(), durability: Durability::Os };
        let mut store = Store::open(path, Durability::Os).unwrap();
        store.write(entries, None).unwrap();
        let (from, until) = (jiff::civil::date(2026, 2, 27), jiff::civil::date(2026, 3, 1));
        let grant = Grant {
            team: "growth".to_owned(),
            credits: Credits::from_millionths(9),
            from,
            until,
            taken_back: false,
        };
        store.grant(&grant, "a test", jiff::Timestamp::UNIX_EPOCH).unwrap();
        settings
    }

    fn rows(dump: &Dump) -> Vec<String> {
        let mut told = Vec::new();
        for table in Table::ALL {
            let mut contents = dump.read(table).unwrap();
            let mut rows = contents.rows().unwrap();
            while let Some(row) = rows.take().unwrap() {
                told.push(format!("{} {row:?}", table.name()));
            }
        }
        told
    }

    #[test]
    fn what_is_handed_out_makes_the_same_ledger_again() {
        let folder = tempfile::tempdir().unwrap();
        let saved = Entry::Saved(SavingEntry {
            day: 19_675,
            team: "growth",
            key_id: "aaaaaaaa",
            route: "chat_completions",
            copies: 2,
            credits: 3,
        });
        let made = Entry::Made(ThingEntry { kind: "file", id: "f-1", team: "search", at: 1 });
        let entries =
            [hold(1, ""), hold(2, "ana"), end(2, Kind::Estimated), saved, made, end(1, Kind::Final)];
        let dump = Dump::open(&ledger(&folder.path().join("ledger.db"), &entries)).unwrap();
        let copy = folder.path().join("copy.db");
        let mut load = Load::new(&copy).unwrap();
        for table in Table::ALL {
            let mut contents = dump.read(table).unwrap();
            let mut rows = contents.rows().unwrap();
            while let Some(row) = rows.take().unwrap() {
                load.take(table, &row).unwrap();
            }
        }
        assert_eq!(load.sums().unwrap(), dump.sums().unwrap());
        assert_eq!(load.sums().unwrap().len(), 3);
        load.finish().unwrap();
        let again = Dump::open(&LedgerFile { path: copy.clone(), durability: Durability::Os }).unwrap();
        assert_eq!(rows(&again), rows(&dump));
        assert_eq!(rows(&again).len(), 2 + 1 + 2 + 1 + 1);
        assert!(Load::new(&copy).is_err(), "it is there");
        // One that is given up leaves nothing.
        let third = folder.path().join("third.db");
        drop(Load::new(&third).unwrap());
        assert!(!third.exists() && !with(&third, ".partial").exists());
    }

    #[test]
    fn a_ledger_in_use_or_with_calls_open_is_not_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            ledger(&folder.path().join("ledger.db"), &[hold(1, ""), hold(2, ""), end(2, Kind::Final)]);
        let refused = Dump::open(&settings).unwrap_err().to_string();
        assert!(refused.contains("not settled yet (1)"), "{refused}");
        let held = super::super::lock(&settings.path).unwrap();
        assert!(matches!(Dump::open(&settings), Err(LedgerError::InUse { .. })));
        drop(held);
    }
}
