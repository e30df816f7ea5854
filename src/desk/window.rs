//! The window of the organisation's key: requests per sliding 60 seconds, shared by all teams.
//!
//! The upstream counts a request when it arrives there, which is some time between our write and its
//! answer. A place is therefore given back 60 seconds after the answer, or after [`ARRIVAL`] where the
//! answer takes longer than any network does; so the upstream never sees more than the plan allows,
//! and a slow answer does not cost throughput.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Time as the desk knows it: since an origin of its keeper's.
pub type Moment = Duration;

/// The documented window (source: Mavera's rate limit guide).
pub const WINDOW: Duration = Duration::from_mins(1);
/// The longest that a written request is assumed to be on its way.
pub const ARRIVAL: Duration = Duration::from_secs(1);
/// The longest [`Settings::grace`](super::Settings::grace) there is.
pub const GRACE: Duration = Duration::from_secs(5);
/// How finely places are told apart by age. The window is never shorter than documented, and longer
/// by at most this.
pub const TICK: Duration = Duration::from_millis(100);
const TICKS: usize =
    ((WINDOW.as_millis() + ARRIVAL.as_millis() + GRACE.as_millis()) / TICK.as_millis()) as usize + 2;

/// The tick in which a place becomes free by itself, counted from the desk's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tick(u64);

impl Tick {
    fn of(at: Moment) -> Self {
        Self(u64::try_from(at.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX))
    }

    /// The tick in which a request that arrives within `arrival` of `now` has left the window.
    pub(super) fn leaving(now: Moment, arrival: Duration) -> Self {
        Self(Self::of(now + WINDOW + arrival).0 + 1)
    }

    /// The tick until which a request has its place that was written at that moment, or a little later.
    #[must_use]
    pub fn sent(at: Moment) -> Self {
        Self::leaving(at, ARRIVAL)
    }

    /// The tick until which one has it that was answered at that moment.
    #[must_use]
    pub fn answered(at: Moment) -> Self {
        Self::leaving(at, Duration::ZERO)
    }

    /// This tick, so much earlier.
    pub(super) fn earlier(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(Self::of(by).0))
    }

    #[cfg(test)]
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// Its beginning.
    fn begins(self) -> Moment {
        TICK * u32::try_from(self.0).unwrap_or(u32::MAX)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a remainder of TICKS, which is small")]
    fn index(self) -> usize {
        (self.0 % TICKS as u64) as usize
    }
}

/// Places by the tick in which they become free.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    leaving: Box<[u32; TICKS]>,
    /// The tick up to which places have become free.
    now: Tick,
    used: u32,
}

impl Ring {
    pub(super) fn new(now: Moment) -> Self {
        Self { leaving: Box::new([0; TICKS]), now: Tick::of(now), used: 0 }
    }

    /// Moves on to `now`, never back.
    pub(super) fn advance(&mut self, now: Moment) {
        let now = Tick::of(now);
        let passed = now.0.saturating_sub(self.now.0);
        if self.used > 0 {
            for step in 1..=passed.min(TICKS as u64) {
                self.used -= std::mem::take(&mut self.leaving[Tick(self.now.0 + step).index()]);
            }
        }
        self.now = self.now.max(now);
    }

    /// Places by tick, of those that are taken.
    fn taken(&self) -> Vec<(u64, u32)> {
        (1..=TICKS as u64)
            .map(|step| Tick(self.now.0 + step))
            .map(|tick| (tick.0, self.leaving[tick.index()]))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Places in use at the moment that was last moved on to.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Whether a place that was taken until `tick` is still taken.
    pub(super) fn is_taken(&self, tick: Tick) -> bool {
        tick > self.now
    }

    /// Takes a place until `tick`.
    pub(super) fn enter(&mut self, tick: Tick) {
        if self.is_taken(tick) {
            self.leaving[tick.index()] += 1;
            self.used += 1;
        }
    }

    /// Frees the place that was taken until `tick`, if it is still taken.
    pub(super) fn leave(&mut self, tick: Tick) {
        if self.is_taken(tick) && self.leaving[tick.index()] > 0 {
            self.leaving[tick.index()] -= 1;
            self.used -= 1;
        }
    }

    /// When places become free, and how many, in order.
    fn groups(&self) -> impl Iterator<Item = (Moment, u32)> {
        (1..=TICKS as u64)
            .map(|step| Tick(self.now.0 + step))
            .map(|tick| (tick.begins(), self.leaving[tick.index()]))
            .filter(|(_, count)| *count > 0)
    }
}

/// As it is written down: the tick up to which places have become free, and those that are taken.
impl Serialize for Ring {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.now, self.taken()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Ring {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (now, taken) = <(Tick, Vec<(u64, u32)>)>::deserialize(from)?;
        let mut ring = Self { leaving: Box::new([0; TICKS]), now, used: 0 };
        for (tick, count) in taken {
            if ring.is_taken(Tick(tick)) {
                ring.leaving[Tick(tick).index()] += count;
                ring.used += count;
            }
        }
        Ok(ring)
    }
}

/// What an answer of the upstream said about the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Its own word on its limit.
    pub limit: Option<u32>,
    /// Requests that are left of it.
    pub remaining: Option<u32>,
    /// Until it counts anew.
    pub reset: Option<Duration>,
    /// It has refused, and wants to be left alone for so long.
    pub closed_for: Option<Duration>,
}

