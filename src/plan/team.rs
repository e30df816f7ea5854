//! A team in a replay: how far its own limits are used, and what has become of its calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::tally::Tally;
use super::terms::Terms;
use crate::credits::Credits;
use crate::desk::Moment;
use crate::ledger::Past;
use crate::refuse::Code;
use crate::route::Route;

/// Codes of limits: what was refused with one of them may be served under others.
pub(super) const LIMITS: [Code; 8] = [
    Code::RateLimitExceeded,
    Code::ConcurrencyLimitExceeded,
    Code::UpstreamWindowFull,
    Code::QueueFull,
    Code::BudgetExceeded,
    Code::CreditsHeld,
    Code::JobLimitReached,
    Code::RouteNotAllowed,
];

/// Whether what was written down is a limit's.
pub(super) fn is_limit(code: &str) -> bool {
    LIMITS.iter().any(|limit| limit.as_str() == code)
}

/// A team, whether it is in the configuration or not.
#[derive(Default)]
pub(super) struct Team {
    pub(super) name: Arc<str>,
    /// What it is held to; nothing if the configuration has no such team.
    pub(super) terms: Option<Terms>,
    /// When its whole burst is there again.
    pub(super) full_at: Moment,
    pub(super) in_flight: usize,
    /// Refusals of the running second that have met no limit yet.
    pub(super) pool: Vec<Pooled>,
    pub(super) was: Tally,
    pub(super) would: Tally,
}

/// Calls of one route that were refused in the running second, for a limit.
pub(super) struct Pooled {
    pub(super) route: Route,
    pub(super) code: Arc<str>,
    pub(super) count: u32,
}

impl Team {
    /// Why a call that comes now is refused by the team's own limits, if it is; else it has taken of them.
    pub(super) fn take(&mut self, route: Route, now: Moment) -> Result<(), Code> {
        let Some(terms) = &self.terms else { return Err(Code::InvalidApiKey) };
        if !terms.allow(route) {
            return Err(Code::RouteNotAllowed);
        }
        if self.is_too_often(now) {
            return Err(Code::RateLimitExceeded);
        }
        self.full_at = self.full_at.max(now) + terms.period;
        if self.in_flight >= terms.concurrency {
            return Err(Code::ConcurrencyLimitExceeded);
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Whether one more would be more than the team's rate allows.
    pub(super) fn is_too_often(&self, now: Moment) -> bool {
        let most = |terms: &Terms| terms.period * (terms.burst.get() - 1);
        self.terms.as_ref().is_some_and(|terms| self.full_at.saturating_sub(now) > most(terms))
    }

    /// The limit of its own that is in the way of what was refused with a code, if it is.
    pub(super) fn in_the_way(&self, pooled: &Pooled, now: Moment) -> Option<Code> {
        let Some(terms) = &self.terms else { return Some(Code::InvalidApiKey) };
        if !terms.allow(pooled.route) {
            return Some(Code::RouteNotAllowed);
        }
        let by_code = |code: Code| *pooled.code == *code.as_str();
        // Whoever was refused behind the rate had passed it: it is not the one to look at.
        if by_code(Code::RateLimitExceeded) && self.is_too_often(now) {
            return Some(Code::RateLimitExceeded);
        }
        let is_full = self.in_flight >= terms.concurrency;
        (is_full && by_code(Code::ConcurrencyLimitExceeded)).then_some(Code::ConcurrencyLimitExceeded)
    }
}

/// How long calls of a team and route run, and what they cost, for those of which it is not known.
#[derive(Default)]
pub(super) struct Usual {
    of_team: HashMap<(Arc<str>, Route), Sums>,
    of_route: HashMap<Route, Sums>,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    calls: u32,
    ran: Duration,
    millionths: u64,
}

/// Without a call to go by.
const RUNS: Duration = Duration::from_secs(5);

impl Usual {
    pub(super) fn of(past: &Past) -> Self {
        let mut usual = Self::default();
        for call in &past.calls {
            let (Some(route), Some(ended)) = (call.route, call.ended) else { continue };
            let ran = Duration::try_from(ended.duration_since(call.held)).unwrap_or_default();
            let of_team = usual.of_team.entry((Arc::clone(&call.team), route)).or_default();
            for sums in [of_team, usual.of_route.entry(route).or_default()] {
                sums.calls += 1;
                sums.ran += ran;
                sums.millionths += call.credits.millionths();
            }
        }
        usual
    }

    /// How long a call runs, and what it costs.
    pub(super) fn call(&self, team: &Arc<str>, route: Route, reserve: Credits) -> (Duration, Credits) {
        if !route.row().costs() {
            return (Duration::ZERO, Credits::ZERO);
        }
        let of_team = self.of_team.get(&(Arc::clone(team), route)).or_else(|| self.of_route.get(&route));
        of_team.map_or((RUNS, reserve), |sums| {
            (sums.ran / sums.calls, Credits::from_millionths(sums.millionths / u64::from(sums.calls)))
        })
    }
}
