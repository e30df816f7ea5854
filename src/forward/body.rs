//! The answer's body on its way to the caller: the upstream's frames as they are, looked at by the
//! meter, with everything aboard that must live until the last byte.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Shared;
use super::deadline::Deadline;
use crate::head::trailers::trailers_back;
use crate::limit::in_flight::Permit;
use crate::mask::Mask;
use crate::meter::{Meter, Reading};
use crate::outbound::connect::Connect;
use crate::outbound::connection::Connection;
use crate::record::Exchange;

/// Why a body broke off. The caller sees a message that did not end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream closed, reset or garbled it.
    #[error("the upstream's answer broke off: {0}")]
    Upstream(#[from] hyper::Error),
    /// The upstream fell silent, or went on for too long.
    #[error("the upstream's answer did not go on within {0:?}")]
    TimedOut(Duration),
}

/// The body that is handed to the server. Whatever ends it ends the record, exactly once: its last
/// frame, an error, or being dropped, which is a caller that left.
pub struct AnswerBody<C: Connect> {
    passage: Option<Box<Passage<C>>>,
    /// The answer broke off. Told only at the next poll: on an error the server gives up whatever it
    /// has not written yet, and between two polls it writes.
    broken: Option<BodyError>,
}

/// An answer in passage, with all that it holds open.
pub(super) struct Passage<C: Connect> {
    pub(super) incoming: Incoming,
    pub(super) connection: Connection<C::Io>,
    pub(super) shared: Arc<Shared<C>>,
    pub(super) meter: Option<Meter>,
    /// Looks first, so that what the meter takes note of has no key in it.
    pub(super) mask: Mask,
    pub(super) exchange: Exchange,
    pub(super) permit: Permit,
    /// The head's `Trailer` fields.
    pub(super) announced: HeaderMap,
    pub(super) deadline: Deadline,
    /// The caller's leaving cancels the exchange; otherwise it is read on.
    pub(super) cancels: bool,
}

impl<C: Connect> AnswerBody<C> {
    pub(super) fn new(passage: Passage<C>) -> Self {
        let mut body = Self { passage: Some(Box::new(passage)), broken: None };
        if body.passage.as_ref().is_some_and(|passage| passage.incoming.is_end_stream()) {
            body.end(true);
        }
        body
    }

    /// The caller has left: what is dropped from now on ends here.
    pub(super) fn caller_left(&mut self) {
        if let Some(passage) = &mut self.passage {
            passage.exchange.caller_left();
        }
    }

    /// The body is over. `whole` if the upstream ended it as HTTP wants.
    fn end(&mut self, whole: bool) {
        let Some(passage) = self.passage.take() else { return };
        let Passage { connection, shared, meter, exchange, permit, .. } = *passage;
        exchange.ended(whole, &reading(meter, whole));
        if whole {
            shared.pool.give_back(connection);
        }
        drop(permit);
    }
}

fn reading(meter: Option<Meter>, whole: bool) -> Reading {
    meter.and_then(|meter| catch_unwind(AssertUnwindSafe(|| meter.finish(whole))).ok()).unwrap_or_default()
}

impl<C: Connect> Passage<C> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Also while frames come: a caller that reads a little now and then must not hold them for ever.
        if let Some(bound) = self.deadline.is_over() {
            return Poll::Ready(Some(Err(BodyError::TimedOut(bound))));
        }
        let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if frame.is_pending() {
            self.connection.drive(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        match frame {
            Poll::Ready(frame) => {
                self.deadline.progressed();
                Poll::Ready(frame.map(|frame| {
                    let frame = frame?.map_data(|data| self.mask.look(data));
                    if let Some(data) = frame.data_ref() {
                        self.look(data);
                    }
                    Ok(frame)
                }))
            }
            Poll::Pending => self.deadline.poll(cx).map(|bound| Some(Err(BodyError::TimedOut(bound)))),
        }
    }

    /// The meter looks; if it fails, the body goes on without it.
    fn look(&mut self, data: &Bytes) {
        self.exchange.passed(data.len());
        if let Some(meter) = &mut self.meter
            && catch_unwind(AssertUnwindSafe(|| meter.look(data))).is_err()
        {
            tracing::error!(request_id = %self.exchange.id(), "the meter failed; this answer goes on unmetered");
            self.meter = None;
        }
    }
}

impl<C: Connect> Body for AnswerBody<C> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(passage) = &mut self.passage else {
            return Poll::Ready(self.broken.take().map(Err));
        };
        let frame = std::task::ready!(passage.poll_frame(cx));
        match frame {
            Some(Ok(frame)) => {
                // The server may not ask again after the last frame, and does not after trailers.
                let frame = match frame.into_trailers() {
                    Ok(trailers) => {
                        let trailers = trailers_back(&passage.announced, trailers, &passage.mask);
                        self.end(true);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => {
                        if passage.incoming.is_end_stream() {
                            self.end(true);
                        }
                        frame
                    }
                };
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.end(false);
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                self.end(true);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let over = self.passage.as_ref().is_none_or(|passage| passage.incoming.is_end_stream());
        over && self.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.passage {
            Some(passage) => passage.incoming.size_hint(),
            None if self.broken.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<C: Connect> Drop for AnswerBody<C> {
    fn drop(&mut self) {
        let Some(mut passage) = self.passage.take() else { return };
        if passage.exchange.has_caller_left() || passage.cancels {
            let Passage { meter, exchange, .. } = *passage;
            exchange.abandoned(&reading(meter, false));
            return;
        }
        let shared = Arc::clone(&passage.shared);
        passage.exchange.caller_left();
        shared.drain.read_on(Self { passage: Some(passage), broken: None });
    }
}
