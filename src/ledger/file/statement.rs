//! What a team's bill rests on.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::credits;
use crate::ledger::entry::day_of;
use crate::ledger::statement::{Booking, Stated, StatedCall, StatedCorrection};

/// See [`crate::ledger::Reading::stated`].
pub(super) fn of(connection: &Connection, team: &str, days: [i32; 2]) -> rusqlite::Result<Stated> {
    let [since, until] = days;
    let mut calls = connection.prepare(
        "SELECT call, day, k.name, r.name, request_id, response_id, kind, coalesce(credits, reserve), w.name
         FROM bookings JOIN names k ON k.id = key JOIN names r ON r.id = route LEFT JOIN names w ON w.id = reason
         WHERE team = (SELECT id FROM names WHERE name = ?1) AND day BETWEEN ?2 AND ?3 ORDER BY call",
    )?;
    let calls = calls.query_map(params![team, since, until], |row| {
        Ok(StatedCall {
            call: row.get(0)?,
            day: day_of(row.get(1)?),
            key_id: row.get(2)?,
            route: row.get(3)?,
            request_id: row.get(4)?,
            response_id: row.get(5)?,
            booked: Booking::of(row.get(6)?, row.get_ref(8)?.as_str_or_null()?),
            credits: credits(row, 7)?,
        })
    })?;
    let calls = calls.collect::<rusqlite::Result<_>>()?;
    let mut corrections = connection.prepare(
        "SELECT seq, call, at, credits, coalesce(reason, '') FROM changes
         WHERE kind = 'adjusted' AND team = ?1 AND unixepoch(day) / 86400 BETWEEN ?2 AND ?3 ORDER BY seq",
    )?;
    let corrections = corrections.query_map(params![team, since, until], |row| {
        Ok(StatedCorrection {
            number: row.get(0)?,
            call: row.get(1)?,
            at: Timestamp::from_microsecond(row.get(2)?).unwrap_or_default(),
            millionths: row.get(3)?,
            why: row.get(4)?,
        })
    })?;
    let corrections = corrections.collect::<rusqlite::Result<_>>()?;
    let pruned = connection
        .query_row("SELECT max(unixepoch(before) / 86400) FROM pruned", [], |row| {
            row.get::<_, Option<i64>>(0)
        })
        .optional()?
        .flatten();
    Ok(Stated { calls, corrections, pruned_before: pruned.map(day_of) })
}
