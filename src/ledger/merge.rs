//! Entries into the database: many at a time, each call that has ended meanwhile as one row, each sum once.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use rusqlite::{Transaction, params};

use super::CallId;
use super::entry::{EndEntry, Entry, HoldEntry, Kind};
use super::journal::Position;
use super::store::{Store, StoreError, set_synchronous};

impl Store {
    /// Writes entries in their order, all of them or none, and that the journal is merged up to `merged`. Returns which
    /// were written: an ending whose hold was never written has nothing to end, and is left out.
    ///
    /// # Errors
    /// What SQLite says; nothing has been written then.
    pub fn write(
        &mut self,
        entries: &[Entry<'_>],
        merged: Option<Position>,
    ) -> Result<Vec<bool>, StoreError> {
        let path = &self.path;
        let mut write = || {
            let change = self.connection.transaction()?;
            let first: i64 =
                change.prepare_cached("SELECT last_seq FROM progress")?.query_row([], |row| row.get(0))?;
            let mut merge = Merge { change: &change, days: Days::default(), sums: BTreeMap::new() };
            let written = merge.all(entries, first)?;
            merge.add_sums()?;
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
            Ok(written)
        };
        write().map_err(|error| Self::failure(path, error))
    }

    /// Merges what the journal holds, and does not let one entry that can never be written keep the others from it: that is
    /// left out, with a word to the operator. With `durable`, returns when all of it is on the disk.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn merge(
        &mut self,
        entries: &[Entry<'_>],
        merged: Position,
        durable: bool,
    ) -> Result<(), StoreError> {
        set_synchronous(&self.connection, durable).map_err(|error| Self::failure(&self.path, error))?;
        match self.write(entries, Some(merged)) {
            Err(error) if error.is_of_one_entry() => {}
            written => return written.map(drop),
        }
        for entry in entries {
            match self.write(std::slice::from_ref(entry), None) {
                Err(error) if error.is_of_one_entry() => {
                    tracing::error!(%error, ?entry, "an entry cannot be written and is left out of the ledger");
                }
                written => drop(written?),
            }
        }
        self.write(&[], Some(merged)).map(drop)
    }
}

/// One transaction in the making.
struct Merge<'c, 'e> {
    change: &'c Transaction<'c>,
    days: Days,
    sums: BTreeMap<Sum<'e>, Added>,
}

/// Which sum an ending counts in: day, team, key, route, outcome.
type Sum<'e> =
    (String, std::borrow::Cow<'e, str>, std::borrow::Cow<'e, str>, std::borrow::Cow<'e, str>, &'e str);

#[derive(Default)]
struct Added {
    calls: i64,
    settled: i64,
    estimated: i64,
    input_tokens: i64,
    output_tokens: i64,
}

impl<'e> Merge<'_, 'e> {
    fn all(&mut self, entries: &'e [Entry<'_>], first: i64) -> rusqlite::Result<Vec<bool>> {
        let numbered = || (first + 1..).zip(entries);
        let mut ends: HashMap<CallId, (i64, &EndEntry<'_>)> = HashMap::with_capacity(entries.len() / 2);
        for (seq, entry) in numbered() {
            if let Entry::End(end) = entry {
                ends.entry(end.call).or_insert((seq, end));
            }
        }
        let mut ended_with = HashMap::with_capacity(entries.len() / 2);
        let mut written = Vec::with_capacity(entries.len());
        for (seq, entry) in numbered() {
            written.push(match entry {
                Entry::Hold(hold) => {
                    let end = ends.get(&hold.call).filter(|(end, _)| *end > seq).copied();
                    self.hold(seq, hold, end)?;
                    ended_with.insert(hold.call, end.map(|(end, _)| end));
                    true
                }
                // Written with its hold.
                Entry::End(end) if ended_with.get(&end.call) == Some(&Some(seq)) => true,
                Entry::End(end) => self.end(seq, end)?,
            });
        }
        Ok(written)
    }

    /// Writes a hold, with its ending where there is one already.
    fn hold(
        &mut self,
        seq: i64,
        hold: &'e HoldEntry<'_>,
        end: Option<(i64, &'e EndEntry<'_>)>,
    ) -> rusqlite::Result<()> {
        let day = self.days.text(hold.day());
        let (end_seq, end) = end.map_or((None, None), |(seq, end)| (Some(seq), Some(end)));
        self.change
            .prepare_cached(
                "INSERT INTO bookings (call, hold_seq, held_at, day, team, key_id, route, request_id, reserve, end_seq,
                   ended_at, kind, credits, basis, reason, outcome, response_id, input_tokens, output_tokens, sent_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            )?
            .execute(params![
                hold.call,
                seq,
                hold.at,
                day,
                hold.team,
                hold.key_id,
                hold.route,
                hold.request_id,
                hold.reserve,
                end_seq,
                end.map(|end| end.at),
                end.map(|end| end.kind.name()),
                end.map(|end| end.credits),
                end.and_then(|end| end.kind.basis()),
                end.and_then(|end| end.reason),
                end.map(|end| end.outcome),
                end.and_then(|end| end.response_id),
                end.and_then(|end| end.input_tokens),
                end.and_then(|end| end.output_tokens),
                end.and_then(|end| end.sent_at),
            ])?;
        if let Some(end) = end {
            let day = day.to_owned();
            self.count((day, hold.team.into(), hold.key_id.into(), hold.route.into(), end.outcome), end);
        }
        Ok(())
    }

    /// Writes the ending of a hold that stands in the database, if it is open.
    fn end(&mut self, seq: i64, end: &'e EndEntry<'_>) -> rusqlite::Result<bool> {
        let mut statement = self.change.prepare_cached(
            "UPDATE bookings SET end_seq = ?2, ended_at = ?3, kind = ?4, credits = ?5, basis = ?6, reason = ?7,
               outcome = ?8, response_id = ?9, input_tokens = ?10, output_tokens = ?11, sent_at = ?12
             WHERE call = ?1 AND end_seq IS NULL RETURNING day, team, key_id, route",
        )?;
        let mut rows = statement.query(params![
            end.call,
            seq,
            end.at,
            end.kind.name(),
            end.credits,
            end.kind.basis(),
            end.reason,
            end.outcome,
            end.response_id,
            end.input_tokens,
            end.output_tokens,
            end.sent_at,
        ])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let text = |at| row.get::<_, String>(at);
        let sum = (text(0)?, text(1)?.into(), text(2)?.into(), text(3)?.into(), end.outcome);
        drop(rows);
        drop(statement);
        self.count(sum, end);
        Ok(true)
    }

    fn count(&mut self, sum: Sum<'e>, end: &EndEntry<'_>) {
        let added = self.sums.entry(sum).or_default();
        added.calls += 1;
        match end.kind {
            Kind::Estimated => added.estimated += end.credits,
            Kind::Final | Kind::Voided => added.settled += end.credits,
        }
        added.input_tokens += end.input_tokens.unwrap_or(0);
        added.output_tokens += end.output_tokens.unwrap_or(0);
    }

    fn add_sums(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.change.prepare_cached(
            "INSERT INTO day_sums (day, team, key_id, route, outcome, calls, final, estimated, input_tokens, output_tokens)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, final = final + excluded.final,
               estimated = estimated + excluded.estimated, input_tokens = input_tokens + excluded.input_tokens,
               output_tokens = output_tokens + excluded.output_tokens",
        )?;
        for ((day, team, key_id, route, outcome), added) in &self.sums {
            statement.execute(params![
                day,
                team,
                key_id,
                route,
                outcome,
                added.calls,
                added.settled,
                added.estimated,
                added.input_tokens,
                added.output_tokens
            ])?;
        }
        Ok(())
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Final | Self::Estimated => "settled",
            Self::Voided => "voided",
        }
    }

    const fn basis(self) -> Option<&'static str> {
        match self {
            Self::Final => Some("final"),
            Self::Estimated => Some("estimated"),
            Self::Voided => None,
        }
    }
}

/// Days as the database writes them; the last is kept, because most entries of a batch are of one.
#[derive(Default)]
struct Days(Option<(Date, String)>);

impl Days {
    fn text(&mut self, day: Date) -> &str {
        if self.0.as_ref().is_none_or(|(last, _)| *last != day) {
            self.0 = Some((day, day.to_string()));
        }
        self.0.as_ref().map_or("", |(_, text)| text)
    }
}
