//! What the gateway answers itself: `GET /gateway/v1/me` tells a caller how it stands, and
//! `POST /gateway/v1/explain` whether a call of any route would be admitted now, without sending or holding anything.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use serde_json::{Value, json};
use tower::{Layer, Service};

use crate::admit::body;
use crate::admit::credits_max::within_max;
use crate::admit::desk::ask;
use crate::answer::AnsweredBody;
use crate::arrival::{Arrival, Refused};
use crate::books::open::Books;
use crate::clock::ceil_seconds;
use crate::config::{Analyses, Config};
use crate::credits::Credits;
use crate::credits::budget::{Standing, Whose};
use crate::desk::Ask;
use crate::head::{self, idempotency};
use crate::identify::{Identified, may_ask, may_name};
use crate::ledger::Span;
use crate::live::directory::{Caller, QUESTIONS_AT_ONCE, QUESTIONS_PER_MINUTE};
use crate::refuse::Refusal;
use crate::route::{Class, Own as Question, Route, Target, schema};
use crate::routing::Routed;
use crate::stage::Fork;

/// Charges that `me` lists.
const CHARGES: usize = 20;
/// Questions of one team that are read and answered at the same time.
const AT_ONCE: usize = 4;

/// The layer of [`Own`]: whatever its answers are read from.
#[derive(Clone, Debug)]
pub struct OwnLayer {
    pub(crate) books: Books,
}

impl<S> Layer<S> for OwnLayer {
    type Service = Own<S>;

    fn layer(&self, inner: S) -> Own<S> {
        Own { inner, knows: Arc::new(self.clone()) }
    }
}

/// The stage that answers what is asked about the gateway.
#[derive(Clone, Debug)]
pub struct Own<S> {
    inner: S,
    /// One count of owners, of this worker's alone: the stage is cloned for every request.
    knows: Arc<OwnLayer>,
}

impl<B, S, A: Send + 'static> Service<Identified<B>> for Own<S>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
    S: Service<Identified<B>, Response = Response<A>, Error = Refused>,
{
    type Response = Response<AnsweredBody<A>>;
    type Error = Refused;
    type Future = Fork<Marked<S::Future>, Answering<A>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, identified: Identified<B>) -> Self::Future {
        match identified.routed.target.route.row().class {
            Class::Own(question) => {
                Fork::Here { future: Box::pin(answer(Arc::clone(&self.knows), question, identified)) }
            }
            Class::Upstream => Fork::Onward { future: Marked { inner: self.inner.call(identified) } },
        }
    }
}

/// An answer of the gateway itself on its way.
pub type Answering<A> = Pin<Box<dyn Future<Output = Result<Response<AnsweredBody<A>>, Refused>> + Send>>;

pin_project! {
    /// What the stages behind make of a call, marked as the upstream's.
    pub struct Marked<F> {
        #[pin]
        inner: F,
    }
}

impl<F, A> Future for Marked<F>
where
    F: Future<Output = Result<Response<A>, Refused>>,
{
    type Output = Result<Response<AnsweredBody<A>>, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_ok(|response| response.map(AnsweredBody::Upstream))
    }
}

