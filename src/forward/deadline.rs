//! The deadlines of one exchange: to the first byte, between two reads, and in all.
//!
//! One timer serves all three. It is not moved on every read: when it goes off, it looks whether the
//! deadline has really come, and if not sleeps on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::Clock;
use crate::config::Timeouts;

/// Frames of one burst between two looks at the clock.
const FRAMES_UNSEEN: u8 = 16;

/// Watches over one exchange.
#[derive(Debug)]
pub(super) struct Deadline {
    clock: Clock,
    timeouts: Timeouts,
    began: Instant,
    /// Since when the upstream has been waited for, if it is.
    waiting: Option<Instant>,
    /// How long it may be waited for: first byte, then idle.
    patience: Duration,
    /// Frames since the clock was last looked at.
    unseen: u8,
    sleep: Pin<Box<Sleep>>,
}

impl Deadline {
    /// Starts with the request: waiting for the first byte.
    pub(super) fn new(clock: Clock, timeouts: Timeouts) -> Self {
        let began = clock.now();
        let patience = timeouts.first_byte;
        let sleep = Box::pin(sleep_until(began + patience.min(timeouts.total)));
        Self { clock, timeouts, began, waiting: Some(began), patience, unseen: 0, sleep }
    }

    /// Something was read: from now on the idle bound holds, from the next wait on.
    pub(super) fn progressed(&mut self) {
        self.waiting = None;
        self.patience = self.timeouts.idle;
    }

    /// Whether the exchange has had its time in all, however busy it is. Called for every frame, so the clock is not
    /// read for each of a burst: where frames come one by one, [`Deadline::poll`] is called between them.
    pub(super) fn is_over(&mut self) -> Option<Duration> {
        self.unseen = (self.unseen + 1) % FRAMES_UNSEEN;
        if self.unseen != 0 {
            return None;
        }
        (self.clock.now() >= self.began + self.timeouts.total).then_some(self.timeouts.total)
    }

    /// To be called when the upstream has nothing to read. Ready with the bound that was exceeded.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        if self.waiting.is_none() {
            let now = self.clock.now();
            self.waiting = Some(now);
            let due = self.due(now).0;
            if due < self.sleep.deadline() {
                self.sleep.as_mut().reset(due);
            }
        }
        let waiting = self.waiting.unwrap_or(self.began);
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let (due, bound) = self.due(waiting);
            if self.clock.now() >= due {
                return Poll::Ready(bound);
            }
            self.sleep.as_mut().reset(due);
        }
    }

    fn due(&self, waiting: Instant) -> (Instant, Duration) {
        let patience = (waiting + self.patience, self.patience);
        let total = (self.began + self.timeouts.total, self.timeouts.total);
        if total.0 < patience.0 { total } else { patience }
    }
}
