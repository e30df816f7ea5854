//! Reading the file, also while a gateway writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::columns::{BASIS, HAS_ANYTHING, basis, count, credits};
use super::failure::failure;
use super::keys;
use super::past;
use super::recent;
use super::statement;
use super::store::{Kind, VERSION, kind, last_call, progress};
use super::verify;
use super::view;
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::ledger::entry::{day_of, days};
use crate::ledger::error::LedgerError;
use crate::ledger::facts::Booked;
use crate::ledger::journal::Progress;
use crate::ledger::keys::{CallerUse, RegisteredKey};
use crate::ledger::latest::LOOKBACK;
use crate::ledger::past::Past;
use crate::ledger::reading::Reading;
use crate::ledger::rows::{Adjusted, Changes, Charge, EnteredGrant, Found, Saving, Search, Span, Spend};
use crate::ledger::statement::Stated;
use crate::ledger::view::{View, Viewed};

/// Of a booking `b`: its credits as they were corrected, and whether they are in doubt, which a correction ends.
const AS_ADJUSTED: &str = "
    credits + coalesce((SELECT sum(credits) FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call), 0) AS credits,
    kind = 2 AND NOT EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = b.call) AS doubt";

/// A read-only view of a ledger file.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens a ledger file for reading.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        if !path.exists() {
            return Err(LedgerError::Missing { path: path.to_owned() });
        }
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            Ok((kind(&connection)?, connection))
        };
        let (kind, connection) = open().map_err(|error| failure(path, &error))?;
        let path = path.to_owned();
        match kind {
            Kind::Ours(VERSION) => Ok(Self { connection, path }),
            Kind::Ours(version) if version > VERSION => Err(LedgerError::Newer {
                path,
                what: format!("schema {version}, this program knows {VERSION}"),
            }),
            Kind::Ours(_) => Err(LedgerError::Older { path }),
            Kind::Empty | Kind::Foreign => Err(LedgerError::Foreign { path }),
        }
    }

    fn ask<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        // One moment, however many questions.
        let asked = self.connection.unchecked_transaction().and_then(|moment| ask(&moment));
        asked.map_err(|error| failure(&self.path, &error))
    }

    /// Whose the journal is, and how far it has been merged.
    pub(super) fn progress(&self) -> Result<Progress, LedgerError> {
        self.ask(progress)
    }

    /// Writes a copy of the whole file, as it is at this moment, to a file that is not there yet.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), LedgerError> {
        let copied = self.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]);
        copied.map(drop).map_err(|error| failure(&self.path, &error))
    }

    /// The number of the last hold or ending.
    pub(super) fn last_entry(&self) -> Result<i64, LedgerError> {
        self.ask(|connection| connection.query_row("SELECT last_seq FROM progress", [], |row| row.get(0)))
    }

    pub(super) fn spends_of(connection: &Connection, span: Span) -> rusqlite::Result<Vec<Spend>> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT day, t.name, k.name, r.name, o.name, sum(calls), sum(final), sum(estimated), sum(input_tokens),
                    sum(output_tokens)
             FROM day_sums JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
             JOIN names o ON o.id = outcome
             WHERE day BETWEEN ?1 AND ?2 GROUP BY day, team, key, route, outcome
             HAVING {HAS_ANYTHING} ORDER BY 1, 2, 3, 4, 5",
        ))?;
        let rows = statement.query_map(days(span), |row| {
            Ok(Spend {
                day: day_of(row.get(0)?),
                team: row.get(1)?,
                key_id: row.get(2)?,
                route: row.get(3)?,
                outcome: row.get(4)?,
                calls: count(row, 5)?,
                settled: credits(row, 6)?,
                estimated: credits(row, 7)?,
                input_tokens: count(row, 8)?,
                output_tokens: count(row, 9)?,
            })
        })?;
        rows.collect()
    }

    /// Grants that end on `day` or later, and those that were taken back.
    pub(super) fn grants_of(connection: &Connection, day: Date) -> rusqlite::Result<Vec<Grant>> {
        Ok(Self::entered_grants(connection, day)?.into_iter().map(|entered| entered.grant).collect())
    }

    /// The same, as they stand in the ledger. One that was taken back has an entry of as much less, under its number, on
    /// the day when that was done.
    fn entered_grants(connection: &Connection, day: Date) -> rusqlite::Result<Vec<EnteredGrant>> {
        let mut statement = connection.prepare_cached(
            "SELECT given.team, given.credits, given.day, coalesce(back.day, given.until), given.seq, given.reason,
                    back.day IS NOT NULL
             FROM changes AS given LEFT JOIN changes AS back ON back.kind = 'granted' AND back.call = given.seq
             WHERE given.kind = 'granted' AND given.call IS NULL AND given.until >= ?1 ORDER BY given.seq",
        )?;
        let rows = statement.query_map([day.to_string()], |row| {
            Ok(EnteredGrant {
                grant: Grant {
                    team: row.get(0)?,
                    credits: credits(row, 1)?,
                    from: date(&row.get::<_, String>(2)?),
                    until: date(&row.get::<_, String>(3)?),
                    taken_back: row.get(6)?,
                },
                number: row.get(4)?,
                why: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
            })
        })?;
        rows.collect()
    }

    /// When calls that are booked were sent upstream, between `since` and `until`: a time beyond is of a clock that was
    /// wrong.
    pub(super) fn sent_between(
        connection: &Connection,
        since: Timestamp,
        until: Timestamp,
    ) -> rusqlite::Result<Vec<Timestamp>> {
        recent::sent_between(connection, since, until)
    }

    fn adjusted_after(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<Adjusted>> {
        let mut statement = connection.prepare_cached(
            // What a gateway has found out of its own jobs it knows.
            "SELECT seq, day, team, key_id, route, credits, call FROM changes
             WHERE kind = 'adjusted' AND basis IS NULL AND seq > ?1 ORDER BY seq",
        )?;
        let rows = statement.query_map([seq], |row| {
            Ok(Adjusted {
                seq: row.get(0)?,
                day: date(&row.get::<_, String>(1)?),
                team: row.get(2)?,
                key_id: row.get(3)?,
                route: row.get(4)?,
                millionths: row.get(5)?,
                call: row.get(6)?,
            })
        })?;
        rows.collect()
    }
}

