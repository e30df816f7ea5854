//! What the upstream says of itself, by its answers and its usage: whether a call can succeed at all. One that cannot is not
//! sent; one now and then is, to look.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::window::Moment;

/// Failures in a row before it counts as a state and not as bad luck.
const IN_A_ROW: u32 = 3;

/// A state of the upstream in which calls cannot succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// The organisation's pool of credits is empty.
    PoolEmpty,
    /// A limit that the organisation has set itself, for a workspace or a project, is reached.
    WorkspaceLimit,
    /// The subscription behind the key has lapsed.
    SubscriptionLapsed,
    /// The key is refused.
    KeyRefused,
    /// No connection can be made.
    Unreachable,
}

impl Trouble {
    /// Whether a call cannot succeed, which costs credits or not.
    const fn stops(self, costs: bool) -> bool {
        costs || !matches!(self, Self::PoolEmpty | Self::WorkspaceLimit)
    }

    /// How often a call is let through to look.
    #[must_use]
    pub const fn looks_every(self) -> Duration {
        match self {
            // To connect costs nothing, and whether it can be done is known at once.
            Self::Unreachable => Duration::from_secs(2),
            _ => Duration::from_mins(1),
        }
    }

    /// The state that it is.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::PoolEmpty => State::PoolEmpty,
            Self::WorkspaceLimit => State::WorkspaceLimit,
            Self::SubscriptionLapsed => State::SubscriptionLapsed,
            Self::KeyRefused => State::KeyRefused,
            Self::Unreachable => State::Unreachable,
        }
    }
}

/// How the upstream is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Serving,
    /// It has asked to be left alone for a while.
    WindowClosed,
    /// [`Trouble::PoolEmpty`].
    PoolEmpty,
    /// [`Trouble::WorkspaceLimit`].
    WorkspaceLimit,
    /// [`Trouble::SubscriptionLapsed`].
    SubscriptionLapsed,
    /// [`Trouble::KeyRefused`].
    KeyRefused,
    /// [`Trouble::Unreachable`].
    Unreachable,
    /// Calls in a row had no answer in time.
    Slow,
}

impl State {
    /// All of them, for metrics that exist from the start.
    pub const ALL: [Self; 8] = [
        Self::Serving,
        Self::WindowClosed,
        Self::PoolEmpty,
        Self::WorkspaceLimit,
        Self::SubscriptionLapsed,
        Self::KeyRefused,
        Self::Unreachable,
        Self::Slow,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::WindowClosed => "window_closed",
            Self::PoolEmpty => "pool_empty",
            Self::WorkspaceLimit => "workspace_limit",
            Self::SubscriptionLapsed => "subscription_lapsed",
            Self::KeyRefused => "key_refused",
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
        }
    }
}

/// What was seen of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// It has answered a call, and not refused it for what it is.
    Answered {
        /// Whether it was one that costs credits, and was served.
        worked: bool,
    },
    /// It has refused a call for this.
    Refused(Trouble),
    /// No connection could be made.
    NoConnection,
    /// There was no answer in time.
    NoAnswer,
    /// Its usage was read.
    Usage {
        /// Whether credits are left in the pool, or will be bought when none are.
        has_credits: bool,
    },
    /// Whatever was wrong may have been mended: the configuration, and with it the key, is a new one.
    Reconfigured,
}

/// What has become of the state, for whoever tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has begun.
    Began(State),
    /// A look has shown that it goes on; so many calls were refused since it began.
    GoesOn(State, u64),
    /// It is over; so many calls were refused, in so long.
    Ended(State, u64, Duration),
}

/// The upstream as it was last seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Upstream {
    trouble: Option<Troubled>,
    /// Connections in a row that could not be made.
    unconnected: u32,
    /// Calls in a row that had no answer in time, and since when they are a state.
    unanswered: u32,
    slow_since: Option<Moment>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Troubled {
    trouble: Trouble,
    since: Moment,
    /// When a call is let through to look.
    look: Moment,
    /// When it was last told of.
    told: Moment,
    refused: u64,
}

