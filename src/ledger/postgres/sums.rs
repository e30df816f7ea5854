//! Sums by day, and what is booked of single calls.

use jiff::Timestamp;
use tokio_postgres::{Client, Error, Row};

use super::columns::{CORRECTED, HAS_ANYTHING, IN_DOUBT, count, credits, day, limit, moment};
use crate::credits::Credits;
use crate::ledger::entry::days;
use crate::ledger::facts::Booked;
use crate::ledger::keys::CallerUse;
use crate::ledger::rows::{Saving, Span, Spend};
use crate::ledger::view::{By, Slice, Sum, View};

/// See [`crate::ledger::Reading::spends`].
pub(super) async fn spends(client: &Client, span: Span) -> Result<Vec<Spend>, Error> {
    let [since, until] = days(span);
    let rows = client
        .query(
            &format!(
                r#"SELECT day, team, key_id, route, outcome, sum(calls)::BIGINT, sum(final)::BIGINT, sum(estimated)::BIGINT,
                      sum(input_tokens)::BIGINT, sum(output_tokens)::BIGINT
               FROM day_sums WHERE day BETWEEN $1 AND $2 GROUP BY day, team, key_id, route, outcome
               HAVING {HAS_ANYTHING}
               ORDER BY day, team COLLATE "C", key_id COLLATE "C", route COLLATE "C", outcome COLLATE "C""#
            ),
            &[&since, &until],
        )
        .await?;
    let spend = |row: &Row| {
        Ok(Spend {
            day: day(row, 0)?,
            team: row.try_get(1)?,
            key_id: row.try_get(2)?,
            route: row.try_get(3)?,
            outcome: row.try_get(4)?,
            calls: count(row, 5)?,
            settled: credits(row, 6)?,
            estimated: credits(row, 7)?,
            input_tokens: count(row, 8)?,
            output_tokens: count(row, 9)?,
        })
    };
    rows.iter().map(spend).collect()
}

/// Spend of the days, and of those, that the credits page looks at: by day and name.
pub(super) async fn spent(client: &Client, view: &View) -> Result<Vec<Slice>, Error> {
    let column = match view.by {
        By::Team => "team",
        By::Caller => "key_id",
        By::Route => "route",
    };
    let [since, until] = days(view.span);
    let rows = client
        .query(
            &format!(
                r#"SELECT day, {column}, sum(calls)::BIGINT, sum(final + estimated)::BIGINT, sum(estimated)::BIGINT
                   FROM day_sums
                   WHERE day BETWEEN $1 AND $2 AND ($3::TEXT IS NULL OR team = $3) AND ($4::TEXT IS NULL OR key_id = $4)
                   GROUP BY day, {column} HAVING {HAS_ANYTHING}
                   ORDER BY day, {column} COLLATE "C""#
            ),
            &[&since, &until, &view.search.team, &view.search.caller],
        )
        .await?;
    let slice = |row: &Row| {
        Ok(Slice {
            day: day(row, 0)?,
            name: row.try_get(1)?,
            calls: count(row, 2)?,
            sum: Sum { credits: credits(row, 3)?, in_doubt: credits(row, 4)? },
        })
    };
    rows.iter().map(slice).collect()
}

/// Of all, over a period.
pub(super) async fn sum(client: &Client, period: Span) -> Result<Sum, Error> {
    let [since, until] = days(period);
    let sum = "SELECT coalesce(sum(final + estimated), 0)::BIGINT, coalesce(sum(estimated), 0)::BIGINT FROM day_sums
               WHERE day BETWEEN $1 AND $2";
    let row = client.query_one(sum, &[&since, &until]).await?;
    Ok(Sum { credits: credits(&row, 0)?, in_doubt: credits(&row, 1)? })
}

/// See [`crate::ledger::Reading::savings`].
pub(super) async fn savings(client: &Client, span: Span) -> Result<Vec<Saving>, Error> {
    let [since, until] = days(span);
    let rows = client
        .query(
            r#"SELECT day, team, key_id, route, copies, credits FROM savings WHERE day BETWEEN $1 AND $2
               ORDER BY day, team COLLATE "C", key_id COLLATE "C", route COLLATE "C""#,
            &[&since, &until],
        )
        .await?;
    let saving = |row: &Row| {
        Ok(Saving {
            day: day(row, 0)?,
            team: row.try_get(1)?,
            key_id: row.try_get(2)?,
            route: row.try_get(3)?,
            copies: count(row, 4)?,
            credits: credits(row, 5)?,
        })
    };
    rows.iter().map(saving).collect()
}

