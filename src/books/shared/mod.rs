//! The home of a desk that several gateways have in common: its state is what was said at it, in one order, a row for each turn
//! of a gateway's. Whoever takes a turn has a lock on the ledger, takes up the turns that it has not seen, says its own, and is
//! done when that is committed: so each has the same desk in memory, from which everything is read.
//!
//! A gateway has one turn under way; what comes meanwhile is said in the next. Nothing is told before it is committed.

pub(super) mod queue;
mod health;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use self::health::{Health, Replica};
use self::queue::{Pending, Queue};
use super::calls::Booking;
use super::limits::Limits;
use super::state::Told;
use super::step::Step;
use crate::desk::{Ask, Desk, Moment, Settings, Tick, Ticket};
use crate::ledger::{Aside, CallId, Command, Ledger, NewEnding, NewHold, Note, Receipt, Retry};

/// How long what is given may be used, by the gateway's own clock, reckoned from before it was asked for: half of the shortest
/// lease, so that one that is given up as lost has nothing left to use.
pub(super) const GRACE_OF_A_GRANT: Duration = crate::desk::GRACE;
/// Calls that have come to nothing and are remembered.
const NOTHING: usize = 1024;
/// How long whoever waits for the ledger to be written at the end waits at most.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What gateways say to each other.
#[derive(Debug)]
pub struct Shared {
    pub(super) queue: Queue,
    /// How the desk's time goes beside the process's.
    pub(super) time: Time,
    /// Which gateway this is, until it is lost.
    pub(super) id: AtomicU32,
    settings: Mutex<Settings>,
    /// How long a key names a call.
    keep: Mutex<Duration>,
    /// Calls that have come to nothing, by their keys, for those that are made again.
    nothing: Mutex<HashMap<[u8; 32], CallId>>,
    pub(super) health: Health,
    /// The last turn was taken.
    pub(super) over: Notify,
}

/// The desk's time by the process's own clock: the database's, reckoned from before it was asked for, so that nothing that is
/// given is good for longer than it is given for.
#[derive(Debug, Default)]
pub(super) struct Time {
    /// Microseconds that the desk's time is ahead, at the most.
    ahead: AtomicI64,
    /// And at the least.
    surely: AtomicI64,
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn shifted(time: Duration, by: i64) -> Duration {
    Duration::from_micros(micros(time).saturating_add(by).max(0).unsigned_abs())
}

impl Time {
    /// It was this at some moment between when it was asked for and when it was told.
    pub(super) fn set(&self, moment: Moment, (asked, told): (Duration, Duration)) {
        self.ahead.store(micros(moment) - micros(asked), Ordering::Relaxed);
        self.surely.store(micros(moment) - micros(told), Ordering::Relaxed);
    }

    /// What it is at the least: what has left by then has left.
    pub(super) fn surely(&self, since_origin: Duration) -> Moment {
        shifted(since_origin, self.surely.load(Ordering::Relaxed))
    }

    pub(super) fn moment(&self, since_origin: Duration) -> Moment {
        shifted(since_origin, self.ahead.load(Ordering::Relaxed))
    }

