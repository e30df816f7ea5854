//! The outermost stage: opens the record of a request, and turns whatever comes back, an answer or a
//! refusal, into the one response the server writes. Above it nothing can fail.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::{Layer, Service};

use crate::arrival::{Arrival, Call, Refused};
use crate::head::RequestId;
use crate::head::received::{Field, Received};
use crate::head::request_id::X_REQUEST_ID;
use crate::live::Live;
use crate::record::{Exchange, Recorder};
use crate::refuse::Refusal;
use crate::shutdown::Shutdown;
use crate::stage::Fork;

/// The layer of [`Answer`].
#[derive(Clone, Debug)]
pub struct AnswerLayer {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) live: Arc<Live>,
    pub(crate) shutdown: Shutdown,
}

impl<S> Layer<S> for AnswerLayer {
    type Service = Answer<S>;

    fn layer(&self, inner: S) -> Answer<S> {
        Answer { inner, context: Arc::new(self.clone()) }
    }
}

/// The outermost stage.
#[derive(Clone, Debug)]
pub struct Answer<S> {
    inner: S,
    context: Arc<AnswerLayer>,
}

impl<B, S, A> Service<Call<B>> for Answer<S>
where
    S: Service<Arrival<B>, Response = Response<AnsweredBody<A>>, Error = Refused>,
    A: Body<Data = Bytes> + Unpin,
{
    type Response = Response<AnsweredBody<A>>;
    type Error = Infallible;
    type Future = AnswerFuture<S::Future, Response<AnsweredBody<A>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Every stage behind is ready at any time: what does not fit is refused, not queued.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        let AnswerLayer { recorder, live, shutdown } = &*self.context;
        let Call { peer, request } = call;
        let (head, body) = request.into_parts();
        let head = Box::new(Received::from(head));
        let came = recorder.clock().wall();
        let id = if head.has(Field::RequestId) {
            RequestId::of(&head.headers, came)
        } else {
            RequestId::new(came)
        };
        let (value, is_head) = (id.value(), head.method == Method::HEAD);
        let exchange = Exchange::begin(recorder, (id, came), &peer, &head);
        let context = Arc::clone(&self.context);
        if shutdown.closing.is_cancelled() {
            let future = ready(Err(Refused::new(exchange, Refusal::Draining)));
            return AnswerFuture { answered: Fork::Here { future }, id: value, is_head, context };
        }
        let arrival = Arrival { peer, exchange, snapshot: live.current(), head, body };
        let future = self.inner.call(arrival);
        AnswerFuture { answered: Fork::Onward { future }, id: value, is_head, context }
    }
}

pin_project! {
    /// Becomes the response.
    pub struct AnswerFuture<F, R> {
        #[pin]
        answered: Fork<F, Ready<Result<R, Refused>>>,
        id: HeaderValue,
        is_head: bool,
        context: Arc<AnswerLayer>,
    }
}

impl<F, A> Future for AnswerFuture<F, Response<AnsweredBody<A>>>
where
    F: Future<Output = Result<Response<AnsweredBody<A>>, Refused>>,
    A: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<AnsweredBody<A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match task::ready!(this.answered.poll(cx)) {
            Ok(response) => response,
            Err(Refused { exchange, refusal }) => {
                let mut response = refusal.response().map(|body| AnsweredBody::Own(body.into()));
                exchange.tell_standing(response.headers_mut());
                exchange.refused(&refusal);
                response
            }
        };
        response.headers_mut().insert(X_REQUEST_ID, this.id.clone());
        if *this.is_head {
            response = without_body(response);
        }
        if this.context.shutdown.draining.is_cancelled() {
            // Where it means nothing, on HTTP/2, hyper leaves it out; the connection says it by GOAWAY.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

/// The answer to HEAD: the head of what GET would be answered with (RFC 9110 §9.3.2).
fn without_body<A: Body<Data = Bytes> + Unpin>(
    response: Response<AnsweredBody<A>>,
) -> Response<AnsweredBody<A>> {
    // One of the upstream's was read to its end already, where its cost and its connection are known.
    let AnsweredBody::Own(body) = response.body() else { return response };
    let length = body.size_hint().exact();
    let mut response = response.map(|_| AnsweredBody::Own(Full::default()));
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// A body that came from upstream, or one of ours.
pub enum AnsweredBody<A> {
    /// In passage, for as long as its caller may call, where that ends answers.
    Upstream(A, Option<Leaves>),
    /// Ours: a refusal, or an answer of the gateway itself.
    Own(Full<Bytes>),
}

/// Whether a caller may not call any more.
pub struct Leaves {
    gone: CancellationToken,
    /// Once the answer is waited for: most are there as a whole.
    told: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Leaves {
    /// By a token that is cancelled then.
    pub(crate) fn new(gone: &CancellationToken) -> Self {
        Self { gone: gone.clone(), told: None }
    }

    /// Whether it may not call any more; if not yet, the task is woken when that changes.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let told = self.told.get_or_insert_with(|| Box::pin(self.gone.clone().cancelled_owned()));
        told.as_mut().poll(cx)
    }
}

/// How a body breaks off.
#[derive(Debug, thiserror::Error)]
pub enum AnsweredError<E> {
    /// As it does by itself.
    #[error("{0}")]
    Body(E),
    /// Whoever it is for may not call any more.
    #[error("its caller's key was revoked, or it is no member any more")]
    Revoked,
}

impl<A: Body<Data = Bytes> + Unpin> Body for AnsweredBody<A> {
    type Data = Bytes;
    type Error = AnsweredError<A::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Upstream(body, None) => Pin::new(body).poll_frame(cx).map_err(AnsweredError::Body),
            Self::Upstream(body, Some(leaves)) => {
                let revoked = || Poll::Ready(Some(Err(AnsweredError::Revoked)));
                if leaves.gone.is_cancelled() {
                    return revoked();
                }
                match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(frame) => Poll::Ready(frame).map_err(AnsweredError::Body),
                    Poll::Pending if leaves.poll(cx).is_ready() => revoked(),
                    Poll::Pending => Poll::Pending,
                }
            }
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body, _) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body, _) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transparent::assert_transparent;

    #[test]
    fn a_body_in_passage_is_passed_on_as_it_is() {
        assert_transparent(|body| AnsweredBody::Upstream(body, None));
        let leaves = || Leaves::new(&CancellationToken::new());
        assert_transparent(|body| AnsweredBody::Upstream(body, Some(leaves())));
    }
}
