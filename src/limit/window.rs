//! The window of the organisation's key: requests per sliding 60 seconds, shared by all teams.
//!
//! The upstream counts a request when it arrives there, which is some time between our write and its
//! answer. A place is therefore given back 60 seconds after the answer, or after `ARRIVAL` where the
//! answer takes longer than any network does; so the upstream never sees more than the plan allows,
//! and a slow answer does not cost throughput.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::refuse::Refusal;

/// The documented window (source: Mavera's rate limit guide).
const WINDOW: Duration = Duration::from_mins(1);
/// The longest that a written request is assumed to be on its way.
const ARRIVAL: Duration = Duration::from_secs(1);
/// How finely places are told apart by age. The window is never shorter than documented, and longer
/// by at most this.
const TICK: Duration = Duration::from_millis(100);
const TICKS: usize = ((WINDOW.as_millis() + ARRIVAL.as_millis()) / TICK.as_millis()) as usize + 2;
/// How long to stay away after a 429 that does not say.
const UNSAID: Duration = Duration::from_secs(1);
/// The longest that an answer of the upstream can close the window for.
const LONGEST_CLOSURE: Duration = Duration::from_hours(1);

/// Why there is no place at this moment, and when there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// As many are taken as there are.
    Full {
        /// The limit that is in force.
        per_minute: u32,
        /// Until so many have left that one is free.
        wait: Duration,
    },
    /// The upstream has asked to be left alone.
    Closed {
        /// For so long.
        wait: Duration,
    },
}

impl From<NoPlace> for Refusal {
    fn from(no_place: NoPlace) -> Self {
        match no_place {
            NoPlace::Full { per_minute, wait } => Self::UpstreamWindowFull { per_minute, retry_after: wait },
            NoPlace::Closed { wait } => Self::UpstreamWindowClosed { retry_after: wait },
        }
    }
}

/// The window of one key. Survives reloads; the limit is told at each call.
#[derive(Debug)]
pub struct Window {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Places by the tick in which they become free, as a ring.
    leaving: Box<[u32; TICKS]>,
    /// The tick up to which places have become free.
    now: u64,
    /// The sum over `leaving`.
    used: u32,
    /// Requests that others spend with the same key, as far as the upstream's headers told, and
    /// until when they count.
    others: (u32, Instant),
    /// The upstream's own word on its limit, where it is lower than ours.
    stated_limit: Option<(u32, Instant)>,
    /// The upstream has refused: nothing is sent before this.
    closed_until: Instant,
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let now = clock.now();
        Self {
            clock,
            state: Mutex::new(State {
                leaving: Box::new([0; TICKS]),
                now: 0,
                used: 0,
                others: (0, now),
                stated_limit: None,
                closed_until: now,
            }),
        }
    }

    /// Takes up what was sent before there was this window, so many moments ago each: a restart is none for the
    /// upstream.
    pub fn take_up(&self, ages: impl IntoIterator<Item = Duration>) {
        let mut state = self.at(self.clock.now());
        for age in ages {
            let tick = state.leaving_tick(ARRIVAL).saturating_sub(ticks(age));
            if tick > state.now {
                state.enter(tick);
            }
        }
    }

    /// How far back such things matter.
    pub const MEMORY: Duration = Duration::from_secs(WINDOW.as_secs() + ARRIVAL.as_secs());

    /// Takes a place, or says how long until there is one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn take(self: &Arc<Self>, limit: u32) -> Result<Slot, NoPlace> {
        let now = self.clock.now();
        let mut state = self.at(now);
        state.room(limit, now)?;
        let tick = state.leaving_tick(ARRIVAL);
        state.enter(tick);
        drop(state);
        Ok(Slot { window: Arc::clone(self), limit, tick, sent: false })
    }

    /// Whether there is a place, without taking it.
    ///
    /// # Errors
    /// As [`Window::take`].
    pub fn look(&self, limit: u32) -> Result<(), NoPlace> {
        let now = self.clock.now();
        self.at(now).room(limit, now)
    }

    /// Places in use now, others' included.
    #[must_use]
    pub fn used(&self) -> u32 {
        let now = self.clock.now();
        let state = self.at(now);
        state.used + if now < state.others.1 { state.others.0 } else { 0 }
    }

    fn at(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(self.tick(now));
        state
    }

    /// The tick that `now` falls into, counted from the clock's origin.
    fn tick(&self, now: Instant) -> u64 {
        let since = self.clock.since_origin().saturating_sub(self.clock.now().saturating_duration_since(now));
        ticks(since)
    }

    /// What an answer says about the window: `X-RateLimit-*` on any, `Retry-After` on a 429.
    fn heed(&self, status: StatusCode, headers: &HeaderMap) {
        let now = self.clock.now();
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
        let (limit, remaining) = (number("x-ratelimit-limit"), number("x-ratelimit-remaining"));
        let reset = headers
            .get("x-ratelimit-reset")
            .and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok())
            .map(|at| {
                Duration::from_secs(
                    u64::try_from(at.saturating_sub(self.clock.wall().as_second())).unwrap_or(0),
                )
            })
            // Beyond a window it is no time of ours, but a figure in another unit.
            .map(|reset| reset.min(WINDOW));
        let mut state = self.at(now);
        if let Some(limit) = limit.filter(|limit| *limit > 0) {
            // It holds for as long as what it was said about: an answer without the field says nothing.
            state.stated_limit = Some((limit, now + WINDOW));
        }
        if let (Some(limit), Some(remaining)) = (limit, remaining) {
            // What the upstream has counted beyond what can be ours was somebody else's.
            let others = limit.saturating_sub(remaining).saturating_sub(state.used);
            let until = reset.unwrap_or(WINDOW).clamp(TICK, WINDOW);
            state.others = (others, now + until);
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let wait = headers.get(header::RETRY_AFTER).and_then(|value| self.retry_after(value));
            let wait = wait.or(reset.filter(|reset| !reset.is_zero())).unwrap_or(UNSAID);
            state.closed_until = state.closed_until.max(now + wait.min(LONGEST_CLOSURE));
        }
    }

    /// Seconds or a date (RFC 9110 §10.2.3).
    fn retry_after(&self, value: &http::HeaderValue) -> Option<Duration> {
        let text = value.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(text).ok()?;
        let at = jiff::Timestamp::try_from(at).ok()?;
        Duration::try_from(at.duration_since(self.clock.wall())).ok()
    }
}

