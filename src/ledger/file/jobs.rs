//! Jobs, and whose things are: how they are written, and what a start takes up of them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::credits;
use super::merge::Merge;
use super::names::Named;
use crate::ledger::entry::{JobEntry, JobStep, ThingEntry, day_of};
use crate::ledger::facts::Account;
use crate::ledger::opening::{KnownJob, KnownStage};

impl Merge<'_, '_> {
    /// Writes what has become of a job.
    pub(super) fn job(&mut self, job: &JobEntry<'_>) -> rusqlite::Result<()> {
        match job.event {
            JobStep::Begun { upstream_id, day, reserve } => {
                let [team, key, route] = [
                    self.number(Named::Team, job.team)?,
                    self.number(Named::Key, job.key_id)?,
                    self.number(Named::Route, job.route)?,
                ];
                self.change
                    .prepare_cached(
                        "INSERT OR IGNORE INTO jobs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?8, NULL, 0)",
                    )?
                    .execute(params![job.call, upstream_id, team, key, route, day, reserve, job.at])?;
            }
            JobStep::Over => self.change_state(job, 1)?,
            JobStep::GivenUp => self.change_state(job, 2)?,
            JobStep::Settled { credits, derived, after_all } => {
                let unsettled = self
                    .change
                    .prepare_cached(
                        "UPDATE jobs SET credits = ?2, derived = ?3, seen_at = ?4 WHERE call = ?1 AND credits IS NULL",
                    )?
                    .execute(params![job.call, credits, derived, job.at])?;
                if unsettled == 1 {
                    self.correct(job, credits, derived, after_all)?;
                }
            }
        }
        Ok(())
    }

    /// One that was given up, which was counted then, stays it.
    fn change_state(&self, job: &JobEntry<'_>, state: i64) -> rusqlite::Result<()> {
        self.change
            .prepare_cached("UPDATE jobs SET state = ?2, seen_at = ?3 WHERE call = ?1 AND state < ?2")?
            .execute(params![job.call, state, job.at])
            .map(drop)
    }

    /// Corrects what the job's call is booked at, if that is an estimate, and nobody has corrected it by hand.
    fn correct(
        &mut self,
        job: &JobEntry<'_>,
        figure: i64,
        derived: bool,
        after_all: bool,
    ) -> rusqlite::Result<()> {
        let (basis, reason) =
            if derived { ("derived", "the upstream's bill") } else { ("final", "the job's own figure") };
        let found = self
            .change
            .prepare_cached(
                "INSERT INTO changes (kind, call, at, day, team, key_id, route, request_id, response_id, credits, reason, basis)
                 SELECT 'adjusted', call, ?2, date(day * 86400, 'unixepoch'), ?3, ?4, ?5, request_id, response_id,
                        ?6 - credits, ?7, ?8
                 FROM bookings b WHERE call = ?1 AND kind = 2
                   AND NOT EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call)",
            )?
            .execute(params![job.call, job.at, job.team, job.key_id, job.route, figure, reason, basis])?;
        if found == 0 {
            return Ok(());
        }
        let booked = self
            .change
            .prepare_cached(
                "SELECT day, team, key, member, route, outcome, credits FROM bookings WHERE call = ?1",
            )?
            .query_row([job.call], |row| {
                Ok((
                    [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?],
                    row.get(6)?,
                ))
            })
            .optional()?;
        let Some((sum, estimate)) = booked else { return Ok(()) };
        self.settle(sum, (figure, estimate), after_all);
        Ok(())
    }

    /// Writes whose a thing is, unless it is somebody's already.
    pub(super) fn made(&mut self, made: &ThingEntry<'_>) -> rusqlite::Result<()> {
        let team = self.number(Named::Team, made.team)?;
        self.change
            .prepare_cached("INSERT OR IGNORE INTO things (kind, id, team, made_at) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![made.kind, made.id, team, made.at])
            .map(drop)
    }
}

/// The latest jobs that go on, or whose cost is not known, the oldest first.
pub(super) fn known(connection: &Connection, count: usize) -> rusqlite::Result<Vec<KnownJob>> {
    let mut statement = connection.prepare_cached(
        "SELECT call, upstream_id, t.name, k.name, r.name, day, reserve, began_at, state,
                credits IS NOT NULL OR EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = jobs.call)
                  OR EXISTS (SELECT 1 FROM bookings b WHERE b.call = jobs.call AND b.kind <> 2)
         FROM jobs
         JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
         WHERE credits IS NULL OR state = 0 ORDER BY call DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([i64::try_from(count).unwrap_or(i64::MAX)], |row| {
        Ok(KnownJob {
            call: row.get(0)?,
            upstream_id: row.get::<_, Option<String>>(1)?.map(Into::into),
            account: {
                let [team, key_id, route]: [String; 3] = [row.get(2)?, row.get(3)?, row.get(4)?];
                Account::of(&team, &key_id, &route)
            },
            day: day_of(row.get(5)?),
            reserve: credits(row, 6)?,
            began: Timestamp::from_microsecond(row.get(7)?).unwrap_or_default(),
            stage: match row.get(8)? {
                0 => KnownStage::GoesOn,
                1 => KnownStage::Over,
                _ => KnownStage::GivenUp,
            },
            is_settled: row.get(9)?,
        })
    })?;
    let mut jobs: Vec<_> = rows.collect::<Result<_, _>>()?;
    jobs.reverse();
    Ok(jobs)
}

/// The latest things that were made, the oldest first.
pub(super) fn things(
    connection: &Connection,
    count: usize,
) -> rusqlite::Result<Vec<(String, String, String)>> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, things.id, t.name FROM things JOIN names t ON t.id = team ORDER BY seq DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([i64::try_from(count).unwrap_or(i64::MAX)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let mut things: Vec<_> = rows.collect::<Result<_, _>>()?;
    things.reverse();
    Ok(things)
}
