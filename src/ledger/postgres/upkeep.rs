//! What operators write into the database and take out of it: grants, corrections, old detail.

use std::io::Write;

use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};

use super::blocking::Blocking;
use super::columns::BASIS;
use super::connect::{Server, Session};
use super::failure::Failure;
use crate::credits::budget::Grant;
use crate::ledger::entry::{days_since_epoch, signed};
use crate::ledger::error::LedgerError;
use crate::ledger::export::{Export, Exported};
use crate::ledger::facts::Adjustment;
use crate::ledger::reading::Upkeep;

/// Begins what corrects calls between two turns. None of them is taken out meanwhile. The first number is this program's.
const CORRECTING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(1299597175, 4);
     SELECT turn FROM gate FOR UPDATE";
/// Begins what takes calls out, for which no turn waits.
const PRUNING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(1299597175, 4)";
/// Begins what sees one moment of the ledger, and writes down for the session alone what it has seen.
const EXPORTING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";

/// Lines that are in memory at the same time.
const FETCH: &str = "FETCH 2000 FROM calls";

/// The ledger, open for operators' commands.
#[derive(Debug)]
pub(super) struct Keeper {
    session: Blocking,
}

impl Keeper {
    /// Opens it.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn open(server: &Server) -> Result<Self, LedgerError> {
        Ok(Self { session: Blocking::open(server, Session::Reports)? })
    }
}

impl Upkeep for Keeper {
    fn grant(&mut self, grant: &Grant, why: &str, at: Timestamp) -> Result<i64, LedgerError> {
        self.session.change(async |change| write_grant(change, grant, why, at).await)
    }

    fn revoke_grant(
        &mut self,
        number: i64,
        why: &str,
        (at, day): (Timestamp, Date),
    ) -> Result<bool, LedgerError> {
        self.session.change(async |change| revoke_grant(change, number, why, (at, day)).await)
    }

    fn adjust(&mut self, adjustments: &[Adjustment]) -> Result<(), LedgerError> {
        self.session.within(CORRECTING, async |change| adjust(change, adjustments).await)
    }

    fn export(
        &mut self,
        before: Date,
        known_since: Timestamp,
        out: &mut dyn Write,
    ) -> Result<usize, LedgerError> {
        self.session.within(EXPORTING, async |client| {
            choose(client, before, known_since).await?;
            write_out(client, out).await
        })
    }

    fn prune(&mut self, before: Date) -> Result<usize, LedgerError> {
        let mut removed = 0;
        let mut first = Some(before);
        loop {
            let noted = first.take();
            let calls = self.session.within(PRUNING, async |change| prune(change, noted).await)?;
            removed += calls;
            if calls == 0 {
                return Ok(usize::try_from(removed).unwrap_or(usize::MAX));
            }
        }
    }
}

async fn write_grant(change: &Client, grant: &Grant, why: &str, at: Timestamp) -> Result<i64, Error> {
    let Grant { team, credits, from, until, .. } = grant;
    let [from, until] = [from, until].map(|day| days_since_epoch(*day));
    let sql = "INSERT INTO changes (kind, at, day, team, credits, reason, until) VALUES ('granted', $1, $2, $3, $4, $5, $6)
               RETURNING seq";
    let (at, credits) = (at.as_microsecond(), signed(*credits));
    change.query_one(sql, &[&at, &from, team, &credits, &why, &until]).await?.try_get(0)
}

async fn revoke_grant(
    change: &Client,
    number: i64,
    why: &str,
    (at, day): (Timestamp, Date),
) -> Result<bool, Error> {
    let sql = "INSERT INTO changes (kind, call, at, day, team, credits, reason, until)
               SELECT 'granted', seq, $2::BIGINT, $3::INTEGER, team, -credits, $4::TEXT, until FROM changes given
               WHERE kind = 'granted' AND call IS NULL AND seq = $1
                 AND NOT EXISTS (SELECT 1 FROM changes WHERE kind = 'granted' AND call = given.seq)";
    let (at, day) = (at.as_microsecond(), days_since_epoch(day));
    change.execute(sql, &[&number, &at, &day, &why]).await.map(|written| written == 1)
}

async fn adjust(change: &Client, adjustments: &[Adjustment]) -> Result<(), Error> {
    for adjustment in adjustments {
        // Somebody may have corrected it since it was read: then it is left as it is.
        let sql = "SELECT (coalesce(sum(credits), 0) + (SELECT credits FROM bookings WHERE kind > 0 AND call = $1))::BIGINT
                   FROM changes WHERE kind = 'adjusted' AND call = $1";
        let corrected: i64 = change.query_one(sql, &[&adjustment.booked.call]).await?.try_get(0)?;
        if corrected == signed(adjustment.booked.credits) {
            write_adjustment(change, adjustment).await?;
        }
    }
    Ok(())
}

