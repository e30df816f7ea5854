//! One answer for several callers: whoever is in front drives it, frame by frame, within its own poll; what came is kept as
//! it came, and the others read it from there. A caller that stalls holds nobody back, and one that leaves takes nothing
//! along: the last to leave an answer that may cost hands it to the drain.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use super::room::Room;
use crate::arrival::Refused;
use crate::clock::Clock;
use crate::forward::drain::Drain;
use crate::record::course::Course;
use crate::refuse::Refusal;

/// A body, whatever it comes from.
pub(super) type Answer = UnsyncBoxBody<Bytes, Why>;
/// A call, up to the head of its answer.
pub(super) type Making = Pin<Box<dyn Future<Output = Result<Response<Answer>, Refused>> + Send>>;

/// Why an answer broke off, in words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Why(Arc<str>);

impl Why {
    /// As the body said it.
    pub(super) fn of(error: &impl std::fmt::Display) -> Self {
        Self(error.to_string().into())
    }
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// How long its body is, where that was known from the start.
    pub(super) length: Option<u64>,
}

/// How much of answers is kept, and what is done with one that is whole.
pub(super) struct Keeping {
    /// Bytes of one.
    pub(super) most: usize,
    /// Of all teams, and of this one.
    pub(super) rooms: [Arc<Room>; 2],
    /// Told once, of one that has come to its end.
    pub(super) whole: Option<Box<dyn FnOnce(Arc<Recording>) + Send>>,
}

/// An answer, and who reads it.
pub(super) struct Recording {
    course: Arc<Course>,
    clock: Clock,
    drain: Drain,
    rooms: [Arc<Room>; 2],
    most: usize,
    wakers: Arc<Wakers>,
    tape: Mutex<Tape>,
}

struct Tape {
    source: Source,
    head: Option<Arc<Head>>,
    refused: Option<Refusal>,
    own: Own,
    /// What came of the body; so many frames before it are kept no more.
    frames: VecDeque<Frame<Bytes>>,
    forgotten: usize,
    /// Bytes of `frames`.
    bytes: usize,
    /// How many frames had come when the answer said that it was over.
    answered: Option<usize>,
    end: Option<End>,
    /// How many frames each reader has had.
    readers: Vec<Option<usize>>,
    whole: Option<Box<dyn FnOnce(Arc<Recording>) + Send>>,
}

/// Where frames come from.
enum Source {
    Awaited(Making),
    Going(Answer),
    Over,
}

/// The caller that the call was made for.
enum Own {
    Waits,
    /// It has its answer, or has left.
    Done,
    /// It is to be told of its refusal, with the record that ends by it.
    Refused(Refused),
}

#[derive(Clone)]
enum End {
    Whole(Instant),
    Broken(Why),
}

/// Whether an answer can be had from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Yes, and it goes on yet.
    Going,
    /// Yes, all of it, since then.
    Whole(Instant),
    /// Not any more, or not to its end.
    Lost,
}

/// Wakes whoever reads.
#[derive(Default)]
struct Wakers(Mutex<Vec<Option<Waker>>>);

