//! What a turn books, into tables: one statement each, however much it is.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement};

use crate::ledger::entry::{
    AskEntry, EndEntry, Entry, HoldEntry, JobEntry, JobStep, Kind, SavingEntry, ThingEntry, WaitEntry,
};
use crate::ledger::past::KEPT_MINUTES;
use crate::ledger::turns::Correction;

const HOLDS: &str = "INSERT INTO bookings (call, replica, held_in, held_at, day, team, key_id, member, route, request_id, reserve,
       retry_key, fingerprint)
     SELECT call, replica, $1, held_at, day, team, key_id, member, route, request_id, reserve, retry_key, fingerprint
     FROM unnest($2::BIGINT[], $3::INTEGER[], $4::BIGINT[], $5::INTEGER[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TEXT[],
       $10::TEXT[], $11::BIGINT[], $12::BYTEA[], $13::BYTEA[])
       AS hold (call, replica, held_at, day, team, key_id, member, route, request_id, reserve, retry_key, fingerprint)";

/// Each ends the hold that it is of, if that is open, and counts in the sums of its day.
const ENDS: &str = "WITH ended AS (
       UPDATE bookings b SET ended_in = $1, ended_at = e.at, kind = e.kind, credits = e.credits, reason = e.reason,
         outcome = e.outcome, response_id = e.response_id, input_tokens = e.input_tokens, output_tokens = e.output_tokens,
         sent_at = e.sent_at
       FROM unnest($2::BIGINT[], $3::BIGINT[], $4::SMALLINT[], $5::BIGINT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::BIGINT[],
         $10::BIGINT[], $11::BIGINT[], $12::BIGINT[])
         AS e (call, at, kind, credits, reason, outcome, response_id, input_tokens, output_tokens, sent_at, calls)
       WHERE b.call = e.call AND b.ended_in IS NULL
       RETURNING b.day, b.team, b.key_id, b.member, b.route, b.outcome, b.kind, b.credits, b.input_tokens, b.output_tokens,
         e.calls)
     INSERT INTO day_sums AS s (day, team, key_id, member, route, outcome, calls, final, estimated, input_tokens, output_tokens)
     SELECT day, team, key_id, member, route, outcome, sum(calls), coalesce(sum(credits) FILTER (WHERE kind <> 2), 0),
            coalesce(sum(credits) FILTER (WHERE kind = 2), 0), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)
     FROM ended GROUP BY day, team, key_id, member, route, outcome ORDER BY day, team, key_id, member, route, outcome
     ON CONFLICT (day, team, key_id, member, route, outcome) DO UPDATE SET calls = s.calls + excluded.calls,
       final = s.final + excluded.final, estimated = s.estimated + excluded.estimated,
       input_tokens = s.input_tokens + excluded.input_tokens, output_tokens = s.output_tokens + excluded.output_tokens";

const SAVED: &str = "INSERT INTO savings AS s (day, team, key_id, route, copies, credits)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (day, team, key_id, route) DO UPDATE SET copies = s.copies + excluded.copies,
       credits = s.credits + excluded.credits";

const WAITED: &str = "INSERT INTO waits (call, queued) SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[]) ON CONFLICT (call) DO NOTHING";

/// What is too old to be of use to anybody.
const FORGET: &str = "DELETE FROM asks WHERE minute < $1";
const ASKED: &str =
    "INSERT INTO asks AS s (minute, team, route, code, count, seconds) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (minute, team, route, code) DO UPDATE SET count = s.count + excluded.count,
       seconds = s.seconds | excluded.seconds";

const MADE: &str =
    "INSERT INTO things (kind, id, team, made_at) VALUES ($1, $2, $3, $4) ON CONFLICT (kind, id) DO NOTHING";

const JOB_BEGUN: &str =
    "INSERT INTO jobs (call, upstream_id, team, key_id, route, day, reserve, began_at, state, seen_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $8) ON CONFLICT (call) DO NOTHING";

/// One that was given up, which was counted then, stays it.
const JOB_STATE: &str = "UPDATE jobs SET state = $2, seen_at = $3 WHERE call = $1 AND state < $2";

/// Corrects what the job's call is booked at, if that is an estimate, and nobody has corrected it by hand.
const JOB_SETTLED: &str = "WITH settled AS (
       UPDATE jobs SET credits = $2, derived = $3, seen_at = $4 WHERE call = $1 AND credits IS NULL RETURNING call),
     booked AS (
       SELECT b.* FROM bookings b JOIN settled USING (call) WHERE b.kind = 2
         AND NOT EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call)),
     changed AS (
       INSERT INTO changes (kind, call, at, day, team, key_id, route, request_id, response_id, credits, reason, basis)
       SELECT 'adjusted', call, $4, day, team, key_id, route, request_id, response_id, $2 - credits, $5, $6 FROM booked)
     UPDATE day_sums s SET final = s.final + $2, estimated = s.estimated - b.credits,
       adjusted_final = s.adjusted_final + CASE WHEN $7 THEN $2 ELSE 0 END,
       adjusted_estimated = s.adjusted_estimated - CASE WHEN $7 THEN b.credits ELSE 0 END
     FROM booked b WHERE s.day = b.day AND s.team = b.team AND s.key_id = b.key_id AND s.member = b.member
       AND s.route = b.route AND s.outcome = b.outcome";

