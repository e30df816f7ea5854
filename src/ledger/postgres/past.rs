//! What was asked in a span of time.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{Client, Error};

use super::columns::{credits, moment};
use crate::ledger::past::{Past, PastAsks, PastCall, PastJob, minute};
use crate::route::Route;

/// See [`crate::ledger::Reading::past`].
pub(super) async fn between(client: &Client, since: Timestamp, until: Timestamp) -> Result<Past, Error> {
    let mut name = Past::interned();
    let sql = "SELECT b.call, held_at, coalesce(queued, 0), b.team, b.key_id, b.route, b.reserve, ended_at,
                      coalesce(b.credits, b.reserve) + coalesce(corrected, 0)::BIGINT, j.seen_at, j.state
               FROM bookings b LEFT JOIN waits w ON w.call = b.call LEFT JOIN jobs j ON j.call = b.call
               LEFT JOIN (SELECT call, sum(credits) AS corrected FROM changes WHERE kind = 'adjusted' GROUP BY call) a
                 ON a.call = b.call
               WHERE held_at >= $1 AND held_at < $2 ORDER BY b.call";
    let rows = client.query(sql, &[&since.as_microsecond(), &until.as_microsecond()]).await?;
    let mut calls = Vec::with_capacity(rows.len());
    for row in &rows {
        let (ended, seen): (Option<i64>, Option<i64>) = (row.try_get(7)?, row.try_get(9)?);
        let state: Option<i16> = row.try_get(10)?;
        let at = |micros: i64| Timestamp::from_microsecond(micros).unwrap_or_default();
        calls.push(PastCall {
            call: row.try_get(0)?,
            held: moment(row, 1)?,
            queued: Duration::from_micros(row.try_get::<_, i64>(2)?.unsigned_abs()),
            team: name(row.try_get(3)?),
            key_id: name(row.try_get(4)?),
            route: Route::named(row.try_get(5)?),
            reserve: credits(row, 6)?,
            ended: ended.map(at),
            credits: credits(row, 8)?,
            job: seen.map(|seen| PastJob { seen: at(seen), is_over: state.is_some_and(|state| state != 0) }),
        });
    }
    let sql = r#"SELECT minute, team, route, code, count, seconds FROM asks WHERE minute >= $1 AND minute <= $2
                 ORDER BY minute, team COLLATE "C", route COLLATE "C", code COLLATE "C""#;
    let minutes = [since, until].map(minute);
    let mut asks = Vec::new();
    for row in client.query(sql, &[&minutes[0], &minutes[1]]).await? {
        asks.push(PastAsks {
            minute: row.try_get(0)?,
            team: name(row.try_get(1)?),
            route: Route::named(row.try_get(2)?),
            code: name(row.try_get(3)?),
            count: u32::try_from(row.try_get::<_, i64>(4)?).unwrap_or(u32::MAX),
            seconds: row.try_get::<_, i64>(5)?.cast_unsigned(),
        });
    }
    Ok(Past { calls, asks })
}
