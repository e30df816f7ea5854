//! What calls of each route have cost of late, and the reserve that is learned from it.

use std::collections::VecDeque;

use crate::credits::Credits;
use crate::route::Route;

/// Costs that a learned reserve looks back on.
pub(super) const LEARNED_FROM: usize = 1024;
/// Fewer costs than this teach nothing.
const LEARNED_LEAST: usize = 20;

/// Recent final costs by route.
#[derive(Debug, Default)]
pub(super) struct Learned([Costs; Route::COUNT]);

/// Recent final costs, in their order; sorted too from when somebody first asks.
#[derive(Debug, Default)]
struct Costs {
    recent: VecDeque<Credits>,
    sorted: Option<Vec<Credits>>,
}

impl Learned {
    /// A call of a route has cost so much.
    pub(super) fn cost(&mut self, route: Route, cost: Credits) {
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
    pub(super) fn reserve(&mut self, unlearned: Credits, floor: Credits, route: Route) -> Credits {
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
