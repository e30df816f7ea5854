//! What has not been read of a request's body when its answer is ready, on HTTP/1.1: a refusal is often written before
//! the body has come. Behind such a body the connection can be used again only if the body is read, and a caller must
//! not find out by a connection that breaks. So a small rest is read and thrown away, and otherwise the answer says
//! that the connection closes. Left alone, hyper looks once at what has come, and closes without a word.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// What is read for nothing: more costs more than a new connection.
const MAX_REST: u64 = 64 << 10;

/// One connection's body that was left unread. There is one at most: requests come one after the other.
#[derive(Debug)]
pub(super) struct Rest<B = Incoming> {
    left: Mutex<Option<B>>,
    tasks: TaskTracker,
    closing: CancellationToken,
    /// How long the rest of a body has to come: as long as the next head would have.
    patience: Duration,
}

impl<B> Rest<B> {
    /// Nothing is left yet.
    pub(super) fn new(tasks: TaskTracker, closing: CancellationToken, patience: Duration) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(None), tasks, closing, patience })
    }
}

impl Rest {
    /// A service whose answers come with a word on the connection's end, or with the body read to its own.
    pub(super) fn watching<S>(self: Arc<Self>, inner: S) -> Watching<S> {
        Watching { inner, rest: self }
    }

    /// Reads what is left of `body`, here if it has come already. `false` if the connection has to close.
    fn read(&self, mut body: Incoming, cx: &mut Context<'_>) -> bool {
        if body.size_hint().exact().is_none_or(|length| length > MAX_REST) {
            return false;
        }
        if poll_to_end(&mut body, cx).is_pending() {
            let read = tokio::time::timeout(self.patience, async move {
                poll_fn(|cx| poll_to_end(&mut body, cx)).await;
            });
            let closing = self.closing.clone();
            self.tasks.spawn(async move { closing.run_until_cancelled(read).await });
        }
        true
    }
}

fn poll_to_end(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<()> {
    while !body.is_end_stream() {
        // A body that breaks off breaks the connection too.
        let Some(Ok(_)) = ready!(Pin::new(&mut *body).poll_frame(cx)) else { break };
    }
    Poll::Ready(())
}

/// A caller's body, which is given back if it is dropped before its end.
#[derive(Debug)]
pub struct CallerBody<B: Body = Incoming> {
    /// `None` once its end was seen.
    body: Option<B>,
    rest: Option<Arc<Rest<B>>>,
}

impl<B: Body> CallerBody<B> {
    /// A body that nobody wants back: on HTTP/2 it is a stream of its own, which is reset.
    pub(super) fn of_stream(body: B) -> Self {
        Self { body: Some(body), rest: None }
    }
}

impl<B: Body> Drop for CallerBody<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(rest)) = (self.body.take(), &self.rest)
            && !body.is_end_stream()
        {
            *rest.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CallerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if frame.is_none() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// See [`Rest::watching`].
#[derive(Clone, Debug)]
pub(super) struct Watching<S> {
    inner: S,
    rest: Arc<Rest>,
}

impl<S, A> Service<Request<Incoming>> for Watching<S>
where
    S: Service<Request<CallerBody>, Response = Response<A>>,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Watched<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let expects = request.headers().contains_key(header::EXPECT);
        let rest = Arc::clone(&self.rest);
        let request = request.map(|body| CallerBody { body: Some(body), rest: Some(Arc::clone(&rest)) });
        Watched { inner: self.inner.call(request), rest, expects }
    }
}

pin_project! {
    /// Becomes the answer.
    pub(super) struct Watched<F> {
        #[pin]
        inner: F,
        rest: Arc<Rest>,
        // The caller waits to be asked for its body. Whether it will come anyway nobody knows, so nobody could tell it
        // from a next request.
        expects: bool,
    }
}

impl<F, A, E> Future for Watched<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx))?;
        let left = this.rest.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(body) = left
            && !answer.headers().contains_key(header::CONNECTION)
            && (*this.expects || !this.rest.read(body, cx))
        {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transparent::assert_transparent;

    #[test]
    fn a_callers_body_is_transparent_and_what_is_left_of_it_is_given_back() {
        assert_transparent(CallerBody::of_stream);
        assert_transparent(|body| {
            // Given back to a rest that lives no longer.
            let rest = Rest::new(TaskTracker::new(), CancellationToken::new(), Duration::from_secs(1));
            CallerBody { body: Some(body), rest: Some(rest) }
        });
    }
}
