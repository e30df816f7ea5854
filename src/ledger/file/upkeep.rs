//! What operators write into the file and take out of it: grants, corrections, old detail.

use std::io::Write;

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Transaction, TransactionBehavior, params};

use super::columns::{BASIS, basis};
use super::failure::failure;
use super::names::find;
use super::store::Store;
use crate::credits::budget::Grant;
use crate::ledger::entry::{days_since_epoch, signed};
use crate::ledger::error::LedgerError;
use crate::ledger::export::{Export, Exported};
use crate::ledger::facts::Adjustment;
use crate::ledger::reading::Upkeep;

impl Upkeep for Store {
    fn grant(&mut self, grant: &Grant, why: &str, at: Timestamp) -> Result<i64, LedgerError> {
        let Grant { team, credits, from, until, .. } = grant;
        self.connection
            .execute(
                "INSERT INTO changes (kind, at, day, team, credits, reason, until) VALUES ('granted', ?1, ?2, ?3, ?4, ?5, ?6)",
                params![at.as_microsecond(), from.to_string(), team, signed(*credits), why, until.to_string()],
            )
            .map(|_| self.connection.last_insert_rowid())
            .map_err(|error| failure(&self.path, &error))
    }

    fn revoke_grant(
        &mut self,
        number: i64,
        why: &str,
        (at, day): (Timestamp, Date),
    ) -> Result<bool, LedgerError> {
        self.connection
            .execute(
                "INSERT INTO changes (kind, call, at, day, team, credits, reason, until)
                 SELECT 'granted', seq, ?2, ?4, team, -credits, ?3, until FROM changes AS given
                 WHERE kind = 'granted' AND call IS NULL AND seq = ?1
                   AND NOT EXISTS (SELECT 1 FROM changes WHERE kind = 'granted' AND call = given.seq)",
                params![number, at.as_microsecond(), why, day.to_string()],
            )
            .map(|written| written == 1)
            .map_err(|error| failure(&self.path, &error))
    }

    fn adjust(&mut self, adjustments: &[Adjustment]) -> Result<(), LedgerError> {
        let mut write = || {
            let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for adjustment in adjustments {
                // Somebody may have corrected it since it was read: then it is left as it is.
                let corrected: i64 = change.query_row(
                    "SELECT coalesce(sum(credits), 0) + (SELECT credits FROM bookings WHERE kind > 0 AND call = ?1)
                     FROM changes WHERE kind = 'adjusted' AND call = ?1",
                    [adjustment.booked.call],
                    |row| row.get(0),
                )?;
                if corrected == signed(adjustment.booked.credits) {
                    write_adjustment(&change, adjustment)?;
                }
            }
            change.commit()
        };
        write().map_err(|error| failure(&self.path, &error))
    }

