//! What was asked in a span of time.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::columns::credits;
use crate::credits::Credits;
use crate::ledger::past::{Past, PastAsks, PastCall, PastJob, minute};
use crate::route::Route;

/// See [`crate::ledger::Reading::past`].
pub(super) fn between(connection: &Connection, since: Timestamp, until: Timestamp) -> rusqlite::Result<Past> {
    let mut name = Past::interned();
    let mut text = move |row: &Row<'_>, at: usize| {
        Ok::<_, rusqlite::Error>(match row.get_ref(at)? {
            ValueRef::Text(text) => name(&String::from_utf8_lossy(text)),
            _ => name(""),
        })
    };
    // Calls are numbered in the order in which they were held, and are found by that where they are many.
    let mut calls = connection.prepare(
        "SELECT b.call, held_at, coalesce(queued, 0), t.name, k.name, r.name, b.reserve, ended_at,
                coalesce(b.credits, b.reserve)
                  + coalesce((SELECT sum(credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0),
                j.seen_at, j.state
         FROM bookings b JOIN names t ON t.id = b.team JOIN names k ON k.id = b.key JOIN names r ON r.id = b.route
         LEFT JOIN waits w ON w.call = b.call LEFT JOIN jobs j ON j.call = b.call
         WHERE held_at >= ?1 AND held_at < ?2 ORDER BY b.call",
    )?;
    let calls = calls.query_map([since.as_microsecond(), until.as_microsecond()], |row| {
        let moment = |at: i64| Timestamp::from_microsecond(at).unwrap_or_default();
        let job = row.get::<_, Option<i64>>(9)?.map(moment);
        let is_over = row.get::<_, Option<i64>>(10)?.is_some_and(|state| state != 0);
        Ok(PastCall {
            call: row.get(0)?,
            held: moment(row.get(1)?),
            queued: Duration::from_micros(row.get::<_, i64>(2)?.unsigned_abs()),
            team: text(row, 3)?,
            key_id: text(row, 4)?,
            route: Route::named(&text(row, 5)?),
            reserve: credits(row, 6)?,
            ended: row.get::<_, Option<i64>>(7)?.map(moment),
            credits: Credits::from_millionths(u64::try_from(row.get::<_, i64>(8)?).unwrap_or(0)),
            job: job.map(|seen| PastJob { seen, is_over }),
        })
    })?;
    let calls = calls.collect::<rusqlite::Result<_>>()?;
    let mut asks = connection.prepare(
        "SELECT minute, t.name, r.name, c.name, count, seconds FROM asks
         JOIN names t ON t.id = team JOIN names r ON r.id = route JOIN names c ON c.id = code
         WHERE minute >= ?1 AND minute <= ?2 ORDER BY minute, t.name, r.name, c.name",
    )?;
    let minutes = [since, until].map(minute);
    let mut names = Past::interned();
    let asks = asks.query_map(minutes, |row| {
        Ok(PastAsks {
            minute: row.get(0)?,
            team: names(&row.get::<_, String>(1)?),
            route: Route::named(&row.get::<_, String>(2)?),
            code: names(&row.get::<_, String>(3)?),
            count: row.get(4)?,
            seconds: row.get::<_, i64>(5)?.cast_unsigned(),
        })
    })?;
    Ok(Past { calls, asks: asks.collect::<rusqlite::Result<_>>()? })
}
