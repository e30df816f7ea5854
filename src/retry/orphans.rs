//! Calls without a key whose caller has left before it had anything of their answer: what the retry of an SDK takes over.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::recording::{Recording, Standing};
use crate::ledger::Fate;

/// How long an answer that nobody has received waits for its caller: longer than SDKs wait between two attempts.
const PATIENCE: Duration = Duration::from_mins(2);

/// Calls that nobody waits for, by a digest of who made them and what they ask.
#[derive(Default)]
pub(super) struct Orphans(HashMap<[u8; 32], VecDeque<Arc<Recording>>>);

impl Orphans {
    /// A call whose caller has left.
    pub(super) fn leave(&mut self, like: [u8; 32], recording: Arc<Recording>) {
        self.0.entry(like).or_default().push_back(recording);
    }

    /// The one that has waited longest. It is nobody else's from now on: two calls that are the same on purpose are two.
    pub(super) fn take(&mut self, like: [u8; 32], now: Instant) -> Option<Arc<Recording>> {
        let waiting = self.0.get_mut(&like)?;
        let taken = std::iter::from_fn(|| waiting.pop_front()).find(|recording| is_there(recording, now));
        if waiting.is_empty() {
            self.0.remove(&like);
        }
        taken
    }

    /// Forgets those that nobody has come back for.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, waiting| {
            waiting.retain(|recording| is_there(recording, now));
            !waiting.is_empty()
        });
    }
}

/// Whether a call goes on, or was answered a short while ago.
fn is_there(recording: &Recording, now: Instant) -> bool {
    let failed = recording.course().over().is_some_and(|end| end.fate != Fate::Answered);
    !failed
        && match recording.standing() {
            Standing::Going => true,
            Standing::Whole(since) => now.saturating_duration_since(since) < PATIENCE,
            Standing::Lost => false,
        }
}
