//! Requests per minute of a team: governor's cell-rate algorithm, one limiter per team.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// The rate limiter of one team.
#[derive(Debug)]
pub(crate) struct TeamRate {
    limiter: RateLimiter<NotKeyed, InMemoryState, Clock, StateInformationMiddleware>,
    clock: Clock,
    per_minute: NonZeroU32,
    burst: NonZeroU32,
    period: Duration,
    /// When the whole burst is there again, in nanoseconds since the clock began: what governor knows and tells nobody
    /// who takes nothing.
    full_at: AtomicU64,
}

/// How a rate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests a minute; as many as there can be at once, where that is more.
    pub most: u32,
    /// How many there are at once.
    pub left: u32,
    /// How long until there is one more, at the most.
    pub one_more: Duration,
}

impl Standing {
    /// Of a rate whose whole burst is there again after `used`.
    pub(crate) fn of(per_minute: NonZeroU32, burst: NonZeroU32, used: Duration) -> Self {
        let (used, period) = (nanoseconds(used), nanoseconds(period(per_minute)));
        // The last of the periods that are used is the one that is running.
        let running = used.checked_sub(1).map_or(0, |used| used % period + 1);
        let taken = u32::try_from(used.div_ceil(period)).unwrap_or(u32::MAX);
        Self {
            most: per_minute.max(burst).get(),
            left: burst.get().saturating_sub(taken),
            one_more: Duration::from_nanos(running),
        }
    }
}

/// How long until there is one more.
pub(crate) fn period(per_minute: NonZeroU32) -> Duration {
    (Duration::from_mins(1) / per_minute.get()).max(Duration::from_nanos(1))
}

impl TeamRate {
    /// A limiter for these limits. What `previous` had accrued is taken over: a reload gives nobody
    /// a fresh burst.
    pub(crate) fn new(
        per_minute: NonZeroU32,
        burst: NonZeroU32,
        previous: Option<&Self>,
        clock: Clock,
    ) -> Self {
        let period = period(per_minute);
        let quota = Quota::with_period(period).expect("the period is not zero").allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(quota, clock).with_middleware();
        let full_at = AtomicU64::new(0);
        let mut fresh = Self { limiter, clock, per_minute, burst, period, full_at };
        let used = previous.map_or(0, |previous| previous.burst.get() - previous.left());
        if let Ok(used) = NonZeroU32::try_from(used.min(burst.get())) {
            // At most the whole burst, so it always fits.
            let _ = fresh.limiter.check_n(used);
            *fresh.full_at.get_mut() = fresh.now() + u64::from(used.get()) * nanoseconds(period);
        }
        fresh
    }

    fn now(&self) -> u64 {
        nanoseconds(self.clock.since_origin())
    }

    /// How many requests there are at once. Takes none.
    pub(crate) fn left(&self) -> u32 {
        self.standing().left
    }

    /// How it stands. Takes nothing.
    pub(crate) fn standing(&self) -> Standing {
        let used = self.full_at.load(Ordering::Relaxed).saturating_sub(self.now());
        Standing::of(self.per_minute, self.burst, Duration::from_nanos(used))
    }

    /// Takes one request, or says how long until there is one.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        let now = self.clock.since_origin();
        self.limiter.check().map_err(|not_until| not_until.wait_time_from(now))?;
        let (now, period) = (nanoseconds(now), nanoseconds(self.period));
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| Some(full_at.max(now) + period));
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_minute: u32, burst: u32, previous: Option<&TeamRate>, clock: Clock) -> TeamRate {
        let [per_minute, burst] = [per_minute, burst].map(|n| NonZeroU32::new(n).unwrap());
        TeamRate::new(per_minute, burst, previous, clock)
    }

    fn clock() -> Clock {
        Clock::starting_at("2030-01-01T00:00:00Z".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_the_wait_it_names_is_true() {
        let rate = rate(60, 3, None, clock());
        for _ in 0..3 {
            assert!(rate.take().is_ok());
        }
        let wait = rate.take().unwrap_err();
        tokio::time::advance(wait.checked_sub(Duration::from_millis(1)).unwrap()).await;
        assert!(rate.take().is_err(), "a moment earlier is too early");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(rate.take().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_told_without_taking_any() {
        let rate = rate(60, 3, None, clock());
        let standing =
            |left, one_more| Standing { most: 60, left, one_more: Duration::from_millis(one_more) };
        assert_eq!(rate.standing(), standing(3, 0));
        for left in [2, 1, 0] {
            rate.take().unwrap();
            assert_eq!(rate.standing(), standing(left, 1000));
        }
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(rate.standing(), standing(0, 600));
        assert_eq!(rate.take(), Err(Duration::from_millis(600)));
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(rate.standing(), standing(1, 1000));
        for _ in 0..100 {
            // Whatever is said to be there is there, and no more.
            tokio::time::advance(Duration::from_millis(377)).await;
            assert_eq!(rate.left() > 0, rate.take().is_ok());
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(rate.standing(), standing(3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_gives_nobody_a_fresh_burst() {
        let clock = clock();
        let before = rate(60, 5, None, clock);
        for _ in 0..4 {
            before.take().unwrap();
        }
        let reloaded = rate(60, 5, Some(&before), clock);
        assert!(reloaded.take().is_ok());
        assert!(reloaded.take().is_err());
    }
}
