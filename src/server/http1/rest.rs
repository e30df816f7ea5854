//! What has not been read of a request's body when its answer is ready: a refusal is often written before the body has
//! come. Behind such a body the connection can be used again only if the body is read, and a caller must not find out by a
//! connection that breaks. So a small rest is read and thrown away, and otherwise the answer says that the connection
//! closes. Left alone, hyper looks once at what has come, and closes without a word.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::turn::Turn;
use crate::head::idempotency::sdk_retries;
use crate::server::caller_body::{self, CallerBody};
use crate::shutdown::Signal;
use crate::unread::poll_to_end;

/// What is read for nothing behind an answer: more costs more than a new connection.
const MAX_REST: u64 = 64 << 10;

/// One connection's body that was left unread. There is one at most: requests come one after the other.
#[derive(Debug)]
pub(super) struct Rest {
    left: Mutex<Option<Incoming>>,
    turn: Turn,
    tasks: TaskTracker,
    closing: Signal,
    /// How long the rest of a body has to come: as long as the next head would have.
    patience: Duration,
}

impl caller_body::Rest<Incoming> for Rest {
    fn whole(&self) {
        self.turn.whole();
    }

    fn left(&self, mut body: Incoming) {
        // What has come already needs nobody to wait for it, and an end of input behind it is no break.
        if poll_to_end(&mut body, &mut Context::from_waker(Waker::noop())).is_ready() {
            return self.turn.whole();
        }
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}

impl Rest {
    /// Nothing is left yet.
    pub(super) fn new(turn: Turn, tasks: TaskTracker, closing: Signal, patience: Duration) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(None), turn, tasks, closing, patience })
    }

    /// A service whose answers come with a word on the connection's end, or with the body read to its own.
    pub(super) fn watching<S>(self: Arc<Self>, inner: S) -> Watching<S> {
        Watching { inner, rest: self }
    }

    /// Reads what is left of `body`, here if it has come already. `false` if the connection has to close.
    fn read(&self, mut body: Incoming, cx: &mut Context<'_>) -> bool {
        if body.size_hint().exact().is_none_or(|length| length > MAX_REST) {
            return false;
        }
        if poll_to_end(&mut body, cx).is_ready() {
            self.turn.whole();
            return true;
        }
        self.turn.rest();
        let (turn, closing, requests) = (self.turn.clone(), self.closing.clone(), self.turn.requests());
        let read = tokio::time::timeout(self.patience, async move {
            poll_fn(|cx| poll_to_end(&mut body, cx)).await;
            turn.rest_read(requests);
        });
        self.tasks.spawn(async move { closing.run_until_cancelled(read).await });
        true
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
    A: Body,
{
    type Response = Response<Answering<A>>;
    type Error = S::Error;
    type Future = Watched<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let expects = request.headers().contains_key(header::EXPECT);
        let is_old = request.version() < Version::HTTP_11;
        // What the OpenAI SDKs go over (httpx, undici) closes whole connections; the retry comes sooner than one would ask.
        let closes_whole = sdk_retries(request.headers()).is_some();
        self.rest.turn.begin(is_old, closes_whole);
        let rest = Arc::clone(&self.rest);
        let request = request.map(|body| CallerBody::new(body, Arc::clone(&rest) as Arc<_>));
        Watched { inner: self.inner.call(request), rest, expects, is_old }
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
        // It knows no chunks: what has no length ends with the connection.
        is_old: bool,
    }
}

impl<F, A, E> Future for Watched<F>
where
    F: Future<Output = Result<Response<A>, E>>,
    A: Body,
{
    type Output = Result<Response<Answering<A>>, E>;

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
        let has_length = answer.body().size_hint().exact().is_some()
            || answer.headers().contains_key(header::CONTENT_LENGTH);
        this.rest.turn.answered(!*this.is_old || has_length);
        let turn = this.rest.turn.clone();
        Poll::Ready(Ok(answer.map(|body| Answering { body, turn })))
    }
}

/// The body of an answer, whose end gives the turn back to the caller.
#[derive(Debug)]
pub(super) struct Answering<A> {
    body: A,
    turn: Turn,
}

impl<A> Drop for Answering<A> {
    fn drop(&mut self) {
        self.turn.over();
    }
}

impl<A: Body<Data = Bytes> + Unpin> Body for Answering<A> {
    type Data = Bytes;
    type Error = A::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, A::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transparent::assert_transparent;

    #[test]
    fn the_body_of_an_answer_is_transparent_and_its_end_is_the_callers_turn() {
        let turn = Turn::default();
        assert_transparent(|body| {
            turn.begin(false, false);
            Answering { body, turn: turn.clone() }
        });
        assert!(!turn.is_the_callers(), "to be written yet");
        turn.flushed();
        assert!(turn.is_the_callers());
    }
}
