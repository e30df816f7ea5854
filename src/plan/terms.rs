//! What a configuration says of a team's calls.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, OfRoute, Team, budgets};
use crate::credits::Credits;
use crate::credits::budget::{Budget, Budgets};
use crate::desk::{Ask, Cap, Patience};
use crate::limit::rate::period;
use crate::route::{Route, Routes};

/// What a team is held to.
pub(super) struct Terms {
    pub(super) name: Arc<str>,
    pub(super) period: Duration,
    pub(super) burst: NonZeroU32,
    pub(super) concurrency: usize,
    pub(super) budget: Option<Budget>,
    weight: NonZeroU32,
    patience: Patience,
    routes: Routes,
    of_routes: Vec<OfRoute>,
    organisation: Option<Budget>,
    /// Budgets of single callers.
    own: HashMap<String, Budget>,
    /// What binds the calls of those that have called.
    callers: HashMap<Arc<str>, Binding>,
}

/// What binds all calls of a caller, and what binds those of routes that have a budget of their own.
type Binding = (Budgets, Vec<(Route, Budgets)>);

impl Terms {
    pub(super) fn of(config: &Config, team: &Team) -> Self {
        let keys = team.keys.iter().map(|key| (&key.id, key.budget));
        let members = team.members.iter().map(|member| (&member.id, member.budget));
        let own = keys.chain(members).filter_map(|(id, budget)| Some((id.clone(), budget?)));
        Self {
            name: team.name.as_str().into(),
            period: period(team.limits.requests_per_minute),
            burst: team.limits.burst,
            concurrency: team.limits.concurrency,
            budget: team.budget,
            weight: team.weight,
            patience: Patience {
                turn: config.queue.wait.min(team.max_wait),
                credits: config.credits.wait,
                most: Duration::MAX,
            },
            routes: team.routes,
            of_routes: team.of_routes.clone(),
            organisation: config.credits.budget,
            own: own.collect(),
            callers: HashMap::new(),
        }
    }

    /// Whether the team may use a route.
    pub(super) fn allow(&self, route: Route) -> bool {
        self.routes.allow(route)
    }

    /// What a call asks the desk for. `usual` is what one of its route holds, where the team has nothing of its own to say.
    pub(super) fn ask(&mut self, key_id: &Arc<str>, route: Route, usual: Credits) -> Ask {
        let row = route.row();
        let special = self.of_routes.iter().find(|of_route| of_route.route == route);
        let (every, of_routes) = &*self.callers.entry(Arc::clone(key_id)).or_insert_with(|| {
            let own = self.own.get(&**key_id).copied();
            let team = (&self.name, self.budget, &*self.of_routes);
            budgets(self.organisation, team, (key_id, own))
        });
        let binding = of_routes.iter().find(|(of, _)| *of == route).map_or(every, |(_, budgets)| budgets);
        Ask {
            owner: 0,
            team: Arc::clone(&self.name),
            weight: self.weight,
            key_id: Arc::clone(key_id),
            route: route.index(),
            costs: row.costs(),
            reserve: special.and_then(|of_route| of_route.reserve).unwrap_or(usual),
            budgets: if row.costs() { binding.clone() } else { Budgets::default() },
            cap: row.cap.map(|calls| Cap { calls, team: special.and_then(|of_route| of_route.jobs) }),
            patience: self.patience,
        }
    }
}
