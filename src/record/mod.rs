//! One record per request: opened when its head arrives, closed exactly once, and then one log line and one set of
//! metrics.
//!
//! The [`Exchange`] is owned by whatever stage the call is in, and moves with it: through the stages, into the response
//! body, and on into the drain if the caller leaves. Whoever holds it last ends it; if it is simply dropped, the caller has
//! gone, and that is what the record says.

pub mod outcome;
pub mod series;
pub mod ended;
pub mod counts;
pub mod course;
pub mod asks;
mod line;
mod draft;
mod spans;
mod recorder;
mod standing;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;
use tokio::time::Instant;

use self::course::{Course, Repeat};
use self::draft::Draft;
use self::ended::wall_of;
use self::outcome::Outcome;
pub use self::recorder::Recorder;
use self::series::Who;
use crate::books::ending;
use crate::books::hold::{Closing, Hold};
use crate::books::job::Told;
use crate::clock::Clock;
use crate::head::RequestId;
use crate::ledger::Retry;
use crate::meter::Reading;
use crate::outbound::origin::Origin;
use crate::peer::Peer;
use crate::refuse::Refusal;
use crate::route::Target;
use crate::trace::Trace;

/// The record of a call in progress. Exactly one ending, whatever happens.
#[derive(Debug)]
pub struct Exchange(Option<Box<Draft>>);

impl Exchange {
    /// Opens the record of a request whose head has just arrived.
    #[must_use]
    pub fn begin(
        recorder: &Arc<Recorder>,
        (id, came): (RequestId, Timestamp),
        peer: &Arc<Peer>,
        head: &Parts,
    ) -> Self {
        recorder.counts.began();
        Self(Some(Box::new(Draft {
            recorder: Arc::clone(recorder),
            id,
            method: head.method.clone(),
            version: head.version,
            peer: Arc::clone(peer),
            target: None,
            who: None,
            began: recorder.clock.now(),
            came,
            upload: Duration::ZERO,
            queued: Duration::ZERO,
            queues: None,
            connecting: Duration::ZERO,
            followed: Duration::ZERO,
            follows: None,
            copied: None,
            sent: None,
            answered: None,
            status: None,
            stream: false,
            bytes: 0,
            left: false,
            spends: None,
            rate: None,
            hold: None,
            course: None,
            repeats: None,
            trace: recorder.tracer.as_ref().and_then(|tracer| tracer.begin(&head.headers)),
        })))
    }

    fn draft(&self) -> &Draft {
        self.0.as_deref().expect("an exchange has its draft until it ends, and ending consumes it")
    }

    fn draft_mut(&mut self) -> &mut Draft {
        self.0.as_deref_mut().expect("an exchange has its draft until it ends, and ending consumes it")
    }

