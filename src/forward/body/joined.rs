//! What is ready together leaves together: the frames of a burst, which the connection has already, are handed on as one. A
//! frame costs its own way through the meter, the server's framing and a write; its bytes cost next to nothing.
//!
//! Nothing waits for company: what is there when a frame is asked for is all that is looked at. A small frame is copied, also
//! a lone one: so it does not keep the whole buffer that it was read into, and the next is read into the same. A large one is
//! passed on as it is.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Bytes of the frames that leave together at the most.
const MOST: usize = 16 << 10;
/// Larger frames are passed on by reference.
const SMALL: usize = 4 << 10;
/// Frames that are looked at for one at the most, so that empty ones keep nobody.
const FRAMES: usize = 256;

thread_local! {
    /// Where the first frame stands while it is looked whether there is a second.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a body says when it is asked: a frame, how it breaks, or nothing at its end.
type Said<E> = Option<Result<Frame<Bytes>, E>>;

/// A body whose small frames leave together.
pub struct Joined<B: Body> {
    inner: B,
    /// What came behind frames that were joined, and is no part of them.
    behind: Option<Said<B::Error>>,
}

impl<B: Body<Data = Bytes> + Unpin> Joined<B> {
    pub(in crate::forward) fn new(inner: B) -> Self {
        Self { inner, behind: None }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Said<B::Error>> {
        match self.behind.take() {
            Some(behind) => Poll::Ready(behind),
            None => Pin::new(&mut self.inner).poll_frame(cx),
        }
    }

    /// What else is there behind `first`, joined with it.
    fn join(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let mut alone = SCRATCH.take();
        alone.clear();
        alone.extend_from_slice(&first);
        // What it was read into is free for the next.
        drop(first);
        let mut several = BytesMut::new();
        for _ in 0..FRAMES {
            // Whether there is more is not asked of a body that has said that there is none.
            if self.inner.is_end_stream() {
                break;
            }
            let Poll::Ready(said) = Pin::new(&mut self.inner).poll_frame(cx) else { break };
            let room = MOST - several.len().max(alone.len());
            let small = |data: &&Bytes| data.len() <= SMALL.min(room);
            let Some(data) = said.as_ref().and_then(|said| said.as_ref().ok()?.data_ref()).filter(small)
            else {
                self.behind = Some(said);
                break;
            };
            if several.is_empty() {
                several.reserve(MOST);
                several.extend_from_slice(&alone);
            }
            several.extend_from_slice(data);
        }
        let joined = if several.is_empty() { Bytes::copy_from_slice(&alone) } else { several.freeze() };
        SCRATCH.set(alone);
        joined
    }
}

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Body for Joined<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Said<B::Error>> {
        let frame = std::task::ready!(self.next(cx));
        Poll::Ready(match frame {
            // The last of a body that says so goes as it is: nothing is read behind it.
            Some(Ok(frame))
                if frame.data_ref().is_some_and(|data| data.len() <= SMALL)
                    && !self.inner.is_end_stream() =>
            {
                Some(Ok(frame.map_data(|first| self.join(first, cx))))
            }
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.behind.as_ref().map_or_else(|| self.inner.is_end_stream(), Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        if let Some(Some(Ok(frame))) = &self.behind {
            let behind = frame.data_ref().map_or(0, Bytes::len) as u64;
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper + behind);
            }
            hint.set_lower(hint.lower() + behind);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;
    use crate::transparent::{Broken, Scripted, Step};

    type Polled = Poll<Said<Broken>>;

    /// What comes out at each poll, until the end or a break.
    fn polled(steps: &[Step]) -> Vec<Polled> {
        let (inner, _) = Scripted::new(steps);
        let mut joined = Joined::new(inner);
        let mut cx = Context::from_waker(Waker::noop());
        let mut polls = Vec::new();
        loop {
            let polled = Pin::new(&mut joined).poll_frame(&mut cx);
            let over = matches!(&polled, Poll::Ready(None | Some(Err(_))));
            polls.push(polled);
            if over {
                return polls;
            }
            assert!(!joined.is_end_stream() || matches!(polls.last(), Some(Poll::Ready(_))));
        }
    }

    fn data(text: &[u8]) -> Step {
        Step::Data(Bytes::copy_from_slice(text))
    }

    fn of(polled: Polled) -> Bytes {
        match polled {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().expect("it is data"),
            _ => panic!("it is a frame"),
        }
    }

    #[test]
    fn a_burst_leaves_as_one_and_what_comes_later_by_itself() {
        let polls = polled(&[data(b"one"), data(b"two"), Step::Wait, data(b"three"), Step::Trailers]);
        let mut polls = polls.into_iter();
        assert_eq!(of(polls.next().unwrap()), "onetwo");
        assert_eq!(of(polls.next().unwrap()), "three");
        assert!(matches!(polls.next(), Some(Poll::Ready(Some(Ok(frame)))) if frame.is_trailers()));
        assert!(matches!(polls.next(), Some(Poll::Ready(None))));
    }

    #[test]
    fn a_large_frame_is_passed_on_as_it_is_behind_what_was_joined_in_front_of_it() {
        let large = Bytes::from(vec![b'x'; SMALL + 1]);
        let polls = polled(&[data(b"one"), data(b"two"), Step::Data(large.clone()), data(b"three")]);
        let mut polls = polls.into_iter();
        assert_eq!(of(polls.next().unwrap()), "onetwo");
        assert_eq!(of(polls.next().unwrap()).as_ptr(), large.as_ptr());
        assert_eq!(of(polls.next().unwrap()), "three");
    }

    #[test]
    fn a_lone_frame_keeps_no_more_than_itself_and_the_last_is_as_it_was() {
        let read_into = Bytes::from(vec![b'x'; 8 << 10]);
        let part = |range| Step::Data(read_into.slice(range));
        let mut polls = polled(&[part(0..100), Step::Wait, part(100..200)]).into_iter();
        let lone = of(polls.next().unwrap());
        assert!(lone == read_into[..100] && lone.as_ptr() != read_into.as_ptr());
        assert_eq!(of(polls.next().unwrap()).as_ptr(), read_into[100..].as_ptr());
    }

    #[test]
    fn a_break_comes_behind_all_that_came_before_it() {
        let mut polls = polled(&[data(b"one"), data(b"two"), Step::Break]).into_iter();
        assert_eq!(of(polls.next().unwrap()), "onetwo");
        assert!(matches!(polls.next(), Some(Poll::Ready(Some(Err(_))))));
    }

    proptest! {
        /// Whatever is there has left by the next poll at which nothing is there, in order, and in frames within the bound.
        #[test]
        fn no_byte_is_changed_or_late(
            frames in proptest::collection::vec((any::<u8>(), 0usize..6000, any::<bool>()), 0..40),
        ) {
            let mut steps = Vec::new();
            let mut expected = Vec::new();
            let mut there = 0;
            let mut by_wait = Vec::new();
            for (byte, length, waits) in frames {
                expected.extend(std::iter::repeat_n(byte, length));
                there += length;
                steps.push(Step::Data(Bytes::from(vec![byte; length])));
                if waits {
                    steps.push(Step::Wait);
                    by_wait.push(there);
                }
            }
            let mut came = Vec::new();
            let mut waits = by_wait.iter();
            let (inner, watch) = Scripted::new(&steps);
            let mut joined = Joined::new(inner);
            let mut cx = Context::from_waker(Waker::noop());
            loop {
                let before = watch.polls();
                match Pin::new(&mut joined).poll_frame(&mut cx) {
                    Poll::Pending => {}
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(frame)) => {
                        let data = frame.unwrap().into_data().unwrap();
                        prop_assert!(data.len() <= MOST);
                        came.extend_from_slice(&data);
                    }
                }
                // All that came before a wait has left when that is over.
                let asked = watch.polls() - before;
                for step in steps.drain(..asked.min(steps.len())) {
                    if matches!(step, Step::Wait) {
                        prop_assert!(came.len() >= *waits.next().unwrap());
                    }
                }
            }
            prop_assert_eq!(came, expected);
        }
    }
}