impl Wakers {
    fn set(&self, reader: usize, waker: Option<&Waker>) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wakers.len() <= reader {
            wakers.resize(reader + 1, None);
        }
        match (&mut wakers[reader], waker) {
            (Some(before), Some(waker)) => before.clone_from(waker),
            (slot, waker) => *slot = waker.cloned(),
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever polls again says so again.
        let waiting: Vec<Waker> = {
            let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            wakers.iter_mut().filter_map(Option::take).collect()
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Recording {
    /// Of a call that is being made. Returns its first reader, which is the call's own caller.
    pub(super) fn of(
        making: Making,
        course: Arc<Course>,
        keeping: Keeping,
        (clock, drain): (Clock, Drain),
    ) -> Reader {
        let Keeping { most, rooms, whole } = keeping;
        let recording = Self {
            course,
            clock,
            drain,
            rooms,
            most,
            wakers: Arc::default(),
            tape: Mutex::new(Tape {
                source: Source::Awaited(making),
                head: None,
                refused: None,
                own: Own::Waits,
                frames: VecDeque::new(),
                forgotten: 0,
                bytes: 0,
                answered: None,
                end: None,
                readers: Vec::new(),
                whole,
            }),
        };
        Reader::new(Arc::new(recording), Role::Own)
    }

    /// Of an answer that was kept elsewhere.
    pub(super) fn kept(
        head: Head,
        frames: Vec<Frame<Bytes>>,
        course: Arc<Course>,
        keeping: Keeping,
        (clock, drain): (Clock, Drain),
    ) -> Arc<Self> {
        let mut own = Self::of(Box::pin(std::future::pending()), course, keeping, (clock, drain));
        own.role = Role::Copy;
        let recording = Arc::clone(&own.recording);
        let mut tape = recording.tape();
        tape.head = Some(Arc::new(head));
        tape.own = Own::Done;
        tape.source = Source::Over;
        for frame in frames {
            recording.push(&mut tape, frame);
        }
        tape.end = Some(End::Whole(clock.now()));
        drop(tape);
        recording
    }

    /// The call that is answered.
    pub(super) fn course(&self) -> &Arc<Course> {
        &self.course
    }

    /// Whether the answer can be had from its beginning.
    pub(super) fn standing(&self) -> Standing {
        self.tape().standing()
    }

    /// Whether it takes of this room.
    pub(super) fn is_in(&self, room: &Arc<Room>) -> bool {
        self.rooms.iter().any(|own| Arc::ptr_eq(own, room))
    }

    /// Nobody waits for the call any more, and it was not made: it never will be.
    pub(super) fn is_abandoned(&self) -> bool {
        let tape = self.tape();
        matches!(tape.source, Source::Over) && tape.end.is_none() && tape.refused.is_none()
    }

    /// The head, and every frame, of an answer that is whole.
    pub(super) fn content(&self) -> Option<(Arc<Head>, Vec<Frame<Bytes>>)> {
        let tape = self.tape();
        matches!(tape.standing(), Standing::Whole(_))
            .then(|| tape.head.clone().map(|head| (head, tape.frames.iter().map(copy_of).collect())))
            .flatten()
    }

    /// Another reader, if the answer can be had from its beginning.
    pub(super) fn join(self: &Arc<Self>) -> Option<(Reader, Standing)> {
        let standing = self.standing();
        (standing != Standing::Lost).then(|| (Reader::new(Arc::clone(self), Role::Copy), standing))
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame has come. Where there is no room for all, the oldest go: then nobody can join any more, and who is behind them
    /// is broken off.
    fn push(&self, tape: &mut Tape, frame: Frame<Bytes>) {
        let bytes = length(&frame);
        self.rooms.iter().for_each(|room| room.take(bytes));
        tape.bytes += bytes;
        tape.frames.push_back(frame);
        let had_by_all = tape.readers.iter().flatten().min().copied().unwrap_or(usize::MAX);
        loop {
            let unneeded = tape.forgotten > 0 && tape.forgotten < had_by_all;
            let too_much = tape.bytes > self.most || self.rooms.iter().any(|room| room.is_over());
            if !(unneeded || too_much) {
                return;
            }
            let Some(oldest) = tape.frames.pop_front() else { return };
            tape.forgotten += 1;
            tape.bytes -= length(&oldest);
            self.rooms.iter().for_each(|room| room.give_back(length(&oldest)));
        }
    }

    /// The answer is over.
    fn finish(self: &Arc<Self>, tape: &mut Tape, end: End) -> Finished {
        let source = std::mem::replace(&mut tape.source, Source::Over);
        tape.end = Some(end);
        tape.answered.get_or_insert(tape.forgotten + tape.frames.len());
        let whole = tape.whole.take().filter(|_| matches!(tape.standing(), Standing::Whole(_)));
        Finished { recording: Arc::clone(self), whole, _source: source }
    }
}

/// What is done once nobody has the tape.
struct Finished {
    recording: Arc<Recording>,
    whole: Option<Box<dyn FnOnce(Arc<Recording>) + Send>>,
    _source: Source,
}

impl Finished {
    fn tell(self) {
        if let Some(whole) = self.whole {
            whole(self.recording);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let bytes = self.tape().bytes;
        self.rooms.iter().for_each(|room| room.give_back(bytes));
    }
}

impl Tape {
    fn standing(&self) -> Standing {
        match &self.end {
            _ if self.forgotten > 0 => Standing::Lost,
            Some(End::Whole(since)) => Standing::Whole(*since),
            Some(End::Broken(_)) => Standing::Lost,
            None if matches!(self.source, Source::Over) && self.refused.is_none() => Standing::Lost,
            None => Standing::Going,
        }
    }
}

fn length(frame: &Frame<Bytes>) -> usize {
    match frame.data_ref() {
        Some(data) => data.len(),
        None => frame.trailers_ref().map_or(0, |trailers| {
            trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
        }),
    }
}

/// The same frame: its bytes are counted, not copied.
fn copy_of(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, trailers) => Frame::trailers(trailers.cloned().unwrap_or_default()),
    }
}

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
            Source::Awaited(making) => {
                std::task::ready!(making.as_mut().poll(&mut Context::from_waker(&waker)))
            }
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
        recording.wakers.wake_by_ref();
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
        recording.wakers.wake_by_ref();
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
        let source = given_up.then(|| {
            if matches!(tape.source, Source::Going(_)) {
                tape.end = Some(End::Broken(Why("nobody was left to read it".into())));
            }
            std::mem::replace(&mut tape.source, Source::Over)
        });
        drop(tape);
        drop(source);
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
