//! A body whose caller leaves is read on without it: so that the books learn the cost, or, if they have learnt it, so that
//! the connection can be used again.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::told::Told;
use crate::forward::drain::Drain;

/// A body that goes on when it is dropped.
pub struct ReadOn<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// Gone once it was dropped.
    inner: Option<Told<B>>,
    /// Where it goes on.
    drain: Option<Drain>,
    /// A caller that leaves cuts it, or has left already.
    ends: bool,
}

impl<B> ReadOn<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// `cuts` if a caller that leaves cuts it.
    pub(in crate::forward) fn new(inner: Told<B>, drain: Option<Drain>, cuts: bool) -> Self {
        Self { inner: Some(inner), drain, ends: cuts }
    }

    /// The caller has left, and it goes on already.
    pub(in crate::forward) fn caller_left(&mut self) {
        self.ends = true;
        if let Some(told) = &mut self.inner {
            told.caller_left();
        }
    }

    fn body(&self) -> &Told<B> {
        self.inner.as_ref().expect("it is there until it is dropped")
    }
}

impl<B> Body for ReadOn<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let inner = self.inner.as_mut().expect("it is there until it is dropped");
        Pin::new(inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}

impl<B> Drop for ReadOn<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let (Some(mut told), Some(drain)) = (self.inner.take(), self.drain.take()) else { return };
        if told.is_over() {
            drain.read_tail(told);
        } else if !self.ends {
            told.caller_left();
            drain.read_on(told);
        }
    }
}
