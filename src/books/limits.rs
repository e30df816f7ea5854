//! What a team may do at all gateways of a ledger together: requests a minute, by the generic cell rate algorithm, and calls at
//! the same time. Each gateway's own limits stand in front of these, so that a team in a loop does not come this far.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::desk::Moment;
use crate::limit::rate::{Standing, period};
use crate::refuse::Refusal;

/// What a team is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests a minute.
    pub per_minute: NonZeroU32,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
    /// Calls at the same time.
    pub concurrency: usize,
}

/// All teams.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Teams(HashMap<Arc<str>, OfTeam>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct OfTeam {
    /// When the whole burst is there again.
    full_at: Moment,
    /// Calls by the gateway that they came to.
    calls: BTreeMap<u32, usize>,
}

impl From<config::Limits> for Limits {
    fn from(limits: config::Limits) -> Self {
        let config::Limits { requests_per_minute, burst, concurrency, .. } = limits;
        Self { per_minute: requests_per_minute, burst, concurrency }
    }
}

impl Limits {
    /// That a team has had as many requests as it may, and has another after so long.
    #[must_use]
    pub fn rate_limited(self, team: &str, retry_after: Duration) -> Refusal {
        let (per_minute, burst) = (self.per_minute.get(), self.burst.get());
        Refusal::RateLimited { team: team.to_owned(), per_minute, burst, of: "requests", retry_after }
    }

    /// That a team has as many calls at the same time as it may.
    #[must_use]
    pub fn concurrency_limited(self, team: &str) -> Refusal {
        Refusal::ConcurrencyLimited { team: team.to_owned(), limit: self.concurrency, of: "calls" }
    }
}

impl Teams {
    /// Why a call of a team that comes now is one too many, if it is.
    pub(super) fn refuse(&self, team: &str, limits: Limits, now: Moment) -> Option<Refusal> {
        let of_team = self.0.get(team)?;
        let most = period(limits.per_minute) * (limits.burst.get() - 1);
        let over = of_team.full_at.saturating_sub(now).saturating_sub(most);
        if !over.is_zero() {
            return Some(limits.rate_limited(team, over));
        }
        let calls: usize = of_team.calls.values().sum();
        (calls >= limits.concurrency).then(|| limits.concurrency_limited(team))
    }

    /// What a team has left of its rate, and its calls at the same time.
    pub(super) fn standing(&self, team: &str, limits: Limits, now: Moment) -> (Standing, usize) {
        let of_team = self.0.get(team);
        let used = of_team.map_or(Duration::ZERO, |of_team| of_team.full_at.saturating_sub(now));
        let rate = Standing::of(limits.per_minute, limits.burst, used);
        (rate, of_team.map_or(0, |of_team| of_team.calls.values().sum()))
    }

    /// A call of a team has come.
    pub(super) fn come(&mut self, team: &Arc<str>, gateway: u32, limits: Limits, now: Moment) {
        let of_team = self.0.entry(Arc::clone(team)).or_default();
        of_team.full_at = of_team.full_at.max(now) + period(limits.per_minute);
        *of_team.calls.entry(gateway).or_default() += 1;
    }

    /// One is over.
    pub(super) fn go(&mut self, team: &str, gateway: u32) {
        let Some(of_team) = self.0.get_mut(team) else { return };
        if let Some(calls) = of_team.calls.get_mut(&gateway) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                of_team.calls.remove(&gateway);
            }
        }
    }

    /// A gateway is lost, and its calls with it.
    pub(super) fn lose(&mut self, gateway: u32) {
        for of_team in self.0.values_mut() {
            of_team.calls.remove(&gateway);
        }
    }

    /// Forgets teams of which there is nothing to know.
    pub(super) fn sweep(&mut self, now: Moment) {
        self.0.retain(|_, of_team| of_team.full_at > now || !of_team.calls.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        per_minute: NonZeroU32::new(60).unwrap(),
        burst: NonZeroU32::new(3).unwrap(),
        concurrency: 4,
    };

    fn at(milliseconds: u64) -> Moment {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_burst_passes_and_the_wait_that_is_told_is_true() {
        let (mut teams, team): (Teams, Arc<str>) = (Teams::default(), "growth".into());
        for gateway in 1..=3 {
            assert_eq!(teams.refuse(&team, LIMITS, at(500)), None);
            teams.come(&team, gateway, LIMITS, at(500));
        }
        assert_eq!(teams.refuse(&team, LIMITS, at(500)), Some(LIMITS.rate_limited(&team, at(1000))));
        let told = |left, one_more| Standing { most: 60, left, one_more: at(one_more) };
        assert_eq!(teams.standing(&team, LIMITS, at(500)), (told(0, 1000), 3));
        assert_eq!(teams.standing(&team, LIMITS, at(1600)), (told(1, 900), 3));
        assert_eq!(teams.standing("other", LIMITS, at(500)), (told(3, 0), 0));
        assert!(teams.refuse(&team, LIMITS, at(1499)).is_some());
        assert_eq!(teams.refuse(&team, LIMITS, at(1500)), None);
    }

    #[test]
    fn calls_count_wherever_they_are_until_they_are_over_or_their_gateway_is_lost() {
        let (mut teams, team): (Teams, Arc<str>) = (Teams::default(), "growth".into());
        for (gateway, seconds) in [(1, 0), (1, 1), (2, 2), (3, 3)] {
            teams.come(&team, gateway, LIMITS, at(seconds * 1000));
        }
        assert_eq!(teams.refuse(&team, LIMITS, at(9000)), Some(LIMITS.concurrency_limited(&team)));
        teams.go(&team, 2);
        teams.go(&team, 2);
        assert_eq!(teams.refuse(&team, LIMITS, at(9000)), None, "a call that is over twice is over once");
        teams.come(&team, 3, LIMITS, at(9000));
        teams.lose(1);
        teams.go(&team, 1);
        assert_eq!(teams.0["growth"].calls.values().sum::<usize>(), 2);
        teams.lose(3);
        teams.sweep(at(60_000));
        assert!(teams.0.is_empty());
    }
}