/// See [`crate::ledger::Reading::uses`].
pub(super) async fn uses(client: &Client, span: Span) -> Result<Vec<CallerUse>, Error> {
    let [since, until] = days(span);
    let rows = client
        .query(
            "SELECT key_id, max(day), coalesce(sum(final + estimated) FILTER (WHERE day BETWEEN $1 AND $2), 0)::BIGINT
             FROM day_sums GROUP BY key_id",
            &[&since, &until],
        )
        .await?;
    let caller_use = |row: &Row| {
        Ok(CallerUse { key_id: row.try_get(0)?, last_day: day(row, 1)?, spent: credits(row, 2)? })
    };
    rows.iter().map(caller_use).collect()
}

/// See [`crate::ledger::Reading::in_doubt`].
pub(super) async fn in_doubt(client: &Client) -> Result<Credits, Error> {
    let sum = "SELECT coalesce(sum(estimated), 0)::BIGINT FROM day_sums";
    credits(&client.query_one(sum, &[]).await?, 0)
}

/// See [`crate::ledger::Reading::booked_between`].
pub(super) async fn booked_between(
    client: &Client,
    since: Timestamp,
    until: Timestamp,
) -> Result<(Credits, Credits), Error> {
    let sums = format!(
        "SELECT coalesce(sum(amount) FILTER (WHERE NOT doubt), 0)::BIGINT, coalesce(sum(amount) FILTER (WHERE doubt), 0)::BIGINT
         FROM (SELECT {CORRECTED} AS amount, {IN_DOUBT} AS doubt FROM bookings b
               WHERE kind > 0 AND held_at >= $1 AND held_at < $2) booked"
    );
    let row = client.query_one(&sums, &[&since.as_microsecond(), &until.as_microsecond()]).await?;
    Ok((credits(&row, 0)?, credits(&row, 1)?))
}

/// What is booked under the upstream's ids of responses.
pub(super) async fn answered(client: &Client) -> Result<Vec<Booked>, Error> {
    let calls = format!(
        "SELECT call, day, team, key_id, route, request_id, response_id, outcome, {CORRECTED}, {IN_DOUBT}, held_at
         FROM bookings b WHERE kind > 0 AND response_id IS NOT NULL ORDER BY call"
    );
    client.query(&calls, &[]).await?.iter().map(booked).collect()
}

/// See [`crate::ledger::Reading::doubt`].
pub(super) async fn doubt(
    client: &Client,
    request_id: Option<&str>,
    count: usize,
) -> Result<Vec<(Booked, String)>, Error> {
    let calls = format!(
        "SELECT call, day, team, key_id, route, request_id, response_id, outcome, {CORRECTED}, {IN_DOUBT}, held_at, reason
         FROM bookings b WHERE {IN_DOUBT} AND ($1::TEXT IS NULL OR request_id = $1) ORDER BY call LIMIT $2"
    );
    let rows = client.query(&calls, &[&request_id, &limit(count)]).await?;
    let doubtful = |row: &Row| Ok((booked(row)?, row.try_get::<_, Option<String>>(11)?.unwrap_or_default()));
    rows.iter().map(doubtful).collect()
}

/// How calls are booked, by their numbers.
pub(super) async fn booked_of(client: &Client, calls: &[i64]) -> Result<Vec<Booked>, Error> {
    let sql = format!(
        "SELECT call, day, team, key_id, route, request_id, response_id, coalesce(outcome, ''), coalesce({CORRECTED}, 0),
                coalesce({IN_DOUBT}, false), held_at
         FROM bookings b WHERE call = ANY($1)"
    );
    client.query(&sql, &[&calls]).await?.iter().map(booked).collect()
}

/// A call as it is booked, from the columns that such questions begin with.
fn booked(row: &Row) -> Result<Booked, Error> {
    Ok(Booked {
        call: row.try_get(0)?,
        day: day(row, 1)?,
        team: row.try_get(2)?,
        key_id: row.try_get(3)?,
        route: row.try_get(4)?,
        request_id: row.try_get(5)?,
        response_id: row.try_get::<_, Option<String>>(6)?.unwrap_or_default(),
        outcome: row.try_get(7)?,
        credits: credits(row, 8)?,
        in_doubt: row.try_get(9)?,
        held: moment(row, 10)?,
    })
}
