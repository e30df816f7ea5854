//! The latest calls: those that match a search, when they were sent, and those that have a key.

use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};

use super::columns::{self, BASIS, basis, credits};
use super::store::last_call;
use crate::credits::Credits;
use crate::ledger::facts::Retry;
use crate::ledger::fate::Fate;
use crate::ledger::latest::{COSTS, Looked, MINUTE, around, by_route, first_held};
use crate::ledger::opening::KnownCall;
use crate::ledger::rows::{Call, Found, Search};
use crate::route::Route;

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
    Ok(by_route(rows.collect::<rusqlite::Result<Vec<_>>>()?, count))
}

/// See [`crate::ledger::Opening::known`].
pub(super) fn known_since(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<KnownCall>> {
    let mut statement = connection.prepare_cached(
        "SELECT call, held_at, retry_key, fingerprint, kind, w.name, r.name
         FROM bookings INDEXED BY retries JOIN names r ON r.id = route LEFT JOIN names w ON w.id = reason
         WHERE retry_key IS NOT NULL AND held_at >= ?1 ORDER BY call",
    )?;
    let rows = statement.query_map([since.as_microsecond()], |row| {
        let reason: Option<String> = row.get(5)?;
        let fate = Fate::of_booked(row.get(4)?, &reason.unwrap_or_default(), &row.get::<_, String>(6)?);
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
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (oldest, newest) = match search.held.map(around) {
        Some([since, until]) => (number(&first_held(since))?, number(&first_held(until))? - 1),
        None => (number("SELECT coalesce(min(call), 1) FROM bookings")?, last_call(connection)?),
    };
    let looked = Looked::of(search, newest, oldest);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT call, held_at, t.name, k.name, r.name, request_id, response_id, o.name, reserve,
                credits + coalesce((SELECT sum(a.credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0),
                {BASIS},
                w.name, input_tokens, output_tokens
         FROM bookings b JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
         JOIN names o ON o.id = outcome LEFT JOIN names w ON w.id = reason
         WHERE call >= :floor AND call < :before AND end_seq IS NOT NULL
           AND (:team IS NULL OR team = (SELECT id FROM names WHERE name = :team))
           AND (:outcome IS NULL OR outcome = (SELECT id FROM names WHERE name = :outcome))
           AND (:basis IS NULL OR {BASIS} = :basis)
           AND (:caller IS NULL OR key = (SELECT id FROM names WHERE name = :caller))
           AND (:since IS NULL OR held_at >= :since) AND (:until IS NULL OR held_at < :until)
           AND (:id IS NULL OR :id IN (request_id, response_id, k.name))
         ORDER BY call DESC LIMIT :limit"
    ))?;
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    let [since, until] = [0, 1].map(|end| search.held.map(|held| held[end].as_microsecond()));
    let found = statement.query_map(
        named_params! {
            ":floor": looked.floor, ":before": looked.before, ":team": search.team, ":outcome": search.outcome,
            ":basis": search.basis.map(columns::number), ":caller": search.caller, ":since": since, ":until": until,
            ":id": search.id, ":limit": limit,
        },
        call,
    )?;
    let requests = found.collect::<Result<Vec<_>, _>>()?;
    Ok(looked.found(search, requests))
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
