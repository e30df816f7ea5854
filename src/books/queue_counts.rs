//! What is counted of calls that wait for their turn.

use std::time::Duration;

use prometheus::{Counter, HistogramVec, IntCounterVec};

use crate::desk::No;
use crate::metrics::Metrics;

/// Seconds that calls wait.
const WAITS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0];

/// What became of a call that could not go at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It was its turn.
    Granted,
    /// It has waited as long as it could.
    Expired,
    /// It would have waited in vain, and was told so at once.
    Hopeless,
    /// As many of its team waited as may.
    Full,
    /// Its caller has left.
    Left,
    /// Credits were lacking.
    Unfunded,
    /// Its team is gone, or the gateway or the upstream is.
    Dismissed,
}

impl Waited {
    const ALL: [Self; 7] = [
        Self::Granted,
        Self::Expired,
        Self::Hopeless,
        Self::Full,
        Self::Left,
        Self::Unfunded,
        Self::Dismissed,
    ];

    /// That a call which waited is not served, for this.
    pub(super) const fn of(no: &No) -> Self {
        match no {
            No::Short { .. } => Self::Unfunded,
            No::Upstream { .. } => Self::Dismissed,
            _ => Self::Expired,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Expired => "expired",
            Self::Hopeless => "hopeless",
            Self::Full => "full",
            Self::Left => "left",
            Self::Unfunded => "unfunded",
            Self::Dismissed => "dismissed",
        }
    }
}

/// The series of the queue.
#[derive(Clone, Debug)]
pub struct QueueCounts {
    outcomes: IntCounterVec,
    waits: HistogramVec,
    idle: Counter,
}

impl QueueCounts {
    /// Declares them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            outcomes: metrics.counters(
                "queue_outcomes_total",
                "Calls that could not go at once, by team and what became of them.",
                &["team", "outcome"],
            ),
            waits: metrics.histograms(
                "queue_wait_seconds",
                "How long calls that had to wait their turn waited until it was, by team.",
                &WAITS,
                &["team"],
            ),
            idle: metrics.seconds_counter(
                "window_idle_seconds_total",
                "Seconds in which a place was free and due, somebody waited for it, and it was not given. It stays 0.",
            ),
        }
    }

    /// A call that could not go at once.
    pub(super) fn waited(&self, team: &str, how: Waited, time: Duration) {
        self.outcomes.with_label_values(&[team, how.label()]).inc();
        if how == Waited::Granted {
            self.waits.with_label_values(&[team]).observe(time.as_secs_f64());
        }
    }

    /// Makes the series of a team exist that would mislead by not being there.
    pub(super) fn team(&self, team: &str) {
        for how in Waited::ALL {
            self.outcomes.with_label_values(&[team, how.label()]);
        }
    }

    /// A team is gone, and its series with it.
    pub(super) fn forget(&self, team: &str) {
        for how in Waited::ALL {
            // What was never counted has none.
            let _ = self.outcomes.remove_label_values(&[team, how.label()]);
        }
        let _ = self.waits.remove_label_values(&[team]);
    }

    /// A place was given so much later than it was due.
    pub(super) fn idle(&self, time: Duration) {
        self.idle.inc_by(time.as_secs_f64());
    }
}
