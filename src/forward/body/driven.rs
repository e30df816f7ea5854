//! Whoever waits for a frame drives the connection that it comes on, within the exchange's deadlines; when the body has
//! come to its end, the connection goes back to where it was lent from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::error::BodyError;
use crate::forward::deadline::Deadline;
use crate::outbound::connect::Connect;
use crate::outbound::connection::Connection;
use crate::outbound::pool::Pool;

/// What a body comes on.
pub trait Driver {
    /// Lets it do what it can now.
    fn drive(&mut self, cx: &mut Context<'_>);
    /// The body has come to its end.
    fn release(self);
}

/// A connection, and the pool that it goes back to.
pub struct Lent<C: Connect> {
    pub(in crate::forward) connection: Box<Connection<C::Io>>,
    pub(in crate::forward) pool: Arc<Pool<C>>,
}

impl<C: Connect> Driver for Lent<C> {
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.connection.drive(cx);
    }

    fn release(self) {
        self.pool.give_back(self.connection);
    }
}

/// A body that drives what it comes on.
pub struct Driven<B, D: Driver> {
    inner: B,
    driver: Option<D>,
    deadline: Deadline,
    /// A frame was taken: the next is not there before the connection was driven, so that is done first.
    taken: bool,
}

impl<B: Body, D: Driver> Driven<B, D> {
    pub(in crate::forward) fn new(inner: B, driver: D, deadline: Deadline) -> Self {
        let mut body = Self { inner, driver: Some(driver), deadline, taken: false };
        if body.inner.is_end_stream() {
            body.release();
        }
        body
    }

    fn release(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.release();
        }
    }
}

impl<B, D> Body for Driven<B, D>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
    D: Driver + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let timed_out = |bound: Duration| Some(Err(BodyError::TimedOut(bound)));
        // Also while frames come: a caller that reads a little now and then must not hold them for ever.
        if let Some(bound) = self.deadline.is_over() {
            return Poll::Ready(timed_out(bound));
        }
        let Self { inner, driver, deadline, taken } = &mut *self;
        let drives_first = *taken;
        if let (true, Some(driver)) = (drives_first, &mut *driver) {
            driver.drive(cx);
        }
        let mut frame = Pin::new(&mut *inner).poll_frame(cx);
        if let (Poll::Pending, false, Some(driver)) = (&frame, drives_first, driver) {
            driver.drive(cx);
            frame = Pin::new(&mut *inner).poll_frame(cx);
        }
        let Poll::Ready(frame) = frame else { return deadline.poll(cx).map(timed_out) };
        deadline.progressed();
        *taken = true;
        // The server may not ask again after the last frame, and does not after trailers.
        let over = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || inner.is_end_stream(),
            Some(Err(_)) => false,
        };
        if over {
            self.release();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        // A body in chunks never says so itself.
        self.driver.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::config::Timeouts;
    use crate::transparent::assert_transparent;

    /// Comes from nowhere.
    struct Still(Arc<AtomicUsize>);

    impl Driver for Still {
        fn drive(&mut self, _: &mut Context<'_>) {}

        fn release(self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn it_is_transparent_and_gives_back_what_came_to_its_end() {
        let (long, clock) = (Duration::from_mins(10), Clock::system());
        let timeouts = Timeouts { connect: long, first_byte: long, idle: long, total: long };
        let released = Arc::new(AtomicUsize::new(0));
        assert_transparent(|body| {
            Driven::new(body, Still(Arc::clone(&released)), Deadline::new(clock, timeouts))
        });
        assert!(
            released.load(Ordering::Relaxed) > 5,
            "what broke or was dropped is not given back, the rest is"
        );
    }
}
