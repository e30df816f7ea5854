//! What is known of a call while it goes on, and the one place that tells of it when it has ended.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use jiff::Timestamp;
use tokio::time::Instant;

use super::course::{Course, Repeat};
use super::ended::{Ended, Times};
use super::outcome::Outcome;
use super::recorder::Recorder;
use super::series::Who;
use super::{line, spans};
use crate::books::ending;
use crate::books::hold::Hold;
use crate::books::keeper::Keeper;
use crate::credits::budget::Budgets;
use crate::head::RequestId;
use crate::ledger::Fate;
use crate::limit::rate::Standing;
use crate::meter::Reading;
use crate::peer::Peer;
use crate::refuse::Code;
use crate::route::{Cost, Target};
use crate::trace::Trace;

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) recorder: Arc<Recorder>,
    pub(super) id: RequestId,
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) peer: Arc<Peer>,
    pub(super) target: Option<Target>,
    pub(super) who: Option<Arc<Who>>,
    pub(super) began: Instant,
    /// The same by the wall's clock.
    pub(super) came: Timestamp,
    /// Time spent waiting for the caller's body.
    pub(super) upload: Duration,
    /// Time spent waiting for a turn, and for credits that others held.
    pub(super) queued: Duration,
    /// Since when it waits so, while it does.
    pub(super) queues: Option<Instant>,
    /// Time spent waiting for connections to the upstream.
    pub(super) connecting: Duration,
    /// Time spent waiting for the head of another call's answer.
    pub(super) followed: Duration,
    /// Since when it waits so, while it does.
    pub(super) follows: Option<Instant>,
    /// When it was given that head.
    pub(super) copied: Option<Instant>,
    /// When the request was handed to an upstream connection.
    pub(super) sent: Option<Instant>,
    /// When the head of the upstream's answer was there, and with which status.
    pub(super) answered: Option<(Instant, StatusCode)>,
    /// What the caller was answered.
    pub(super) status: Option<StatusCode>,
    pub(super) stream: bool,
    pub(super) bytes: u64,
    /// The caller left and the exchange was read on without it.
    pub(super) left: bool,
    /// Where the call's credits come from, once its caller is known: what is told of them where none are held.
    pub(super) spends: Option<(Arc<Keeper>, Budgets)>,
    /// How the team's own rate stood.
    pub(super) rate: Option<Standing>,
    /// Credits held for the call. Ends when the record does.
    pub(super) hold: Option<Hold>,
    /// What whoever repeats the call has to know of it.
    pub(super) course: Option<Arc<Course>>,
    /// How the call stands to others that are the same.
    pub(super) repeats: Option<Repeat>,
    /// Of a call that is traced.
    pub(super) trace: Option<Box<Trace>>,
}

impl Draft {
    pub(super) fn has_left(&self) -> bool {
        self.left || self.course.as_ref().is_some_and(|course| course.has_left())
    }

    /// What calls of its route cost.
    pub(super) fn cost(&self) -> &'static Cost {
        self.target.as_ref().map_or(&Cost::Free, |target| &target.route.row().cost)
    }

    /// Tells what there is to tell, once.
    pub(super) fn end(mut self, outcome: Outcome, code: Option<Code>, whole: bool, reading: &Reading) {
        let recorder = Arc::clone(&self.recorder);
        let (hold, trace) = (self.hold.take(), self.trace.take());
        let answered = self.answered.map(|(_, status)| status);
        let reserved = hold.as_ref().map(Hold::reserve);
        // Of a caller that left while it waited.
        let since =
            |began: Option<Instant>| began.map_or(Duration::ZERO, |began| recorder.clock.now() - began);
        let (left_queue, left_following) = (since(self.queues), since(self.follows));
        let ended = Ended {
            at: recorder.clock.wall(),
            request_id: self.id.as_str(),
            peer: self.peer.as_str(),
            caller: self.peer.behind(),
            method: &self.method,
            version: self.version,
            target: self.target.as_ref(),
            who: self.who.as_deref(),
            outcome,
            code,
            status: self.status,
            answered,
            stream: self.stream,
            bytes: self.bytes,
            reading,
            repeats: self.repeats.as_ref(),
            reserved,
            ending: reserved.map(|reserve| {
                ending::decide(self.cost(), reserve, self.sent.is_some(), answered, whole, reading)
            }),
            times: Times {
                began: self.began,
                sent: self.sent,
                answered: self.answered.map(|(at, _)| at).or(self.copied),
                ended: recorder.clock.now(),
                upload: self.upload,
                queued: self.queued + left_queue,
                connecting: self.connecting,
                followed: self.followed + left_following,
            },
        };
        let copies = self.course.as_ref().map_or(0, |course| {
            let costly = ended.route().is_some_and(|route| route.row().requires_key);
            course.end(ended.ending.map_or(Fate::Free, |ending| Fate::of(&ending, costly)), reading)
        });
        // The books first: nothing after this may keep a hold from its ending.
        if let (Some(hold), Some(ending)) = (hold, ended.ending) {
            hold.end(ended.closing(ending, copies));
        }
        recorder.counts.ended(&ended);
        recorder.asks.count(&ended);
        recorder.log.write_with(|out| line::write(&ended, out));
        if let (Some(trace), Some(tracer)) = (trace, &recorder.tracer) {
            tracer.end(spans::of(tracer, *trace, &ended));
        }
    }
}
