//! One record per request: opened when its head arrives, closed exactly once, and then one log line
//! and one set of metrics.
//!
//! The [`Exchange`] is owned by whatever stage the call is in, and moves with it: through the
//! stages, into the response body, and on into the drain if the caller leaves. Whoever holds it last
//! ends it; if it is simply dropped, the caller has gone, and that is what the record says.

mod line;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode, Version};
use tokio::time::Instant;

use self::line::Line;
use crate::books::ending;
use crate::books::hold::{Closing, Hold};
use crate::clock::Clock;
use crate::credits::Credits;
use crate::head::RequestId;
use crate::ledger::Ending;
use crate::live::directory::Caller;
use crate::log::Log;
use crate::meter::{Finish, Reading};
use crate::metrics::{Metrics, StreamOutcome, TeamMetrics};
use crate::outbound::origin::Origin;
use crate::refuse::Refusal;
use crate::route::{Route, Target};
use crate::trace::{Told, Trace, Tracer};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream's answer was passed on whole.
    Completed,
    /// The answer broke off, or a stream ended without its terminal frame.
    Truncated,
    /// The caller left before the end. What the answer cost may be known all the same.
    ClientGone,
    /// The gateway refused the call.
    Refused,
    /// The upstream could not be reached or gave no usable answer.
    Failed,
    /// The gateway shut down before the call had ended.
    Cut,
}

impl Outcome {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Truncated => "truncated",
            Self::ClientGone => "client_gone",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cut => "cut",
        }
    }
}

/// Where records go. Shared by all exchanges of a gateway.
#[derive(Debug)]
pub struct Recorder {
    clock: Clock,
    metrics: Arc<Metrics>,
    log: Log,
    tracer: Option<Tracer>,
    /// Set when the drain deadline has passed: what ends from now on was cut by us.
    cutting: AtomicBool,
}

impl Recorder {
    /// A recorder that writes to `log` and `metrics`.
    #[must_use]
    pub fn new(clock: Clock, metrics: Arc<Metrics>, log: Log) -> Self {
        Self { clock, metrics, log, tracer: None, cutting: AtomicBool::new(false) }
    }

    /// This recorder with a tracer, if there is one.
    #[must_use]
    pub fn with_tracer(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Where spans go.
    #[must_use]
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
    }

    /// The clock that records are timed by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The metrics that records count into.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// From now on, what is dropped was cut by the shutdown and not left by its caller.
    pub fn cut_from_now_on(&self) {
        self.cutting.store(true, Ordering::Relaxed);
    }
}

/// The record of a call in progress. Exactly one ending, whatever happens.
#[derive(Debug)]
pub struct Exchange(Option<Box<Draft>>);

#[derive(Debug)]
struct Draft {
    recorder: Arc<Recorder>,
    id: RequestId,
    method: Method,
    version: Version,
    target: Option<Target>,
    caller: Option<Caller>,
    began: Instant,
    /// Time spent waiting for the caller's body.
    upload: Duration,
    /// When the request was handed to an upstream connection.
    sent: Option<Instant>,
    /// When the head of the upstream's answer was there, and with which status.
    answered: Option<(Instant, StatusCode)>,
    /// What the caller was answered.
    status: Option<StatusCode>,
    stream: bool,
    bytes: u64,
    /// The caller left and the exchange was read on without it.
    left: bool,
    /// Credits held for the call. Ends when the record does.
    hold: Option<Hold>,
    /// Of a call that is traced.
    trace: Option<Box<Trace>>,
}

