//! A statement that writes one row after another: what two rows have in common is bound once.

use rusqlite::{CachedStatement, ToSql};

/// Columns of the row.
const COLUMNS: usize = 23;

/// Writes rows.
pub(super) struct Insert<'c> {
    statement: CachedStatement<'c>,
    /// What each column is bound to, by its number less one.
    bound: [Bound; COLUMNS],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Null,
    Number(i64),
    /// A text or a digest, which is bound anew each time.
    Other,
}

impl<'c> Insert<'c> {
    /// With nothing bound.
    pub(super) fn new(statement: CachedStatement<'c>) -> Self {
        Self { statement, bound: [Bound::Null; COLUMNS] }
    }

    /// Binds a column of numbers.
    pub(super) fn number(&mut self, column: usize, number: Option<i64>) -> rusqlite::Result<()> {
        let binds = number.map_or(Bound::Null, Bound::Number);
        if std::mem::replace(&mut self.bound[column - 1], binds) == binds {
            return Ok(());
        }
        self.statement.raw_bind_parameter(column, number)
    }

    /// Binds a column of texts or digests.
    pub(super) fn value(&mut self, column: usize, value: Option<impl ToSql>) -> rusqlite::Result<()> {
        let binds = if value.is_some() { Bound::Other } else { Bound::Null };
        if std::mem::replace(&mut self.bound[column - 1], binds) == Bound::Null && value.is_none() {
            return Ok(());
        }
        self.statement.raw_bind_parameter(column, value)
    }

    /// Writes the row.
    pub(super) fn write(&mut self) -> rusqlite::Result<()> {
        self.statement.raw_execute().map(drop)
    }
}
