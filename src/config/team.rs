//! Teams, as they are valid: what each may do, spend and see.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use globset::GlobSet;
use jiff::Timestamp;

use super::identity::Member;
use crate::credits::Credits;
use crate::credits::budget::{Budget, Budgets, Whose};
use crate::route::{Route, Routes};

/// An internal team and its limits.
#[derive(Clone, Debug)]
pub struct Team {
    /// Name in metrics, logs and refusals.
    pub name: String,
    /// Keys that open the gateway for it.
    pub keys: Vec<CallerKey>,
    /// Its callers that have none.
    pub members: Vec<Member>,
    /// Whether it may replace its keys itself.
    pub self_service_keys: bool,
    /// What it may do.
    pub limits: Limits,
    /// Its claim to the organisation's window beside the others'.
    pub weight: NonZeroU32,
    /// How long its calls wait for their turn at most.
    pub max_wait: Duration,
    /// Which routes it may use.
    pub routes: Routes,
    /// What is special about some of them.
    pub of_routes: Vec<OfRoute>,
    /// Which analyses it may ask about.
    pub analyses: Analyses,
    /// What it may spend.
    pub budget: Option<Budget>,
}

impl Team {
    /// What is special about its calls of a route.
    #[must_use]
    pub fn of_route(&self, route: Route) -> Option<&OfRoute> {
        self.of_routes.iter().find(|of_route| of_route.route == route)
    }
}

/// Every budget that binds a caller's calls, the widest first; and those of calls of routes that have one of their own.
pub(crate) fn budgets(
    organisation: Option<Budget>,
    (team, of_team, of_routes): (&Arc<str>, Option<Budget>, &[OfRoute]),
    (key_id, own): (&Arc<str>, Option<Budget>),
) -> (Budgets, Vec<(Route, Budgets)>) {
    let every = [
        (Whose::Organisation, organisation),
        (Whose::Team(Arc::clone(team)), of_team),
        (Whose::Key(Arc::clone(key_id)), own),
    ];
    let every: Vec<_> = every.into_iter().filter_map(|(whose, budget)| Some((whose, budget?))).collect();
    let of_routes = of_routes.iter().filter_map(|of_route| {
        let (route, budget) = (of_route.route, of_route.budget?);
        let (number, label) = (route.index(), route.label().into());
        let whose = Whose::Route { team: Arc::clone(team), number, label };
        Some((route, Budgets(every.iter().cloned().chain([(whose, budget)]).collect())))
    });
    let of_routes = of_routes.collect();
    (Budgets(every.into()), of_routes)
}

/// What is special about a team's calls of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfRoute {
    /// Which.
    pub route: Route,
    /// What the team may spend on it.
    pub budget: Option<Budget>,
    /// How many of its calls, or jobs, the team may have under way at once.
    pub jobs: Option<NonZeroUsize>,
    /// What a call of it holds.
    pub reserve: Option<Credits>,
}

/// Limits of one team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Evenly refilled.
    pub requests_per_minute: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
    /// Calls in flight.
    pub concurrency: usize,
    /// Bytes of one request body.
    pub max_body: usize,
}

/// Which analyses a team may ask about.
#[derive(Clone, Debug)]
pub enum Analyses {
    /// All of them; the team may list them too.
    All,
    /// Those whose id matches one of the globs.
    Matching(GlobSet),
}

impl Analyses {
    /// Whether the team may ask about this id.
    #[must_use]
    pub fn allow(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matching(globs) => globs.is_match(id),
        }
    }
}

/// One caller key.
#[derive(Clone, Debug)]
pub struct CallerKey {
    /// The public part.
    pub id: String,
    /// SHA-256 of the whole key as sent.
    pub digest: [u8; 32],
    /// When it stops working.
    pub expires: Option<Timestamp>,
    /// What it may spend.
    pub budget: Option<Budget>,
}
