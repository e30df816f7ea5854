//! Names by number, as the tables have them.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

/// The numbers of names that were written or looked up before. Bounded by the configuration: nothing that a caller chooses
/// is a name.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, i64>);

impl Names {
    /// The number of a name, given to it where it has none.
    pub(super) fn number(&mut self, change: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.0.get(name) {
            return Ok(*number);
        }
        let number = if let Some(number) = find(change, name)? {
            number
        } else {
            change.prepare_cached("INSERT INTO names (name) VALUES (?1)")?.execute([name])?;
            change.last_insert_rowid()
        };
        self.0.insert(name.into(), number);
        Ok(number)
    }

    /// Forgets all: what a transaction gave is void if that was.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// The number of a name, if it has one.
pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM names WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}
