//! One request on one connection, from its first byte to the head of its response; and who waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

use super::body::AnswerBody;
use super::body::cleared::Cleared;
use super::body::driven::{Driven, Lent};
use super::body::joined::Joined;
use super::body::late::Late;
use super::body::read_on::ReadOn;
use super::body::told::{Telling, Told};
use super::deadline::Deadline;
use super::drain::Drain;
use super::noted::Noted;
use super::why::{Why, seen};
use crate::admit::body::Judged;
use crate::admit::desk::Admitted;
use crate::arrival::Refused;
use crate::books::place::Came;
use crate::config::OnDisconnect;
use crate::desk::Seen;
use crate::head::fields;
use crate::head::said::said;
use crate::head::trailers::trailers_announced;
use crate::mask::Mask;
use crate::meter::{Meter, is_event_stream};
use crate::outbound::connect::Connect;
use crate::outbound::connection::{Connection, SendError};
use crate::outbound::pool::Pool;
use crate::refuse::Refusal;

/// What all exchanges of a worker have in common: one count of owners goes with each.
pub(super) struct Shared<C: Connect> {
    pub(super) pool: Arc<Pool<C>>,
    pub(super) drain: Drain,
}

/// How an exchange ended without a response to pass on.
pub(super) enum Flown {
    /// With a refusal.
    Refused(Refused),
    /// Not at all: the request was not written, and everything is here to try again.
    NotWritten(Box<(Admitted, Request<Full<Bytes>>)>),
    /// The upstream had no place for it, and it can wait for another turn.
    PutBack(Box<Judged>, Came),
}

/// How it ended.
type Landed<C> = Result<Response<AnswerBody<C>>, Flown>;

/// Waits for a response on behalf of a caller. If the caller leaves, the wait goes on without it, where there is a drain.
pub(super) struct Flight<'d, C: Connect> {
    pending: Option<Pin<Box<dyn Future<Output = Landed<C>> + Send>>>,
    drain: Option<&'d Drain>,
}

impl<'d, C: Connect> Flight<'d, C> {
    pub(super) fn new(
        flight: impl Future<Output = Landed<C>> + Send + 'static,
        drain: Option<&'d Drain>,
    ) -> Self {
        Self { pending: Some(Box::pin(flight)), drain }
    }
}

impl<C: Connect> Future for Flight<'_, C> {
    type Output = Landed<C>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = self.pending.as_mut().expect("a flight is not polled after its end");
        let landed = std::task::ready!(pending.as_mut().poll(cx));
        self.pending = None;
        Poll::Ready(landed)
    }
}

impl<C: Connect> Drop for Flight<'_, C> {
    fn drop(&mut self) {
        let (Some(pending), Some(drain)) = (self.pending.take(), self.drain) else { return };
        drain.wait_on(async move {
            match pending.await {
                Ok(response) => {
                    let mut body = response.into_body();
                    body.get_mut().caller_left();
                    Some(body)
                }
                Err(Flown::Refused(mut refused)) => {
                    refused.exchange.caller_left();
                    refused.exchange.refused(&refused.refusal);
                    None
                }
                // It cost nothing, and nobody waits for it any more: the record ends with the drop.
                Err(Flown::NotWritten(_) | Flown::PutBack(..)) => None,
            }
        });
    }
}

/// Reads the body that HEAD is not answered with, to learn how long it is; nothing if it breaks.
async fn read_through<C: Connect>(body: &mut AnswerBody<C>) -> Option<u64> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Some(length)
}

