//! What the credits page reads: spend by day and team, and the latest calls.

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Row, named_params, params};
use serde::Serialize;

use super::CallId;
use super::read::{Reader, Span, credits};
use super::store::date;
use crate::credits::Credits;

/// Calls that one search looks at: far more than a page of them, and milliseconds to read.
const LOOKBACK: i64 = 100_000;

/// More calls than the largest plan allows in a minute, which are 600.
const MINUTE: i64 = 2048;

/// What a team spent on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamDay {
    /// The day the calls were held on.
    pub day: Date,
    /// Whose.
    pub team: String,
    /// Booked in all.
    pub credits: Credits,
    /// Of that, by estimate.
    pub in_doubt: Credits,
}

/// Which calls are asked for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Of this team.
    pub team: Option<String>,
    /// That ended like this.
    pub outcome: Option<String>,
    /// With this request, response or key id.
    pub id: Option<String>,
    /// Older than this call.
    pub before: Option<i64>,
    /// No more than this many.
    pub limit: usize,
}

/// What a search found, the newest first.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Calls that were looked at.
    pub searched: i64,
    /// Nothing older could match, or there is a full page.
    pub complete: bool,
    /// Where an older page begins.
    pub next: Option<i64>,
    /// The calls.
    pub requests: Vec<Call>,
}

/// A call as it is booked, its corrections included.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// The call.
    pub call: CallId,
    /// When it ended.
    pub at: Timestamp,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// The caller's id of the call.
    pub request_id: String,
    /// The upstream's id of the response.
    pub response_id: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// What was held for it.
    pub reserved: Credits,
    /// What is booked.
    pub credits: Credits,
    /// `final` or `estimated`; null where nothing was booked.
    pub basis: Option<String>,
    /// Why it was estimated or given back.
    pub reason: Option<String>,
    /// Tokens in.
    pub input_tokens: Option<u64>,
    /// Tokens out.
    pub output_tokens: Option<u64>,
}

impl Reader {
    /// Sums by day and team of a span.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn spend_by_day(&self, span: Span) -> rusqlite::Result<Vec<TeamDay>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT day, team, sum(final + estimated), sum(estimated) FROM day_sums
             WHERE day BETWEEN ?1 AND ?2 GROUP BY day, team ORDER BY day, team",
        )?;
        let rows = statement.query_map(params![span.since.to_string(), span.until.to_string()], |row| {
            Ok(TeamDay {
                day: date(&row.get::<_, String>(0)?),
                team: row.get(1)?,
                credits: credits(row, 2)?,
                in_doubt: credits(row, 3)?,
            })
        })?;
        rows.collect()
    }

    /// When calls that are booked were sent upstream, between `since` and `until`: a time beyond is of a clock that was
    /// wrong.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn sent_between(&self, since: Timestamp, until: Timestamp) -> rusqlite::Result<Vec<Timestamp>> {
        let floor = self.last_call()?.saturating_sub(MINUTE);
        // A call that was in flight when the process died had been sent when it was held, or not much later.
        let mut statement = self.connection.prepare_cached(
            "SELECT CASE outcome WHEN 'crashed' THEN held_at ELSE sent_at END AS sent FROM bookings
             WHERE call > ?1 AND sent BETWEEN ?2 AND ?3",
        )?;
        let rows = statement.query_map([floor, since.as_microsecond(), until.as_microsecond()], |row| {
            Ok(Timestamp::from_microsecond(row.get(0)?).unwrap_or_default())
        })?;
        rows.collect()
    }

    fn last_call(&self) -> rusqlite::Result<CallId> {
        self.connection.query_row("SELECT coalesce(max(call), 0) FROM bookings", [], |row| row.get(0))
    }

    /// The latest calls that match. Looks at a bounded number of entries, and says so if that was not all.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn calls(&self, search: &Search) -> rusqlite::Result<Found> {
        let before = match search.before {
            Some(before) => before,
            None => self.last_call()? + 1,
        };
        let oldest: i64 =
            self.connection.query_row("SELECT coalesce(min(call), 1) FROM bookings", [], |row| row.get(0))?;
        let floor = before.saturating_sub(LOOKBACK).max(oldest);
        let mut statement = self.connection.prepare_cached(
            "SELECT call, ended_at, team, key_id, route, request_id, response_id, outcome, reserve,
                    credits + coalesce((SELECT sum(a.credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0),
                    CASE WHEN EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call)
                      THEN 'final' ELSE basis END,
                    reason, input_tokens, output_tokens
             FROM bookings b
             WHERE call >= :floor AND call < :before AND end_seq IS NOT NULL
               AND (:team IS NULL OR team = :team)
               AND (:outcome IS NULL OR outcome = :outcome)
               AND (:id IS NULL OR :id IN (request_id, response_id, key_id))
             ORDER BY call DESC LIMIT :limit",
        )?;
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
        basis: row.get(10)?,
        reason: row.get(11)?,
        input_tokens: tokens(12)?,
        output_tokens: tokens(13)?,
    })
}
