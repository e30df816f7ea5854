//! Forwarding: one exchange with the upstream, from a connection to the last byte of the answer.
//!
//! Never a blind retry: a request is sent a second time only if the first provably was not written.

pub mod body;
mod deadline;
pub mod drain;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::Service;

use self::body::{AnswerBody, Passage};
use self::deadline::Deadline;
use self::drain::{Drain, Pending};
use crate::arrival::Refused;
use crate::config::OnDisconnect;
use crate::head::fields;
use crate::head::trailers::trailers_announced;
use crate::inject::Outbound;
use crate::limit::in_flight::Permit;
use crate::limit::window::Slot;
use crate::live::Snapshot;
use crate::mask::Mask;
use crate::meter::{Meter, is_event_stream};
use crate::outbound::connect::Connect;
use crate::outbound::connection::{Connection, SendError};
use crate::outbound::pool::{Obtained, Pool};
use crate::record::Exchange;
use crate::refuse::Refusal;

/// Idle connections that may turn out dead before a new one is made. More would only add delay.
const REUSE_ATTEMPTS: usize = 2;

/// The innermost service: sends a request upstream and answers with what comes back.
pub struct Forward<C: Connect>(Arc<Shared<C>>);

/// What all exchanges of a worker have in common: one count of owners goes with each.
struct Shared<C: Connect> {
    pool: Arc<Pool<C>>,
    drain: Drain,
}

impl<C: Connect> Clone for Forward<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Connect> Forward<C> {
    /// Forwards over the connections of `pool`; callers that leave hand over to `drain`.
    #[must_use]
    pub fn new(pool: Arc<Pool<C>>, drain: Drain) -> Self {
        Self(Arc::new(Shared { pool, drain }))
    }
}

impl<C: Connect> Service<Outbound> for Forward<C> {
    type Response = Response<AnswerBody<C>>;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Refused>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        Box::pin(forward(Arc::clone(&self.0), outbound))
    }
}

/// What an exchange carries on its way.
struct Cargo {
    exchange: Exchange,
    snapshot: Arc<Snapshot>,
    permit: Permit,
    slot: Slot,
}

/// How an exchange ended without a response to pass on.
enum Flown {
    /// With a refusal.
    Refused(Refused),
    /// Not at all: the request was not written, and everything is here to try again.
    NotWritten(Box<(Cargo, Request<Full<Bytes>>)>),
}

/// Cancel-safe at every await: before the request is handed to a connection, dropping the future
/// gives up and nothing was sent; after that, the exchange is read on or cut, as configured.
async fn forward<C: Connect>(
    shared: Arc<Shared<C>>,
    outbound: Outbound,
) -> Result<Response<AnswerBody<C>>, Refused> {
    let Outbound { exchange, snapshot, request, permit, slot } = outbound;
    let mut cargo = Cargo { exchange, snapshot, permit, slot };
    let mut request = request;
    let mut attempts = 0;
    loop {
        let fresh = attempts >= REUSE_ATTEMPTS;
        let began = cargo.exchange.clock().now();
        let Obtained { connection, reused } = match shared
            .pool
            .obtain(&cargo.snapshot.origin, &cargo.snapshot.config.upstream, fresh)
            .await
        {
            Ok(obtained) => obtained,
            Err(error) => {
                tracing::warn!(request_id = %cargo.exchange.id(), %error, "no connection to the upstream");
                return Err(Refused::new(cargo.exchange, Refusal::UpstreamUnreachable));
            }
        };
        attempts += 1;
        if !reused {
            cargo.exchange.stage("connect", began);
        }
        let cancels = cargo.snapshot.config.upstream.on_disconnect == OnDisconnect::Cancel;
        let flight = fly(Arc::clone(&shared), connection, cargo, request);
        let flight = Flight { pending: Some(Box::pin(flight)), drain: &shared.drain, cancels };
        match flight.await {
            Ok(response) => return Ok(response),
            Err(Flown::Refused(refused)) => return Err(refused),
            // An idle connection that had died. A new one that dies is the upstream's state.
            Err(Flown::NotWritten(back)) if reused => (cargo, request) = *back,
            Err(Flown::NotWritten(back)) => {
                return Err(Refused::new(back.0.exchange, Refusal::UpstreamUnreachable));
            }
        }
    }
}

