//! What calls of each route have cost of late, and the reserve that is learned from it.

use std::collections::VecDeque;

use crate::config::{Credits as CreditSettings, Reserve};
use crate::credits::Credits;
use crate::route::{Learns, Route};

/// Costs that a learned reserve looks back on.
pub(super) const LEARNED_FROM: usize = 1024;
/// Fewer costs than this teach nothing.
const LEARNED_LEAST: usize = 20;

/// What a call of a route is to hold. `learned` is asked what was learned, where that is what counts: it is told what is held
/// before there is enough to learn from, and the least.
pub(crate) fn reserve(
    settings: &CreditSettings,
    route: Route,
    learned: impl FnOnce(Credits, Credits) -> Credits,
) -> Credits {
    let row = route.row();
    match (row.learns, settings.reserve) {
        (Learns::Never, _) => row.reserve,
        (Learns::AsConfigured, Reserve::Fixed(credits)) => credits,
        (Learns::AsConfigured, Reserve::Learned { floor }) => learned(floor, floor),
        (Learns::From(floor), _) => learned(row.reserve, floor),
    }
}

/// Recent final costs by route.
#[derive(Debug, Default)]
pub(crate) struct Learned([Costs; Route::COUNT]);

/// Recent final costs, in their order; sorted too from when somebody first asks.
#[derive(Debug, Default)]
struct Costs {
    recent: VecDeque<Credits>,
    sorted: Option<Vec<Credits>>,
}

impl Learned {
    /// A call of a route has cost so much.
    pub(crate) fn cost(&mut self, route: Route, cost: Credits) {
        let Costs { recent, sorted } = &mut self.0[route.index()];
        let oldest = if recent.len() == LEARNED_FROM { recent.pop_front() } else { None };
        recent.push_back(cost);
        if let Some(sorted) = sorted {
            if let Some(at) = oldest.and_then(|oldest| sorted.binary_search(&oldest).ok()) {
                sorted.remove(at);
            }
            sorted.insert(sorted.partition_point(|other| *other < cost), cost);
        }
    }

    /// What a call of a route is to hold: the dearest in a hundred, of the recent ones of the route: a persona must not
    /// teach a chat. Before there are enough of them, it is `unlearned`.
    pub(crate) fn reserve(&mut self, unlearned: Credits, floor: Credits, route: Route) -> Credits {
        let Costs { recent, sorted } = &mut self.0[route.index()];
        let sorted = sorted.get_or_insert_with(|| {
            let mut sorted: Vec<_> = recent.iter().copied().collect();
            sorted.sort_unstable();
            sorted
        });
        if sorted.len() < LEARNED_LEAST {
            return unlearned;
        }
        floor.max(sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)])
    }
}
