//! Reads of one thing that are the same, within a moment: whoever polls an analysis from three places costs the window one
//! request and not three. What a team has written since is never hidden from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method, header};
use tokio::time::Instant;

use super::recording::{Recording, Standing};
use crate::admit::body::Judged;

/// How long after its beginning a read is shared.
const SHARED: Duration = Duration::from_secs(2);

/// What two reads have in common that are the same. They are one team's: what one is refused is no other team's to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Read {
    team: Arc<str>,
    method: Method,
    target: String,
    accept: Option<HeaderValue>,
    /// What the team has written is in one of them, or may be, and not in the other.
    changes: u64,
}

impl Read {
    /// The read that a call is; nothing where it is none, or one of a whole list.
    pub(super) fn of(judged: &Judged) -> Option<Self> {
        (judged.target.route.row().is_read() && judged.target.id.is_some()).then(|| Self {
            team: Arc::clone(&judged.caller.who.team),
            method: judged.head.method.clone(),
            target: judged.target.upstream_path(),
            accept: judged.head.headers.get(header::ACCEPT).cloned(),
            changes: judged.caller.team.in_flight.changes(),
        })
    }
}

/// Reads of the last moment.
#[derive(Default)]
pub(super) struct Reads(Mutex<HashMap<Read, (Instant, Arc<Recording>)>>);

fn is_young(began: Instant, now: Instant) -> bool {
    now < began + SHARED
}

impl Reads {
    fn known(&self) -> MutexGuard<'_, HashMap<Read, (Instant, Arc<Recording>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer of a read that was made a moment ago, or one that is made now.
    pub(super) fn share(
        &self,
        read: Read,
        now: Instant,
        make: impl FnOnce() -> Arc<Recording>,
    ) -> (Arc<Recording>, bool) {
        let mut known = self.known();
        if let Some((began, recording)) = known.get(&read)
            && is_young(*began, now)
            && recording.standing() != Standing::Lost
            // Whoever tries again wants to know whether it is over.
            && !recording.has_failed()
        {
            return (Arc::clone(recording), true);
        }
        known.retain(|_, (began, _)| is_young(*began, now));
        let recording = make();
        known.insert(read, (now, Arc::clone(&recording)));
        (recording, false)
    }

    /// Forgets those whose moment is over.
    pub(super) fn sweep(&self, now: Instant) {
        self.known().retain(|_, (began, _)| is_young(*began, now));
    }
}
