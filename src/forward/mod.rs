//! Forwarding: one exchange with the upstream, from a connection to the last byte of the answer.
//!
//! Never a blind retry: a request is sent a second time only if the first provably was not written, or was refused by the
//! upstream for want of a place, and then only after another turn at the desk.

mod deadline;
pub mod drain;
pub mod body;
mod why;
mod noted;
mod flight;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use tower::Service;

use self::body::AnswerBody;
use self::drain::Drain;
use self::flight::{Flight, Flown, Shared, fly};
use crate::admit::desk::Declined;
use crate::arrival::Refused;
use crate::config::OnDisconnect;
use crate::desk::{Seen, State};
use crate::inject::Outbound;
use crate::outbound::connect::Connect;
use crate::outbound::pool::{Obtained, Pool};
use crate::refuse::Refusal;

/// Idle connections that may turn out dead before a new one is made. More would only add delay.
const REUSE_ATTEMPTS: usize = 2;

/// The innermost service: sends a request upstream and answers with what comes back.
pub struct Forward<C: Connect>(Arc<Shared<C>>);

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
    type Error = Declined;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Declined>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Declined>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        Box::pin(forward(Arc::clone(&self.0), outbound))
    }
}

/// Cancel-safe at every await: before the request is handed to a connection, dropping the future
/// gives up and nothing was sent; after that, the exchange is read on or cut, as configured.
async fn forward<C: Connect>(
    shared: Arc<Shared<C>>,
    outbound: Outbound,
) -> Result<Response<AnswerBody<C>>, Declined> {
    let Outbound { admitted: mut cargo, mut request } = outbound;
    let mut attempts = 0;
    loop {
        let fresh = attempts >= REUSE_ATTEMPTS;
        let began = cargo.judged.exchange.clock().now();
        let Obtained { connection, reused } = match shared
            .pool
            .obtain(&cargo.judged.snapshot.origin, &cargo.judged.snapshot.config.upstream, fresh)
            .await
        {
            Ok(obtained) => obtained,
            Err(error) => {
                let desk = cargo.place.desk();
                // While that is known, a look that has shown it again is no news.
                if desk.upstream() != State::Unreachable {
                    tracing::warn!(request_id = %cargo.judged.exchange.id(), %error, "no connection to the upstream");
                }
                desk.see(Seen::NoConnection);
                return Err(Refused::new(cargo.judged.exchange, Refusal::UpstreamUnreachable).into());
            }
        };
        attempts += 1;
        if !reused {
            cargo.judged.exchange.connected(began);
        }
        let cancels = cargo.judged.snapshot.config.upstream.on_disconnect == OnDisconnect::Cancel;
        let flight = fly(Arc::clone(&shared), connection, cargo, request);
        match Flight::new(flight, (!cancels).then_some(&shared.drain)).await {
            Ok(response) => return Ok(response),
            Err(Flown::Refused(refused)) => return Err(refused.into()),
            Err(Flown::PutBack(back, came)) => return Err(Declined::PutBack(back, came)),
            // An idle connection that had died. A new one that dies is the upstream's state.
            Err(Flown::NotWritten(back)) if reused => (cargo, request) = *back,
            Err(Flown::NotWritten(back)) => {
                return Err(Refused::new(back.0.judged.exchange, Refusal::UpstreamUnreachable).into());
            }
        }
    }
}
