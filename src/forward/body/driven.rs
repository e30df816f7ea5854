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
    pub(in crate::forward) connection: Connection<C::Io>,
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
}

impl<B: Body, D: Driver> Driven<B, D> {
    pub(in crate::forward) fn new(inner: B, driver: D, deadline: Deadline) -> Self {
        let mut driven = Self { inner, driver: Some(driver), deadline };
        if driven.inner.is_end_stream() {
            driven.release();
        }
        driven
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
        let Self { inner, driver, deadline } = &mut *self;
        let mut frame = Pin::new(&mut *inner).poll_frame(cx);
        if let (Poll::Pending, Some(driver)) = (&frame, driver) {
            driver.drive(cx);
            frame = Pin::new(&mut *inner).poll_frame(cx);
        }
        let Poll::Ready(frame) = frame else { return deadline.poll(cx).map(timed_out) };
        deadline.progressed();
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
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
