//! What the gateway answers itself: how a caller stands, whether a call would be admitted, and another key in place of its own.

mod told;
mod me;
mod explain;
mod rotate;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::admit::body;
use crate::admit::desk::ask;
use crate::answer::{AnsweredBody, Leaves};
use crate::arrival::{Arrival, Refused};
use crate::books::open::Books;
use crate::identify::Identified;
use crate::live::Live;
use crate::live::directory::{
    QUESTIONS_AT_ONCE, QUESTIONS_PER_MINUTE, ROTATIONS_AT_ONCE, ROTATIONS_PER_MINUTE,
};
use crate::refuse::Refusal;
use crate::route::{Class, Own as Question, Route, Target};
use crate::routing::Routed;
use crate::stage::Fork;

/// Questions of one team that are read and answered at the same time.
const AT_ONCE: usize = 4;

/// The layer of [`Own`]: whatever its answers are read from.
#[derive(Clone, Debug)]
pub struct OwnLayer {
    pub(crate) books: Books,
    /// The configuration in force, which a new key changes.
    pub(crate) live: Arc<Live>,
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
            Class::Upstream => {
                let cuts = identified.routed.arrival.snapshot.config.keys.revoke_cuts_streams;
                let state = &identified.caller.who.state;
                let leaves = cuts.then(|| Leaves::new(&state.gone));
                Fork::Onward { future: Marked { inner: self.inner.call(identified), leaves } }
            }
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
        leaves: Option<Leaves>,
    }
}

impl<F, A> Future for Marked<F>
where
    F: Future<Output = Result<Response<A>, Refused>>,
{
    type Output = Result<Response<AnsweredBody<A>>, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let leaves = this.leaves;
        this.inner
            .poll(cx)
            .map_ok(|response| response.map(|body| AnsweredBody::Upstream(body, leaves.take())))
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
    exchange.rate(team.standing(&knows.books.desk).0);
    // What a question tells of, it must not use up: it has a rate of its own.
    let (rate, per_minute, burst, of) = match question {
        Question::RotateKey => {
            let rate = &team.questions.rotations;
            (rate, ROTATIONS_PER_MINUTE, ROTATIONS_AT_ONCE, "replacements of keys")
        }
        _ => (&team.questions.rate, QUESTIONS_PER_MINUTE, QUESTIONS_AT_ONCE, "questions to the gateway"),
    };
    if let Err(retry_after) = rate.take() {
        exchange.rate(rate.standing());
        let (team, per_minute, burst) = (team.name.to_string(), per_minute.get(), burst.get());
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
    let answered = match question {
        Question::Me => match ask(&knows.books.desk, &snapshot, &caller, Route::explained(), &head) {
            Ok(ask) => Ok((StatusCode::OK, me::me(&knows.books, &caller, &ask).await)),
            Err(refusal) => Err(refusal),
        },
        Question::Explain => {
            // How a call of the route with this head would be asked for.
            let asked = route_in(&target)
                .and_then(|route| Ok((route, ask(&knows.books.desk, &snapshot, &caller, route, &head)?)));
            match asked {
                Ok((route, ask)) => {
                    body::upload(&mut exchange, &snapshot, &head, body, &caller).await.map(|body| {
                        let asked = (route, &ask);
                        (StatusCode::OK, explain::explain(&knows.books, config, &caller, asked, &head, &body))
                    })
                }
                Err(refusal) => Err(refusal),
            }
        }
        Question::RotateKey => match body::upload(&mut exchange, &snapshot, &head, body, &caller).await {
            Ok(body) => rotate::rotate(&knows.live, exchange.clock(), &caller, &body).await,
            Err(refusal) => Err(refusal),
        },
    };
    let (status, document) = match answered {
        Ok(answered) => answered,
        Err(refusal) => return Err(Refused::new(exchange, refusal)),
    };
    let mut response = Response::new(AnsweredBody::Own(Bytes::from(format!("{document:#}\n")).into()));
    exchange.tell_standing(response.headers_mut());
    *response.status_mut() = status;
    exchange.served(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
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
