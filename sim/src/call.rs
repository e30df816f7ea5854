//! One request in progress, from its head to its end: what it is charged, and the books about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Simulator;
use super::quirks::{Charging, Quirks, Refund};
use super::state::Payer;

/// A request until its answer's body is over. Dropped before, it has hung up.
pub(super) struct Call {
    pub(super) reset: Arc<AtomicBool>,
    simulator: Simulator,
    payer: Payer,
    route: String,
    /// To be charged when it ends.
    owed: u64,
    charging: Charging,
    /// Given back at the end: it failed, and failures are refunded.
    refunded: bool,
    /// The thread of Mave that it is part of.
    thread: Option<usize>,
    /// It is one of the few calls of Mave that may be in progress.
    has_place: bool,
    over: bool,
}

impl Call {
    pub(super) fn new(simulator: Simulator, payer: Payer, route: &str, reset: Arc<AtomicBool>) -> Self {
        Self {
            reset,
            simulator,
            payer,
            route: route.to_owned(),
            owed: 0,
            charging: Charging::AtEnd,
            refunded: false,
            thread: None,
            has_place: false,
            over: false,
        }
    }

    pub(super) fn payer(&self) -> Payer {
        self.payer
    }

    /// It owes this much, to be paid when the quirks say.
    pub(super) fn owes(&mut self, credits: u64, quirks: &Quirks, fails: bool) {
        self.owed = credits;
        self.charging = quirks.charging;
        self.refunded = fails && quirks.refund == Refund::Yes;
        if self.charging == Charging::Before {
            self.charge();
        }
    }

    /// What it is charged counts in this thread.
    pub(super) fn belongs_to(&mut self, thread: usize) {
        self.thread = Some(thread);
    }

    /// Takes one of so many places for calls of Mave, if one is free, and keeps it to its end.
    pub(super) fn take_place(&mut self, places: usize) {
        let mut state = self.simulator.state();
        self.has_place = state.talks < places;
        state.talks += usize::from(self.has_place);
    }

    pub(super) fn has_place(&self) -> bool {
        self.has_place
    }

    pub(super) fn answered(&self, status: u16, response_id: Option<&str>) {
        let mut state = self.simulator.state();
        if let Some(received) = self.payer.index.and_then(|index| state.books.received.get_mut(index)) {
            received.status = Some(status);
            received.response_id = response_id.map(str::to_owned).or(received.response_id.take());
        }
    }

    pub(super) fn reset_connection(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// Its answer was handed over whole.
    pub(super) fn finished(mut self) {
        self.charge();
        self.end(false);
    }

    fn charge(&mut self) {
        let credits = std::mem::take(&mut self.owed);
        if credits == 0 || self.refunded {
            return;
        }
        let mut state = self.simulator.state();
        state.charge(credits, self.payer);
        if let Some(thread) = self.thread.and_then(|thread| state.threads.get_mut(thread)) {
            thread.credits_used += credits;
        }
    }

    fn end(&mut self, hung_up: bool) {
        self.over = true;
        let now = self.simulator.now();
        let mut state = self.simulator.state();
        state.talks -= usize::from(self.has_place);
        state.books.ended(&self.route);
        if let Some(received) = self.payer.index.and_then(|index| state.books.received.get_mut(index)) {
            received.ended = Some(now);
            received.hung_up = hung_up;
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if self.charging == Charging::Always {
            self.charge();
        }
        self.end(true);
    }
}
