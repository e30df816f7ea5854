//! Reading the ledger, also while a gateway writes it: sums, reports, grants, recent calls.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use rusqlite::{Connection, OpenFlags, Row, params};
use serde::Serialize;

use super::CallId;
use super::journal::Progress;
use super::store::{date, progress};
use crate::credits::Credits;
use crate::credits::budget::Grant;

/// A read-only view of a ledger file.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
}

/// Days, both included.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first day.
    pub since: Date,
    /// The last day.
    pub until: Date,
}

impl Span {
    /// All days there are.
    pub const ALL: Self = Self { since: Date::MIN, until: Date::MAX };
}

/// One row of the sums by day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// The day the calls were held on.
    pub day: Date,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// How the calls ended.
    pub outcome: String,
    /// How many there were.
    pub calls: u64,
    /// Settled at the upstream's figures.
    pub settled: Credits,
    /// Settled at the reserve, in doubt.
    pub estimated: Credits,
    /// Tokens in.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
    /// Settled and estimated as they were before corrections: what counters have counted.
    pub counted: [Credits; 2],
}

impl Spend {
    /// What counts against budgets.
    #[must_use]
    pub fn credits(&self) -> Credits {
        self.settled + self.estimated
    }
}

/// All that was ever counted of a team on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Whose.
    pub team: String,
    /// On which route.
    pub route: String,
    /// Settled and estimated as they were before corrections.
    pub counted: [Credits; 2],
    /// Tokens in.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
}

/// How a call is booked, its corrections included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The call.
    pub call: CallId,
    /// The day it is booked on.
    pub day: Date,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// The id that the caller saw.
    pub request_id: String,
    /// The upstream's id of the response.
    pub response_id: String,
    /// How the call ended.
    pub outcome: String,
    /// What is booked.
    pub credits: Credits,
    /// By estimate, and not corrected since.
    pub in_doubt: bool,
}

/// A correction that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjusted {
    /// Its number among the changes.
    pub seq: i64,
    /// The day whose sums it changed.
    pub day: Date,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// The difference, in millionths of a credit; negative where the call was cheaper.
    pub millionths: i64,
}

/// One charge, as a caller may see it.
#[derive(Clone, Debug, Serialize)]
pub struct Charge {
    /// The id that the caller saw.
    pub request_id: String,
    /// The upstream's id of the response.
    pub response_id: Option<String>,
    /// When the call was held, RFC 3339.
    pub at: String,
    /// By which key.
    pub key_id: String,
    /// What was booked.
    pub credits: Credits,
    /// `final` or `estimated`; null where nothing was booked.
    pub basis: Option<String>,
    /// Why it was estimated or given back.
    pub reason: Option<String>,
}

