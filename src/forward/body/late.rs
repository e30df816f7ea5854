//! A break is told one turn late: on an error the server gives up whatever it has not written yet, and between two polls
//! it writes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};

/// A body whose error comes at the next poll.
pub struct Late<B, E> {
    inner: B,
    state: State<E>,
}

enum State<E> {
    Going,
    /// To be told.
    Broken(E),
    Over,
}

impl<B, E> Late<B, E> {
    /// Tells of its break a turn later than it does.
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, state: State::Going }
    }

    pub(in crate::forward) fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B> Body for Late<B, B::Error>
where
    B: Body + Unpin,
    B::Error: Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Going => {}
            State::Broken(error) => return Poll::Ready(Some(Err(error))),
            State::Over => return Poll::Ready(None),
        }
        self.state = State::Going;
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Err(error)) => {
                self.state = State::Broken(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.state {
            State::Going => self.inner.is_end_stream(),
            State::Broken(_) => false,
            State::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Going => self.inner.size_hint(),
            State::Broken(_) => SizeHint::default(),
            State::Over => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transparent::{Broken, assert_transparent};

    #[test]
    fn it_is_transparent() {
        assert_transparent(Late::<_, Broken>::new);
    }
}
