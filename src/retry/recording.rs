//! One answer for several callers: whoever is in front drives it, frame by frame, within its own poll; what came is kept as
//! it came, and the others read it from there. A caller that stalls holds nobody back, and one that leaves takes nothing
//! along: the last to leave an answer that may cost hands it to the drain.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use super::room::Room;
use super::wakers::Wakers;
use crate::arrival::Refused;
use crate::clock::Clock;
use crate::forward::body::error::BodyError;
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
pub struct Why(pub(super) Arc<str>);

impl From<Why> for BodyError {
    fn from(why: Why) -> Self {
        Self::Shared(why.0)
    }
}

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
    pub(super) course: Arc<Course>,
    pub(super) clock: Clock,
    pub(super) drain: Drain,
    rooms: [Arc<Room>; 2],
    most: usize,
    pub(super) wakers: Arc<Wakers>,
    /// What others ask of the tape. Theirs alone: whoever has the tape may be writing to a disk that hangs.
    mark: Mutex<Mark>,
    tape: Mutex<Tape>,
}

/// What the tape looked like when it was last let go.
#[derive(Clone, Copy)]
struct Mark {
    standing: Standing,
    /// It is a refusal, or an error.
    failed: bool,
    /// Nobody waits for the call any more, and it is not made.
    abandoned: bool,
}

/// The tape, for whoever has it.
pub(super) struct Held<'r> {
    tape: MutexGuard<'r, Tape>,
    mark: &'r Mutex<Mark>,
}

impl Deref for Held<'_> {
    type Target = Tape;

    fn deref(&self) -> &Tape {
        &self.tape
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Tape {
        &mut self.tape
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = self.tape.mark();
    }
}

pub(super) struct Tape {
    pub(super) source: Source,
    pub(super) head: Option<Arc<Head>>,
    pub(super) refused: Option<Refusal>,
    pub(super) own: Own,
    /// What came of the body; so many frames before it are kept no more.
    pub(super) frames: VecDeque<Frame<Bytes>>,
    pub(super) forgotten: usize,
    /// Bytes of `frames`.
    bytes: usize,
    /// How many frames had come when the answer said that it was over.
    pub(super) answered: Option<usize>,
    pub(super) end: Option<End>,
    /// How many frames each reader has had.
    pub(super) readers: Vec<Option<usize>>,
    whole: Option<Box<dyn FnOnce(Arc<Recording>) + Send>>,
}

/// Where frames come from.
pub(super) enum Source {
    Awaited(Making),
    Going(Answer),
    Over,
}

/// The caller that the call was made for.
pub(super) enum Own {
    Waits,
    /// It has its answer, or has left.
    Done,
    /// It is to be told of its refusal, with the record that ends by it.
    Refused(Refused),
}

#[derive(Clone)]
pub(super) enum End {
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

impl Recording {
    /// Of a call that is being made. Nothing of it runs before somebody reads.
    pub(super) fn of(
        making: Making,
        course: Arc<Course>,
        keeping: Keeping,
        (clock, drain): (Clock, Drain),
    ) -> Arc<Self> {
        let Keeping { most, rooms, whole } = keeping;
        Arc::new(Self {
            course,
            clock,
            drain,
            rooms,
            most,
            wakers: Arc::default(),
            mark: Mutex::new(Mark { standing: Standing::Going, failed: false, abandoned: false }),
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
        })
    }

    /// Of an answer that was kept elsewhere.
    pub(super) fn kept(
        head: Head,
        frames: Vec<Frame<Bytes>>,
        course: Arc<Course>,
        keeping: Keeping,
        (clock, drain): (Clock, Drain),
    ) -> Arc<Self> {
        let recording = Self::of(Box::pin(std::future::pending()), course, keeping, (clock, drain));
        let mut tape = recording.tape();
        tape.head = Some(Arc::new(head));
        tape.own = Own::Done;
        for frame in frames {
            recording.push(&mut tape, frame);
        }
        let finished = recording.finish(&mut tape, End::Whole(clock.now()));
        drop(tape);
        finished.tell();
        recording
    }

    /// The call that is answered.
    pub(super) fn course(&self) -> &Arc<Course> {
        &self.course
    }