    pub(super) fn since_origin(&self, moment: Moment) -> Duration {
        shifted(moment, -self.ahead.load(Ordering::Relaxed))
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, keep: Duration, health: Health) -> Self {
        Self {
            queue: Queue::default(),
            time: Time::default(),
            id: AtomicU32::new(0),
            settings: Mutex::new(settings),
            keep: Mutex::new(keep),
            nothing: Mutex::default(),
            health,
            over: Notify::new(),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    pub(super) fn settings(&self) -> Settings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other settings from the next turn on, and how long a key names a call.
    pub(super) fn set(&self, settings: Settings, keep: Duration) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        *self.keep.lock().unwrap_or_else(PoisonError::into_inner) = keep;
    }

    /// Says something that nobody waits for.
    pub(super) fn say(&self, step: Step) {
        self.queue.push(Pending::Step(step));
    }

    /// What is booked of a call that is about to ask.
    pub(super) fn booking(&self, request_id: &str, retry: Option<Retry>, limits: Option<Limits>) -> Booking {
        let keep = *self.keep.lock().unwrap_or_else(PoisonError::into_inner);
        let after = retry
            .and_then(|retry| self.nothing.lock().unwrap_or_else(PoisonError::into_inner).remove(&retry.key));
        // Until then from when it is said, which is not yet: a moment more.
        Booking { request_id: request_id.into(), retry, kept: keep, after, limits }
    }

    /// A call asks; it is told when a turn has said it.
    pub(super) fn ask(
        &self,
        ask: Ask,
        came: Option<(Ticket, Moment)>,
        booking: Booking,
    ) -> oneshot::Receiver<Told> {
        let (told, waits) = oneshot::channel();
        self.queue.push_urgent(Pending::Ask { ask: Box::new(ask), came, booking, told });
        waits
    }

    /// A call of another gateway's has come to nothing, as the ledger says by now: the next of its key is made.
    pub(super) fn comes_to_nothing(&self, key: [u8; 32], call: CallId) {
        let mut nothing = self.nothing.lock().unwrap_or_else(PoisonError::into_inner);
        // Of calls that were refused before they asked the desk something stays.
        if nothing.len() >= NOTHING {
            nothing.clear();
        }
        nothing.insert(key, call);
    }

    /// A call that asked, or waits, has left.
    pub(super) fn left(&self) {
        self.queue.hurry();
    }

    /// A place for a request of the gateway's own, if nobody waits for it.
    pub(super) async fn spare_place(&self) -> Option<(Tick, Option<Instant>)> {
        let (told, waits) = oneshot::channel();
        self.queue.push_urgent(Pending::Spare(told));
        waits.await.ok().flatten()
    }

    /// Returns when all that was said by any gateway before this is known here; or at once where the ledger is away.
    pub(super) async fn catch_up(&self) {
        let (told, waits) = oneshot::channel();
        self.queue.push_urgent(Pending::CaughtUp(told));
        // Whoever tells it goes only where nothing can be known.
        let _ = waits.await;
    }

    /// Calls that wait here, of the teams that `whom` says: they are told so by whoever asks, and have left in the next turn.
    pub(super) fn dismiss(
        &self,
        desk: &Desk,
        whom: impl Fn(&str) -> bool,
    ) -> Vec<(Arc<str>, Ticket, Moment)> {
        let own = desk.waiting_at(self.id()).into_iter().filter(|(team, _)| whom(team));
        let now = Moment::MAX;
        let dismissed = own.map(|(team, ticket)| (team, ticket, now)).collect();
        self.queue.hurry();
        dismissed
    }

    /// Returns when all that was said is written, and the gateway has gone; or when it has been waited for long enough: then it
    /// is kept on disk.
    pub(super) async fn finish(&self) {
        self.queue.finish();
        if !self.queue.is_over() {
            let _ = tokio::time::timeout(LAST_WAIT, self.over.notified()).await;
        }
    }

    /// Whether this gateway is the first of those that run: what one of them has to do is its.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.health.is_first(self.id())
    }

    /// How the gateways of the ledger do.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }
}

/// Where what is booked goes: with the next turn.
#[derive(Debug)]
pub(super) struct SharedLedger(pub(super) Arc<Shared>);

impl SharedLedger {
    fn push(&self, command: Command) {
        self.0.queue.push(Pending::Entry(Box::new(command)));
    }
}

impl Ledger for SharedLedger {
    /// It was written in the turn that gave it.
    fn hold(&self, _: NewHold) -> Receipt {
        Receipt::Written
    }

    fn end(&self, ending: NewEnding) {
        self.push(Command::End(ending));
    }

    fn aside(&self, aside: Aside) {
        self.push(Command::Aside(aside));
    }

    fn note(&self, note: Note) {
        if let Note::Made(made) = &note {
            let (thing, id, team) = (made.thing, made.id.clone(), Arc::clone(&made.team));
            self.0.say(Step::Made { thing, id, team });
        }
        self.push(note.into());
    }

    /// Everything is written by the task that takes turns: see [`super::keeper::Keeper::finish`].
    fn flush(&self) {}
}
