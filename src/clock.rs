//! Time, in one place: the monotonic clock that limits and deadlines run on, and the wall clock
//! that expiry dates, ids and log lines are written in.
//!
//! The monotonic side is tokio's, so that a test with a paused runtime owns it. Nothing else in
//! this crate may ask the system for the time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A source of both kinds of time. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    wall: Wall,
}

#[derive(Clone, Copy, Debug)]
enum Wall {
    System,
    /// The wall moves with the monotonic clock, from this time on, pushed by so many seconds.
    Tied(Timestamp, &'static AtomicI64),
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn system() -> Self {
        Self { origin: Instant::now(), wall: Wall::System }
    }

    /// A clock whose wall time starts at `wall` and then moves with tokio's clock, which a test
    /// may pause and advance.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn starting_at(wall: Timestamp) -> Self {
        static STILL: AtomicI64 = AtomicI64::new(0);
        Self { origin: Instant::now(), wall: Wall::Tied(wall, &STILL) }
    }

    /// This clock with a wall that a test pushes about: `seconds` are added to its time.
    #[must_use]
    pub fn pushed_by(self, seconds: &'static AtomicI64) -> Self {
        let wall = match self.wall {
            Wall::Tied(start, _) => Wall::Tied(start, seconds),
            Wall::System => Wall::Tied(self.wall(), seconds),
        };
        Self { wall, ..self }
    }

    /// Monotonic now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Wall-clock now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn wall(&self) -> Timestamp {
        match self.wall {
            Wall::System => Timestamp::now(),
            Wall::Tied(start, pushed) => {
                let pushed = SignedDuration::from_secs(pushed.load(Ordering::Relaxed));
                start
                    .saturating_add(self.since_origin())
                    .and_then(|at| at.saturating_add(pushed))
                    .unwrap_or(start)
            }
        }
    }

    /// Time since this clock was made.
    #[must_use]
    pub fn since_origin(&self) -> Duration {
        self.since_origin_of(self.now())
    }

    /// Time from when this clock was made to a moment.
    #[must_use]
    pub fn since_origin_of(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.origin)
    }

    /// The moment so long after this clock was made.
    #[must_use]
    pub fn after_origin(&self, time: Duration) -> Instant {
        self.origin + time
    }
}

impl GovernorClock for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.since_origin()
    }
}

/// Whole seconds, rounded up: a caller that waits this long has waited long enough.
#[must_use]
pub fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