impl State {
    /// Whether there is a place.
    fn room(&self, limit: u32, now: Instant) -> Result<(), NoPlace> {
        if now < self.closed_until {
            return Err(NoPlace::Closed { wait: self.closed_until - now });
        }
        let stated = self.stated_limit.filter(|(_, until)| now < *until).map(|(stated, _)| stated);
        let per_minute = stated.map_or(limit, |stated| stated.min(limit));
        let others = if now < self.others.1 { self.others.0 } else { 0 };
        match (self.used + others + 1).checked_sub(per_minute) {
            None | Some(0) => Ok(()),
            Some(too_many) => {
                let theirs = self.others.1.saturating_duration_since(now);
                let wait = self.until_left(too_many, (others, theirs)).unwrap_or(UNSAID);
                Err(NoPlace::Full { per_minute, wait })
            }
        }
    }

    /// How long until so many places have left, those of others all at once.
    fn until_left(&self, too_many: u32, (others, theirs): (u32, Duration)) -> Option<Duration> {
        let mut left = 0;
        let ours = (1..=TICKS as u64).filter_map(|step| {
            let count = self.leaving[Self::index(self.now + step)];
            (count > 0).then(|| (TICK * u32::try_from(step).unwrap_or(u32::MAX), count))
        });
        let mut others = (others > 0).then_some((theirs, others));
        for (at, count) in ours {
            if let Some((theirs, count)) = others.take_if(|(theirs, _)| *theirs <= at) {
                left += count;
                if left >= too_many {
                    return Some(theirs);
                }
            }
            left += count;
            if left >= too_many {
                return Some(at);
            }
        }
        others.map(|(theirs, _)| theirs)
    }

    fn advance(&mut self, tick: u64) {
        let passed = tick.saturating_sub(self.now).min(TICKS as u64);
        for step in 1..=passed {
            let slot = Self::index(self.now + step);
            self.used -= std::mem::take(&mut self.leaving[slot]);
        }
        self.now = self.now.max(tick);
    }

    #[expect(clippy::cast_possible_truncation, reason = "a remainder of TICKS, which is small")]
    fn index(tick: u64) -> usize {
        (tick % TICKS as u64) as usize
    }

    /// The tick in which a request that arrives within `arrival` from now has left the window.
    fn leaving_tick(&self, arrival: Duration) -> u64 {
        self.now + ticks(WINDOW + arrival) + 1
    }

    /// Takes a place until `tick`.
    fn enter(&mut self, tick: u64) {
        let slot = Self::index(tick);
        self.leaving[slot] += 1;
        self.used += 1;
    }

    /// Frees the place that was taken until `tick`, if it is still taken.
    fn leave(&mut self, tick: u64) {
        if tick > self.now {
            let slot = Self::index(tick);
            self.leaving[slot] -= 1;
            self.used -= 1;
        }
    }
}

/// Whole ticks of a time.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX)
}

/// One request's place in the window. Dropped before the request is written, it is free again;
/// after that it is kept for the whole window, whatever becomes of the request.
#[derive(Debug)]
pub struct Slot {
    window: Arc<Window>,
    /// The limit it was taken under.
    limit: u32,
    /// The tick in which the place becomes free by itself.
    tick: u64,
    sent: bool,
}

impl Slot {
    /// The request is about to be written: its time in the window begins now. A place that has left meanwhile, while a
    /// disk hung, say, is asked for anew.
    ///
    /// # Errors
    /// Why there is none any more.
    pub fn sent(&mut self) -> Result<(), NoPlace> {
        let now = self.window.clock.now();
        let mut state = self.window.at(now);
        if self.tick <= state.now {
            state.room(self.limit, now)?;
        }
        let tick = state.leaving_tick(ARRIVAL);
        state.leave(self.tick);
        state.enter(tick);
        (self.tick, self.sent) = (tick, true);
        Ok(())
    }

    /// The request turned out not to have been written after all.
    pub fn unsent(&mut self) {
        self.sent = false;
    }

    /// The upstream has answered: it had counted the request by now.
    pub fn answered(self, status: StatusCode, headers: &HeaderMap) {
        let mut state = self.window.at(self.window.clock.now());
        let tick = state.leaving_tick(Duration::ZERO);
        if tick < self.tick {
            state.leave(self.tick);
            state.enter(tick);
        }
        drop(state);
        self.window.heed(status, headers);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.sent {
            self.window.at(self.window.clock.now()).leave(self.tick);
        }
    }
}

#[cfg(test)]
mod tests;