/// How often a state that goes on is worth a word.
const WORD: Duration = Duration::from_mins(1);

impl Upstream {
    /// Why a call cannot succeed at this moment, and when the next look is.
    pub(super) fn stops(&self, costs: bool, now: Moment) -> Option<(Trouble, Moment)> {
        let Troubled { trouble, look, .. } = self.trouble.as_ref()?;
        (now < *look && trouble.stops(costs)).then_some((*trouble, *look))
    }

    /// A call was refused for that.
    pub(super) fn refused(&mut self) {
        if let Some(troubled) = &mut self.trouble {
            troubled.refused += 1;
        }
    }

    /// A call is let through: it is the look of the state there is, and until it is over no other is.
    pub(super) fn lets_through(&mut self, costs: bool, now: Moment) {
        if let Some(troubled) = &mut self.trouble
            && troubled.trouble.stops(costs)
        {
            troubled.look = now + troubled.trouble.looks_every();
        }
    }

    /// The state, apart from the window's.
    pub(super) fn state(&self) -> State {
        match (&self.trouble, self.slow_since) {
            (Some(troubled), _) => troubled.trouble.state(),
            (None, Some(_)) => State::Slow,
            (None, None) => State::Serving,
        }
    }

    /// Takes up what was seen, of a call that was sent at `sent`: what was under way when a state began does not end it.
    pub(super) fn see(&mut self, seen: Seen, sent: Moment, now: Moment) -> Option<Change> {
        if matches!(seen, Seen::Answered { .. } | Seen::Refused(_) | Seen::Usage { .. }) {
            self.unconnected = 0;
        }
        match seen {
            Seen::Refused(trouble) => self.begin(trouble, now),
            Seen::NoConnection => {
                self.unconnected += 1;
                if self.unconnected >= IN_A_ROW { self.begin(Trouble::Unreachable, now) } else { None }
            }
            Seen::NoAnswer => {
                self.unanswered += 1;
                if self.unanswered < IN_A_ROW || self.slow_since.is_some() {
                    return None;
                }
                self.slow_since = Some(now);
                Some(Change::Began(State::Slow))
            }
            Seen::Answered { worked } => {
                self.unanswered = 0;
                let shows =
                    |troubled: &Troubled| sent >= troubled.since && (worked || troubled.trouble.stops(false));
                let over = self.trouble.as_ref().is_some_and(shows);
                if over { self.end(now) } else { self.end_slowness(now) }
            }
            Seen::Usage { has_credits: false } => self.begin(Trouble::PoolEmpty, now),
            Seen::Usage { has_credits: true } => {
                let knows_better = |troubled: &Troubled| troubled.trouble != Trouble::WorkspaceLimit;
                if self.trouble.as_ref().is_some_and(knows_better) { self.end(now) } else { None }
            }
            Seen::Reconfigured => self.end(now),
        }
    }

    fn begin(&mut self, trouble: Trouble, now: Moment) -> Option<Change> {
        let look = now + trouble.looks_every();
        match &mut self.trouble {
            Some(troubled) if troubled.trouble == trouble => {
                troubled.look = look;
                // Of the many that were under way when it began, one is a word.
                let is_due = now >= troubled.told + WORD;
                is_due.then(|| {
                    troubled.told = now;
                    Change::GoesOn(trouble.state(), troubled.refused)
                })
            }
            _ => {
                self.trouble = Some(Troubled { trouble, since: now, look, told: now, refused: 0 });
                Some(Change::Began(trouble.state()))
            }
        }
    }

    fn end(&mut self, now: Moment) -> Option<Change> {
        let Troubled { trouble, since, refused, .. } = self.trouble.take()?;
        Some(Change::Ended(trouble.state(), refused, now.saturating_sub(since)))
    }

