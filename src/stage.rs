//! How stages are joined: the shared layers around those that need no waiting and those that do.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::arrival::Refused;

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
    S: Service<C::Out, Error: From<Refused>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Fork<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: In) -> Self::Future {
        match self.check.check(request) {
            Ok(request) => Fork::Onward { future: self.inner.call(request) },
            Err(refused) => Fork::Here { future: ready(Err(refused.into())) },
        }
    }
}

pin_project! {
    /// The one future of all stages: what the service behind makes of a request, or what was made of it here. No box for
    /// either.
    #[project = ForkProjection]
    #[expect(missing_docs, reason = "the macro takes no word on a field")]
    pub enum Fork<F, G> {
        /// By the service behind.
        Onward { #[pin] future: F },
        /// By this stage.
        Here { #[pin] future: G },
    }
}

impl<F, G> Future for Fork<F, G>
where
    F: Future,
    G: Future<Output = F::Output>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            ForkProjection::Onward { future } => future.poll(cx),
            ForkProjection::Here { future } => future.poll(cx),
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