    /// The id of the request, ours or the caller's.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.draft().id
    }

    /// The clock of the gateway.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.draft().recorder.clock
    }

    /// When its head came, by the wall's clock.
    #[must_use]
    pub fn came(&self) -> Timestamp {
        self.draft().came
    }

    /// The wall's time when the head of the upstream's answer came, as it follows from when the call did; else that of now.
    #[must_use]
    pub fn answered_at(&self) -> Timestamp {
        let draft = self.draft();
        let passed = draft.answered.map(|(at, _)| at.saturating_duration_since(draft.began));
        passed
            .and_then(|passed| draft.came.saturating_add(passed).ok())
            .unwrap_or_else(|| draft.recorder.clock.wall())
    }

    /// What is asked for is known.
    pub fn routed(&mut self, target: Target) {
        self.draft_mut().target = Some(target);
    }

    /// Who asks is known.
    pub fn identified(&mut self, who: Arc<Who>) {
        self.draft_mut().who = Some(who);
    }

    /// The body has been read, since `began`.
    pub fn uploaded(&mut self, began: Instant) {
        let now = self.clock().now();
        self.draft_mut().upload = now.saturating_duration_since(began);
        self.stage("read body", began);
    }

    /// A connection to the upstream was waited for, since `began`.
    pub fn connected(&mut self, began: Instant) {
        let now = self.clock().now();
        self.draft_mut().connecting += now.saturating_duration_since(began);
        self.stage("connect", began);
    }

    /// A stage that waited is over.
    pub fn stage(&mut self, name: &'static str, began: Instant) {
        let draft = self.draft_mut();
        if let Some(trace) = &mut draft.trace {
            trace.stage(name, began, draft.recorder.clock.now());
        }
    }

    /// The trace that the call is part of.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.draft().trace.as_deref()
    }

    /// It asks the desk, and waits for its turn from now on if it must.
    pub fn queues(&mut self) {
        let now = self.clock().now();
        self.draft_mut().queues = Some(now);
    }

    /// The desk has told it what becomes of it; it had to wait for so long.
    pub fn queued(&mut self, time: Duration) {
        let draft = self.draft_mut();
        draft.queued += time;
        if let Some(began) = draft.queues.take() {
            self.stage("wait for a turn", began);
        }
    }

    /// How long it has waited for its turn.
    #[must_use]
    pub fn time_queued(&self) -> Duration {
        self.draft().queued
    }

    /// The call may be made again, by whoever follows its course.
    pub fn follow(&mut self, course: Arc<Course>) {
        self.draft_mut().course = Some(course);
    }

    /// What tells the call's retries from other calls.
    #[must_use]
    pub fn retry(&self) -> Option<Box<Retry>> {
        self.draft().course.as_ref().and_then(|course| course.retry).map(Box::new)
    }

    /// How the call stands to others that are the same is known.
    pub fn repeats(&mut self, repeat: Repeat) {
        let draft = self.draft_mut();
        if let Some(who) = &draft.who {
            who.counts.retry(&repeat);
        }
        draft.repeats = Some(repeat);
    }

    /// It waits for another call's answer from now on.
    pub fn follows(&mut self) {
        let now = self.clock().now();
        self.draft_mut().follows = Some(now);
    }

    /// It has waited for another call's answer, or for the word that there is none.
    pub fn followed(&mut self) {
        let now = self.clock().now();
        let draft = self.draft_mut();
        if let Some(began) = draft.follows.take() {
            draft.followed += now.saturating_duration_since(began);
            self.stage("wait for the same call's answer", began);
        }
    }

    /// The call is given another's answer, which has begun like this.
    pub fn copies(&mut self, status: StatusCode, stream: bool) {
        let now = self.clock().now();
        let draft = self.draft_mut();
        (draft.status, draft.stream, draft.copied) = (Some(status), stream, Some(now));
    }

    /// Credits are held for the call; they end with it.
    pub fn hold(&mut self, hold: Hold) {
        let draft = self.draft_mut();
        if let Some(course) = &draft.course {
            course.held(hold.call());
        }
        draft.hold = Some(hold);
    }

    /// The upstream has refused the call for want of a place, which is free, and the call waits for another turn: what was
    /// held for it ends here.
    pub fn put_back(&mut self) {
        let draft = self.draft_mut();
        let clock = draft.recorder.clock;
        let (at, now) = (clock.wall(), clock.now());
        let (sent, answered) = (draft.sent.take(), draft.answered.take());
        (draft.status, draft.stream) = (None, false);
        let Some(hold) = draft.hold.take() else { return };
        let (status, reading) = (answered.map(|(_, status)| status), Reading::default());
        let cost = draft.cost();
        let ending = ending::decide(cost, hold.reserve(), sent.is_some(), status, true, &reading);
        hold.end(Closing {
            ending,
            outcome: "put_back",
            response_id: None,
            usage: reading.usage,
            at,
            sent_at: sent.map(|sent| wall_of(sent, now, at)),
            copies: 0,
            job: Told::default(),
        });
        if let Some(course) = &draft.course {
            course.sent(false);
        }
    }

    /// The request has been handed to an upstream connection.
    pub fn sent(&mut self, origin: &Arc<Origin>) {
        let now = self.clock().now();
        let draft = self.draft_mut();
        draft.sent = Some(now);
        if let Some(trace) = &mut draft.trace {
            trace.sent_to(origin);
        }
        if let Some(hold) = &mut draft.hold {
            hold.sent(true);
        }
        if let Some(course) = &draft.course {
            course.sent(true);
        }
    }

    /// The request turned out not to have been written after all.
    pub fn unsent(&mut self) {
        let draft = self.draft_mut();
        draft.sent = None;
        if let Some(hold) = &mut draft.hold {
            hold.sent(false);
        }
        if let Some(course) = &draft.course {
            course.sent(false);
        }
    }

    /// The head of the upstream's answer is there.
    pub fn answered(&mut self, status: StatusCode, stream: bool) {
        let now = self.clock().now();
        let draft = self.draft_mut();
        draft.answered = Some((now, status));
        draft.status = Some(status);
        draft.stream = stream;
        draft.recorder.counts.upstream_answered(status.as_u16());
    }

    /// The answer's body turned out to be an event stream.
    pub fn streams(&mut self, stream: bool) {
        self.draft_mut().stream |= stream;
    }

    /// Bytes of the answer's body went by.
    pub fn passed(&mut self, bytes: usize) {
        self.draft_mut().bytes += bytes as u64;
    }

    /// The caller has left; the exchange goes on without it.
    pub fn caller_left(&mut self) {
        self.draft_mut().left = true;
    }

    /// Whether the caller has left.
    #[must_use]
    pub fn has_caller_left(&self) -> bool {
        self.draft().has_left()
    }

    /// Ends the record of a call that was refused or failed.
    pub fn refused(mut self, refusal: &Refusal) {
        let Some(mut draft) = self.0.take() else { return };
        // An answer of the upstream that was replaced by ours: the caller saw ours.
        draft.status = Some(refusal.status());
        let outcome = match draft.has_left() {
            true => Outcome::ClientGone,
            false if refusal.is_upstream_failure() => Outcome::Failed,
            false => Outcome::Refused,
        };
        draft.end(outcome, Some(refusal.code()), false, &Reading::default());
    }

    /// Ends the record of a call that was answered here.
    pub fn served(mut self, status: StatusCode) {
        let Some(mut draft) = self.0.take() else { return };
        draft.status = Some(status);
        draft.end(Outcome::Completed, None, true, &Reading::default());
    }

    /// Ends the record of a call that the upstream answered. `whole` if its body came to its end.
    pub fn ended(mut self, whole: bool, reading: &Reading) {
        let Some(draft) = self.0.take() else { return };
        let outcome = match (draft.has_left(), whole, draft.stream, reading.finish) {
            (true, ..) => Outcome::ClientGone,
            (_, false, ..) | (_, _, true, None) => Outcome::Truncated,
            _ => Outcome::Completed,
        };
        draft.end(outcome, None, whole, reading);
    }

    /// Ends the record of a call whose caller has left, with what was read until then.
    pub fn abandoned(mut self, reading: &Reading) {
        let Some(draft) = self.0.take() else { return };
        let cut = draft.recorder.cutting.load(Ordering::Relaxed);
        draft.end(if cut { Outcome::Cut } else { Outcome::ClientGone }, None, false, reading);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.0.is_some() {
            Self(self.0.take()).abandoned(&Reading::default());
        }
    }
}
