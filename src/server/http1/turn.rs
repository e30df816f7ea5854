//! Whose turn it is on an HTTP/1.1 connection, as what serves its requests tells what reads and writes its bytes. hyper
//! keeps this to itself, and without it an end of input cannot be read: in a request it is a break, between two it is the
//! end, and behind a whole request it says only that no other will follow (RFC 9112 §9.6).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A request is being served.
const SERVED: u8 = 1;
/// It was read to its end.
const WHOLE: u8 = 2;
/// Its answer has begun.
const ANSWERED: u8 = 4;
/// The answer has no end but the connection's.
const UNFRAMED: u8 = 8;
/// The caller does not know informational answers (RFC 9110 §15.2).
const OLD: u8 = 16;
/// The answer is over, and not all of it was written.
const UNFLUSHED: u8 = 64;
/// The caller closes its connection as a whole when it leaves, and never its own side alone.
const CLOSES_WHOLE: u8 = 128;
/// What is left of a request's body, of which the answer is over, is being read.
const REST: u8 = 32;

/// Whose turn it is. Clones are one.
#[derive(Clone, Debug)]
pub(in crate::server) struct Turn(Arc<State>);

#[derive(Debug)]
struct State {
    bits: AtomicU8,
    /// Heads that were read.
    requests: AtomicU64,
}

impl Default for Turn {
    /// The caller's, with nothing left unread.
    fn default() -> Self {
        Self(Arc::new(State { bits: AtomicU8::new(WHOLE), requests: AtomicU64::new(0) }))
    }
}

impl Turn {
    fn is(&self, bits: u8) -> bool {
        self.0.bits.load(Ordering::Relaxed) & bits == bits
    }

    fn set(&self, bits: u8) {
        self.0.bits.fetch_or(bits, Ordering::Relaxed);
    }

    fn clear(&self, bits: u8) {
        self.0.bits.fetch_and(!bits, Ordering::Relaxed);
    }

    /// A request's head was read.
    pub(super) fn begin(&self, is_old: bool, closes_whole: bool) {
        let old = if is_old { OLD } else { 0 };
        let closes_whole = if closes_whole { CLOSES_WHOLE } else { 0 };
        self.0.bits.store(SERVED | old | closes_whole, Ordering::Relaxed);
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many heads were read.
    pub(super) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Its body was read to its end.
    pub(super) fn whole(&self) {
        self.set(WHOLE);
    }

    /// Its answer begins; `framed` if it says where it ends.
    pub(super) fn answered(&self, framed: bool) {
        self.set(ANSWERED | if framed { 0 } else { UNFRAMED });
    }

    /// Its answer is over, and to be written out.
    pub(super) fn over(&self) {
        self.set(UNFLUSHED);
        self.clear(SERVED | ANSWERED | OLD);
    }

    /// All that was there to be written is written.
    pub(super) fn flushed(&self) {
        self.clear(UNFLUSHED);
    }

    /// The rest of its body is read behind the answer.
    pub(super) fn rest(&self) {
        self.set(REST);
    }

    /// No more of it comes, of the request that was the last of so many.
    pub(super) fn rest_read(&self, requests: u64) {
        if self.requests() == requests {
            self.clear(REST);
            self.whole();
        }
    }

    /// The caller's: it may begin another request.
    pub(super) fn is_the_callers(&self) -> bool {
        !self.is_served() && !self.is(REST)
    }

    /// A request is being served, whoever has the word.
    pub(super) fn is_served(&self) -> bool {
        self.is(SERVED) || self.is(UNFLUSHED)
    }

    /// Ours: the whole request was read, and its answer is not over, or not written.
    pub(super) fn is_ours(&self) -> bool {
        self.is(SERVED | WHOLE) || self.is(UNFLUSHED)
    }

    /// Whether an informational answer can be written now: a whole request waits, and nothing was said to it.
    pub(super) fn may_inform(&self) -> bool {
        self.is(SERVED | WHOLE) && !self.is(ANSWERED) && !self.is(OLD)
    }

    /// Whether a caller that has ended its side is gone for certain.
    pub(super) fn closes_whole(&self) -> bool {
        self.is(CLOSES_WHOLE)
    }

    /// Whether an end of the connection would pass for the end of the answer.
    pub(super) fn is_unframed(&self) -> bool {
        self.is(UNFRAMED)
    }

    /// Whether the last request's body was left unread, so that it may be coming yet.
    pub(super) fn is_unread(&self) -> bool {
        !self.is(WHOLE)
    }
}