    fn end_slowness(&mut self, now: Moment) -> Option<Change> {
        let since = self.slow_since.take()?;
        Some(Change::Ended(State::Slow, 0, now.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    /// Of a call that was sent at that moment.
    fn see(upstream: &mut Upstream, seen: Seen, seconds: u64) -> Option<Change> {
        upstream.see(seen, at(seconds), at(seconds))
    }

    #[test]
    fn what_was_under_way_when_a_state_began_does_not_end_it() {
        let mut upstream = Upstream::default();
        see(&mut upstream, Seen::Refused(Trouble::PoolEmpty), 10);
        let answered = Seen::Answered { worked: true };
        assert_eq!(upstream.see(answered, at(9), at(11)), None);
        assert!(upstream.see(answered, at(11), at(12)).is_some());
    }

    #[test]
    fn while_the_pool_is_empty_one_call_a_minute_looks_and_what_is_free_goes_on() {
        let mut upstream = Upstream::default();
        let empty = Seen::Refused(Trouble::PoolEmpty);
        assert_eq!(see(&mut upstream, empty, 0), Some(Change::Began(State::PoolEmpty)));
        assert_eq!(upstream.stops(true, at(59)), Some((Trouble::PoolEmpty, at(60))));
        assert_eq!(upstream.stops(false, at(1)), None);
        assert_eq!(
            see(&mut upstream, Seen::Answered { worked: false }, 2),
            None,
            "a read tells nothing of the pool"
        );
        upstream.refused();
        assert_eq!(upstream.stops(true, at(60)), None);
        upstream.lets_through(true, at(60));
        assert!(upstream.stops(true, at(60)).is_some(), "one");
        assert_eq!(see(&mut upstream, empty, 61), Some(Change::GoesOn(State::PoolEmpty, 1)));
        assert_eq!(upstream.stops(true, at(100)), Some((Trouble::PoolEmpty, at(121))));
        let ended = Some(Change::Ended(State::PoolEmpty, 1, at(130)));
        assert_eq!(see(&mut upstream.clone(), Seen::Usage { has_credits: true }, 130), ended);
        assert_eq!(see(&mut upstream, Seen::Answered { worked: true }, 130), ended);
        assert_eq!((upstream.state(), upstream.stops(true, at(130))), (State::Serving, None));
    }

    #[test]
    fn one_connection_that_fails_is_bad_luck_and_three_in_a_row_are_a_state() {
        let mut upstream = Upstream::default();
        for _ in 0..2 {
            assert_eq!(see(&mut upstream, Seen::NoConnection, 0), None);
            assert_eq!(see(&mut upstream, Seen::NoConnection, 0), None);
            assert_eq!(see(&mut upstream, Seen::Answered { worked: false }, 0), None);
        }
        for _ in 0..2 {
            assert_eq!(see(&mut upstream, Seen::NoConnection, 1), None);
        }
        assert_eq!(see(&mut upstream, Seen::NoConnection, 1), Some(Change::Began(State::Unreachable)));
        assert_eq!(upstream.stops(false, at(2)), Some((Trouble::Unreachable, at(3))));
        let ended = Some(Change::Ended(State::Unreachable, 0, at(3)));
        assert_eq!(see(&mut upstream, Seen::Answered { worked: false }, 4), ended);
    }

    #[test]
    fn a_key_that_is_refused_is_tried_again_when_the_configuration_is_another() {
        let mut upstream = Upstream::default();
        see(&mut upstream, Seen::Refused(Trouble::KeyRefused), 0);
        assert!(upstream.stops(false, at(59)).is_some());
        see(&mut upstream, Seen::Reconfigured, 10);
        assert_eq!(upstream.stops(true, at(10)), None);
    }

    #[test]
    fn slowness_stops_nobody() {
        let mut upstream = Upstream::default();
        for n in 0..4 {
            let turn = (n == 2).then_some(Change::Began(State::Slow));
            assert_eq!(see(&mut upstream, Seen::NoAnswer, n), turn, "{n}");
        }
        assert_eq!((upstream.state(), upstream.stops(true, at(5))), (State::Slow, None));
        let ended = Some(Change::Ended(State::Slow, 0, at(8)));
        assert_eq!(see(&mut upstream, Seen::Answered { worked: true }, 10), ended);
    }
}
