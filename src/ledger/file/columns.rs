//! Columns of a row as the rest of the program has them.

use rusqlite::Row;

use crate::credits::Credits;

/// What a price rests on, by the number of its kind.
pub(super) fn basis(kind: Option<i64>) -> Option<String> {
    let word = match kind? {
        1 => "final",
        2 => "estimated",
        3 => "derived",
        _ => return None,
    };
    Some(word.to_owned())
}

pub(super) fn credits(row: &Row<'_>, at: usize) -> rusqlite::Result<Credits> {
    row.get::<_, i64>(at).map(|amount| Credits::from_millionths(u64::try_from(amount).unwrap_or(0)))
}

pub(super) fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0))
}
