//! Where records go: the log, the counts, the tracer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::asks::Asks;
use super::counts::Counts;
use crate::books::keeper::Keeper;
use crate::clock::Clock;
use crate::ledger::minute;
use crate::log::Log;
use crate::trace::Tracer;

/// Where records go. Shared by all exchanges of a gateway.
#[derive(Debug)]
pub struct Recorder {
    pub(super) clock: Clock,
    pub(super) counts: Arc<Counts>,
    pub(super) asks: Asks,
    pub(super) log: Log,
    pub(super) tracer: Option<Tracer>,
    /// Set when the drain deadline has passed: what ends from now on was cut by us.
    pub(super) cutting: AtomicBool,
}

impl Recorder {
    /// A recorder that writes to `log` and counts into `counts`.
    #[must_use]
    pub fn new(clock: Clock, counts: Arc<Counts>, log: Log) -> Self {
        Self { clock, counts, asks: Asks::default(), log, tracer: None, cutting: AtomicBool::new(false) }
    }

    /// This recorder with a tracer, if there is one.
    #[must_use]
    pub fn with_tracer(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Where spans go.
    #[must_use]
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
    }

    /// The clock that records are timed by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What records are counted in.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// From now on, what is dropped was cut by the shutdown and not left by its caller.
    pub fn cut_from_now_on(&self) {
        self.cutting.store(true, Ordering::Relaxed);
    }

    /// Writes down what was asked in minutes that are over, again and again.
    pub async fn watch_asks(self: Arc<Self>, desk: Arc<Keeper>) {
        loop {
            tokio::time::sleep(Duration::from_mins(1)).await;
            desk.asked(self.asks.take_before(minute(self.clock.wall())));
        }
    }

    /// Writes down all that was asked.
    pub fn write_asks(&self, desk: &Keeper) {
        desk.asked(self.asks.take_before(i64::MAX));
    }
}
