//! The streams of an HTTP/2 connection: how many are open, to the last byte of their answers, since when none
//! is, and the bounds on each that hold even if its caller stops taking data.
//!
//! On HTTP/2 a caller can leave one stream unread and keep the connection alive; nothing polls the answer's
//! body then, so no deadline in it is looked at. The bounds here are looked at by a task of their own.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::clock::Clock;

/// The open streams of one connection.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    state: Arc<State>,
    tasks: TaskTracker,
    bound: Bound,
    clock: Clock,
}

/// How long one stream may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// In all.
    pub(super) whole: Duration,
    /// Without taking what was written.
    pub(super) unread: Duration,
}

#[derive(Debug, Default)]
struct State {
    open: Mutex<usize>,
    changed: Notify,
}

impl Streams {
    /// No streams yet; each may be open for `bound`.
    pub(super) fn new(tasks: TaskTracker, bound: Bound, clock: Clock) -> Self {
        Self { state: Arc::default(), tasks, bound, clock }
    }

    /// A service whose calls count as open streams until their answer is over.
    pub(super) fn counting<S>(&self, inner: S) -> Counting<S> {
        Counting { inner, streams: self.clone() }
    }

    /// Returns when no stream has been open for this long.
    pub(super) async fn idle_for(&self, time: Duration) {
        loop {
            let changed = self.state.changed.notified();
            if self.count(|open| *open) > 0 {
                changed.await;
            } else if tokio::time::timeout(time, changed).await.is_err() {
                return;
            }
        }
    }

    fn count<R>(&self, look: impl FnOnce(&mut usize) -> R) -> R {
        look(&mut self.state.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self) -> Open {
        self.count(|open| *open += 1);
        self.state.changed.notify_waiters();
        Open(self.clone())
    }
}

/// One open stream.
#[derive(Debug)]
struct Open(Streams);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count(|open| *open -= 1);
        self.0.state.changed.notify_waiters();
    }
}

/// See [`Streams::counting`].
#[derive(Clone, Debug)]
pub(super) struct Counting<S> {
    inner: S,
    streams: Streams,
}

impl<S, R, B> Service<Request<R>> for Counting<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Counted<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (streams, answer) = (self.streams.clone(), self.inner.call(request));
        let open = streams.open();
        Box::pin(async move { Ok(answer.await?.map(|body| streams.watch(body, open))) })
    }
}

/// A body that keeps its stream counted, until it is over or overdue.
#[derive(Debug)]
pub(super) struct Counted<B> {
    inner: Arc<Mutex<Option<Going<B>>>>,
    clock: Clock,
    /// Dropped with the body, which ends the watch.
    _watched: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Going<B> {
    body: B,
    _open: Open,
    /// Since when the last frame it gave is being written: it is asked for the next when the caller's window has room.
    writing: Option<Instant>,
}

impl Streams {
    fn watch<B: Send + 'static>(&self, body: B, open: Open) -> Counted<B> {
        let inner = Arc::new(Mutex::new(Some(Going { body, _open: open, writing: None })));
        let (watched, mut over) = oneshot::channel::<()>();
        let (overdue, bound, clock) = (Arc::clone(&inner), self.bound, self.clock);
        self.tasks.spawn(async move {
            let began = clock.now();
            let whole = began + bound.whole;
            let mut next = whole.min(began + bound.unread);
            while tokio::time::timeout_at(next, &mut over).await.is_err() {
                let mut going = overdue.lock().unwrap_or_else(PoisonError::into_inner);
                let now = clock.now();
                let unread = going.as_ref().and_then(|going| going.writing).unwrap_or(now) + bound.unread;
                next = whole.min(unread);
                if next <= now {
                    // Dropped here, the body does what it does when its caller leaves.
                    drop(going.take());
                    return;
                }
            }
        });
        Counted { inner, clock, _watched: watched }
    }
}

impl<B> Counted<B> {
    fn with<R>(&self, look: impl FnOnce(Option<&mut B>) -> R) -> R {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        look(inner.as_mut().map(|going| &mut going.body))
    }
}

impl<B> Drop for Counted<B> {
    fn drop(&mut self) {
        // At once, and not when the watch gets to know.
        drop(self.inner.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError<E> {
    /// In itself.
    #[error("{0}")]
    Body(E),
    /// Its caller did not take it in time.
    #[error("the caller did not take its answer in time")]
    Overdue,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = StreamError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let clock = self.clock;
        let mut going = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(going) = going.as_mut() else { return Poll::Ready(Some(Err(StreamError::Overdue))) };
        let frame = Pin::new(&mut going.body).poll_frame(cx);
        going.writing = frame.is_ready().then(|| clock.now());
        frame.map_err(StreamError::Body)
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_some_and(|body| body.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.map_or_else(SizeHint::default, |body| body.size_hint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transparent::assert_transparent;

    #[tokio::test]
    async fn a_counted_body_is_transparent_and_counts_while_it_lives() {
        let long = Duration::from_mins(10);
        let streams = Streams::new(TaskTracker::new(), Bound { whole: long, unread: long }, Clock::system());
        assert_transparent(|body| streams.watch(body, streams.open()));
        assert_eq!(streams.count(|open| *open), 0);
    }
}
