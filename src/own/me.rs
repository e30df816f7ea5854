//! `GET /gateway/v1/me`: how a caller stands.

use std::sync::Arc;

use serde_json::{Value, json};

use super::told::{budget, queue};
use crate::books::open::Books;
use crate::config::Analyses;
use crate::credits::Credits;
use crate::desk::Ask;
use crate::ledger::Span;
use crate::live::directory::Caller;
use crate::route::{Class, Own, Route};

/// Charges that it lists.
const CHARGES: usize = 20;

/// How a caller stands: its team, limits, budgets and latest charges.
pub(super) async fn me(books: &Books, caller: &Caller, ask: &Ask) -> Value {
    let team = &caller.team;
    let name = Arc::clone(&team.name);
    let read = books.reads.look(move |reading| {
        let savings = reading.savings(Span::ALL)?.into_iter().filter(|saving| *saving.team == *name);
        let saved = savings.fold((0, Credits::ZERO), |(copies, credits), saving| {
            (copies + saving.copies, credits + saving.credits)
        });
        Ok((reading.recent_charges(&name, CHARGES)?, saved))
    });
    let (charges, saved) = read
        .await
        .inspect_err(|error| tracing::warn!(%error, "cannot read charges from the ledger"))
        .map_or((None, None), |(charges, saved)| (Some(charges), Some(saved)));
    // Each route's own stands behind those that bind all calls.
    let of_routes: Vec<_> = team
        .of_routes
        .iter()
        .filter(|of_route| of_route.budget.is_some())
        .filter_map(|of_route| books.desk.standings(caller.budgets_of(of_route.route)).pop())
        .collect();
    let may = |route: &Route| {
        team.routes.allow(*route)
            && (team.self_service_keys || route.row().class != Class::Own(Own::RotateKey))
    };
    json!({
        "team": &*team.name,
        "key_id": &*caller.who.key_id,
        "limits": {
            "requests_per_minute": team.limits.requests_per_minute,
            "burst": team.limits.burst,
            "concurrency": team.limits.concurrency,
            "max_body_bytes": team.limits.max_body,
            "all_analyses": matches!(team.analyses, Analyses::All),
        },
        "calls_in_flight": team.standing(&books.desk).1,
        "routes": Route::all().filter(may).map(served).collect::<Vec<_>>(),
        "queue": queue(books, ask).0,
        "budgets": books.desk.standings(&caller.budgets).iter().chain(&of_routes).map(budget).collect::<Vec<_>>(),
        "retries": saved.map(|(copies, saved)| json!({ "copies": copies, "credits_saved": saved })),
        "last_charges": charges,
    })
}

/// A route that a team may use, as it is called.
fn served(route: Route) -> Value {
    let row = route.row();
    json!({ "name": row.label, "method": row.method.as_str(), "path": row.template })
}