    fn mark(&self) -> Mark {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the answer can be had from its beginning.
    pub(super) fn standing(&self) -> Standing {
        self.mark().standing
    }

    /// Whether it has turned out to be a refusal, or an error.
    pub(super) fn has_failed(&self) -> bool {
        self.mark().failed
    }

    /// Whether whoever is behind can have all of an answer with this head.
    pub(super) fn keeps(&self, head: &Head) -> bool {
        let fits = head.length.is_some_and(|length| length <= self.most as u64);
        fits && self.standing() != Standing::Lost || matches!(self.standing(), Standing::Whole(_))
    }

    /// Whether it takes of this room.
    pub(super) fn is_in(&self, room: &Arc<Room>) -> bool {
        self.rooms.iter().any(|own| Arc::ptr_eq(own, room))
    }

    /// Nobody waits for the call any more, and it was not made: it never will be.
    pub(super) fn is_abandoned(&self) -> bool {
        self.mark().abandoned && !self.course.is_sent()
    }

    /// The head, and every frame, of an answer that is whole.
    pub(super) fn content(&self) -> Option<(Arc<Head>, Vec<Frame<Bytes>>)> {
        let tape = self.tape();
        matches!(tape.standing(), Standing::Whole(_))
            .then(|| tape.head.clone().map(|head| (head, tape.frames.iter().map(copy_of).collect())))
            .flatten()
    }

    pub(super) fn tape(&self) -> Held<'_> {
        Held { tape: self.tape.lock().unwrap_or_else(PoisonError::into_inner), mark: &self.mark }
    }

    /// A frame has come. Where there is no room for all, the oldest go: then nobody can join any more, and who is behind them
    /// is broken off.
    pub(super) fn push(&self, tape: &mut Tape, frame: Frame<Bytes>) {
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
    pub(super) fn finish(self: &Arc<Self>, tape: &mut Tape, end: End) -> Finished {
        let source = std::mem::replace(&mut tape.source, Source::Over);
        if matches!(end, End::Whole(_)) {
            compact(&mut tape.frames);
        }
        tape.end = Some(end);
        tape.answered.get_or_insert(tape.forgotten + tape.frames.len());
        let whole = tape.whole.take().filter(|_| matches!(tape.standing(), Standing::Whole(_)));
        Finished { recording: Arc::clone(self), whole, _source: source }
    }
}

/// What is done once nobody has the tape.
pub(super) struct Finished {
    recording: Arc<Recording>,
    whole: Option<Box<dyn FnOnce(Arc<Recording>) + Send>>,
    _source: Source,
}

impl Finished {
    pub(super) fn tell(self) {
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
    /// The call was given up before there was an answer, or a refusal.
    fn is_given_up(&self) -> bool {
        matches!(self.source, Source::Over) && self.end.is_none() && self.refused.is_none()
    }

    fn mark(&self) -> Mark {
        let is_error = self.head.as_ref().is_some_and(|head| head.status.as_u16() >= 400);
        let failed = self.refused.is_some() || is_error;
        Mark { standing: self.standing(), failed, abandoned: self.is_given_up() }
    }

    /// The answer said that it was over, and all of it is here: what was to come behind that is nobody's loss.
    pub(super) fn has_all_that_was_said(&self) -> bool {
        self.answered.is_some() && self.forgotten == 0
    }

    fn standing(&self) -> Standing {
        match &self.end {
            _ if self.forgotten > 0 => Standing::Lost,
            Some(End::Whole(since)) => Standing::Whole(*since),
            Some(End::Broken(_)) => Standing::Lost,
            None if self.is_given_up() => Standing::Lost,
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

/// What came is a part of what was read from the connection at once, and keeps all of that in memory: what is kept for long
/// is copied, once, into as much memory as it takes.
fn compact(frames: &mut VecDeque<Frame<Bytes>>) {
    let bytes = frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
    let mut whole = BytesMut::with_capacity(bytes);
    frames.iter().filter_map(Frame::data_ref).for_each(|data| whole.extend_from_slice(data));
    let mut whole = whole.freeze();
    for frame in frames {
        if let Some(data) = frame.data_ref() {
            *frame = Frame::data(whole.split_to(data.len()));
        }
    }
}

/// The same frame: its bytes are counted, not copied.
pub(super) fn copy_of(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, trailers) => Frame::trailers(trailers.cloned().unwrap_or_default()),
    }
}
