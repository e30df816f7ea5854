//! What the credits page reads: spend by day and team, and the latest calls.

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Row, named_params, params};
use serde::Serialize;

use super::read::{Reader, Span, credits};
use super::store::date;
use crate::credits::Credits;

/// Entries that one search for calls looks at: far more than a page of them, and milliseconds to read.
const LOOKBACK: i64 = 200_000;

/// More entries than the largest plan writes in a minute: two for each of 600 calls.
const MINUTE: i64 = 4096;

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
    /// Older than this entry.
    pub before: Option<i64>,
    /// No more than this many.
    pub limit: usize,
}

/// What a search found, the newest first.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Entries that were looked at.
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
    /// The entry that ended it.
    pub seq: i64,
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
        let floor = self.last_entry()?.saturating_sub(MINUTE);
        // A call that was in flight when the process died had been sent when it was held, or not much later.
        let mut statement = self.connection.prepare_cached(
            "SELECT sent_at FROM entries WHERE seq > ?1 AND kind IN ('settled', 'voided') AND sent_at BETWEEN ?2 AND ?3
             UNION ALL
             SELECT h.at FROM entries e JOIN entries h ON h.kind = 'hold' AND h.call = e.call
             WHERE e.seq > ?1 AND e.kind = 'settled' AND e.outcome = 'crashed' AND h.at BETWEEN ?2 AND ?3",
        )?;
        let rows = statement.query_map([floor, since.as_microsecond(), until.as_microsecond()], |row| {
            Ok(Timestamp::from_microsecond(row.get(0)?).unwrap_or_default())
        })?;
        rows.collect()
    }

    /// The latest calls that match. Looks at a bounded number of entries, and says so if that was not all.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn calls(&self, search: &Search) -> rusqlite::Result<Found> {
        let before = match search.before {
            Some(before) => before,
            None => self.last_entry()? + 1,
        };
        let oldest: i64 =
            self.connection.query_row("SELECT coalesce(min(seq), 1) FROM entries", [], |row| row.get(0))?;
        let floor = before.saturating_sub(LOOKBACK).max(oldest);
        let mut statement = self.connection.prepare_cached(
            "SELECT e.seq, e.at, e.team, e.key_id, e.route, e.request_id, e.response_id, e.outcome,
                    coalesce((SELECT h.credits FROM entries h WHERE h.kind = 'hold' AND h.call = e.call), 0) AS reserved,
                    CASE e.kind WHEN 'settled' THEN e.credits ELSE 0 END
                      + coalesce((SELECT sum(a.credits) FROM entries a WHERE a.kind = 'adjusted' AND a.call = e.call), 0) AS credits,
                    CASE WHEN EXISTS (SELECT 1 FROM entries a WHERE a.kind = 'adjusted' AND a.call = e.call)
                      THEN 'final' ELSE e.basis END AS basis,
                    e.reason, e.input_tokens, e.output_tokens
             FROM entries e
             WHERE e.seq >= :floor AND e.seq < :before AND e.kind IN ('settled', 'voided')
               AND (:team IS NULL OR e.team = :team)
               AND (:outcome IS NULL OR e.outcome = :outcome)
               AND (:id IS NULL OR :id IN (e.request_id, e.response_id, e.key_id))
             ORDER BY e.seq DESC LIMIT :limit",
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
        let last = requests.last().map(|call| call.seq);
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
        seq: row.get(0)?,
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
