//! The latest calls: those that match a search, when they were sent, and those that have a key.

use jiff::Timestamp;
use tokio_postgres::{Client, Error, Row};

use super::columns::{BASIS, CORRECTED, credits, digest, limit, moment};
use crate::credits::Credits;
use crate::ledger::facts::{Basis, CallId, Retry};
use crate::ledger::fate::Fate;
use crate::ledger::latest::{COSTS, Looked, MINUTE, around, by_route, first_held};
use crate::ledger::opening::KnownCall;
use crate::ledger::rows::{Call, Charge, Found, Search};
use crate::route::Route;

/// The last call that was ever held.
pub(super) async fn last_call(client: &Client) -> Result<CallId, Error> {
    client.query_one("SELECT coalesce(max(call), 0) FROM bookings", &[]).await?.try_get(0)
}

/// When calls that are booked were sent upstream, between `since` and `until`: a time beyond is of a clock that was wrong.
pub(super) async fn sent_between(
    client: &Client,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<Timestamp>, Error> {
    let floor = last_call(client).await?.saturating_sub(MINUTE);
    // A call that was in flight when its gateway died had been sent when it was held, or not much later.
    let rows = client
        .query(
            "SELECT sent FROM (SELECT CASE outcome WHEN 'crashed' THEN held_at ELSE sent_at END AS sent
                               FROM bookings WHERE call > $1 AND ended_in IS NOT NULL) booked
             WHERE sent BETWEEN $2 AND $3",
            &[&floor, &since.as_microsecond(), &until.as_microsecond()],
        )
        .await?;
    rows.iter().map(|row| moment(row, 0)).collect()
}

/// See [`crate::ledger::Opening::costs`]. Of the latest calls of all routes: of one that is seldom called there are few among them.
pub(super) async fn costs(client: &Client, count: usize) -> Result<Vec<(Route, Vec<Credits>)>, Error> {
    let floor = last_call(client).await?.saturating_sub(COSTS);
    let sql = "SELECT route, credits FROM bookings WHERE call > $1 AND kind = 1 ORDER BY call";
    let rows = client.query(sql, &[&floor]).await?;
    let costs = rows.iter().map(|row| Ok((row.try_get(0)?, credits(row, 1)?)));
    Ok(by_route(costs.collect::<Result<Vec<_>, Error>>()?, count))
}

/// See [`crate::ledger::Opening::known`]. What another gateway has under way has come to nothing yet: nobody knows to what.
pub(super) async fn known_since(client: &Client, since: Timestamp) -> Result<Vec<KnownCall>, Error> {
    let rows = client
        .query(
            "SELECT call, held_at, retry_key, fingerprint, kind, coalesce(reason, ''), route FROM bookings
             WHERE retry_key IS NOT NULL AND held_at >= $1 ORDER BY call",
            &[&since.as_microsecond()],
        )
        .await?;
    let known = |row: &Row| {
        let kind = row.try_get::<_, Option<i16>>(4)?.map(i64::from);
        let fate = Fate::of_booked(kind, row.try_get(5)?, row.try_get(6)?);
        Ok(KnownCall {
            call: row.try_get(0)?,
            at: moment(row, 1)?,
            retry: Retry { key: digest(row, 2)?, fingerprint: digest(row, 3)? },
            fate,
        })
    };
    rows.iter().map(known).collect()
}

/// See [`crate::ledger::Reading::recent_charges`].
pub(super) async fn charges(client: &Client, team: &str, count: usize) -> Result<Vec<Charge>, Error> {
    let latest = format!(
        "SELECT request_id, response_id, held_at, key_id, route, {CORRECTED}, {BASIS}, reason FROM bookings b
         WHERE ended_in IS NOT NULL AND team = $1 ORDER BY call DESC LIMIT $2"
    );
    let rows = client.query(&latest, &[&team, &limit(count)]).await?;
    let charge = |row: &Row| {
        let at = moment(row, 2)?;
        Ok(Charge {
            request_id: row.try_get(0)?,
            response_id: row.try_get(1)?,
            at: format!("{at:.3}"),
            key_id: row.try_get(3)?,
            route: row.try_get(4)?,
            credits: credits(row, 5)?,
            basis: row.try_get(6)?,
            reason: row.try_get(7)?,
        })
    };
    rows.iter().map(charge).collect()
}

/// See [`crate::ledger::Reading::calls`].
pub(super) async fn calls(client: &Client, search: &Search) -> Result<Found, Error> {
    let number = async |sql: &str| client.query_one(sql, &[]).await?.try_get::<_, CallId>(0);
    let (oldest, newest) = match search.held.map(around) {
        Some([since, until]) => (number(&first_held(since)).await?, number(&first_held(until)).await? - 1),
        None => (number("SELECT coalesce(min(call), 1) FROM bookings").await?, last_call(client).await?),
    };
    let looked = Looked::of(search, newest, oldest);
    let latest = format!(
        "SELECT call, held_at, team, key_id, route, request_id, response_id, outcome, reserve, {CORRECTED}, {BASIS}, reason,
                input_tokens, output_tokens
         FROM bookings b
         WHERE call >= $1 AND call < $2 AND ended_in IS NOT NULL
           AND ($3::TEXT IS NULL OR team = $3) AND ($4::TEXT IS NULL OR outcome = $4)
           AND ($5::TEXT IS NULL OR $5 IN (request_id, response_id, key_id))
           AND ($6::TEXT IS NULL OR {BASIS} = $6) AND ($7::TEXT IS NULL OR key_id = $7)
           AND ($8::BIGINT IS NULL OR held_at >= $8) AND ($9::BIGINT IS NULL OR held_at < $9)
         ORDER BY call DESC LIMIT $10"
    );
    let Search { team, outcome, id, basis, caller, held, .. } = search;
    let (basis, limit) = (basis.map(Basis::as_str), limit(search.limit));
    let [since, until] = [0, 1].map(|end| held.map(|held| held[end].as_microsecond()));
    let Looked { floor, before, .. } = &looked;
    let rows = client
        .query(&latest, &[floor, before, team, outcome, id, &basis, caller, &since, &until, &limit])
        .await?;
    let requests = rows.iter().map(call).collect::<Result<Vec<_>, _>>()?;
    Ok(looked.found(search, requests))
}

fn call(row: &Row) -> Result<Call, Error> {
    let tokens = |at: usize| {
        row.try_get::<_, Option<i64>>(at).map(|count| count.and_then(|count| count.try_into().ok()))
    };
    Ok(Call {
        call: row.try_get(0)?,
        at: moment(row, 1)?,
        team: row.try_get(2)?,
        key_id: row.try_get(3)?,
        route: row.try_get(4)?,
        request_id: row.try_get(5)?,
        response_id: row.try_get(6)?,
        outcome: row.try_get(7)?,
        reserved: credits(row, 8)?,
        credits: credits(row, 9)?,
        basis: row.try_get(10)?,
        reason: row.try_get(11)?,
        input_tokens: tokens(12)?,
        output_tokens: tokens(13)?,
    })
}