/// Waits for a response on behalf of a caller. If the caller leaves, the wait goes on without it.
struct Flight<'d, C: Connect> {
    pending: Option<Pending<C>>,
    drain: &'d Drain,
    cancels: bool,
}

impl<C: Connect> Future for Flight<'_, C> {
    type Output = Result<Response<AnswerBody<C>>, Flown>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = self.pending.as_mut().expect("a flight is not polled after its end");
        let landed = std::task::ready!(pending.as_mut().poll(cx));
        self.pending = None;
        Poll::Ready(landed)
    }
}

impl<C: Connect> Drop for Flight<'_, C> {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take()
            && !self.cancels
        {
            self.drain.wait_on(pending);
        }
    }
}

/// One request on one connection, to the head of its response.
async fn fly<C: Connect>(
    shared: Arc<Shared<C>>,
    mut connection: Connection<C::Io>,
    mut cargo: Cargo,
    request: Request<Full<Bytes>>,
) -> Result<Response<AnswerBody<C>>, Flown> {
    let timeouts = cargo.snapshot.config.upstream.timeouts;
    cargo.exchange.sent(&cargo.snapshot.origin);
    cargo.slot.sent();
    let mut deadline = Deadline::new(cargo.exchange.clock(), timeouts);
    let sent = tokio::select! {
        biased;
        sent = connection.send(request) => sent,
        bound = std::future::poll_fn(|cx| deadline.poll(cx)) => {
            return Err(Flown::Refused(Refused::new(cargo.exchange, Refusal::UpstreamTimeout { after: bound })));
        }
    };
    let response = match sent {
        Ok(response) => response,
        Err(SendError::NotWritten(request)) => {
            cargo.exchange.unsent();
            cargo.slot.unsent();
            return Err(Flown::NotWritten(Box::new((cargo, *request))));
        }
        Err(SendError::Broken(error)) => {
            tracing::warn!(request_id = %cargo.exchange.id(), %error, "the upstream gave no usable answer");
            return Err(Flown::Refused(Refused::new(cargo.exchange, Refusal::UpstreamProtocol)));
        }
    };
    deadline.progressed();
    let Cargo { mut exchange, snapshot, permit, slot } = cargo;
    let (head, incoming) = response.into_parts();
    exchange.answered(head.status, is_event_stream(&head.headers));
    slot.answered(head.status, &head.headers);
    if head.status == StatusCode::UNAUTHORIZED {
        tracing::error!(
            request_id = %exchange.id(),
            source = %snapshot.config.upstream.api_key,
            "the upstream refused the organisation's key: renew it at its source and the gateway will pick it up"
        );
        return Err(Flown::Refused(Refused::new(exchange, Refusal::UpstreamCredentials)));
    }
    if !fields::is_final_answer(head.status) || !fields::has_plain_framing(&head.headers) {
        tracing::warn!(request_id = %exchange.id(), status = head.status.as_u16(), "the upstream gave an answer that cannot be passed on");
        return Err(Flown::Refused(Refused::new(exchange, Refusal::UpstreamProtocol)));
    }
    Ok(answer(
        &head,
        Passage {
            incoming,
            connection,
            shared,
            meter: Some(Meter::for_head(&head.headers)),
            mask: Mask::new(&snapshot.key),
            exchange,
            permit,
            announced: trailers_announced(&head.headers),
            deadline,
            cancels: snapshot.config.upstream.on_disconnect == OnDisconnect::Cancel,
        },
    ))
}

fn answer<C: Connect>(head: &http::response::Parts, passage: Passage<C>) -> Response<AnswerBody<C>> {
    let left = passage.exchange.credits_left();
    let fields = fields::back(&head.headers, &passage.mask);
    let mut response = Response::new(AnswerBody::new(passage));
    *response.status_mut() = head.status;
    *response.headers_mut() = fields;
    fields::tell_credits_left(response.headers_mut(), left);
    response
}
