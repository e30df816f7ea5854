//! Who reads an answer: the caller that it was made for, the callers of copies, and, where none of them is left, the drain.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake as _, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::recording::{End, Head, Own, Recording, Source, Standing, Tape, Why, copy_of};
use crate::arrival::Refused;
use crate::refuse::Refusal;

/// What a reader is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The caller that the call was made for.
    Own,
    /// The caller of a copy.
    Copy,
    /// Nobody: the answer is read to its end.
    Drain,
}

/// Who reads an answer.
pub(super) struct Reader {
    recording: Arc<Recording>,
    place: usize,
    /// Frames, and bytes of data, that it has had.
    at: usize,
    read: u64,
    role: Role,
    /// It was told of a refusal, and the record that ends by it went along.
    told: bool,
}

impl Reader {
    /// The caller that a call is made for: its first reader.
    pub(super) fn first(recording: Arc<Recording>) -> Self {
        Self::new(recording, Role::Own)
    }

    /// The caller of a copy, if the answer can be had from its beginning.
    pub(super) fn join(recording: &Arc<Recording>) -> Option<(Self, Standing)> {
        let standing = recording.standing();
        (standing != Standing::Lost).then(|| (Self::new(Arc::clone(recording), Role::Copy), standing))
    }

    fn new(recording: Arc<Recording>, role: Role) -> Self {
        let mut tape = recording.tape();
        let place = tape.readers.iter().position(Option::is_none).unwrap_or(tape.readers.len());
        if place == tape.readers.len() {
            tape.readers.push(None);
        }
        tape.readers[place] = Some(0);
        drop(tape);
        Self { recording, place, at: 0, read: 0, role, told: false }
    }

    /// What it reads.
    pub(super) fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// The answer has said that it was over, and this reader has had all of that.
    pub(super) fn has_answer(&self) -> bool {
        self.recording.tape().answered.is_some_and(|answered| self.at >= answered)
    }

