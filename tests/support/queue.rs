//! A call as the desk sees it, without the stages in front.

use std::num::NonZeroU32;
use std::time::Duration;

use mavera_gateway::books::admission::Asked;
use mavera_gateway::credits::Credits;
use mavera_gateway::credits::budget::Budgets;
use mavera_gateway::desk::{Ask, Patience};
use mavera_gateway::route::Route;

/// A call of a team that costs nothing and can wait for so long.
pub fn asked(team: &str, turn: Duration) -> Asked {
    let ask = Ask {
        team: team.into(),
        weight: NonZeroU32::MIN,
        key_id: "k7f3a9c2".into(),
        costs: false,
        reserve: Credits::ZERO,
        budgets: Budgets::default(),
        cap: None,
        patience: Patience { turn, credits: Duration::ZERO, most: Duration::MAX },
    };
    Asked { ask, route: Route::explained(), request_id: "r".into() }
}
