//! A call as the desk sees it, without the stages in front; and how fair what it gave was.

use std::num::NonZeroU32;
use std::time::Duration;

use mavera_gateway::books::admission::Asked;
use mavera_gateway::credits::Credits;
use mavera_gateway::credits::budget::Budgets;
use mavera_gateway::desk::{Ask, Patience};
use mavera_gateway::route::Route;

/// A call of a team that costs nothing and can wait for so long.
pub fn asked(team: &str, turn: Duration) -> Asked<'static> {
    let ask = Ask {
        owner: 0,
        team: team.into(),
        weight: NonZeroU32::MIN,
        key_id: "k7f3a9c2".into(),
        route: Route::explained().index(),
        costs: false,
        reserve: Credits::ZERO,
        budgets: Budgets::default(),
        cap: None,
        patience: Patience { turn, credits: Duration::ZERO, most: Duration::MAX },
    };
    Asked { ask, request_id: "r", retry: None, limits: None }
}

/// Jain's index of fairness: 1 where all have the same.
pub fn jain(counts: &[usize]) -> f64 {
    let [sum, squares] = [1, 2].map(|power| counts.iter().map(|n| n.pow(power)).sum::<usize>() as f64);
    sum * sum / (counts.len() as f64 * squares)
}
