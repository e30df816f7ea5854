//! Names by number, as the tables have them.

use foldhash::HashMap;
use rusqlite::{Connection, OptionalExtension};

/// The numbers of names that were written or looked up before. Bounded by the configuration: nothing that a caller chooses
/// is a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<str>, i64>,
    /// Of each kind the last: two entries after each other have most of theirs in common.
    last: [Option<(Box<str>, i64)>; Named::COUNT],
}

/// What has a name: the columns of `bookings`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    Team,
    Key,
    Member,
    Route,
    Outcome,
    Reason,
}

impl Named {
    const COUNT: usize = 6;
}

impl Names {
    /// The number of a name, given to it where it has none.
    pub(super) fn number(&mut self, change: &Connection, kind: Named, name: &str) -> rusqlite::Result<i64> {
        if let Some((last, number)) = &self.last[kind as usize]
            && **last == *name
        {
            return Ok(*number);
        }
        let number = self.look_up(change, name)?;
        self.last[kind as usize] = Some((name.into(), number));
        Ok(number)
    }

    fn look_up(&mut self, change: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let number = if let Some(number) = find(change, name)? {
            number
        } else {
            change.prepare_cached("INSERT INTO names (name) VALUES (?1)")?.execute([name])?;
            change.last_insert_rowid()
        };
        self.numbers.insert(name.into(), number);
        Ok(number)
    }

    /// Forgets all: what a transaction gave is void if that was.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The number of a name, if it has one.
pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM names WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}
