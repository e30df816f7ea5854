//! Columns of a row as the rest of the program has them.

use rusqlite::Row;

use crate::credits::Credits;
use crate::ledger::facts::Basis;

/// What a price rests on, by the number of its kind.
pub(super) fn basis(kind: Option<i64>) -> Option<String> {
    let basis = Basis::ALL.into_iter().find(|basis| Some(number(*basis)) == kind);
    basis.map(|basis| basis.as_str().to_owned())
}

/// The number of its kind.
pub(super) const fn number(basis: Basis) -> i64 {
    match basis {
        Basis::Final => 1,
        Basis::Estimated => 2,
        Basis::Derived => 3,
    }
}

/// Of grouped sums of days: whether there is anything to tell. A call that never left leaves a row of nothing.
pub(super) const HAS_ANYTHING: &str = "sum(calls) > 0 OR sum(final + estimated) > 0";

/// What the price of a booking `b` rests on, by the number of its kind: what the last correction of it does, if there is one.
pub(super) const BASIS: &str = "coalesce((SELECT CASE a.basis WHEN 'derived' THEN 3 ELSE 1 END FROM changes a
     WHERE a.kind = 'adjusted' AND a.call = b.call ORDER BY a.seq DESC LIMIT 1), b.kind)";

pub(super) fn credits(row: &Row<'_>, at: usize) -> rusqlite::Result<Credits> {
    row.get::<_, i64>(at).map(|amount| Credits::from_millionths(u64::try_from(amount).unwrap_or(0)))
}

pub(super) fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0))
}
