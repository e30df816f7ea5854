//! What a gateway sees that has the lock: what is committed, because each statement sees for itself.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::changes;
use super::columns::moment_of;
use super::statements::Open;
use crate::ledger::rows::Changes;
use crate::ledger::turns::{Gateway, Look, Turn};

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn since(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0).unsigned_abs())
}

/// What a look has seen, as rows.
pub(super) struct Seen {
    gate: Row,
    time: Row,
    gateways: Vec<Row>,
    turns: Vec<Row>,
    last_change: i64,
    changes: Option<Changes>,
}

pub(super) async fn look(open: &Open, id: i32, known: i64, last: i64) -> Result<Seen, Error> {
    let Open { client, statements: s, .. } = open;
    let of_id: [&(dyn ToSql + Sync); 1] = [&id];
    let of_known: [&(dyn ToSql + Sync); 1] = [&known];
    // In this order: each is sent when it is first polled.
    let ((), gate, time, gateways, turns, last_change) = tokio::try_join!(
        biased;
        client.batch_execute(BEGIN),
        client.query_one(&s.gate, &[]),
        client.query_one(&s.time, &[]),
        client.query(&s.gateways, &of_id),
        client.query(&s.turns, &of_known),
        client.query_one(&s.last_change, &[]),
    )?;
    let last_change: i64 = last_change.try_get(0)?;
    let mut changed = None;
    if last_change > last {
        let at: i64 = time.try_get(0)?;
        let since = Changes::since(moment_of(at));
        let (grants, adjusted) =
            tokio::try_join!(changes::grants(client, since), changes::adjusted_after(client, last))?;
        changed = Some(Changes { grants, adjusted });
    }
    Ok(Seen { gate, time, gateways, turns, last_change, changes: changed })
}

pub(super) fn turn(row: &Row) -> Result<Turn, Error> {
    Ok(Turn {
        turn: row.try_get(0)?,
        gateway: row.try_get::<_, i32>(1)?.cast_unsigned(),
        batch: row.try_get(2)?,
        clock: since(row.try_get(3)?),
        body: row.try_get::<_, &[u8]>(4)?.into(),
    })
}

/// What was seen, with the server and its clock.
pub(super) fn seen(rows: &Seen, id: i32) -> Result<(Look, String, i64), Error> {
    let (last, began_at, clock): (i64, i64, i64) =
        (rows.gate.try_get(0)?, rows.gate.try_get(1)?, rows.gate.try_get(2)?);
    let before: String = rows.gate.try_get(3)?;
    let (wall, server): (i64, String) = (rows.time.try_get(0)?, rows.time.try_get(1)?);
    let now = (wall - began_at).max(clock);
    // Leases go by the server's own clock, set or not: all of them alike.
    let at = wall;
    let (mut gateways, mut own_batch, mut was_silent, mut is_out) = (Vec::new(), 0, false, id != 0);
    for row in &rows.gateways {
        let (number, lease_until): (i32, i64) = (row.try_get(0)?, row.try_get(4)?);
        let has_gone = row.try_get::<_, Option<i64>>(9)?.is_some();
        if number == id {
            own_batch = row.try_get(8)?;
            // Its lease is over at once where an operator has put it out.
            is_out = has_gone || lease_until == 0;
            was_silent = lease_until <= at;
        }
        if !has_gone {
            let looked_at: String = row.try_get(5)?;
            gateways.push(Gateway {
                id: number.cast_unsigned(),
                name: row.try_get(1)?,
                version: row.try_get(2)?,
                started: moment_of(row.try_get(3)?),
                lease: lease_until.checked_sub(at).filter(|left| *left > 0).map(since),
                has_looked: looked_at == server,
                in_flight: row.try_get::<_, i32>(6)?.max(0).unsigned_abs(),
                waiting: row.try_get::<_, i32>(7)?.max(0).unsigned_abs(),
            });
        }
    }
    let look = Look {
        now: since(now),
        wall: moment_of(at),
        last,
        turns: rows.turns.iter().map(turn).collect::<Result<_, _>>()?,
        gateways,
        own_batch,
        was_silent,
        is_out,
        is_another: !before.is_empty() && before != server,
        settling_until: rows.gate.try_get::<_, Option<i64>>(4)?.map(since),
        changes: rows.changes.clone().map(|changes| (rows.last_change, changes)),
    };
    Ok((look, server, wall))
}
