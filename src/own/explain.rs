//! `POST /gateway/v1/explain`: whether a call of any route would be admitted now, without sending or holding anything.

use serde_json::{Value, json};

use super::told::{budget, queue};
use crate::admit::credits_max::within_max;
use crate::books::limits::Limits;
use crate::books::open::Books;
use crate::clock::ceil_seconds;
use crate::config::Config;
use crate::desk::Ask;
use crate::head::received::Received;
use crate::head::{self, idempotency};
use crate::identify::{may_ask, may_name};
use crate::live::directory::Caller;
use crate::refuse::Refusal;
use crate::route::{Route, Target, schema};

/// Why a call of this route would be refused for what it is, by its head and its body.
fn unfit(books: &Books, route: Route, caller: &Caller, head: &Received, body: &[u8]) -> Vec<Refusal> {
    let row = route.row();
    let judged = row.body.map_or(Ok(()), |rules| {
        let asked = schema::judge(rules, body)?;
        let owners = &books.desk.owners;
        asked.names.iter().try_for_each(|(thing, id)| may_name(caller, owners, *thing, id))
    });
    let key = head::key_of_retries(row, head);
    let key = key.and_then(|()| if row.costs() { idempotency::key(&head.headers).map(drop) } else { Ok(()) });
    key.err().into_iter().chain(judged.err()).collect()
}

/// Whether a call would be admitted now, and every limit that has a say.
pub(super) fn explain(
    books: &Books,
    config: &Config,
    caller: &Caller,
    (route, ask): (Route, &Ask),
    head: &Received,
    body: &[u8],
) -> Value {
    let team = &caller.team;
    // Nothing of a route is told to who may not use it.
    let target = Target { route, id: None, query: None };
    if let Err(refusal) = may_ask(caller, &target, &books.desk.owners) {
        return json!({ "admitted": false, "route": route.label(), "refusals": [refused(&refusal)] });
    }
    let (rate, in_flight) = team.standing(&books.desk);
    let reserve = ask.reserve;
    let window_limit = config.upstream.requests_per_minute.get();
    let (queue, full) = queue(books, ask);
    let standings = books.desk.standings(caller.budgets_of(route));

    let limits = Limits::from(team.limits);
    let mut refusals = unfit(books, route, caller, head, body);
    if rate.left == 0 {
        refusals.push(limits.rate_limited(&team.name, rate.one_more));
    }
    if in_flight >= limits.concurrency {
        refusals.push(limits.concurrency_limited(&team.name));
    }
    refusals.extend(within_max(head, ask).err());
    refusals.extend(full);
    let tight = standings.iter().filter(|standing| ask.costs && standing.tally.left() < reserve);
    refusals.extend(tight.map(|standing| Refusal::of_budget(standing, reserve, &config.credits.zone)));

    json!({
        "admitted": refusals.is_empty(),
        "route": route.label(),
        "holds": reserve,
        "needs_idempotency_key": route.row().requires_key,
        "queue": queue,
        "refusals": refusals.iter().map(refused).collect::<Vec<_>>(),
        "limits": {
            "rate": { "requests_per_minute": team.limits.requests_per_minute, "left_at_once": rate.left },
            "concurrency": { "limit": team.limits.concurrency, "in_flight": in_flight },
            "upstream_window": { "requests_per_minute": window_limit, "used": books.desk.window_used() },
            "budgets": standings.iter().map(budget).collect::<Vec<_>>(),
            "places": places(books, route, ask),
        },
    })
}

/// How many of a route may be under way at once, where that is bounded.
fn places(books: &Books, route: Route, ask: &Ask) -> Option<Value> {
    let cap = ask.cap?;
    let stand = books.desk.jobs(route);
    let of = if route.row().job().is_some() { "jobs" } else { "calls" };
    Some(json!({
        "of": of, "limit": cap.calls, "of_team": cap.team, "taken": stand.taken, "waiting": stand.waiting,
    }))
}

fn refused(refusal: &Refusal) -> Value {
    json!({
        "status": refusal.status().as_u16(),
        "code": refusal.code().as_str(),
        "message": refusal.message(),
        "retry_after_seconds": refusal.retry_after().map(ceil_seconds),
    })
}