    fn export(
        &mut self,
        before: Date,
        known_since: Timestamp,
        out: &mut dyn Write,
    ) -> Result<usize, LedgerError> {
        let mut export = || -> Result<usize, ExportError> {
            self.connection.execute("DROP TABLE IF EXISTS temp.going", [])?;
            self.connection.execute(
                "CREATE TEMP TABLE going AS SELECT call FROM bookings
                 WHERE day < ?1 AND end_seq IS NOT NULL AND call < (SELECT max(call) FROM bookings)
                   AND (retry_key IS NULL OR held_at < ?2)",
                params![days_since_epoch(before), known_since.as_microsecond()],
            )?;
            let mut statement = self.connection.prepare(&format!(
                "SELECT b.call, day, held_at, ended_at, t.name, k.name, r.name, request_id, response_id, o.name, reserve, credits,
                        coalesce((SELECT sum(credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0),
                        CASE WHEN b.kind > 0 AND credits > 0 THEN {BASIS} END, w.name, input_tokens, output_tokens,
                        coalesce(queued, 0)
                 FROM bookings b JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
                 LEFT JOIN names o ON o.id = outcome LEFT JOIN names w ON w.id = reason LEFT JOIN waits q ON q.call = b.call
                 WHERE b.call IN (SELECT call FROM temp.going) ORDER BY b.call",
            ))?;
            let mut export = Export::begin(&mut *out)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                export.take(&Exported {
                    call: row.get(0)?,
                    day: row.get(1)?,
                    held: row.get(2)?,
                    ended: row.get(3)?,
                    team: row.get(4)?,
                    key_id: row.get(5)?,
                    route: row.get(6)?,
                    request_id: row.get(7)?,
                    response_id: row.get(8)?,
                    outcome: row.get(9)?,
                    reserve: row.get(10)?,
                    booked: row.get(11)?,
                    corrected: row.get(12)?,
                    basis: basis(row.get(13)?),
                    reason: row.get(14)?,
                    input_tokens: row.get(15)?,
                    output_tokens: row.get(16)?,
                    queued: row.get(17)?,
                })?;
            }
            Ok(export.finish()?)
        };
        export().map_err(|error| match error {
            ExportError::Sqlite(error) => failure(&self.path, &error),
            ExportError::Csv(error) => LedgerError::Output(error.into()),
            ExportError::Output(error) => LedgerError::Output(error),
        })
    }

    fn prune(&mut self, before: Date) -> Result<usize, LedgerError> {
        let prune = || {
            // First, so that sums of those days are never held against what is still there of them.
            self.connection.execute("INSERT INTO pruned (before) VALUES (?1)", [before.to_string()])?;
            let first_minute = i64::from(days_since_epoch(before)) * 24 * 60;
            self.connection.execute("DELETE FROM asks WHERE minute < ?1", [first_minute])?;
            let mut removed = 0;
            loop {
                let change = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
                let some = "call IN (SELECT call FROM temp.going ORDER BY call LIMIT 5000)";
                let calls = change.execute(&format!("DELETE FROM bookings WHERE {some}"), [])?;
                change.execute(&format!("DELETE FROM changes WHERE kind = 'adjusted' AND {some}"), [])?;
                change.execute(&format!("DELETE FROM waits WHERE {some}"), [])?;
                change.execute(&format!("DELETE FROM temp.going WHERE {some}"), [])?;
                change.commit()?;
                removed += calls;
                if calls == 0 {
                    return Ok(removed);
                }
            }
        };
        prune().map_err(|error| failure(&self.path, &error))
    }
}

fn write_adjustment(change: &Transaction<'_>, adjustment: &Adjustment) -> rusqlite::Result<()> {
    let Adjustment { booked, figure, reason, at } = adjustment;
    let difference = signed(*figure) - signed(booked.credits);
    change.execute(
        "INSERT INTO changes (kind, call, at, day, team, key_id, route, request_id, response_id, credits, reason)
         VALUES ('adjusted', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            booked.call,
            at.as_microsecond(),
            booked.day.to_string(),
            booked.team,
            booked.key_id,
            booked.route,
            booked.request_id,
            Some(&booked.response_id).filter(|id| !id.is_empty()),
            difference,
            reason
        ],
    )?;
    // What was estimated moves over to the final figures with all of it.
    let doubt = if booked.in_doubt { signed(booked.credits) } else { 0 };
    let [team, key, route, outcome] =
        [&booked.team, &booked.key_id, &booked.route, &booked.outcome].map(|name| find(change, name));
    change.execute(
        "UPDATE day_sums SET final = final + ?1, estimated = estimated - ?2, adjusted_final = adjusted_final + ?1,
           adjusted_estimated = adjusted_estimated - ?2
         WHERE day = ?3 AND team = ?4 AND key = ?5 AND route = ?6 AND outcome = ?7
           AND member = (SELECT member FROM bookings WHERE call = ?8)",
        params![
            difference + doubt,
            doubt,
            days_since_epoch(booked.day),
            team?,
            key?,
            route?,
            outcome?,
            booked.call
        ],
    )?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Csv(#[from] csv::Error),
    #[error("{0}")]
    Output(#[from] std::io::Error),
}