async fn write_adjustment(change: &Client, adjustment: &Adjustment) -> Result<(), Error> {
    let Adjustment { booked, figure, reason, at } = adjustment;
    let (at, day) = (at.as_microsecond(), days_since_epoch(booked.day));
    let difference = signed(*figure) - signed(booked.credits);
    let response_id = Some(&booked.response_id).filter(|id| !id.is_empty());
    change
        .execute(
            "INSERT INTO changes (kind, call, at, day, team, key_id, route, request_id, response_id, credits, reason)
             VALUES ('adjusted', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &booked.call,
                &at,
                &day,
                &booked.team,
                &booked.key_id,
                &booked.route,
                &booked.request_id,
                &response_id,
                &difference,
                reason,
            ],
        )
        .await?;
    // What was estimated moves over to the final figures with all of it.
    let doubt = if booked.in_doubt { signed(booked.credits) } else { 0 };
    let sql = "UPDATE day_sums SET final = final + $1, estimated = estimated - $2, adjusted_final = adjusted_final + $1,
                 adjusted_estimated = adjusted_estimated - $2
               WHERE day = $3 AND team = $4 AND key_id = $5 AND route = $6 AND outcome = $7
                 AND member = (SELECT member FROM bookings WHERE call = $8)";
    let settled = difference + doubt;
    let sum: &[&(dyn ToSql + Sync)] =
        &[&settled, &doubt, &day, &booked.team, &booked.key_id, &booked.route, &booked.outcome, &booked.call];
    change.execute(sql, sum).await.map(drop)
}

/// Settles which calls are to go. The session keeps their numbers.
async fn choose(client: &Client, before: Date, known_since: Timestamp) -> Result<(), Error> {
    client
        .batch_execute(
            "DROP TABLE IF EXISTS pg_temp.going; CREATE TEMP TABLE going (call BIGINT PRIMARY KEY)",
        )
        .await?;
    let sql = "INSERT INTO pg_temp.going SELECT call FROM bookings
               WHERE day < $1 AND ended_in IS NOT NULL AND call < (SELECT max(call) FROM bookings)
                 AND (retry_key IS NULL OR held_at < $2)";
    let (before, known_since) = (days_since_epoch(before), known_since.as_microsecond());
    client.execute(sql, &[&before, &known_since]).await?;
    // Of what a session keeps for itself the server knows nothing until it is told to look.
    client.batch_execute("ANALYZE pg_temp.going").await
}

async fn write_out(client: &Client, out: &mut dyn Write) -> Result<usize, Failure> {
    let mut export = Export::begin(out)?;
    let calls = format!(
        "DECLARE calls CURSOR FOR
         SELECT b.call, day::BIGINT, held_at, ended_at, team, key_id, route, request_id, response_id, outcome, reserve, credits,
                coalesce((SELECT sum(credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0)::BIGINT,
                CASE WHEN kind > 0 AND credits > 0 THEN {BASIS} END,
                reason, input_tokens, output_tokens, coalesce(queued, 0)
         FROM bookings b LEFT JOIN waits q ON q.call = b.call WHERE b.call IN (SELECT call FROM pg_temp.going) ORDER BY b.call"
    );
    client.batch_execute(&calls).await?;
    loop {
        let rows = client.query(FETCH, &[]).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            export.take(&exported(row)?)?;
        }
    }
    Ok(export.finish()?)
}

fn exported(row: &Row) -> Result<Exported, Error> {
    Ok(Exported {
        call: row.try_get(0)?,
        day: row.try_get(1)?,
        held: row.try_get(2)?,
        ended: row.try_get(3)?,
        team: row.try_get(4)?,
        key_id: row.try_get(5)?,
        route: row.try_get(6)?,
        request_id: row.try_get(7)?,
        response_id: row.try_get(8)?,
        outcome: row.try_get(9)?,
        reserve: row.try_get(10)?,
        booked: row.try_get(11)?,
        corrected: row.try_get(12)?,
        basis: row.try_get(13)?,
        reason: row.try_get(14)?,
        input_tokens: row.try_get(15)?,
        output_tokens: row.try_get(16)?,
        queued: row.try_get(17)?,
    })
}

/// Takes some of what is to go out: how many calls. With the first, writes down that sums of days
/// before `first` are never held against what is still there of them.
async fn prune(change: &Client, first: Option<Date>) -> Result<u64, Error> {
    if let Some(before) = first {
        let before = days_since_epoch(before);
        change.execute("INSERT INTO pruned (before) VALUES ($1)", &[&before]).await?;
        let first_minute = i64::from(before) * 24 * 60;
        change.execute("DELETE FROM asks WHERE minute < $1", &[&first_minute]).await?;
    }
    let some = "call IN (SELECT call FROM pg_temp.going ORDER BY call LIMIT 5000)";
    let calls = change.execute(&format!("DELETE FROM bookings WHERE {some}"), &[]).await?;
    change.execute(&format!("DELETE FROM changes WHERE kind = 'adjusted' AND {some}"), &[]).await?;
    change.execute(&format!("DELETE FROM waits WHERE {some}"), &[]).await?;
    change.execute(&format!("DELETE FROM pg_temp.going WHERE {some}"), &[]).await?;
    Ok(calls)
}
