//! Spend of the days, and of those, that the credits page looks at.

use rusqlite::{Connection, params};

use super::columns::{HAS_ANYTHING, count, credits};
use crate::ledger::entry::{day_of, days};
use crate::ledger::rows::Span;
use crate::ledger::view::{By, Slice, Sum, View};

/// By day and name.
pub(super) fn spent(connection: &Connection, view: &View) -> rusqlite::Result<Vec<Slice>> {
    let column = match view.by {
        By::Team => "team",
        By::Caller => "key",
        By::Route => "route",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT day, n.name, sum(calls), sum(final + estimated), sum(estimated) FROM day_sums
         JOIN names n ON n.id = {column}
         WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR team = (SELECT id FROM names WHERE name = ?3))
           AND (?4 IS NULL OR key = (SELECT id FROM names WHERE name = ?4))
         GROUP BY day, {column} HAVING {HAS_ANYTHING} ORDER BY 1, 2"
    ))?;
    let [since, until] = days(view.span);
    let rows = statement.query_map(params![since, until, view.search.team, view.search.caller], |row| {
        Ok(Slice {
            day: day_of(row.get(0)?),
            name: row.get(1)?,
            calls: count(row, 2)?,
            sum: Sum { credits: credits(row, 3)?, in_doubt: credits(row, 4)? },
        })
    })?;
    rows.collect()
}

/// Of all, over periods.
pub(super) fn sums(connection: &Connection, periods: [Span; 2]) -> rusqlite::Result<[Sum; 2]> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(sum(final + estimated), 0), coalesce(sum(estimated), 0) FROM day_sums
         WHERE day BETWEEN ?1 AND ?2",
    )?;
    let mut sum = |period| {
        statement
            .query_row(days(period), |row| Ok(Sum { credits: credits(row, 0)?, in_doubt: credits(row, 1)? }))
    };
    Ok([sum(periods[0])?, sum(periods[1])?])
}