/// One request on one connection, to the head of its response.
pub(super) async fn fly<C: Connect>(
    shared: Arc<Shared<C>>,
    mut connection: Box<Connection<C::Io>>,
    mut cargo: Admitted,
    request: Request<Full<Bytes>>,
) -> Result<Response<AnswerBody<C>>, Flown> {
    let mut timeouts = cargo.judged.snapshot.config.upstream.timeouts;
    if let Some(bound) = cargo.judged.target.route.row().first_byte {
        timeouts.first_byte = timeouts.first_byte.min(bound);
    }
    if let Some(came) = cargo.place.too_late() {
        cargo.judged.exchange.put_back();
        return Err(Flown::PutBack(cargo.judged, came));
    }
    if let Err(refusal) = cargo.place.sent() {
        return Err(Flown::Refused(Refused::new(cargo.judged.exchange, refusal)));
    }
    cargo.judged.exchange.sent(&cargo.judged.snapshot.origin);
    let clock = cargo.judged.exchange.clock();
    let mut deadline = Deadline::new(clock, timeouts);
    let sent = tokio::select! {
        biased;
        sent = connection.send(request) => sent,
        bound = std::future::poll_fn(|cx| deadline.poll(cx)) => {
            cargo.place.desk().see(Seen::NoAnswer);
            return Err(Flown::Refused(Refused::new(cargo.judged.exchange, Refusal::UpstreamTimeout { after: bound })));
        }
    };
    let response = match sent {
        Ok(response) => response,
        Err(SendError::NotWritten(request)) => {
            cargo.judged.exchange.unsent();
            cargo.place.unsent();
            return Err(Flown::NotWritten(Box::new((cargo, *request))));
        }
        Err(SendError::Broken(error)) => {
            tracing::warn!(request_id = %cargo.judged.exchange.id(), %error, "the upstream gave no usable answer");
            return Err(Flown::Refused(Refused::new(cargo.judged.exchange, Refusal::UpstreamProtocol)));
        }
    };
    deadline.progressed();
    let Admitted { mut judged, place } = cargo;
    let (head, incoming) = response.into_parts();
    let is_stream = is_event_stream(&head.headers);
    judged.exchange.answered(head.status, is_stream);
    judged.permit.wrote();
    let said = said(head.status, &head.headers, judged.exchange.answered_at());
    let came = said.closed_for.and_then(|closed_for| place.came(closed_for));
    let seen = seen(head.status, judged.target.route.row().costs());
    // Which of the three reasons it is, the body says.
    let why = (head.status == StatusCode::PAYMENT_REQUIRED).then(|| Why::new(place.desk()));
    let noted = Noted::of(place.desk(), &judged, head.status);
    place.answered(said, seen);
    if let Some(came) = came {
        judged.exchange.put_back();
        return Err(Flown::PutBack(judged, came));
    }
    let Judged { exchange, snapshot, permit, head: asked, target, .. } = *judged;
    let is_head = asked.method == Method::HEAD;
    if head.status == StatusCode::UNAUTHORIZED {
        return Err(Flown::Refused(Refused::new(exchange, Refusal::UpstreamCredentials)));
    }
    if !fields::is_final_answer(head.status) || !fields::has_plain_framing(&head.headers) {
        tracing::warn!(request_id = %exchange.id(), status = head.status.as_u16(), "the upstream gave an answer that cannot be passed on");
        return Err(Flown::Refused(Refused::new(exchange, Refusal::UpstreamProtocol)));
    }
    let mask = Mask::new(&snapshot.key);
    let mut answer = Response::new(());
    *answer.status_mut() = head.status;
    *answer.headers_mut() = fields::back(&head.headers, &mask);
    if is_stream {
        fields::forbid_buffering(answer.headers_mut());
    }
    exchange.tell_standing(answer.headers_mut());
    let cuts = snapshot.config.upstream.on_disconnect == OnDisconnect::Cancel;
    let meter = Some(Meter::for_head(&head.headers, target.route.row().figures));
    let body = Driven::new(incoming, Lent { connection, pool: Arc::clone(&shared.pool) }, deadline);
    let body = Cleared::new(Joined::new(body), mask, trailers_announced(&head.headers));
    let body = Told::new(body, Box::new(Telling { meter, exchange, permit, why, noted }));
    let mut body = Box::new(Late::new(ReadOn::new(body, Some(shared.drain.clone()), cuts)));
    if is_head {
        // These two have none (RFC 9110 §8.6).
        let has_length = ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&answer.status());
        if let Some(length) = read_through(&mut body).await.filter(|_| has_length) {
            answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
    }
    Ok(answer.map(|()| body))
}
