//! A caller's body, which is given back if it is dropped before its end: what becomes of the rest is for the protocol to say.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// What a protocol makes of the body of a request.
pub(super) trait Rest<B>: Send + Sync {
    /// It was read to its end.
    fn whole(&self);
    /// This is left of it.
    fn left(&self, body: B);
}

/// A caller's body.
pub struct CallerBody<B: Body = Incoming> {
    /// `None` once its end was seen.
    body: Option<B>,
    rest: Arc<dyn Rest<B>>,
}

impl<B: Body> CallerBody<B> {
    /// A body whose rest goes there.
    pub(super) fn new(body: B, rest: Arc<dyn Rest<B>>) -> Self {
        let mut body = Self { body: Some(body), rest };
        body.look_for_end();
        body
    }

    fn look_for_end(&mut self) {
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.end();
        }
    }

    fn end(&mut self) {
        if self.body.take().is_some() {
            self.rest.whole();
        }
    }
}

impl<B: Body> Drop for CallerBody<B> {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            self.rest.left(body);
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
        match &frame {
            None => self.end(),
            Some(Ok(_)) => self.look_for_end(),
            Some(Err(_)) => {}
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::transparent::assert_transparent;

    #[derive(Default)]
    struct Counted {
        whole: AtomicUsize,
        left: AtomicUsize,
    }

    impl<B> Rest<B> for Counted {
        fn whole(&self) {
            self.whole.fetch_add(1, Ordering::Relaxed);
        }

        fn left(&self, _: B) {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_transparent_and_each_is_either_whole_or_given_back() {
        let (counted, made) = (Arc::new(Counted::default()), AtomicUsize::new(0));
        assert_transparent(|body| {
            made.fetch_add(1, Ordering::Relaxed);
            CallerBody::new(body, Arc::clone(&counted) as Arc<_>)
        });
        let [whole, left, made] = [&counted.whole, &counted.left, &made].map(|of| of.load(Ordering::Relaxed));
        assert!(whole > 0 && left > 0);
        assert_eq!(whole + left, made);
    }
}
