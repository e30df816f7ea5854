//! What is written beside the books: what copies would have cost, how long calls have waited, and which asked in vain, or for
//! nothing.

use rusqlite::params;

use super::merge::Merge;
use super::names::Named;
use crate::ledger::entry::{AskEntry, SavingEntry, WaitEntry};
use crate::ledger::past::KEPT_MINUTES;

impl Merge<'_, '_> {
    /// Adds what copies would have cost.
    pub(super) fn saved(&mut self, saving: &SavingEntry<'_>) -> rusqlite::Result<()> {
        let team = self.number(Named::Team, saving.team)?;
        let key = self.number(Named::Key, saving.key_id)?;
        let route = self.number(Named::Route, saving.route)?;
        self.change
            .prepare_cached(
                "INSERT INTO savings VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET copies = copies + excluded.copies, credits = credits + excluded.credits",
            )?
            .execute(params![saving.day, team, key, route, saving.copies, saving.credits])
            .map(drop)
    }

    /// Notes how long a call has waited.
    pub(super) fn waited(&self, WaitEntry { call, queued }: WaitEntry) -> rusqlite::Result<()> {
        let sql = "INSERT INTO waits VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.change.prepare_cached(sql)?.execute([call, queued]).map(drop)
    }

    /// Counts calls that have asked, and forgets what is too old to be of use to anybody.
    pub(super) fn asked(&mut self, asks: &AskEntry<'_>) -> rusqlite::Result<()> {
        let team = self.number(Named::Team, asks.team)?;
        let route = self.number(Named::Route, asks.route)?;
        let code = self.number(Named::Reason, asks.code)?;
        let first = asks.minute.saturating_sub(KEPT_MINUTES);
        self.change.prepare_cached("DELETE FROM asks WHERE minute < ?1")?.execute([first])?;
        self.change
            .prepare_cached(
                "INSERT INTO asks VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET count = count + excluded.count, seconds = seconds | excluded.seconds",
            )?
            .execute(params![asks.minute, team, route, code, asks.count, asks.seconds])
            .map(drop)
    }
}
