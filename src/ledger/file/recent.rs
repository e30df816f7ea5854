//! The latest calls: those that match a search, when they were sent, and those that have a key.

use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};

use super::columns::{BASIS, basis, credits};
use super::store::last_call;
use crate::credits::Credits;
use crate::ledger::facts::Retry;
use crate::ledger::fate::Fate;
use crate::ledger::opening::KnownCall;
use crate::ledger::reading::{Call, Found, Search};
use crate::route::Route;

/// Calls that one search looks at: far more than a page of them, and milliseconds to read.
const LOOKBACK: i64 = 100_000;

/// Calls that are looked at for what they cost: enough to learn from, and less than a megabyte to read.
const COSTS: i64 = 4096;

/// More calls than the largest plan allows in a minute, which are 600.
const MINUTE: i64 = 2048;

/// See [`super::read::Reader::sent_between`].
pub(super) fn sent_between(
    connection: &Connection,
    since: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Vec<Timestamp>> {
    let floor = last_call(connection)?.saturating_sub(MINUTE);
    // A call that was in flight when the process died had been sent when it was held, or not much later.
    let mut statement = connection.prepare_cached(
        "SELECT CASE o.name WHEN 'crashed' THEN held_at ELSE sent_at END AS sent FROM bookings b
         JOIN names o ON o.id = outcome
         WHERE call > ?1 AND sent BETWEEN ?2 AND ?3",
    )?;
    let rows = statement.query_map([floor, since.as_microsecond(), until.as_microsecond()], |row| {
        Ok(Timestamp::from_microsecond(row.get(0)?).unwrap_or_default())
    })?;
    rows.collect()
}

/// See [`crate::ledger::Opening::costs`]. Of the latest calls of all routes: of one that is seldom called there are few among them.
pub(super) fn costs(connection: &Connection, count: usize) -> rusqlite::Result<Vec<(Route, Vec<Credits>)>> {
    let floor = last_call(connection)?.saturating_sub(COSTS);
    let mut statement = connection.prepare_cached(
        "SELECT r.name, credits FROM bookings JOIN names r ON r.id = route WHERE call > ?1 AND kind = 1 ORDER BY call",
    )?;
    let rows = statement.query_map([floor], |row| Ok((row.get::<_, String>(0)?, credits(row, 1)?)))?;
    let mut costs: Vec<_> = Route::all().map(|route| (route, Vec::new())).collect();
    for row in rows {
        let (name, cost) = row?;
        if let Some(route) = Route::named(&name) {
            costs[route.index()].1.push(cost);
        }
    }
    for (_, of_route) in &mut costs {
        of_route.drain(..of_route.len().saturating_sub(count));
    }
    costs.retain(|(_, of_route)| !of_route.is_empty());
    Ok(costs)
}

/// See [`crate::ledger::Opening::known`].
pub(super) fn known_since(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<KnownCall>> {
    let mut statement = connection.prepare_cached(
        "SELECT call, held_at, retry_key, fingerprint, kind, w.name, r.name
         FROM bookings INDEXED BY retries JOIN names r ON r.id = route LEFT JOIN names w ON w.id = reason
         WHERE retry_key IS NOT NULL AND held_at >= ?1 ORDER BY call",
    )?;
    let rows = statement.query_map([since.as_microsecond()], |row| {
        let requires_key =
            Route::named(&row.get::<_, String>(6)?).is_some_and(|route| route.row().requires_key);
        let fate = match row.get::<_, Option<i64>>(4)? {
            Some(0) => Fate::Free,
            Some(1 | 3) => Fate::Answered,
            _ => Fate::of_estimate(&row.get::<_, Option<String>>(5)?.unwrap_or_default(), requires_key),
        };
        Ok(KnownCall {
            call: row.get(0)?,
            at: Timestamp::from_microsecond(row.get(1)?).unwrap_or_default(),
            retry: Retry { key: row.get(2)?, fingerprint: row.get(3)? },
            fate,
        })
    })?;
    rows.collect()
}

/// See [`crate::ledger::Opening::saved`].
pub(super) fn saved(connection: &Connection) -> rusqlite::Result<Vec<(String, Credits)>> {
    let mut statement = connection.prepare_cached(
        "SELECT t.name, sum(credits) FROM savings JOIN names t ON t.id = team GROUP BY team ORDER BY 1",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, credits(row, 1)?)))?;
    rows.collect()
}

/// See [`crate::ledger::Reading::calls`].
pub(super) fn calls(connection: &Connection, search: &Search) -> rusqlite::Result<Found> {
    let before = match search.before {
        Some(before) => before,
        None => last_call(connection)? + 1,
    };
    let oldest: i64 =
        connection.query_row("SELECT coalesce(min(call), 1) FROM bookings", [], |row| row.get(0))?;
    let floor = before.saturating_sub(LOOKBACK).max(oldest);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT call, ended_at, t.name, k.name, r.name, request_id, response_id, o.name, reserve,
                credits + coalesce((SELECT sum(a.credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0),
                {BASIS},
                w.name, input_tokens, output_tokens
         FROM bookings b JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
         JOIN names o ON o.id = outcome LEFT JOIN names w ON w.id = reason
         WHERE call >= :floor AND call < :before AND end_seq IS NOT NULL
           AND (:team IS NULL OR team = (SELECT id FROM names WHERE name = :team))
           AND (:outcome IS NULL OR outcome = (SELECT id FROM names WHERE name = :outcome))
           AND (:id IS NULL OR :id IN (request_id, response_id, k.name))
         ORDER BY call DESC LIMIT :limit"
    ))?;
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    let found = statement.query_map(
        named_params! {
            ":floor": floor, ":before": before, ":team": search.team, ":outcome": search.outcome,
            ":id": search.id, ":limit": limit,
        },
        call,
    )?;
    let requests = found.collect::<Result<Vec<_>, _>>()?;
    let full = requests.len() == search.limit;
    let last = requests.last().map(|call| call.call);
    Ok(Found {
        searched: before - last.filter(|_| full).unwrap_or(floor),
        complete: full || floor <= oldest,
        next: if full { last } else { (floor > oldest).then_some(floor) },
        requests,
    })
}

fn call(row: &Row<'_>) -> rusqlite::Result<Call> {
    let tokens =
        |at| row.get::<_, Option<i64>>(at).map(|count| count.and_then(|count| count.try_into().ok()));
    Ok(Call {
        call: row.get(0)?,
        at: Timestamp::from_microsecond(row.get(1)?).unwrap_or_default(),
        team: row.get(2)?,
        key_id: row.get(3)?,
        route: row.get(4)?,
        request_id: row.get(5)?,
        response_id: row.get(6)?,
        outcome: row.get(7)?,
        reserved: credits(row, 8)?,
        credits: credits(row, 9)?,
        basis: basis(row.get(10)?),
        reason: row.get(11)?,
        input_tokens: tokens(12)?,
        output_tokens: tokens(13)?,
    })
}
