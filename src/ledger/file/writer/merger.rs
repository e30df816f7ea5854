//! The other thread: the database, filled from what is in the journal.

use std::sync::PoisonError;
use std::time::Duration;

use super::state::State;
use super::{RETRY, Shared};
use crate::config::Durability;
use crate::ledger::entry::Entry;
use crate::ledger::error::LedgerError;
use crate::ledger::file::store::Store;
use crate::ledger::journal::{Position, Unmerged};

/// How long entries gather before they are merged into the database, and how many bytes of them are not waited for.
const GATHER: Duration = Duration::from_millis(250);
const ENOUGH: usize = 1 << 20;

impl Shared {
    /// The thread that fills the database.
    pub(super) fn merge(&self, mut store: Store) {
        let mut durable = Position::default();
        loop {
            let mut state = self.state();
            while state.unmerged.entries.is_empty() && !state.closing {
                state.merger_rests = true;
                state = self.written.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.merger_rests = false;
            let gathering = |state: &mut State| !state.closing && state.unmerged.entries.len() < ENOUGH;
            let waited = self.written.wait_timeout_while(state, GATHER, gathering);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let batch =
                Unmerged { entries: std::mem::take(&mut state.unmerged.entries), end: state.unmerged.end };
            state.merging = batch.entries.len();
            let closing = state.closing;
            drop(state);

            if !batch.entries.is_empty() {
                let entries: Vec<_> = Entry::read_all(&batch.entries).collect();
                // The first of a generation takes all of the one before to the disk, whose file may then be written over.
                let sync = self.durability == Durability::Fsync && batch.end.generation > durable.generation;
                self.merge_until_it_works(&mut store, &entries, batch.end, sync);
                if sync {
                    durable = batch.end;
                }
            }
            if closing {
                store.truncate_log();
            }
            let mut state = self.state();
            state.merging = 0;
            self.show_unmerged(&state);
            self.counts.set_closed(state.failing);
            if !batch.entries.is_empty() {
                state.merged = batch.end;
            }
            if closing && state.unmerged.entries.is_empty() {
                state.closing = false;
                self.done.notify_all();
            }
        }
    }

    /// Entries that the database does not take wait in the journal. If it is not the disk that keeps them, nothing more is
    /// spent on books that are wrong.
    fn merge_until_it_works(&self, store: &mut Store, entries: &[Entry<'_>], end: Position, sync: bool) {
        let mut failing = false;
        while let Err(error) = store.merge(entries, end, sync) {
            if !failing {
                failing = true;
                tracing::error!(%error, "the ledger's database cannot be written; entries wait in the journal");
            }
            self.counts.set_foreign(matches!(error, LedgerError::Unmergeable { .. }));
            std::thread::sleep(RETRY);
        }
        if failing {
            self.counts.set_foreign(false);
            tracing::info!("the ledger's database can be written again");
        }
    }
}
