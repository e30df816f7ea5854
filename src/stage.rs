//! How stages are joined: what each hands to the next, and the shared layer around those that need
//! no waiting.
//!
//! Every stage takes the struct before it and adds what it found out, by type: nothing travels in a
//! bag of extensions, and a stage cannot be left out without the next failing to compile.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::limit::in_flight::Permit;
use crate::limit::window::Slot;
use crate::live::Snapshot;
use crate::live::directory::Caller;
use crate::record::Exchange;
use crate::refuse::Refusal;
use crate::route::Target;
pub use crate::routing::Routed;

/// A request as it came, with the record that was opened for it.
pub struct Arrival<B> {
    /// Goes with the call to its end.
    pub exchange: Exchange,
    /// The configuration this call is served under, whatever a reload does meanwhile.
    pub snapshot: Arc<Snapshot>,
    /// The head as the caller wrote it.
    pub head: Parts,
    /// The body, unread.
    pub body: B,
}

/// A request by a caller we know.
pub struct Identified<B> {
    /// What came before.
    pub routed: Routed<B>,
    /// Who asks.
    pub caller: Caller,
    /// Requests that the team's rate has left after this one; known once that was asked.
    pub rate_left: u32,
}

/// A request within its team's limits.
pub struct Permitted<B> {
    /// What came before.
    pub identified: Identified<B>,
    /// Held until the last byte of the answer.
    pub permit: Permit,
}

/// A request that was read whole and judged fit to send.
pub struct Judged {
    /// Goes with the call to its end.
    pub exchange: Exchange,
    /// The configuration this call is served under.
    pub snapshot: Arc<Snapshot>,
    /// The head as the caller wrote it.
    pub head: Parts,
    /// What is asked for.
    pub target: Target,
    /// Who asks.
    pub caller: Caller,
    /// The body, byte for byte.
    pub body: Bytes,
    /// Held until the last byte of the answer.
    pub permit: Permit,
}

/// A request that fits the upstream's window.
pub struct Admitted {
    /// What came before.
    pub judged: Judged,
    /// Its place in the window.
    pub slot: Slot,
}

/// A request of ours, with the organisation's key in its head.
pub struct Outbound {
    /// Goes with the call to its end.
    pub exchange: Exchange,
    /// The configuration this call is served under.
    pub snapshot: Arc<Snapshot>,
    /// What is written upstream.
    pub request: http::Request<http_body_util::Full<Bytes>>,
    /// Held until the last byte of the answer.
    pub permit: Permit,
    /// Its place in the window.
    pub slot: Slot,
}

/// A refusal on its way out, with the record it will end.
#[derive(Debug)]
pub struct Refused {
    /// Ends when the refusal is written.
    pub exchange: Exchange,
    /// Why. Boxed: refusals are rare, and every stage's result carries the room for one.
    pub refusal: Box<Refusal>,
}

impl Refused {
    /// Refuses the call that `exchange` records.
    pub fn new(exchange: Exchange, refusal: Refusal) -> Self {
        Self { exchange, refusal: Box::new(refusal) }
    }
}

/// A stage that needs no waiting: a plain function from one struct to the next.
pub trait Check<In> {
    /// What the next stage takes.
    type Out;

    /// Judges a request.
    ///
    /// # Errors
    /// The refusal, if it does not pass.
    fn check(&self, request: In) -> Result<Self::Out, Refused>;
}

/// The layer that puts a [`Check`] in front of a service.
#[derive(Clone, Debug)]
pub struct CheckLayer<C>(C);

/// Puts `check`, which must be cheap to clone, in front of what follows.
pub fn check<C>(check: C) -> CheckLayer<C> {
    CheckLayer(check)
}

impl<C: Clone, S> Layer<S> for CheckLayer<C> {
    type Service = Checked<C, S>;

    fn layer(&self, inner: S) -> Checked<C, S> {
        Checked { check: self.0.clone(), inner }
    }
}

/// A service behind a check. Cloned for every request.
#[derive(Clone, Debug)]
pub struct Checked<C, S> {
    check: C,
    inner: S,
}

impl<C, S, In> Service<In> for Checked<C, S>
where
    C: Check<In>,
    S: Service<C::Out, Error = Refused>,
{
    type Response = S::Response;
    type Error = Refused;
    type Future = CheckFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: In) -> Self::Future {
        match self.check.check(request) {
            Ok(request) => CheckFuture { inner: Some(self.inner.call(request)), refused: None },
            Err(refused) => CheckFuture { inner: None, refused: Some(refused) },
        }
    }
}

pin_project! {
    /// Either the refusal, or what the inner service makes of the request. No box for either.
    pub struct CheckFuture<F> {
        #[pin]
        inner: Option<F>,
        refused: Option<Refused>,
    }
}

impl<F, R> Future for CheckFuture<F>
where
    F: Future<Output = Result<R, Refused>>,
{
    type Output = Result<R, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match (this.inner.as_pin_mut(), this.refused.take()) {
            (Some(inner), _) => inner.poll(cx),
            (None, Some(refused)) => Poll::Ready(Err(refused)),
            (None, None) => unreachable!("a future is not polled after it was ready"),
        }
    }
}

/// A stage that waits: for a body, for the ledger.
pub trait Wait<In>: Clone + Send + Sync + 'static {
    /// What the next stage takes.
    type Out: Send;

    /// Judges a request. Cancel-safe: what it holds ends when the future is dropped.
    ///
    /// # Errors
    /// The refusal, if it does not pass.
    fn wait(&self, request: In) -> impl Future<Output = Result<Self::Out, Refused>> + Send;
}

/// The layer that puts a [`Wait`] in front of a service.
#[derive(Clone, Debug)]
pub struct WaitLayer<W>(W);

/// Puts `wait`, which must be cheap to clone, in front of what follows.
pub fn wait<W>(wait: W) -> WaitLayer<W> {
    WaitLayer(wait)
}

impl<W: Clone, S> Layer<S> for WaitLayer<W> {
    type Service = Waited<W, S>;

    fn layer(&self, inner: S) -> Waited<W, S> {
        Waited { wait: self.0.clone(), inner }
    }
}

/// A service behind a stage that waits. Cloned for every request.
#[derive(Clone, Debug)]
pub struct Waited<W, S> {
    wait: W,
    inner: S,
}

impl<W, S, In> Service<In> for Waited<W, S>
where
    W: Wait<In>,
    S: Service<W::Out, Error = Refused> + Clone + Send + 'static,
    S::Future: Send,
    In: Send + 'static,
{
    type Response = S::Response;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Refused>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: In) -> Self::Future {
        // The service that is ready goes with the call; its clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let wait = self.wait.clone();
        Box::pin(async move { inner.call(wait.wait(request).await?).await })
    }
}
