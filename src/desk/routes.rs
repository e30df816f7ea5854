//! Routes of which the upstream takes only so many calls, or jobs, at once: who has them, and whose turn it is when one is free.
//!
//! A place of a capped route is had for minutes, and not all for as long: so turns go by what each team has had, in time, by its
//! weight. The team that has had the least is next. One that comes anew starts where the service is: nobody saves up time.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::terms::{Ask, Cap};
use super::window::Moment;

/// All routes that are capped.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Routes(BTreeMap<usize, OfRoute>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct OfRoute {
    taken: usize,
    /// What the team that was served last had had until then, by its weight.
    served: u128,
    teams: BTreeMap<Arc<str>, Share>,
}

/// What one team has had of a route.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Share {
    taken: usize,
    /// Nanoseconds of places, up to `since`.
    had: u128,
    since: Moment,
}

impl Share {
    fn had(&self, now: Moment) -> u128 {
        self.had + self.taken as u128 * now.saturating_sub(self.since).as_nanos()
    }

    fn settle(&mut self, now: Moment) {
        (self.had, self.since) = (self.had(now), now);
    }
}

impl Routes {
    /// How many of a route are taken, by all, and by one team.
    pub(super) fn taken(&self, route: usize, team: &str) -> (usize, usize) {
        self.0.get(&route).map_or((0, 0), |of_route| {
            (of_route.taken, of_route.teams.get(team).map_or(0, |share| share.taken))
        })
    }

    /// Whether as many are taken as may be, where `standing` of those that are free are somebody's already.
    pub(super) fn is_full(&self, ask: &Ask, cap: Cap, standing: usize) -> bool {
        let (taken, of_team) = self.taken(ask.route, &ask.team);
        taken + standing >= cap.calls.get() || cap.team.is_some_and(|most| of_team >= most.get())
    }

    /// A team has something to gain from now on: it is not ahead of the others for what it did without.
    pub(super) fn join(&mut self, ask: &Ask, now: Moment) {
        let of_route = self.0.entry(ask.route).or_default();
        let share = of_route.teams.entry(Arc::clone(&ask.team)).or_default();
        if share.taken == 0 {
            share.had = share.had.max(of_route.served * u128::from(ask.weight.get()));
            share.since = now;
        }
    }

    /// A team takes one.
    pub(super) fn take(&mut self, ask: &Ask, now: Moment) {
        self.join(ask, now);
        let of_route = self.0.entry(ask.route).or_default();
        let share = of_route.teams.entry(Arc::clone(&ask.team)).or_default();
        share.settle(now);
        of_route.served = of_route.served.max(share.had / u128::from(ask.weight.get()));
        share.taken += 1;
        of_route.taken += 1;
    }

    /// One that was taken before there was this desk.
    pub(super) fn take_up(&mut self, route: usize, team: &Arc<str>, now: Moment) {
        let of_route = self.0.entry(route).or_default();
        let share = of_route.teams.entry(Arc::clone(team)).or_default();
        share.settle(now);
        share.taken += 1;
        of_route.taken += 1;
    }

    /// A team gives one back.
    pub(super) fn free(&mut self, route: usize, team: &str, now: Moment) {
        let Some(of_route) = self.0.get_mut(&route) else { return };
        let Some(share) = of_route.teams.get_mut(team).filter(|share| share.taken > 0) else { return };
        share.settle(now);
        share.taken -= 1;
        of_route.taken -= 1;
    }

    /// Whether the team of one call has had less of their route than that of another.
    pub(super) fn is_before(&self, ask: &Ask, other: &Ask, now: Moment) -> bool {
        let had = |ask: &Ask| {
            let share = self.0.get(&ask.route).and_then(|of_route| of_route.teams.get(&ask.team));
            share.map_or(0, |share| share.had(now))
        };
        let by_weight = |ask: &Ask, other: &Ask| had(ask) * u128::from(other.weight.get());
        by_weight(ask, other) < by_weight(other, ask)
    }
}