    /// Waits for the head of the answer.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn head(&mut self) -> Result<Arc<Head>, Refusal> {
        std::future::poll_fn(|cx| self.poll_head(cx)).await
    }

    /// For the caller that the call was made for, once it knows that there is no head: the record that ends by that.
    pub(super) fn refused(&mut self) -> Option<Refused> {
        let mut tape = self.recording.tape();
        match std::mem::replace(&mut tape.own, Own::Done) {
            Own::Refused(refused) if self.role == Role::Own => {
                self.told = true;
                Some(refused)
            }
            other => {
                tape.own = other;
                None
            }
        }
    }

    /// Nobody but the drain waits, for a call that is not sent any more.
    fn is_alone_with_what_waits(&self, tape: &Tape) -> bool {
        self.role == Role::Drain
            && !self.recording.course.is_sent()
            && tape.readers.iter().flatten().count() == 1
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arc<Head>, Refusal>> {
        let recording = &self.recording;
        recording.wakers.set(self.place, Some(cx.waker()));
        let mut tape = recording.tape();
        if let Some(head) = &tape.head {
            return Poll::Ready(Ok(Arc::clone(head)));
        }
        if let Some(refusal) = &tape.refused {
            return Poll::Ready(Err(refusal.clone()));
        }
        let waker = Waker::from(Arc::clone(&recording.wakers));
        let made = match &mut tape.source {
            Source::Awaited(making) => match making.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(made) => made,
                Poll::Pending if self.is_alone_with_what_waits(&tape) => {
                    // It was put back, or its connection had died: sent again, it would cost, and nobody wants it any more.
                    let source = std::mem::replace(&mut tape.source, Source::Over);
                    drop(tape);
                    drop(source);
                    return Poll::Ready(Err(Refusal::RetryInProgress));
                }
                Poll::Pending => return Poll::Pending,
            },
            // Its call was given up at the moment when this one came.
            Source::Going(_) | Source::Over => return Poll::Ready(Err(Refusal::RetryInProgress)),
        };
        let (told, ended, finished) = match made {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let head =
                    Head { status: parts.status, headers: parts.headers, length: body.size_hint().exact() };
                let head = Arc::new(head);
                tape.head = Some(Arc::clone(&head));
                let is_over = body.is_end_stream();
                tape.source = Source::Going(body);
                let finished =
                    is_over.then(|| recording.finish(&mut tape, End::Whole(recording.clock.now())));
                (Ok(head), None, finished)
            }
            Err(refused) => {
                let refusal = (*refused.refusal).clone();
                tape.refused = Some(refusal.clone());
                tape.source = Source::Over;
                let ended = match tape.own {
                    Own::Waits => {
                        tape.own = Own::Refused(refused);
                        None
                    }
                    Own::Done | Own::Refused(_) => Some(refused),
                };
                (Err(refusal), ended, None)
            }
        };
        drop(tape);
        if let Some(Refused { exchange, refusal }) = ended {
            exchange.refused(&refusal);
        }
        if let Some(finished) = finished {
            finished.tell();
        }
        recording.wakers.wake_others(self.place);
        Poll::Ready(told)
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Why;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Why>>> {
        let me = &mut *self;
        let recording = Arc::clone(&me.recording);
        recording.wakers.set(me.place, Some(cx.waker()));
        let mut tape = recording.tape();
        let Some(behind) = me.at.checked_sub(tape.forgotten) else {
            return Poll::Ready(Some(Err(Why(
                "this copy fell behind an answer that is too large to be kept".into(),
            ))));
        };
        if let Some(frame) = tape.frames.get(behind) {
            let frame = copy_of(frame);
            me.had(&mut tape, &frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        match &tape.end {
            Some(End::Whole(_)) => return Poll::Ready(None),
            Some(End::Broken(why)) => return Poll::Ready(Some(Err(why.clone()))),
            None => {}
        }
        // In front: what the others wait for comes by this poll.
        let waker = Waker::from(Arc::clone(&recording.wakers));
        let Source::Going(body) = &mut tape.source else {
            return Poll::Ready(Some(Err(Why("its call was given up".into()))));
        };
        let came = std::task::ready!(Pin::new(&mut *body).poll_frame(&mut Context::from_waker(&waker)));
        let is_over = body.is_end_stream();
        let (told, finished) = match came {
            Some(Ok(frame)) => {
                let told = copy_of(&frame);
                let is_last = is_over || frame.is_trailers();
                recording.push(&mut tape, frame);
                me.had(&mut tape, &told);
                if recording.course.is_over() {
                    let count = tape.forgotten + tape.frames.len();
                    tape.answered.get_or_insert(count);
                }
                let end = is_last.then(|| End::Whole(recording.clock.now()));
                (Some(Ok(told)), end.map(|end| recording.finish(&mut tape, end)))
            }
            Some(Err(why)) => (Some(Err(why.clone())), Some(recording.finish(&mut tape, End::Broken(why)))),
            None => (None, Some(recording.finish(&mut tape, End::Whole(recording.clock.now())))),
        };
        drop(tape);
        if let Some(finished) = finished {
            finished.tell();
        }
        recording.wakers.wake_others(me.place);
        Poll::Ready(told)
    }

    fn is_end_stream(&self) -> bool {
        let tape = self.recording.tape();
        matches!(tape.end, Some(End::Whole(_))) && self.at == tape.forgotten + tape.frames.len()
    }

    fn size_hint(&self) -> SizeHint {
        let tape = self.recording.tape();
        let length = tape.head.as_ref().and_then(|head| head.length);
        match length.and_then(|length| length.checked_sub(self.read)) {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

impl Reader {
    fn had(&mut self, tape: &mut Tape, frame: &Frame<Bytes>) {
        self.at += 1;
        self.read += frame.data_ref().map_or(0, |data| data.len() as u64);
        tape.readers[self.place] = Some(self.at);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let recording = &self.recording;
        recording.wakers.set(self.place, None);
        let mut tape = recording.tape();
        tape.readers[self.place] = None;
        let mut refused = None;
        if self.role == Role::Own {
            if let Own::Refused(untold) = std::mem::replace(&mut tape.own, Own::Done) {
                refused = Some(untold);
            }
            if !self.told && !recording.course.is_over() {
                recording.course.leave();
            }
        }
        let is_last = tape.readers.iter().all(Option::is_none) && !matches!(tape.source, Source::Over);
        // A call that was not sent costs nothing yet, and nobody wants it any more; and what the drain had no room for ends.
        let given_up = is_last && (self.role == Role::Drain || !recording.course.is_sent());
        let finished = (given_up && matches!(tape.source, Source::Going(_))).then(|| {
            let end = if tape.has_all_that_was_said() {
                End::Whole(recording.clock.now())
            } else {
                End::Broken(Why("nobody was left to read it".into()))
            };
            recording.finish(&mut tape, end)
        });
        let source = given_up.then(|| std::mem::replace(&mut tape.source, Source::Over));
        drop(tape);
        drop(source);
        if let Some(finished) = finished {
            finished.tell();
        }
        if let Some(Refused { exchange, refusal }) = refused {
            exchange.refused(&refusal);
        }
        if is_last && !given_up {
            let mut reader = Self::new(Arc::clone(recording), Role::Drain);
            if recording.course.is_over() {
                recording.drain.read_tail(reader);
            } else {
                recording.drain.wait_on(async move { reader.head().await.ok().map(|_| reader) });
            }
        } else if !is_last {
            // Whoever is next in front drives it from here.
            recording.wakers.wake_by_ref();
        }
    }
}