async fn answer<B, A>(
    knows: Arc<OwnLayer>,
    question: Question,
    identified: Identified<B>,
) -> Result<Response<AnsweredBody<A>>, Refused>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Identified { routed, caller } = identified;
    let Routed { arrival: Arrival { mut exchange, snapshot, head, body, .. }, target } = routed;
    let config = &snapshot.config;
    let team = &caller.team;
    exchange.rate(team.rate.standing());
    // What a question tells of, it must not use up: it has a rate of its own.
    if let Err(retry_after) = team.questions.rate.take() {
        let (per_minute, burst) = (QUESTIONS_PER_MINUTE.get(), QUESTIONS_AT_ONCE.get());
        exchange.rate(team.questions.rate.standing());
        let (team, of) = (team.name.to_string(), "questions to the gateway");
        return Err(Refused::new(
            exchange,
            Refusal::RateLimited { team, per_minute, burst, of, retry_after },
        ));
    }
    // Bodies of questions are in memory too, and stand before the team's calls in flight, of which they tell.
    let Some(_permit) = team.questions.in_flight.take(AT_ONCE) else {
        let of = "questions to the gateway";
        let refusal = Refusal::ConcurrencyLimited { team: team.name.to_string(), limit: AT_ONCE, of };
        return Err(Refused::new(exchange, refusal));
    };
    // How a call of the route with this head would be asked for.
    let asked = route_in(&target)
        .and_then(|route| Ok((route, ask(&knows.books.desk, &snapshot, &caller, route, &head.headers)?)));
    let (route, ask) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return Err(Refused::new(exchange, refusal)),
    };
    let document = if question == Question::Me {
        me(&knows, &caller, &ask).await
    } else {
        match body::upload(&mut exchange, &snapshot, &head, body, &caller).await {
            Ok(body) => explain(&knows, config, &caller, (route, &ask), &head, &body),
            Err(refusal) => return Err(Refused::new(exchange, refusal)),
        }
    };
    let mut response = Response::new(AnsweredBody::Own(Bytes::from(format!("{document:#}\n")).into()));
    exchange.tell_standing(response.headers_mut());
    exchange.served(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// How a caller stands: its team, limits, budgets and latest charges.
async fn me(knows: &OwnLayer, caller: &Caller, ask: &Ask) -> Value {
    let team = &caller.team;
    let name = Arc::clone(&team.name);
    let read = knows.books.reads.look(move |reading| {
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
        .filter_map(|of_route| knows.books.desk.standings(caller.budgets_of(of_route.route)).pop())
        .collect();
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
        "calls_in_flight": team.calls_in_flight(),
        "routes": Route::all().filter(|route| team.routes.allow(*route)).map(served).collect::<Vec<_>>(),
        "queue": queue(knows, ask).0,
        "budgets": standings(knows, caller).iter().chain(&of_routes).map(budget).collect::<Vec<_>>(),
        "retries": saved.map(|(copies, saved)| json!({ "copies": copies, "credits_saved": saved })),
        "last_charges": charges,
    })
}

/// Which route is asked about: the chat about a video, unless the query says another.
fn route_in(target: &Target) -> Result<Route, Refusal> {
    let Some(label) = target.query.as_deref().and_then(|query| query.strip_prefix("route=")) else {
        return Ok(Route::explained());
    };
    Route::named(label).filter(|route| route.row().is_upstream()).ok_or_else(|| {
        let reason = "names no route; GET /gateway/v1/me lists those that your team may use".into();
        Refusal::InvalidField { param: "route".into(), reason }
    })
}

/// Why a call of this route would be refused for what it is, by its head and its body.
fn unfit(knows: &OwnLayer, route: Route, caller: &Caller, head: &Parts, body: &[u8]) -> Vec<Refusal> {
    let row = route.row();
    let judged = row.body.map_or(Ok(()), |rules| {
        let asked = schema::judge(rules, body)?;
        let owners = &knows.books.desk.owners;
        asked.names.iter().try_for_each(|(thing, id)| may_name(caller, owners, *thing, id))
    });
    let key = head::key_of_retries(row, head);
    let key = key.and_then(|()| if row.costs() { idempotency::key(&head.headers).map(drop) } else { Ok(()) });
    key.err().into_iter().chain(judged.err()).collect()
}

/// Whether a call would be admitted now, and every limit that has a say.
fn explain(
    knows: &OwnLayer,
    config: &Config,
    caller: &Caller,
    (route, ask): (Route, &Ask),
    head: &Parts,
    body: &[u8],
) -> Value {
    let team = &caller.team;
    // Nothing of a route is told to who may not use it.
    let target = Target { route, id: None, query: None };
    if let Err(refusal) = may_ask(caller, &target, &knows.books.desk.owners) {
        return json!({ "admitted": false, "route": route.label(), "refusals": [refused(&refusal)] });
    }
    let rate = team.rate.standing();
    let reserve = ask.reserve;
    let in_flight = team.calls_in_flight();
    let window_limit = config.upstream.requests_per_minute.get();
    let (queue, full) = queue(knows, ask);
    let standings = knows.books.desk.standings(caller.budgets_of(route));

    let mut refusals = unfit(knows, route, caller, head, body);
    if rate.left == 0 {
        refusals.push(Refusal::RateLimited {
            team: team.name.to_string(),
            per_minute: team.limits.requests_per_minute.get(),
            burst: team.limits.burst.get(),
            of: "requests",
            retry_after: rate.one_more,
        });
    }
    if in_flight >= team.limits.concurrency {
        refusals.push(Refusal::ConcurrencyLimited {
            team: team.name.to_string(),
            limit: team.limits.concurrency,
            of: "calls",
        });
    }
    refusals.extend(within_max(&head.headers, ask).err());
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
            "upstream_window": { "requests_per_minute": window_limit, "used": knows.books.desk.window_used() },
            "budgets": standings.iter().map(budget).collect::<Vec<_>>(),
            "places": places(knows, route, ask),
        },
    })
}

/// How many of a route may be under way at once, where that is bounded.
fn places(knows: &OwnLayer, route: Route, ask: &Ask) -> Option<Value> {
    let cap = ask.cap?;
    let stand = knows.books.desk.jobs(route);
    let of = if route.row().job().is_some() { "jobs" } else { "calls" };
    Some(json!({
        "of": of, "limit": cap.calls, "of_team": cap.team, "taken": stand.taken, "waiting": stand.waiting,
    }))
}

/// A route that a team may use, as it is called.
fn served(route: Route) -> Value {
    let row = route.row();
    json!({ "name": row.label, "method": row.method.as_str(), "path": row.template })
}

fn standings(knows: &OwnLayer, caller: &Caller) -> Vec<Standing> {
    knows.books.desk.standings(&caller.budgets)
}

/// Where a chat would stand in the order of turns, and why it would be refused there.
fn queue(knows: &OwnLayer, ask: &Ask) -> (Value, Option<Refusal>) {
    let (position, at_least, refusal) = knows.books.desk.look(ask);
    let (waiting, _) = knows.books.desk.waiting(&ask.team);
    let queue = json!({
        "waiting": waiting,
        "position": position,
        "at_least_seconds": at_least.as_secs_f64(),
        "waits_seconds": ask.patience.turn.as_secs_f64(),
    });
    (queue, refusal)
}

fn budget(standing: &Standing) -> Value {
    json!({
        "of": match &standing.whose {
            Whose::Organisation => "organisation",
            Whose::Team(_) => "team",
            Whose::Key(_) => "key",
            Whose::Route { label, .. } => label,
        },
        "period": standing.budget.period,
        "credits": standing.budget.credits,
        "granted": standing.tally.granted,
        "used": standing.tally.used,
        "held": standing.tally.held,
        "left": standing.tally.left(),
        "resets": format!("{:.0}", standing.resets),
    })
}

fn refused(refusal: &Refusal) -> Value {
    json!({
        "status": refusal.status().as_u16(),
        "code": refusal.code().as_str(),
        "message": refusal.message(),
        "retry_after_seconds": refusal.retry_after().map(ceil_seconds),
    })
}
