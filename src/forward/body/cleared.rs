//! What of a body may reach the caller: data with the organisation's key masked, and trailers that were announced.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::head::trailers::trailers_back;
use crate::mask::Mask;

/// A body without what is not the caller's to see.
pub struct Cleared<B> {
    inner: B,
    mask: Mask,
    /// The head's `Trailer` fields.
    announced: HeaderMap,
}

impl<B> Cleared<B> {
    pub(in crate::forward) fn new(inner: B, mask: Mask, announced: HeaderMap) -> Self {
        Self { inner, mask, announced }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Cleared<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { inner, mask, announced } = &mut *self;
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            Ok(match frame?.into_trailers() {
                Ok(trailers) => Frame::trailers(trailers_back(announced, trailers, mask)),
                Err(data) => data.map_data(|data| mask.look(data)),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;
    use crate::secret::UpstreamKey;
    use crate::transparent::{TRAILER, assert_transparent};

    #[test]
    fn it_is_transparent_to_what_is_the_callers_to_see() {
        let mask = || Mask::new(&UpstreamKey::for_tests("mvra_live_plainlyfakekeyfortestsonly00"));
        let announced = HeaderMap::from_iter([(header::TRAILER, HeaderValue::from(TRAILER))]);
        assert_transparent(|body| Cleared::new(body, mask(), announced.clone()));
    }
}
