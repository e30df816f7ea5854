//! The course of a call that may be made again: what its record finds out and its copies have to know, while it goes on and
//! when it has ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::head::RequestId;
use crate::ledger::{CallId, Fate, Retry};
use crate::meter::{Reading, Usage};

/// How a call stands to others that are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is the first, and was made.
    Executed,
    /// It was given the answer of one under way.
    Joined(RequestId),
    /// It was given the answer of one that had ended.
    Replayed(RequestId),
    /// It was given the answer that the caller of another had not waited for.
    Adopted(RequestId),
    /// It is not the same as the one that has its key.
    Reused,
    /// It is the same as one under way, whose answer cannot be had.
    InProgress,
    /// It is the same as one that was answered, whose answer is not kept.
    Gone,
    /// It is the same as one of which nobody knows what it came to.
    Unknown,
    /// It is a read, and was given the answer of one that was made a moment before.
    Shared(RequestId),
}

impl Repeat {
    /// All labels, in the order of [`Repeat::index`].
    pub const LABELS: [&'static str; 9] =
        ["executed", "joined", "replayed", "adopted", "reused", "in_progress", "gone", "unknown", "shared"];

    /// Its place among all.
    #[must_use]
    pub const fn index(&self) -> usize {
        match self {
            Self::Executed => 0,
            Self::Joined(_) => 1,
            Self::Replayed(_) => 2,
            Self::Adopted(_) => 3,
            Self::Reused => 4,
            Self::InProgress => 5,
            Self::Gone => 6,
            Self::Unknown => 7,
            Self::Shared(_) => 8,
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// The request whose answer it was given.
    #[must_use]
    pub fn original(&self) -> Option<&str> {
        match self {
            Self::Joined(id) | Self::Replayed(id) | Self::Adopted(id) | Self::Shared(id) => Some(id.as_str()),
            _ => None,
        }
    }
}

/// The course of a call.
#[derive(Debug)]
pub struct Course {
    /// What tells its retries from other calls, where its caller has named it.
    pub retry: Option<Retry>,
    /// The id that its caller was told.
    id: RequestId,
    sent: AtomicBool,
    left: AtomicBool,
    over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    call: Option<CallId>,
    /// Copies that have its answer, before its cost is known.
    copies: u32,
    end: Option<End>,
}

/// What a call has come to.
#[derive(Clone, Debug)]
pub struct End {
    /// For whoever makes it again.
    pub fate: Fate,
    /// What the answer said of itself.
    pub reading: Reading,
}

impl Course {
    /// Of a call that begins.
    #[must_use]
    pub fn new(retry: Option<Retry>, id: RequestId) -> Self {
        let [sent, left, over] = [false; 3].map(AtomicBool::new);
        Self { retry, id, sent, left, over, state: Mutex::default() }
    }

    /// Of a call that was answered, and paid for, before.
    #[must_use]
    pub fn answered(retry: Retry, id: RequestId, call: CallId, reading: &Reading) -> Self {
        let course = Self::new(Some(retry), id);
        course.held(call);
        course.end(Fate::Answered, reading);
        course
    }

    /// The id that its caller was told.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// It has a number in the ledger.
    pub(super) fn held(&self, call: CallId) {
        self.state().call = Some(call);
    }

    /// Its number in the ledger.
    #[must_use]
    pub fn call(&self) -> Option<CallId> {
        self.state().call
    }

    /// Whether it may have reached the upstream.
    pub(super) fn sent(&self, sent: bool) {
        self.sent.store(sent, Ordering::Release);
    }

    /// Whether it may have reached the upstream.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    /// Its own caller has left.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// A copy is given its answer. Returns what was read of it if that is known already; else the copy is counted when it is.
    pub fn copied(&self) -> Option<Usage> {
        let mut state = self.state();
        let known = state.end.as_ref().map(|end| end.reading.usage);
        if known.is_none() {
            state.copies += 1;
        }
        known
    }

    /// It has come to this. Returns how many copies have its answer.
    pub(super) fn end(&self, fate: Fate, reading: &Reading) -> u32 {
        let mut state = self.state();
        state.end = Some(End { fate, reading: reading.clone() });
        self.over.store(true, Ordering::Release);
        state.copies
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What it has come to, if it has.
    #[must_use]
    pub fn over(&self) -> Option<End> {
        if self.is_over() { self.state().end.clone() } else { None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