impl Reading for Reader {
    fn spends(&self, span: Span) -> Result<Vec<Spend>, LedgerError> {
        self.ask(|connection| Self::spends_of(connection, span))
    }

    fn booked_between(&self, since: Timestamp, until: Timestamp) -> Result<(Credits, Credits), LedgerError> {
        if since >= until {
            return Ok((Credits::ZERO, Credits::ZERO));
        }
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT sum(CASE WHEN doubt THEN 0 ELSE credits END), sum(CASE WHEN doubt THEN credits ELSE 0 END) FROM (
                   SELECT {AS_ADJUSTED} FROM bookings b WHERE kind > 0 AND held_at >= ?1 AND held_at < ?2)"
            ))?;
            statement.query_row(params![since.as_microsecond(), until.as_microsecond()], |row| {
                let sum = |at| row.get::<_, Option<i64>>(at);
                let amount = |sum: Option<i64>| Credits::from_millionths(sum.unwrap_or(0).max(0).unsigned_abs());
                Ok((amount(sum(0)?), amount(sum(1)?)))
            })
        })
    }

    fn view(&self, view: &View) -> Result<Viewed, LedgerError> {
        self.ask(|connection| {
            Ok(Viewed {
                spent: view::spent(connection, view)?,
                periods: view::sums(connection, view.periods)?,
                uses: keys::uses(connection, view.span)?,
                grants: Self::entered_grants(connection, view.grants)?,
                found: recent::calls(connection, &view.search)?,
            })
        })
    }

    fn savings(&self, span: Span) -> Result<Vec<Saving>, LedgerError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT day, t.name, k.name, r.name, copies, credits FROM savings JOIN names t ON t.id = team
                 JOIN names k ON k.id = key JOIN names r ON r.id = route WHERE day BETWEEN ?1 AND ?2 ORDER BY 1, 2, 3, 4",
            )?;
            let rows = statement.query_map(days(span), |row| {
                Ok(Saving {
                    day: day_of(row.get(0)?),
                    team: row.get(1)?,
                    key_id: row.get(2)?,
                    route: row.get(3)?,
                    copies: count(row, 4)?,
                    credits: credits(row, 5)?,
                })
            })?;
            rows.collect()
        })
    }

    fn recent_charges(&self, team: &str, count: usize) -> Result<Vec<Charge>, LedgerError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT request_id, response_id, held_at, k.name, {BASIS}, w.name, r.name, {AS_ADJUSTED} FROM bookings b
                 JOIN names k ON k.id = key JOIN names r ON r.id = route LEFT JOIN names w ON w.id = reason
                 WHERE call > ?3 AND end_seq IS NOT NULL AND team = (SELECT id FROM names WHERE name = ?1)
                 ORDER BY call DESC LIMIT ?2"
            ))?;
            let behind = last_call(connection)? - LOOKBACK;
            let rows = statement.query_map(params![team, limit(count), behind], |row| {
                let at = Timestamp::from_microsecond(row.get(2)?).unwrap_or_default();
                Ok(Charge {
                    request_id: row.get(0)?,
                    response_id: row.get(1)?,
                    at: format!("{at:.3}"),
                    key_id: row.get(3)?,
                    route: row.get(6)?,
                    credits: credits(row, 7)?,
                    basis: basis(row.get(4)?),
                    reason: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }

    fn calls(&self, search: &Search) -> Result<Found, LedgerError> {
        self.ask(|connection| recent::calls(connection, search))
    }

    fn booked_by_response(&self) -> Result<BTreeMap<String, Booked>, LedgerError> {
        self.ask(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT call, day, t.name, k.name, r.name, request_id, response_id, o.name, {AS_ADJUSTED}, held_at
                 FROM bookings b JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
                 JOIN names o ON o.id = outcome
                 WHERE kind > 0 AND response_id IS NOT NULL"
            ))?;
            let rows = statement.query_map([], booked)?;
            rows.map(|booked| booked.map(|booked| (booked.response_id.clone(), booked))).collect()
        })
    }

    fn doubt(&self, request_id: Option<&str>, count: usize) -> Result<Vec<(Booked, String)>, LedgerError> {
        self.ask(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT call, day, t.name, k.name, r.name, request_id, response_id, o.name, {AS_ADJUSTED}, held_at, w.name
                 FROM bookings b JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names r ON r.id = route
                 JOIN names o ON o.id = outcome LEFT JOIN names w ON w.id = reason
                 WHERE kind = 2 AND doubt AND (?1 IS NULL OR request_id = ?1) ORDER BY call LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![request_id, limit(count)], |row| {
                Ok((booked(row)?, row.get::<_, Option<String>>(11)?.unwrap_or_default()))
            })?;
            rows.collect()
        })
    }

    fn in_doubt(&self) -> Result<Credits, LedgerError> {
        self.ask(|connection| {
            connection
                .query_row("SELECT coalesce(sum(estimated), 0) FROM day_sums", [], |row| credits(row, 0))
        })
    }

    fn changes(&self, day: Date, seq: i64) -> Result<Changes, LedgerError> {
        self.ask(|connection| {
            Ok(Changes {
                grants: Self::grants_of(connection, day)?,
                adjusted: Self::adjusted_after(connection, seq)?,
            })
        })
    }

    fn grants_of_all(&self, day: Date) -> Result<Vec<EnteredGrant>, LedgerError> {
        self.ask(|connection| Self::entered_grants(connection, day))
    }

    fn keys(&self) -> Result<Vec<RegisteredKey>, LedgerError> {
        self.ask(keys::all)
    }

    fn uses(&self, span: Span) -> Result<Vec<CallerUse>, LedgerError> {
        self.ask(|connection| keys::uses(connection, span))
    }

    fn stated(&self, team: &str, span: Span) -> Result<Stated, LedgerError> {
        self.ask(|connection| statement::of(connection, team, days(span)))
    }

    fn past(&self, since: Timestamp, until: Timestamp) -> Result<Past, LedgerError> {
        self.ask(|connection| past::between(connection, since, until))
    }

    fn version(&self) -> Result<i64, LedgerError> {
        let version = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0));
        version.map_err(|error| failure(&self.path, &error))
    }

    fn verify(&self) -> Result<Vec<String>, LedgerError> {
        self.ask(verify::verify)
    }
}

/// A call as it is booked, from the columns that such questions begin with.
fn booked(row: &Row<'_>) -> rusqlite::Result<Booked> {
    Ok(Booked {
        call: row.get(0)?,
        day: day_of(row.get(1)?),
        team: row.get(2)?,
        key_id: row.get(3)?,
        route: row.get(4)?,
        request_id: row.get(5)?,
        response_id: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
        outcome: row.get(7)?,
        credits: credits(row, 8)?,
        in_doubt: row.get(9)?,
        held: Timestamp::from_microsecond(row.get(10)?).unwrap_or_default(),
    })
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A day as operators' changes have it; a day nobody could have written is the first of all.
fn date(text: &str) -> Date {
    text.parse().unwrap_or(Date::MIN)
}