impl Reader {
    /// Opens a ledger file for reading.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Self { connection })
    }

    /// The sums by day of a span.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn spends(&self, span: Span) -> rusqlite::Result<Vec<Spend>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT day, team, key_id, route, outcome, calls, final, estimated, input_tokens, output_tokens,
                    final - adjusted_final, estimated - adjusted_estimated
             FROM day_sums WHERE day BETWEEN ?1 AND ?2 ORDER BY day, team, key_id, route, outcome",
        )?;
        let rows = statement.query_map(params![span.since.to_string(), span.until.to_string()], |row| {
            Ok(Spend {
                day: date(&row.get::<_, String>(0)?),
                team: row.get(1)?,
                key_id: row.get(2)?,
                route: row.get(3)?,
                outcome: row.get(4)?,
                calls: count(row, 5)?,
                settled: credits(row, 6)?,
                estimated: credits(row, 7)?,
                input_tokens: count(row, 8)?,
                output_tokens: count(row, 9)?,
                counted: [credits(row, 10)?, credits(row, 11)?],
            })
        })?;
        rows.collect()
    }

    /// Grants that are in force on `day` or later.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn grants(&self, day: Date) -> rusqlite::Result<Vec<Grant>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT team, credits, day, until FROM changes WHERE kind = 'granted' AND until >= ?1",
        )?;
        let rows = statement.query_map([day.to_string()], |row| {
            Ok(Grant {
                team: row.get(0)?,
                credits: credits(row, 1)?,
                from: date(&row.get::<_, String>(2)?),
                until: date(&row.get::<_, String>(3)?),
            })
        })?;
        rows.collect()
    }

    /// The latest final costs of a route, the oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn recent_costs(&self, route: &str, count: usize) -> rusqlite::Result<Vec<Credits>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT credits FROM bookings WHERE basis = 'final' AND route = ?1 ORDER BY call DESC LIMIT ?2",
        )?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![route, count], |row| credits(row, 0))?;
        let mut costs: Vec<_> = rows.collect::<Result<_, _>>()?;
        costs.reverse();
        Ok(costs)
    }

    /// The latest charges of a team, the newest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn recent_charges(&self, team: &str, count: usize) -> rusqlite::Result<Vec<Charge>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT request_id, response_id, ended_at, key_id, credits, basis, reason FROM bookings
             WHERE end_seq IS NOT NULL AND team = ?1 ORDER BY call DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![team, i64::try_from(count).unwrap_or(i64::MAX)], |row| {
            let at = jiff::Timestamp::from_microsecond(row.get(2)?).unwrap_or_default();
            Ok(Charge {
                request_id: row.get(0)?,
                response_id: row.get(1)?,
                at: format!("{at:.3}"),
                key_id: row.get(3)?,
                credits: credits(row, 4)?,
                basis: row.get(5)?,
                reason: row.get(6)?,
            })
        })?;
        rows.collect()
    }

    /// What is booked, corrections included, by the upstream's id of the response.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn booked_by_response(&self) -> rusqlite::Result<BTreeMap<String, Booked>> {
        let mut statement = self.connection.prepare(
            "SELECT call, day, team, key_id, route, request_id, response_id, outcome,
                    credits + coalesce((SELECT sum(credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0),
                    basis = 'estimated'
                      AND NOT EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call)
             FROM bookings b WHERE kind = 'settled' AND response_id IS NOT NULL",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Booked {
                call: row.get(0)?,
                day: date(&row.get::<_, String>(1)?),
                team: row.get(2)?,
                key_id: row.get(3)?,
                route: row.get(4)?,
                request_id: row.get(5)?,
                response_id: row.get(6)?,
                outcome: row.get(7)?,
                credits: credits(row, 8)?,
                in_doubt: row.get(9)?,
            })
        })?;
        rows.map(|booked| booked.map(|booked| (booked.response_id.clone(), booked))).collect()
    }

    /// Corrections written after number `seq`, in order.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn adjustments_after(&self, seq: i64) -> rusqlite::Result<Vec<Adjusted>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, day, team, key_id, credits FROM changes WHERE kind = 'adjusted' AND seq > ?1 ORDER BY seq",
        )?;
        let rows = statement.query_map([seq], |row| {
            Ok(Adjusted {
                seq: row.get(0)?,
                day: date(&row.get::<_, String>(1)?),
                team: row.get(2)?,
                key_id: row.get(3)?,
                millionths: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    /// Writes a copy of the whole file, as it is at this moment, to a file that is not there yet.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn copy_to(&self, path: &Path) -> rusqlite::Result<()> {
        self.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]).map(drop)
    }

    /// The number of the last hold or ending.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn last_entry(&self) -> rusqlite::Result<i64> {
        self.connection.query_row("SELECT last_seq FROM progress", [], |row| row.get(0))
    }

    /// The number of the last correction or grant.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn last_change(&self) -> rusqlite::Result<i64> {
        self.connection.query_row("SELECT coalesce(max(seq), 0) FROM changes", [], |row| row.get(0))
    }

    /// Whose the journal is, and how far it has been merged.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn progress(&self) -> rusqlite::Result<Progress> {
        progress(&self.connection)
    }

    /// What is booked by estimate, over all time.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn in_doubt(&self) -> rusqlite::Result<Credits> {
        self.connection
            .query_row("SELECT coalesce(sum(estimated), 0) FROM day_sums", [], |row| credits(row, 0))
    }

    /// Changes whenever another connection has written.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn data_version(&self) -> rusqlite::Result<i64> {
        self.connection.query_row("PRAGMA data_version", [], |row| row.get(0))
    }

    /// Recomputes every sum from the entries and checks the invariants. Returns what is wrong.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn verify(&self) -> rusqlite::Result<Vec<String>> {
        // Each query yields a sentence per violation.
        const CHECKS: [&str; 5] = [
            "SELECT 'SQLite finds the file damaged: ' || integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
            "SELECT 'number ' || seq || ' stands at ' || count(*) || ' entries' FROM entries
             WHERE seq IS NOT NULL GROUP BY seq HAVING count(*) > 1",
            "SELECT 'call ' || call || ' is ended by entry ' || end_seq || ', before its hold' FROM bookings
             WHERE end_seq <= hold_seq",
            "SELECT 'entry ' || end_seq || ' settles call ' || call || ' by estimate at another amount than was held' FROM bookings
             WHERE basis = 'estimated' AND credits <> reserve",
            "SELECT 'the sums of ' || coalesce(s.day, e.day) || ', team ' || coalesce(s.team, e.team) || ', key ' || coalesce(s.key_id, e.key_id) || ' are '
                    || coalesce(s.amount, 0) || ' millionths, the entries say ' || coalesce(e.amount, 0)
             FROM (SELECT day, team, key_id, sum(final + estimated) AS amount FROM day_sums GROUP BY day, team, key_id) s
             FULL JOIN (SELECT day, team, key_id, sum(credits) AS amount FROM entries
                        WHERE kind IN ('settled', 'voided', 'adjusted') GROUP BY day, team, key_id) e
               ON e.day = s.day AND e.team = s.team AND e.key_id = s.key_id
             WHERE coalesce(s.amount, 0) <> coalesce(e.amount, 0)
               AND coalesce(s.day, e.day) >= coalesce((SELECT max(before) FROM pruned), '')",
        ];
        let mut wrong = Vec::new();
        for check in CHECKS {
            let mut statement = self.connection.prepare(check)?;
            let found = statement.query_map([], |row| row.get::<_, String>(0))?;
            wrong.extend(found.take(100).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(wrong)
    }
}

pub(super) fn credits(row: &Row<'_>, at: usize) -> rusqlite::Result<Credits> {
    row.get::<_, i64>(at).map(|amount| Credits::from_millionths(u64::try_from(amount).unwrap_or(0)))
}

pub(super) fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0))
}