/// A call that was given up as lost has ended after all.
const LATE: &str = "WITH booked AS (SELECT * FROM bookings b WHERE call = $1 AND kind = 2
       AND NOT EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call)),
     changed AS (
       INSERT INTO changes (kind, call, at, day, team, key_id, route, request_id, response_id, credits, reason, basis)
       SELECT 'adjusted', call, $2, day, team, key_id, route, request_id, response_id, $3, $5, 'late' FROM booked)
     UPDATE day_sums s SET final = s.final + $3 + $4, estimated = s.estimated - $4,
       adjusted_final = s.adjusted_final + $3 + $4, adjusted_estimated = s.adjusted_estimated - $4
     FROM booked b WHERE s.day = b.day AND s.team = b.team AND s.key_id = b.key_id AND s.member = b.member
       AND s.route = b.route AND s.outcome = b.outcome";

/// The statements, prepared on a connection.
#[derive(Debug)]
pub(super) struct Merge {
    holds: Statement,
    ends: Statement,
    saved: Statement,
    waited: Statement,
    forget: Statement,
    asked: Statement,
    made: Statement,
    job_begun: Statement,
    job_state: Statement,
    job_settled: Statement,
    late: Statement,
}

impl Merge {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        const B: Type = Type::INT8;
        let settled = [B, B, Type::BOOL, B, Type::TEXT, Type::TEXT, Type::BOOL];
        let (holds, ends, saved, waited, forget, asked, made, job_begun, job_state, job_settled, late) = tokio::try_join!(
            client.prepare(HOLDS),
            client.prepare(ENDS),
            client.prepare(SAVED),
            client.prepare(WAITED),
            client.prepare(FORGET),
            client.prepare(ASKED),
            client.prepare(MADE),
            client.prepare(JOB_BEGUN),
            client.prepare_typed(JOB_STATE, &[B, Type::INT2, B]),
            client.prepare_typed(JOB_SETTLED, &settled),
            client.prepare_typed(LATE, &[B, B, B, B, Type::TEXT]),
        )?;
        Ok(Self { holds, ends, saved, waited, forget, asked, made, job_begun, job_state, job_settled, late })
    }

    /// Books what was said in a turn, and what late endings have come to.
    pub(super) async fn book(
        &self,
        client: &Client,
        turn: i64,
        booked: &Sorted<'_>,
        corrections: &[Correction],
    ) -> Result<(), Error> {
        // No ending of a call that begins a job is without it.
        self.begin_jobs(client, &booked.jobs_begun).await?;
        self.book_at_once(client, turn, booked).await?;
        for job in &booked.jobs {
            self.job(client, job).await?;
        }
        for SavingEntry { day, team, key_id, route, copies, credits } in &booked.saved {
            let copies = i64::from(*copies);
            client.execute(&self.saved, &[day, team, key_id, route, &copies, credits]).await?;
        }
        for AskEntry { minute, team, route, code, count, seconds } in &booked.asked {
            client.execute(&self.forget, &[&minute.saturating_sub(KEPT_MINUTES)]).await?;
            let count = i64::from(*count);
            client.execute(&self.asked, &[minute, team, route, code, &count, seconds]).await?;
        }
        for ThingEntry { kind, id, team, at } in &booked.made {
            client.execute(&self.made, &[kind, id, team, at]).await?;
        }
        for Correction { call, at, difference, doubt, why } in corrections {
            client.execute(&self.late, &[call, at, difference, doubt, why]).await?;
        }
        Ok(())
    }

    /// Books holds and endings. All of it is sent when this is first polled.
    pub(super) async fn book_at_once(
        &self,
        client: &Client,
        turn: i64,
        booked: &Sorted<'_>,
    ) -> Result<(), Error> {
        tokio::try_join!(
            biased;
            async {
                if booked.holds.is_empty() { Ok(()) } else { self.hold(client, turn, &booked.holds).await }
            },
            async {
                if booked.ends.is_empty() { Ok(()) } else { self.end(client, turn, &booked.ends).await }
            },
            async {
                if booked.waited.is_empty() { Ok(()) } else { self.wait(client, &booked.waited).await }
            },
        )?;
        Ok(())
    }

    async fn hold(&self, client: &Client, turn: i64, holds: &[HoldEntry<'_>]) -> Result<(), Error> {
        let replicas: Vec<i32> = of(holds, |hold| hold.replica.cast_signed());
        let columns: [&(dyn ToSql + Sync); 13] = [
            &turn,
            &of(holds, |hold| hold.call),
            &replicas,
            &of(holds, |hold| hold.at),
            &of(holds, |hold| hold.day),
            &of(holds, |hold| hold.team),
            &of(holds, |hold| hold.key_id),
            &of(holds, |hold| hold.member),
            &of(holds, |hold| hold.route),
            &of(holds, |hold| hold.request_id),
            &of(holds, |hold| hold.reserve),
            &of(holds, |hold| hold.retry.map(|retry| retry.key.to_vec())),
            &of(holds, |hold| hold.retry.map(|retry| retry.fingerprint.to_vec())),
        ];
        client.execute(&self.holds, &columns).await.map(drop)
    }

    async fn end(&self, client: &Client, turn: i64, ends: &[EndEntry<'_>]) -> Result<(), Error> {
        let columns: [&(dyn ToSql + Sync); 12] = [
            &turn,
            &of(ends, |end| end.call),
            &of(ends, |end| end.at),
            &of(ends, |end| number(end.kind)),
            &of(ends, |end| end.credits),
            &of(ends, |end| end.reason),
            &of(ends, |end| end.outcome),
            &of(ends, |end| end.response_id),
            &of(ends, |end| end.input_tokens),
            &of(ends, |end| end.output_tokens),
            &of(ends, |end| end.sent_at),
            &of(ends, EndEntry::calls),
        ];
        client.execute(&self.ends, &columns).await.map(drop)
    }

    async fn wait(&self, client: &Client, waits: &[WaitEntry]) -> Result<(), Error> {
        let columns: [&(dyn ToSql + Sync); 2] =
            [&of(waits, |wait| wait.call), &of(waits, |wait| wait.queued)];
        client.execute(&self.waited, &columns).await.map(drop)
    }

    async fn begin_jobs(&self, client: &Client, jobs: &[JobEntry<'_>]) -> Result<(), Error> {
        for JobEntry { call, at, team, key_id, route, event } in jobs {
            if let JobStep::Begun { upstream_id, day, reserve } = event {
                let columns: [&(dyn ToSql + Sync); 8] =
                    [call, upstream_id, team, key_id, route, day, reserve, at];
                client.execute(&self.job_begun, &columns).await?;
            }
        }
        Ok(())
    }

    async fn job(&self, client: &Client, job: &JobEntry<'_>) -> Result<(), Error> {
        let JobEntry { call, at, event, .. } = job;
        let state: i16 = match event {
            JobStep::Begun { .. } => return Ok(()),
            JobStep::Settled { credits, derived, after_all } => {
                let (basis, reason) = if *derived {
                    ("derived", "the upstream's bill")
                } else {
                    ("final", "the job's own figure")
                };
                let columns: [&(dyn ToSql + Sync); 7] =
                    [call, credits, derived, at, &reason, &basis, after_all];
                return client.execute(&self.job_settled, &columns).await.map(drop);
            }
            JobStep::Over => 1,
            JobStep::GivenUp => 2,
        };
        client.execute(&self.job_state, &[call, &state, at]).await.map(drop)
    }
}

/// One column of many rows.
fn of<'e, E, T>(entries: &'e [E], column: impl Fn(&'e E) -> T) -> Vec<T> {
    entries.iter().map(column).collect()
}

/// As the schema numbers them.
const fn number(kind: Kind) -> i16 {
    match kind {
        Kind::Voided => 0,
        Kind::Final => 1,
        Kind::Estimated => 2,
        Kind::Derived => 3,
    }
}

/// Entries by what they are.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    holds: Vec<HoldEntry<'a>>,
    ends: Vec<EndEntry<'a>>,
    jobs_begun: Vec<JobEntry<'a>>,
    /// What comes about of them later, in order.
    jobs: Vec<JobEntry<'a>>,
    saved: Vec<SavingEntry<'a>>,
    waited: Vec<WaitEntry>,
    asked: Vec<AskEntry<'a>>,
    made: Vec<ThingEntry<'a>>,
}

impl<'a> Sorted<'a> {
    pub(super) fn of(entries: &'a [u8]) -> Self {
        let mut sorted = Self::default();
        for entry in Entry::read_all(entries) {
            match entry {
                Entry::Hold(hold) => sorted.holds.push(hold),
                Entry::End(end) => sorted.ends.push(end),
                Entry::Job(job) if matches!(job.event, JobStep::Begun { .. }) => sorted.jobs_begun.push(job),
                Entry::Job(job) => sorted.jobs.push(job),
                Entry::Saved(saving) => sorted.saved.push(saving),
                Entry::Waited(wait) => sorted.waited.push(wait),
                Entry::Asked(asks) => sorted.asked.push(asks),
                Entry::Made(made) => sorted.made.push(made),
            }
        }
        sorted
    }

    /// Whether it is holds, endings and waits alone, as it is almost always.
    pub(super) fn is_sent_at_once(&self, corrections: &[Correction]) -> bool {
        let Self { jobs_begun, jobs, saved, asked, made, .. } = self;
        jobs_begun.is_empty()
            && jobs.is_empty()
            && saved.is_empty()
            && asked.is_empty()
            && made.is_empty()
            && corrections.is_empty()
    }
}
