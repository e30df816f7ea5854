//! One issuer: its terms, the key set that is known of it, and when that is to be fetched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Keys;
use super::counts::Counts;
use crate::config::identity::Tokens;
use crate::outbound::origin::Origin;
use crate::token::KeySet;

/// How long a set is used after its last fetch.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How often, at most, it is fetched because a token names a key that is not in it.
const ASKED_EVERY: Duration = Duration::from_secs(30);
/// How soon it is fetched again where that failed; and where none is known at all.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_WITHOUT: Duration = Duration::from_secs(5);
/// How often a set is fetched, whatever its issuer says of its age: often enough that a fetch that fails leaves half a day.
const FRESH: std::ops::RangeInclusive<Duration> = Duration::from_mins(5)..=Duration::from_hours(12);

/// An issuer at work.
#[derive(Debug)]
pub struct Issuer {
    pub(super) name: String,
    pub(super) tokens: Tokens,
    /// Where keys are fetched; nothing where they stand in a file.
    pub(super) origin: Option<Arc<Origin>>,
    /// Those that stand in a file: of this configuration, and of no other.
    of_file: Option<Arc<Current>>,
    /// Which roots are trusted there.
    roots: Option<[u8; 32]>,
    asked: Arc<Notify>,
    pub(super) counts: Counts,
    shared: Arc<Shared>,
}

/// What goes on from one configuration to the next.
#[derive(Debug)]
struct Shared {
    current: ArcSwapOption<Current>,
    schedule: Mutex<Schedule>,
    /// Told of the end of every fetch.
    ended: watch::Sender<()>,
}

/// A key set that is known.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) keys: KeySet,
    /// Another for each other set: what a token was found to be under one is asked again under the next.
    pub(crate) generation: u64,
    /// When it was fetched; nothing where it stands in a file.
    fetched: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Schedule {
    /// Nothing before the first fetch.
    due: Option<Instant>,
    running: bool,
    wanted: bool,
    last_asked: Option<Instant>,
    failing: bool,
}

impl Issuer {
    pub(super) fn new(
        name: &str,
        tokens: &Tokens,
        keys: Keys,
        before: Option<&Arc<Self>>,
        asked: &Arc<Notify>,
        counts: &Counts,
    ) -> Self {
        let (origin, of_file, roots) = match keys {
            Keys::At(origin, roots) => (Some(origin), None, roots),
            Keys::Known(keys) => (None, Some(Arc::new(Current { keys, generation: 0, fetched: None })), None),
        };
        // A set that was fetched from elsewhere, or where others were trusted, says nothing of this one.
        let is_same = |before: &&Arc<Self>| {
            before.tokens.keys == tokens.keys
                && before.tokens.terms.issuer == tokens.terms.issuer
                && before.tokens.ca_file == tokens.ca_file
                && before.tokens.token_file == tokens.token_file
                && before.roots == roots
        };
        let shared = before.filter(is_same).map(|before| Arc::clone(&before.shared));
        let shared = shared.unwrap_or_else(|| {
            let (current, schedule) = (ArcSwapOption::empty(), Mutex::default());
            Arc::new(Shared { current, schedule, ended: watch::Sender::new(()) })
        });
        let (name, tokens) = (name.to_owned(), tokens.clone());
        Self {
            name,
            tokens,
            origin,
            of_file,
            roots,
            asked: Arc::clone(asked),
            counts: counts.clone(),
            shared,
        }
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its tokens must be.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The key set to go by, unless there is none, or it is too old.
    pub(crate) fn current(&self, now: Timestamp) -> Option<Arc<Current>> {
        if let Some(of_file) = &self.of_file {
            return Some(Arc::clone(of_file));
        }
        let current = self.shared.current.load_full()?;
        current.fetched.is_none_or(|at| now.duration_since(at) < KEPT).then_some(current)
    }

    /// How old its key set is, if one was ever fetched.
    pub(crate) fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        let current = self.shared.current.load();
        Some(now.duration_since(current.as_ref()?.fetched?))
    }

    /// Has the key set fetched, for a token names a key that is not in it, or there is none: what tells the end of that. Nothing
    /// where that was done a moment ago, or cannot be.
    pub(crate) fn fetch_now(&self, now: Instant) -> Option<watch::Receiver<()>> {
        self.origin.as_ref()?;
        let mut schedule = self.schedule();
        // Before the lock is let go: the end of a fetch that runs is not missed.
        let ended = self.shared.ended.subscribe();
        if !schedule.running && !schedule.wanted {
            if schedule.last_asked.is_some_and(|last| now < last + ASKED_EVERY) {
                return None;
            }
            (schedule.wanted, schedule.last_asked) = (true, Some(now));
            self.asked.notify_one();
        }
        Some(ended)
    }

    /// Whether it is to be fetched now, by whoever asks.
    pub(super) fn begins(&self, now: Instant) -> bool {
        if self.origin.is_none() {
            return false;
        }
        let mut schedule = self.schedule();
        let is_due = schedule.wanted || schedule.due.is_none_or(|due| due <= now);
        if !is_due || schedule.running {
            return false;
        }
        (schedule.running, schedule.wanted) = (true, false);
        true
    }

    /// When it is to be fetched next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule().due.filter(|_| self.origin.is_some())
    }

    /// A fetch has ended, with a set and how long that is good, or why there is none.
    pub(super) fn fetched(&self, set: Result<(KeySet, Duration), String>, now: Instant, wall: Timestamp) {
        self.counts.fetched(&self.name, set.is_ok());
        let mut schedule = self.schedule();
        schedule.running = false;
        let was_failing = std::mem::replace(&mut schedule.failing, set.is_err());
        let (issuer, url) = (&self.name, &self.tokens.terms.issuer);
        schedule.due = Some(match set {
            Ok((keys, good_for)) => {
                if was_failing {
                    tracing::info!(identity = issuer, "its key set can be fetched again");
                }
                self.shared.take_up(keys, wall);
                now + good_for.mul_f64(0.75).clamp(*FRESH.start(), *FRESH.end())
            }
            Err(error) => {
                let known = self.shared.current.load();
                if !was_failing {
                    let without =
                        if known.is_some() { "the last one is used for 24 hours" } else { "none is known" };
                    tracing::warn!(
                        identity = issuer,
                        issuer = url,
                        error,
                        "cannot fetch a key set; {without}"
                    );
                }
                now + if known.is_some() { AGAIN } else { AGAIN_WITHOUT }
            }
        });
        drop(schedule);
        let _ = self.shared.ended.send(());
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn take_up(&self, keys: KeySet, fetched: Timestamp) {
        let before = self.current.load();
        let generation = match &*before {
            Some(before) => before.generation + u64::from(before.keys != keys),
            None => 0,
        };
        self.current.store(Some(Arc::new(Current { keys, generation, fetched: Some(fetched) })));
    }
}