/// The window of one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Window {
    ring: Ring,
    /// Requests that others spend with the same key, as far as the upstream's headers told, and
    /// until when they count.
    others: (u32, Moment),
    /// The upstream's own word on its limit, where it is lower than ours, and until when it holds.
    stated: Option<(u32, Moment)>,
    /// The upstream has refused: nothing is sent before this.
    closed_until: Moment,
}

impl Window {
    pub(super) fn new(now: Moment) -> Self {
        Self { ring: Ring::new(now), others: (0, now), stated: None, closed_until: now }
    }

    pub(super) fn advance(&mut self, now: Moment) {
        self.ring.advance(now);
    }

    pub(super) fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Until when the upstream wants to be left alone, if it does.
    pub(super) fn closed(&self, now: Moment) -> Option<Moment> {
        (now < self.closed_until).then_some(self.closed_until)
    }

    /// The limit in force, where so much is configured.
    pub(super) fn limit(&self, configured: u32, now: Moment) -> u32 {
        match self.stated {
            Some((stated, until)) if now < until => stated.min(configured),
            _ => configured,
        }
    }

    /// Places in use, those of others included.
    pub(super) fn used(&self, now: Moment) -> u32 {
        self.ring.used() + if now < self.others.1 { self.others.0 } else { 0 }
    }

    /// When places become free, those of others all at once, in order.
    fn groups(&self, now: Moment) -> impl Iterator<Item = (Moment, u32)> {
        let (count, until) = self.others;
        let mut others = (count > 0 && now < until).then_some((until, count));
        let mut ours = self.ring.groups().peekable();
        std::iter::from_fn(move || match (ours.peek(), others) {
            (Some((at, _)), Some((until, _))) if *at < until => ours.next(),
            (_, Some(_)) => others.take(),
            (_, None) => ours.next(),
        })
    }

    /// When so many more places are free than now at the earliest, or the upstream's word on a lower limit no longer holds.
    pub(super) fn when_free(&self, more: u32, configured: u32, now: Moment) -> Moment {
        let mut left = 0;
        let free = self.groups(now).find_map(|(at, count)| {
            left += count;
            (left >= more).then_some(at)
        });
        let free = match free {
            Some(free) => free,
            None if left == 0 => now + WINDOW,
            // Those that are needed beyond must be taken first, as the others leave.
            None => self.when_free(more - left, configured, now) + WINDOW,
        };
        let raised = self.stated.filter(|(stated, until)| *stated < configured && now < *until);
        raised.map_or(free, |(_, until)| free.min(until))
    }

    /// The largest spacing of places from `last` on that never runs dry, while `free` are free: what leaves later is spread
    /// over those that are there until then.
    pub(super) fn spacing(&self, free: u32, last: Moment, now: Moment) -> Duration {
        let mut before = 0;
        self.groups(now)
            .map(|(at, count)| {
                let spread = at.saturating_sub(last) / (free + before + 1);
                before += count;
                spread
            })
            .max()
            .unwrap_or_default()
    }

    /// Takes up what an answer said.
    pub(super) fn heed(&mut self, said: Said, now: Moment) {
        let Said { limit, remaining, reset, closed_for } = said;
        if let Some(limit) = limit.filter(|limit| *limit > 0) {
            // It holds for as long as what it was said about: an answer without the field says nothing.
            self.stated = Some((limit, now + WINDOW));
        }
        if let (Some(limit), Some(remaining)) = (limit, remaining) {
            // What the upstream has counted beyond what can be ours was somebody else's.
            let others = limit.saturating_sub(remaining).saturating_sub(self.ring.used());
            let until = reset.unwrap_or(WINDOW).clamp(TICK, WINDOW);
            self.others = (others, now + until);
        }
        if let Some(closed_for) = closed_for {
            self.closed_until = self.closed_until.max(now + closed_for);
        }
    }
}
