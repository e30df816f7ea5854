//! The observer of a body: the meter looks at each frame, and the record ends, exactly once: with the event that says that
//! the answer is over, or with the body. What must live until then lives here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::forward::noted::Noted;
use crate::forward::why::Why;
use crate::limit::in_flight::Permit;
use crate::meter::{Meter, Reading};
use crate::record::Exchange;

/// A body that is told of.
pub struct Told<B> {
    inner: B,
    /// Until it has ended.
    telling: Option<Box<Telling>>,
}

/// What is told, and what is held meanwhile.
pub(in crate::forward) struct Telling {
    pub(in crate::forward) meter: Option<Meter>,
    pub(in crate::forward) exchange: Exchange,
    pub(in crate::forward) permit: Permit,
    /// Of an answer that says why no call can succeed.
    pub(in crate::forward) why: Option<Why>,
    /// Of one that tells of a job, or of something that was made.
    pub(in crate::forward) noted: Option<Noted>,
}

impl<B: Body> Told<B> {
    pub(in crate::forward) fn new(inner: B, telling: Box<Telling>) -> Self {
        let mut told = Self { inner, telling: Some(telling) };
        if told.inner.is_end_stream() {
            told.end(true);
        }
        told
    }

    /// Whether the record has ended.
    pub(in crate::forward) fn is_over(&self) -> bool {
        self.telling.is_none()
    }

    /// The caller has left before the answer was over: what is dropped from now on ends here.
    pub(in crate::forward) fn caller_left(&mut self) {
        if let Some(telling) = &mut self.telling {
            telling.exchange.caller_left();
        }
    }

    /// The answer is over. `whole` if it said so itself, or the upstream ended its body as HTTP wants.
    fn end(&mut self, whole: bool) {
        let Some(telling) = self.telling.take() else { return };
        let Telling { meter, mut exchange, permit, why, noted } = *telling;
        if let Some(why) = why {
            why.told();
        }
        // Also where its label did not say so.
        exchange.streams(meter.as_ref().is_some_and(Meter::reads_events));
        let reading = reading(meter, whole);
        // Before whoever asked can have all of it.
        if let Some(noted) = noted {
            noted.told(&reading);
        }
        exchange.ended(whole, &reading);
        drop(permit);
    }
}

fn reading(meter: Option<Meter>, whole: bool) -> Reading {
    meter.and_then(|meter| catch_unwind(AssertUnwindSafe(|| meter.finish(whole))).ok()).unwrap_or_default()
}

impl Telling {
    /// The meter looks; if it fails, the body goes on without it.
    fn look(&mut self, data: &Bytes) {
        self.exchange.passed(data.len());
        if let Some(why) = &mut self.why {
            why.look(data);
        }
        if let Some(meter) = &mut self.meter
            && catch_unwind(AssertUnwindSafe(|| meter.look(data))).is_err()
        {
            tracing::error!(request_id = %self.exchange.id(), "the meter failed; this answer goes on unmetered");
            self.meter = None;
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Told<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(telling)) = (frame.data_ref(), &mut self.telling) {
                    telling.look(data);
                }
                // The server may not ask again after the last frame, and does not after trailers. A caller may leave once
                // it has read that the answer is over, and the upstream may close long after.
                let said = |telling: &Telling| telling.meter.as_ref().is_some_and(Meter::is_over);
                if frame.is_trailers()
                    || self.inner.is_end_stream()
                    || self.telling.as_deref().is_some_and(said)
                {
                    self.end(true);
                }
            }
            Some(Err(_)) => self.end(false),
            None => self.end(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for Told<B> {
    fn drop(&mut self) {
        if let Some(telling) = self.telling.take() {
            let Telling { meter, exchange, noted, .. } = *telling;
            let reading = reading(meter, false);
            if let Some(noted) = noted {
                noted.told(&reading);
            }
            exchange.abandoned(&reading);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::forward::body::read_on::ReadOn;
    use crate::head::RequestId;
    use crate::limit::in_flight::InFlight;
    use crate::log::Log;
    use crate::metrics::Metrics;
    use crate::peer::Peer;
    use crate::record::Recorder;
    use crate::record::counts::Counts;
    use crate::transparent::assert_transparent;
    use std::sync::Arc;

    #[tokio::test]
    async fn it_is_transparent_and_ends_each_record_once() {
        let metrics = Metrics::new();
        let (clock, counts) = (Clock::system(), Arc::new(Counts::new(&metrics)));
        let log = Log::start(std::io::sink(), &metrics).unwrap();
        let recorder = Arc::new(Recorder::new(clock, Arc::clone(&counts), log));
        let peer = Arc::new({
            let here = std::net::Ipv4Addr::LOCALHOST;
            Peer::new((here, 1).into(), here.into(), None)
        });
        let (head, ()) = http::Request::new(()).into_parts();
        let in_flight = Arc::new(InFlight::default());
        let telling = || {
            let came = clock.wall();
            let id = RequestId::of(&head.headers, came);
            let exchange = Exchange::begin(&recorder, (id, came), &peer, &head);
            let permit = in_flight.take(1).expect("each is given back");
            Box::new(Telling { meter: None, exchange, permit, why: None, noted: None })
        };
        assert_transparent(|body| Told::new(body, telling()));
        assert_transparent(|body| ReadOn::new(Told::new(body, telling()), None, false));
        assert_eq!((counts.in_flight(), in_flight.count()), (0, 0));
    }
}
