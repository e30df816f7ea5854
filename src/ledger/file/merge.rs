//! Entries into the database: many at a time, each call that has ended meanwhile as one row, each sum once.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::failure::failure;
use super::insert::Insert;
use super::names::{Named, Names};
use super::store::{Store, set_synchronous};
use crate::ledger::entry::{EndEntry, Entry, HoldEntry, Kind};
use crate::ledger::error::LedgerError;
use crate::ledger::facts::CallId;
use crate::ledger::journal::Position;

impl Store {
    /// Writes entries in their order, all of them or none, and that the journal is merged up to `merged`. Returns which
    /// were written: an ending whose hold was never written has nothing to end, and is left out.
    ///
    /// # Errors
    /// When they cannot be written; nothing has been written then.
    pub fn write(
        &mut self,
        entries: &[Entry<'_>],
        merged: Option<Position>,
    ) -> Result<Vec<bool>, LedgerError> {
        self.try_write(entries, merged).map_err(|error| failure(&self.path, &error))
    }

    fn try_write(&mut self, entries: &[Entry<'_>], merged: Option<Position>) -> rusqlite::Result<Vec<bool>> {
        let Self { connection, names, last_written, .. } = self;
        let mut write = || {
            // It begins with the right to write: one that reads first would be refused, and not wait, where somebody
            // else has written since.
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (ledger, first): (i64, i64) = change
                .prepare_cached("SELECT ledger, last_seq FROM progress")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if last_written.is_some_and(|last| last != (ledger, first)) {
                return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(WrittenByAnother)));
            }
            let mut merge = Merge::into(&change, &mut *names)?;
            let written = merge.all(entries, first)?;
            merge.add_sums()?;
            drop(merge);
            let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
            let (generation, position) = merged.map_or((None, None), |at| {
                (Some(at.generation.cast_signed()), Some(at.offset.cast_signed()))
            });
            change
                .prepare_cached(
                    "UPDATE progress SET last_seq = last_seq + ?1, generation = coalesce(?2, generation),
                       position = coalesce(?3, position)",
                )?
                .execute(params![count, generation, position])?;
            change.commit()?;
            *last_written = Some((ledger, first + count));
            Ok(written)
        };
        let written = write();
        if written.is_err() {
            names.forget();
        }
        written
    }

    /// Merges what the journal holds. With `durable`, returns when all of it is on the disk. No entry is left out: one that
    /// cannot be written says that somebody else has written here too, and the books can be trusted no more.
    ///
    /// # Errors
    /// When it cannot be written; nothing has been written then.
    pub fn merge(
        &mut self,
        entries: &[Entry<'_>],
        merged: Position,
        durable: bool,
    ) -> Result<(), LedgerError> {
        set_synchronous(&self.connection, durable).map_err(|error| failure(&self.path, &error))?;
        self.write(entries, Some(merged)).map(drop)
    }
}

/// Why a ledger is written to no more.
#[derive(Debug, thiserror::Error)]
#[error(
    "it is another ledger than before, or somebody else has written to it: stop whoever that is, and start this gateway again"
)]
struct WrittenByAnother;

/// One transaction in the making.
pub(super) struct Merge<'c, 'n> {
    pub(super) change: &'c Transaction<'c>,
    names: &'n mut Names,
    sums: BTreeMap<Sum, Added>,
    /// Writes a hold, with its ending where there is one.
    insert: Insert<'c>,
}

/// The first ending of a call among the entries, and its number.
struct Found<'e, 'b> {
    seq: i64,
    end: &'e EndEntry<'b>,
    /// It is written with its hold, which stands in front of it.
    with_hold: bool,
}

/// Which sum an ending counts in: the day, and the numbers of team, key, member, route and outcome.
type Sum = [i64; 6];

#[derive(Default)]
struct Added {
    calls: i64,
    settled: i64,
    estimated: i64,
    input_tokens: i64,
    output_tokens: i64,
    /// Of `settled` and `estimated`, what no counter has counted so.
    adjusted: [i64; 2],
}

