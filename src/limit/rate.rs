//! Requests per minute of a team: governor's cell-rate algorithm, one limiter per team.

use std::num::NonZeroU32;
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
    burst: NonZeroU32,
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
        let period = Duration::from_mins(1) / per_minute.get();
        let quota = Quota::with_period(period.max(Duration::from_nanos(1)))
            .expect("the period is not zero")
            .allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(quota, clock).with_middleware();
        let fresh = Self { limiter, clock, burst };
        if let Some(used) = previous.and_then(|previous| previous.used().min(burst.get()).try_into().ok()) {
            // At most the whole burst, so it always fits.
            let _ = fresh.limiter.check_n(used);
        }
        fresh
    }

    /// How much of the burst is used now. Takes one request, so it is for a limiter at its end.
    fn used(&self) -> u32 {
        match self.limiter.check() {
            Ok(state) => self.burst.get().saturating_sub(state.remaining_burst_capacity() + 1),
            Err(_) => self.burst.get(),
        }
    }

    /// Takes one request and says how many are left at once, or says how long until there is one.
    pub(crate) fn take(&self) -> Result<u32, Duration> {
        self.limiter
            .check()
            .map(|state| state.remaining_burst_capacity())
            .map_err(|not_until| not_until.wait_time_from(self.clock.since_origin()))
    }
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