impl Exchange {
    /// Opens the record of a request whose head has just arrived.
    #[must_use]
    pub fn begin(recorder: &Arc<Recorder>, id: RequestId, head: &Parts) -> Self {
        recorder.metrics.in_flight.inc();
        Self(Some(Box::new(Draft {
            recorder: Arc::clone(recorder),
            id,
            method: head.method.clone(),
            version: head.version,
            target: None,
            caller: None,
            began: recorder.clock.now(),
            upload: Duration::ZERO,
            sent: None,
            answered: None,
            status: None,
            stream: false,
            bytes: 0,
            left: false,
            hold: None,
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

    /// What is asked for is known.
    pub fn routed(&mut self, target: Target) {
        self.draft_mut().target = Some(target);
    }

    /// Who asks is known.
    pub fn identified(&mut self, caller: Caller) {
        self.draft_mut().caller = Some(caller);
    }

    /// The body has been read, since `began`.
    pub fn uploaded(&mut self, began: Instant) {
        let now = self.clock().now();
        self.draft_mut().upload = now.saturating_duration_since(began);
        self.stage("read body", began);
    }

    /// A stage that waited is over.
    pub fn stage(&mut self, name: &'static str, began: Instant) {
        let now = self.clock().now();
        if let Some(trace) = &mut self.draft_mut().trace {
            trace.stage(name, began, now);
        }
    }

    /// The trace that the call is part of.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.draft().trace.as_deref()
    }

    /// Credits are held for the call; they end with it.
    pub fn hold(&mut self, hold: Hold) {
        self.draft_mut().hold = Some(hold);
    }

    /// What the tightest budget has left with this call's hold counted, where a budget binds.
    #[must_use]
    pub fn credits_left(&self) -> Option<Credits> {
        self.draft().hold.as_ref().and_then(Hold::left)
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
    }

    /// The request turned out not to have been written after all.
    pub fn unsent(&mut self) {
        let draft = self.draft_mut();
        draft.sent = None;
        if let Some(hold) = &mut draft.hold {
            hold.sent(false);
        }
    }

    /// The head of the upstream's answer is there.
    pub fn answered(&mut self, status: StatusCode, stream: bool) {
        let now = self.clock().now();
        let draft = self.draft_mut();
        draft.answered = Some((now, status));
        draft.status = Some(status);
        draft.stream = stream;
        draft.recorder.metrics.upstream_answered(status.as_u16());
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
        self.draft().left
    }

    /// Ends the record of a call that was refused or failed.
    pub fn refused(mut self, refusal: &Refusal) {
        let Some(mut draft) = self.0.take() else { return };
        // An answer of the upstream that was replaced by ours: the caller saw ours.
        draft.status = Some(refusal.status());
        let outcome = match draft.left {
            true => Outcome::ClientGone,
            false if refusal.is_upstream_failure() => Outcome::Failed,
            false => Outcome::Refused,
        };
        draft.team_metrics().refused(refusal.code());
        draft.end(outcome, Some(refusal), false, &Reading::default());
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
        let outcome = match (draft.left, whole, draft.stream, reading.finish) {
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

impl Draft {
    fn route(&self) -> Option<Route> {
        self.target.as_ref().map(|target| target.route)
    }

    fn team_metrics(&self) -> &TeamMetrics {
        self.caller.as_ref().map_or(&self.recorder.metrics.strangers, |caller| &caller.team.metrics)
    }

    fn end(mut self, outcome: Outcome, refusal: Option<&Refusal>, whole: bool, reading: &Reading) {
        let now = self.recorder.clock.now();
        // The books first: nothing after this may keep a hold from its ending.
        let reserved = self.hold.as_ref().map(Hold::reserve);
        let booked = self.book(outcome, whole, reading, now).map(Booked::of);
        let times = self.times(now);
        self.count(outcome, reading, &times);
        let code = refusal.map(|refusal| refusal.code().as_str());
        self.write(outcome, code, reading, booked, &times);
        self.tell(outcome, code, reading, reserved, booked, now);
        self.recorder.metrics.in_flight.dec();
    }

    /// Ends the hold, if there is one.
    fn book(&mut self, outcome: Outcome, whole: bool, reading: &Reading, now: Instant) -> Option<Ending> {
        let hold = self.hold.take()?;
        let reserve = hold.reserve();
        let status = self.answered.map(|(_, status)| status);
        let ending = ending::decide(reserve, self.sent.is_some(), status, whole, reading);
        let wall = self.recorder.clock.wall();
        let sent_at =
            self.sent.map(|sent| wall.saturating_sub(now.saturating_duration_since(sent)).unwrap_or(wall));
        hold.end(Closing {
            ending,
            outcome: outcome.as_str(),
            response_id: reading.response_id.clone(),
            usage: reading.usage,
            sent_at,
        });
        Some(ending)
    }

    fn times(&self, now: Instant) -> Times {
        let since = |later: Instant, earlier: Instant| later.saturating_duration_since(earlier);
        let head = self.answered.map_or(now, |(at, _)| at);
        let upstream = self.sent.map(|sent| since(head, sent));
        let ours = since(head, self.began).saturating_sub(self.upload + upstream.unwrap_or_default());
        Times { total: since(now, self.began), head: since(head, self.began), upstream, ours }
    }

    fn count(&self, outcome: Outcome, reading: &Reading, times: &Times) {
        let (metrics, team, route) = (&self.recorder.metrics, self.team_metrics(), self.route());
        // A caller that left before any status was sent gets nginx's 499, which is `other` here.
        team.request_ended(route, self.status.map_or(0, |status| status.as_u16()));
        metrics.request_took(route, self.stream, times.total);
        metrics.first_byte_took(route, self.stream, times.head);
        metrics.overhead_was(route, times.ours);
        let answered_well = self.answered.is_some() && self.status.is_some_and(|status| status.is_success());
        if answered_well && route.is_some_and(|route| route.row().costs()) && reading.usage.credits.is_none()
        {
            team.unmetered(route);
        }
        if self.stream {
            team.stream_ended(match outcome {
                Outcome::Completed => StreamOutcome::Completed,
                Outcome::ClientGone => StreamOutcome::ClientGone,
                _ => StreamOutcome::Truncated,
            });
        }
    }

    fn write(
        &self,
        outcome: Outcome,
        code: Option<&str>,
        reading: &Reading,
        booked: Option<Booked>,
        times: &Times,
    ) {
        let line = Line {
            timestamp: self.recorder.clock.wall(),
            request_id: self.id.as_str(),
            team: self.caller.as_ref().map(|caller| &*caller.team.name),
            key_id: self.caller.as_ref().map(|caller| &*caller.key_id),
            method: self.method.as_str(),
            route: self.route().map(Route::label),
            analysis_id: self.target.as_ref().and_then(|target| target.id.as_deref()),
            http_version: match self.version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            status: self.status.map(|status| status.as_u16()),
            outcome: outcome.as_str(),
            code,
            stream: self.stream,
            finish: reading.finish.map(Finish::as_str),
            response_id: reading.response_id.as_deref(),
            credits: reading.usage.credits,
            booked: booked.map(|booked| booked.credits),
            basis: booked.and_then(|booked| booked.basis),
            input_tokens: reading.usage.input_tokens,
            output_tokens: reading.usage.output_tokens,
            response_bytes: self.bytes,
            total: times.total,
            first_byte: times.head,
            upload: self.upload,
            upstream: times.upstream,
            gateway: times.ours,
        };
        self.recorder.log.write_with(|out| line.write(out));
    }

    /// Makes the spans of a call that is traced.
    fn tell(
        &mut self,
        outcome: Outcome,
        code: Option<&'static str>,
        reading: &Reading,
        reserved: Option<Credits>,
        booked: Option<Booked>,
        ended: Instant,
    ) {
        let (Some(trace), Some(tracer)) = (self.trace.take(), &self.recorder.tracer) else { return };
        let told = Told {
            request_id: self.id.as_str(),
            method: &self.method,
            version: self.version,
            target: self.target.as_ref(),
            team: self.caller.as_ref().map(|caller| &*caller.team.name),
            key_id: self.caller.as_ref().map(|caller| &*caller.key_id),
            outcome,
            code,
            status: self.status,
            stream: self.stream,
            began: self.began,
            sent: self.sent,
            answered: self.answered,
            ended,
            reserved,
            booked: booked.map(|booked| booked.credits),
            basis: booked.and_then(|booked| booked.basis),
            reading,
        };
        tracer.end(*trace, self.recorder.clock, &told);
    }
}

/// What was booked for a call.
#[derive(Clone, Copy)]
struct Booked {
    credits: Credits,
    basis: Option<&'static str>,
}

impl Booked {
    fn of(ending: Ending) -> Self {
        match ending {
            Ending::Settled { credits, basis, .. } => Self { credits, basis: Some(basis.as_str()) },
            Ending::Voided { .. } => Self { credits: Credits::ZERO, basis: None },
        }
    }
}

/// Whose time was spent: the caller's upload is in none of these but `total` and `head`.
struct Times {
    total: Duration,
    /// Until the head of the answer.
    head: Duration,
    /// From sending to the head of the upstream's answer.
    upstream: Option<Duration>,
    /// What is left of `head`.
    ours: Duration,
}
