//! Reads of one thing that are the same, within a moment: whoever polls an analysis from three places costs the window one
//! request and not three. What a team has written since is never hidden from it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
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
}

impl Read {
    /// The read that a call is; nothing where it is none, or one of a whole list.
    pub(super) fn of(judged: &Judged) -> Option<Self> {
        (judged.target.route.row().is_read() && judged.target.id.is_some()).then(|| Self {
            team: Arc::clone(&judged.caller.who.team),
            method: judged.head.method.clone(),
            target: judged.target.upstream_path(),
            accept: judged.head.headers.get(header::ACCEPT).cloned(),
        })
    }
}

/// Reads of the last moment.
#[derive(Default)]
pub(super) struct Reads {
    /// Whether there are any: looked at by every call that writes.
    any: AtomicBool,
    known: Mutex<HashMap<Read, (Instant, Arc<Recording>)>>,
}

impl Reads {
    fn known(&self) -> MutexGuard<'_, HashMap<Read, (Instant, Arc<Recording>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer of a read that was made a moment ago, or one that is made now.
    pub(super) fn share(
        &self,
        read: Read,
        now: Instant,
        make: impl FnOnce() -> Arc<Recording>,
    ) -> (Arc<Recording>, bool) {
        let mut known = self.known();
        let is_young = |began: Instant| now < began + SHARED;
        if let Some((began, recording)) = known.get(&read)
            && is_young(*began)
            && recording.standing() != Standing::Lost
            // Whoever tries again wants to know whether it is over.
            && !recording.has_failed()
        {
            return (Arc::clone(recording), true);
        }
        known.retain(|_, (began, _)| is_young(*began));
        let recording = make();
        known.insert(read, (now, Arc::clone(&recording)));
        self.any.store(true, Ordering::Release);
        (recording, false)
    }

    /// A team writes something, or has: what it read before may be another by now.
    pub(super) fn forget(&self, team: &str) {
        if self.any.load(Ordering::Acquire) {
            let mut known = self.known();
            known.retain(|read, _| *read.team != *team);
            self.any.store(!known.is_empty(), Ordering::Release);
        }
    }

    /// Forgets those whose moment is over.
    pub(super) fn sweep(&self, now: Instant) {
        if self.any.load(Ordering::Acquire) {
            let mut known = self.known();
            known.retain(|_, (began, _)| now < *began + SHARED);
            self.any.store(!known.is_empty(), Ordering::Release);
        }
    }
}