impl<'c, 'n> Merge<'c, 'n> {
    fn into(change: &'c Transaction<'c>, names: &'n mut Names) -> rusqlite::Result<Self> {
        let insert = change.prepare_cached(
            "INSERT INTO bookings (call, hold_seq, held_at, day, team, key, member, route, request_id, reserve, retry_key,
               fingerprint, replica, end_seq, ended_at, kind, credits, reason, outcome, response_id, input_tokens,
               output_tokens, sent_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
               ?23)",
        )?;
        Ok(Self { change, names, sums: BTreeMap::new(), insert: Insert::new(insert) })
    }

    fn all(&mut self, entries: &[Entry<'_>], first: i64) -> rusqlite::Result<Vec<bool>> {
        let numbered = || (first + 1..).zip(entries);
        let mut ends: HashMap<CallId, Found<'_, '_>> = HashMap::with_capacity(entries.len() / 2);
        for (seq, entry) in numbered() {
            if let Entry::End(end) = entry {
                ends.entry(end.call).or_insert(Found { seq, end, with_hold: false });
            }
        }
        let mut written = Vec::with_capacity(entries.len());
        for (seq, entry) in numbered() {
            written.push(match entry {
                Entry::Hold(hold) => {
                    let mut found = ends.get_mut(&hold.call).filter(|found| found.seq > seq);
                    if let Some(found) = &mut found {
                        found.with_hold = true;
                    }
                    let end = found.map(|found| (found.seq, found.end));
                    self.hold(seq, hold, end)?;
                    true
                }
                Entry::End(end) => {
                    let found = ends.get(&end.call);
                    let with_hold = found.is_some_and(|found| found.with_hold && found.seq == seq);
                    with_hold || self.end(seq, end)?
                }
                Entry::Saved(saving) => {
                    self.saved(saving)?;
                    true
                }
                Entry::Waited(wait) => {
                    self.waited(*wait)?;
                    true
                }
                Entry::Asked(asks) => {
                    self.asked(asks)?;
                    true
                }
                Entry::Job(job) => {
                    self.job(job)?;
                    true
                }
                Entry::Made(made) => {
                    self.made(made)?;
                    true
                }
            });
        }
        Ok(written)
    }

    pub(super) fn number(&mut self, kind: Named, name: &str) -> rusqlite::Result<i64> {
        self.names.number(self.change, kind, name)
    }

    /// Writes a hold, with its ending where there is one already.
    fn hold(
        &mut self,
        seq: i64,
        hold: &HoldEntry<'_>,
        end: Option<(i64, &EndEntry<'_>)>,
    ) -> rusqlite::Result<()> {
        let [team, key, member, route] = [
            self.number(Named::Team, hold.team)?,
            self.number(Named::Key, hold.key_id)?,
            self.number(Named::Member, hold.member)?,
            self.number(Named::Route, hold.route)?,
        ];
        let (end_seq, end) = end.map_or((None, None), |(seq, end)| (Some(seq), Some(end)));
        let outcome = end.map(|end| self.number(Named::Outcome, end.outcome)).transpose()?;
        let reason =
            end.and_then(|end| end.reason).map(|reason| self.number(Named::Reason, reason)).transpose()?;
        let retry = hold.retry.as_ref();
        let row = &mut self.insert;
        for (column, number) in [
            (1, Some(hold.call)),
            (2, Some(seq)),
            (3, Some(hold.at)),
            (4, Some(hold.day.into())),
            (5, Some(team)),
            (6, Some(key)),
            (7, Some(member)),
            (8, Some(route)),
            (10, Some(hold.reserve)),
            (13, Some(hold.replica.into())),
            (14, end_seq),
            (15, end.map(|end| end.at)),
            (16, end.map(|end| end.kind.number())),
            (17, end.map(|end| end.credits)),
            (18, reason),
            (19, outcome),
            (21, end.and_then(|end| end.input_tokens)),
            (22, end.and_then(|end| end.output_tokens)),
            (23, end.and_then(|end| end.sent_at)),
        ] {
            row.number(column, number)?;
        }
        row.value(9, Some(hold.request_id))?;
        row.value(11, retry.map(|retry| &retry.key))?;
        row.value(12, retry.map(|retry| &retry.fingerprint))?;
        row.value(20, end.and_then(|end| end.response_id))?;
        row.write()?;
        if let (Some(end), Some(outcome)) = (end, outcome) {
            self.count([hold.day.into(), team, key, member, route, outcome], end);
        }
        Ok(())
    }

    /// Writes the ending of a hold that stands in the database, if it is open.
    fn end(&mut self, seq: i64, end: &EndEntry<'_>) -> rusqlite::Result<bool> {
        let outcome = self.number(Named::Outcome, end.outcome)?;
        let reason = end.reason.map(|reason| self.number(Named::Reason, reason)).transpose()?;
        let sum = self
            .change
            .prepare_cached(
                "SELECT day, team, key, member, route FROM bookings WHERE call = ?1 AND end_seq IS NULL",
            )?
            .query_row([end.call], |row| {
                Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, outcome])
            })
            .optional()?;
        let Some(sum) = sum else { return Ok(false) };
        self.change
            .prepare_cached(
                "UPDATE bookings SET end_seq = ?2, ended_at = ?3, kind = ?4, credits = ?5, reason = ?6, outcome = ?7,
                   response_id = ?8, input_tokens = ?9, output_tokens = ?10, sent_at = ?11
                 WHERE call = ?1",
            )?
            .execute(params![
                end.call,
                seq,
                end.at,
                end.kind.number(),
                end.credits,
                reason,
                outcome,
                end.response_id,
                end.input_tokens,
                end.output_tokens,
                end.sent_at,
            ])?;
        self.count(sum, end);
        Ok(true)
    }

    fn count(&mut self, sum: Sum, end: &EndEntry<'_>) {
        let added = self.sums.entry(sum).or_default();
        added.calls += end.calls();
        match end.kind {
            Kind::Estimated => added.estimated += end.credits,
            Kind::Final | Kind::Derived | Kind::Voided => added.settled += end.credits,
        }
        added.input_tokens += end.input_tokens.unwrap_or(0);
        added.output_tokens += end.output_tokens.unwrap_or(0);
    }

    /// What was booked by estimate is a figure now. `after_all` if it was counted as an estimate.
    pub(super) fn settle(&mut self, sum: Sum, (figure, estimate): (i64, i64), after_all: bool) {
        let added = self.sums.entry(sum).or_default();
        added.settled += figure;
        added.estimated -= estimate;
        if after_all {
            added.adjusted[0] += figure;
            added.adjusted[1] -= estimate;
        }
    }

    fn add_sums(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.change.prepare_cached(
            "INSERT INTO day_sums (day, team, key, member, route, outcome, calls, final, estimated, input_tokens,
               output_tokens, adjusted_final, adjusted_estimated)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, final = final + excluded.final,
               estimated = estimated + excluded.estimated, input_tokens = input_tokens + excluded.input_tokens,
               output_tokens = output_tokens + excluded.output_tokens,
               adjusted_final = adjusted_final + excluded.adjusted_final,
               adjusted_estimated = adjusted_estimated + excluded.adjusted_estimated",
        )?;
        let rolled: i64 =
            self.change.prepare_cached("SELECT before FROM rolled")?.query_row([], |row| row.get(0))?;
        for ([day, team, key, member, route, outcome], added) in &self.sums {
            statement.execute(params![
                day,
                team,
                key,
                member,
                route,
                outcome,
                added.calls,
                added.settled,
                added.estimated,
                added.input_tokens,
                added.output_tokens,
                added.adjusted[0],
                added.adjusted[1]
            ])?;
            if *day < rolled {
                self.add_total(*team, *route, added)?;
            }
        }
        Ok(())
    }

    /// A day whose sums are in the totals already, after a clock that was wrong, say.
    fn add_total(&self, team: i64, route: i64, added: &Added) -> rusqlite::Result<()> {
        self.change
            .prepare_cached(
                "INSERT INTO totals VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET final = final + excluded.final, estimated = estimated + excluded.estimated,
                   input_tokens = input_tokens + excluded.input_tokens,
                   output_tokens = output_tokens + excluded.output_tokens",
            )?
            .execute(params![
                team,
                route,
                added.settled - added.adjusted[0],
                added.estimated - added.adjusted[1],
                added.input_tokens,
                added.output_tokens
            ])
            .map(drop)
    }
}

impl Kind {
    /// As the schema numbers them.
    const fn number(self) -> i64 {
        match self {
            Self::Voided => 0,
            Self::Final => 1,
            Self::Estimated => 2,
            Self::Derived => 3,
        }
    }
}
