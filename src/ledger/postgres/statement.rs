//! What a team's bill rests on.

use tokio_postgres::{Client, Error, Row};

use super::columns::{credits, day, moment};
use crate::ledger::entry::{day_of, days};
use crate::ledger::rows::Span;
use crate::ledger::statement::{Booking, Stated, StatedCall, StatedCorrection};

/// See [`crate::ledger::Reading::stated`].
pub(super) async fn of(client: &Client, team: &str, span: Span) -> Result<Stated, Error> {
    let [since, until] = days(span);
    let sql =
        "SELECT call, day, key_id, route, request_id, response_id, kind, coalesce(credits, reserve), reason
               FROM bookings
               WHERE team = $1 AND day BETWEEN $2 AND $3 ORDER BY call";
    let call = |row: &Row| {
        Ok::<_, Error>(StatedCall {
            call: row.try_get(0)?,
            day: day(row, 1)?,
            key_id: row.try_get(2)?,
            route: row.try_get(3)?,
            request_id: row.try_get(4)?,
            response_id: row.try_get(5)?,
            booked: Booking::of(row.try_get::<_, Option<i16>>(6)?.map(i64::from), row.try_get(8)?),
            credits: credits(row, 7)?,
        })
    };
    let calls =
        client.query(sql, &[&team, &since, &until]).await?.iter().map(call).collect::<Result<_, _>>()?;
    let sql = "SELECT seq, call, at, credits, coalesce(reason, '') FROM changes
               WHERE kind = 'adjusted' AND team = $1 AND day BETWEEN $2 AND $3 ORDER BY seq";
    let correction = |row: &Row| {
        Ok::<_, Error>(StatedCorrection {
            number: row.try_get(0)?,
            call: row.try_get(1)?,
            at: moment(row, 2)?,
            millionths: row.try_get(3)?,
            why: row.try_get(4)?,
        })
    };
    let corrections = client.query(sql, &[&team, &since, &until]).await?;
    let corrections = corrections.iter().map(correction).collect::<Result<_, _>>()?;
    let pruned: Option<i32> = client.query_one("SELECT max(before) FROM pruned", &[]).await?.try_get(0)?;
    Ok(Stated { calls, corrections, pruned_before: pruned.map(|day| day_of(day.into())) })
}
