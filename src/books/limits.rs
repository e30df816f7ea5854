//! What a team may do at all gateways of a ledger together: requests a minute, by the generic cell rate algorithm, and calls at
//! the same time. Each gateway's own limits stand in front of these, so that a team in a loop does not come this far.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::desk::Moment;
use crate::limit::rate::Standing;

/// What a team is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests a minute.
    pub per_minute: u32,
    /// Requests that may come at once.
    pub burst: u32,
    /// Calls at the same time.
    pub concurrency: usize,
}

/// Why a call is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    /// Of the requests in a minute; after so long it would not be.
    InAMinute(Duration),
    /// Of the calls at the same time.
    AtOnce,
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
        Self { per_minute: requests_per_minute.get(), burst: burst.get(), concurrency }
    }
}

impl Limits {
    fn period(self) -> Duration {
        Duration::from_mins(1) / self.per_minute.max(1)
    }
}

impl Teams {
    /// Why a call of a team that comes now is one too many, if it is.
    pub(super) fn refuse(&self, team: &str, limits: Limits, now: Moment) -> Option<TooMany> {
        let of_team = self.0.get(team)?;
        let most = limits.period() * limits.burst.saturating_sub(1);
        let over = of_team.full_at.saturating_sub(now).saturating_sub(most);
        if !over.is_zero() {
            return Some(TooMany::InAMinute(over));
        }
        (of_team.calls.values().sum::<usize>() >= limits.concurrency).then_some(TooMany::AtOnce)
    }

    /// What a team has left of its rate, and its calls at the same time.
    pub(super) fn standing(&self, team: &str, limits: Limits, now: Moment) -> (Standing, usize) {
        let most = limits.per_minute.max(limits.burst);
        let Some(of_team) = self.0.get(team) else {
            return (Standing { most, left: limits.burst, one_more: Duration::ZERO }, 0);
        };
        let (used, period) = (of_team.full_at.saturating_sub(now).as_nanos(), limits.period().as_nanos());
        let taken = u32::try_from(used.div_ceil(period)).unwrap_or(u32::MAX);
        // The last of the periods that are used is the one that is running.
        let running = used.checked_sub(1).map_or(0, |used| used % period + 1);
        let one_more = Duration::from_nanos(u64::try_from(running).unwrap_or(u64::MAX));
        let left = limits.burst.saturating_sub(taken);
        (Standing { most, left, one_more }, of_team.calls.values().sum())
    }

    /// A call of a team has come.
    pub(super) fn come(&mut self, team: &Arc<str>, gateway: u32, limits: Limits, now: Moment) {
        let of_team = self.0.entry(Arc::clone(team)).or_default();
        of_team.full_at = of_team.full_at.max(now) + limits.period();
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

    const LIMITS: Limits = Limits { per_minute: 60, burst: 3, concurrency: 4 };

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
        assert_eq!(teams.refuse(&team, LIMITS, at(500)), Some(TooMany::InAMinute(at(1000))));
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
        assert_eq!(teams.refuse(&team, LIMITS, at(9000)), Some(TooMany::AtOnce));
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
