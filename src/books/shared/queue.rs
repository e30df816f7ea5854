//! What is to be said in the next turn, in the order in which it came.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::books::calls::Booking;
use crate::books::state::Told;
use crate::books::step::{Ended, Step};
use crate::desk::{Ask, Moment, Tick, Ticket};
use crate::ledger::Command;
use crate::ledger::entry::Entry;
use crate::refuse::Refusal;

/// A place for a request of the gateway's own, and until when it may be used.
pub(in crate::books) type Spare = Option<(Tick, Option<Instant>)>;

/// An ending that was kept on disk, by a process that could not book it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::books) struct KeptEnding {
    pub(in crate::books) ended: Ended,
    /// What is booked of it, and of what it began.
    pub(in crate::books) entries: Vec<u8>,
    /// What is said of it before it is said to have ended.
    pub(in crate::books) before: Vec<Step>,
}

/// All that is said at the end of a call.
#[derive(Debug)]
pub(in crate::books) struct Group {
    /// What is booked, in order.
    pub(in crate::books) commands: Vec<Command>,
    /// What is said before it is said to have ended.
    pub(in crate::books) before: Vec<Step>,
    /// That it has.
    pub(in crate::books) ended: Ended,
}

impl Group {
    /// As it is kept on disk.
    pub(in crate::books) fn kept(&self) -> KeptEnding {
        let mut entries = Vec::new();
        self.commands.iter().map(Entry::from).for_each(|entry| entry.write(&mut entries));
        KeptEnding { ended: self.ended.clone(), entries, before: self.before.clone() }
    }
}

/// One thing to be said.
#[derive(Debug)]
pub(in crate::books) enum Pending {
    /// A call asks.
    Ask { ask: Box<Ask>, came: Option<(Ticket, Moment)>, booking: Booking, told: oneshot::Sender<Told> },
    /// A place for a request of the gateway's own.
    Spare(oneshot::Sender<Spare>),
    /// Anything else.
    Step(Step),
    /// Something is to be booked.
    Entry(Box<Command>),
    /// All that is said at the end of a call: in one turn, or in none.
    Ending(Box<Group>),
    /// An ending that an earlier process could not book.
    Kept(Box<KeptEnding>),
    /// All that is in a file was in front of this.
    Booked(PathBuf),
    /// Somebody waits until all that was said by anybody until now is known here.
    CaughtUp(oneshot::Sender<()>),
}

/// All of it.
#[derive(Debug, Default)]
pub(in crate::books) struct Queue {
    state: Mutex<State>,
    pub(in crate::books) changed: Notify,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own reader")]
struct State {
    pending: VecDeque<Pending>,
    /// Somebody waits for something among it.
    is_urgent: bool,
    /// The database cannot be reached: calls that ask are refused.
    is_away: bool,
    /// The gateway goes: no more turns than are needed.
    is_finishing: bool,
    /// No turn is taken any more.
    is_over: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody waits for what becomes of this.
    pub(in crate::books) fn push_urgent(&self, pending: Pending) {
        let mut state = self.state();
        if state.is_away || state.is_over {
            drop(state);
            refuse(pending);
            return;
        }
        state.pending.push_back(pending);
        state.is_urgent = true;
        drop(state);
        self.changed.notify_one();
    }

    /// Nobody waits for it.
    pub(in crate::books) fn push(&self, pending: Pending) {
        let mut state = self.state();
        state.pending.push_back(pending);
        let is_first = state.pending.len() == 1;
        drop(state);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// What waits here is to be said soon: somebody elsewhere waits for what it frees.
    pub(in crate::books) fn hurry(&self) {
        self.state().is_urgent = true;
        self.changed.notify_one();
    }

    /// Whether anything is to be said, and whether at once.
    pub(in crate::books) fn stands(&self) -> (bool, bool) {
        let state = self.state();
        (!state.pending.is_empty(), state.is_urgent)
    }

    /// Takes what is to be said now, so many at most.
    pub(in crate::books) fn take(&self, most: usize) -> Vec<Pending> {
        let mut state = self.state();
        let count = state.pending.len().min(most);
        let taken = state.pending.drain(..count).collect();
        state.is_urgent = !state.pending.is_empty();
        taken
    }

    /// What could not be said goes back in front.
    pub(in crate::books) fn put_back(&self, pending: Vec<Pending>) {
        let mut state = self.state();
        for pending in pending.into_iter().rev() {
            state.pending.push_front(pending);
        }
    }

    /// Whether the database cannot be reached: from then on whoever asks is refused, and who waits for an answer is, too.
    pub(in crate::books) fn set_away(&self, is_away: bool) {
        let mut state = self.state();
        state.is_away = is_away;
        if is_away {
            // Nobody waits for what is left.
            state.is_urgent = false;
            let (asking, other): (VecDeque<_>, VecDeque<_>) = state.pending.drain(..).partition(asks);
            state.pending = other;
            drop(state);
            asking.into_iter().for_each(refuse);
        }
    }

    /// The gateway goes, once all that was said is written.
    pub(in crate::books) fn finish(&self) {
        self.state().is_finishing = true;
        self.changed.notify_one();
    }

    /// Whether it goes, and whether all is written by that.
    pub(in crate::books) fn finishes(&self) -> (bool, bool) {
        let state = self.state();
        (state.is_finishing, state.is_finishing && state.pending.is_empty())
    }

    /// Whether no turn is taken any more.
    pub(in crate::books) fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// No turn is taken any more.
    pub(in crate::books) fn end(&self) {
        self.state().is_over = true;
        self.set_away(true);
    }

    /// What waits here, looked at.
    pub(in crate::books) fn look<T>(&self, look: impl FnOnce(&VecDeque<Pending>) -> T) -> T {
        look(&self.state().pending)
    }
}

fn asks(pending: &Pending) -> bool {
    matches!(pending, Pending::Ask { .. } | Pending::Spare(_) | Pending::CaughtUp(_))
}

/// Tells whoever waits that nothing can be said.
fn refuse(pending: Pending) {
    match pending {
        Pending::Ask { told, .. } => drop(told.send(Err(Refusal::LedgerUnavailable))),
        Pending::Spare(told) => drop(told.send(None)),
        // Dropped with it; nobody waits for the others.
        _ => {}
    }
}
