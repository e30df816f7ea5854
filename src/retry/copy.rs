//! What a caller of a copy is given: the head of the first answer as its own, and the body, frame for frame, with a record of
//! the copy's own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::reader::Reader;
use super::recording::{Head, Why};
use crate::head::fields;
use crate::limit::in_flight::Permit;
use crate::meter::{Reading, Usage, is_event_stream};
use crate::record::Exchange;
use crate::record::course::Repeat;

/// The body of an answer that several may read.
pub struct Shared {
    reader: Reader,
    /// Of a copy, until it has ended. The first's is told of where its frames come from.
    telling: Option<Box<Telling>>,
}

struct Telling {
    exchange: Exchange,
    permit: Permit,
}

/// The answer to the call that was made.
pub(super) fn own(head: &Head, reader: Reader) -> Response<Shared> {
    let mut response = Response::new(Shared { reader, telling: None });
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers.clone();
    response
}

/// The answer to a copy.
pub(super) fn copy(
    head: &Head,
    reader: Reader,
    repeat: &Repeat,
    mut exchange: Exchange,
    permit: Permit,
) -> Response<Shared> {
    exchange.copies(head.status, is_event_stream(&head.headers));
    let mut headers = fields::without_standing(&head.headers);
    exchange.tell_standing(&mut headers);
    match repeat {
        Repeat::Joined(original) | Repeat::Shared(original) => {
            fields::tell_copy(&mut headers, &original.value(), false);
        }
        Repeat::Replayed(original) => fields::tell_copy(&mut headers, &original.value(), true),
        Repeat::Adopted(original) => fields::tell_adopted(&mut headers, &original.value()),
        _ => {}
    }
    let mut body = Shared { reader, telling: Some(Box::new(Telling { exchange, permit })) };
    if body.reader.is_end_stream() {
        body.end(true);
    }
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    response
}

impl Shared {
    /// The copy is over. `whole` if it has all that there is.
    fn end(&mut self, whole: bool) {
        let Some(telling) = self.telling.take() else { return };
        let Telling { exchange, permit } = *telling;
        exchange.ended(whole, &self.reading());
        drop(permit);
    }

    /// What the answer said of itself, but for its cost, which is the first's.
    fn reading(&self) -> Reading {
        let end = self.reader.recording().course().over();
        end.map(|end| Reading { usage: Usage::default(), ..end.reading }).unwrap_or_default()
    }
}

impl Body for Shared {
    type Data = Bytes;
    type Error = Why;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Why>>> {
        let frame = ready!(Pin::new(&mut self.reader).poll_frame(cx));
        if let Some(telling) = &mut self.telling {
            match &frame {
                Some(Ok(frame)) => {
                    telling.exchange.passed(frame.data_ref().map_or(0, Bytes::len));
                    if self.reader.has_answer() {
                        self.end(true);
                    }
                }
                Some(Err(_)) => self.end(false),
                None => self.end(true),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reader.size_hint()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(telling) = self.telling.take() {
            let Telling { exchange, .. } = *telling;
            exchange.abandoned(&self.reading());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Waker;

    use http_body_util::BodyExt;

    use super::super::recording::{Keeping, Making, Recording};
    use super::super::room::Room;
    use super::*;
    use crate::clock::Clock;
    use crate::forward::drain::Drain;
    use crate::head::RequestId;
    use crate::metrics::Metrics;
    use crate::record::course::Course;
    use crate::shutdown::Shutdown;
    use crate::transparent::assert_transparent;

    #[tokio::test]
    async fn what_is_recorded_is_transparent_to_whoever_is_in_front() {
        let (clock, drain) = (Clock::system(), Drain::new(Shutdown::default(), &Metrics::new()));
        assert_transparent(|body| {
            let answer = Response::new(body.map_err(|error| Why::of(&error)).boxed_unsync());
            let making: Making = Box::pin(std::future::ready(Ok(answer)));
            let course = Arc::new(Course::new(None, RequestId::new(clock.wall())));
            let room = || {
                let room = Room::new(None);
                room.resize(usize::MAX);
                Arc::new(room)
            };
            let keeping = Keeping { most: usize::MAX, rooms: [room(), room()], whole: None };
            let mut reader = Reader::first(Recording::of(making, course, keeping, (clock, drain.clone())));
            let Poll::Ready(Ok(head)) = pin!(reader.head()).poll(&mut Context::from_waker(Waker::noop()))
            else {
                panic!("the head is there");
            };
            own(&head, reader).into_body()
        });
    }
}
