//! Jobs: what calls have begun, and goes on behind their answers. Until its end is seen, a job has one of its route's places; until
//! its cost is known, it stays booked at what was held for it.
//!
//! It knows no clock, no lock and no ledger: what it returns is to be written, and places are to be given back.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use http::StatusCode;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::credits::{Credits, millionths};
use crate::desk::Moment;
use crate::ledger::{Account, Basis, CallId, JobEvent, KnownJob, KnownStage, NewJob};
use crate::meter::{Reading, Status};
use crate::route::{Route, Thing};

/// Jobs that are remembered: those that go on, and the latest of those whose cost is not known.
pub(super) const MOST: usize = 10_000;
/// How long a job has its place without its end being seen: three times as long as the longest take (source: Mavera's video
/// guide, 2 to 10 minutes).
pub(super) const EXPIRES: Duration = Duration::from_mins(30);
/// How long nobody may ask about a job before the gateway does, and how often it does then.
const UNSEEN: Duration = Duration::from_mins(1);
const ASKED_EVERY: Duration = Duration::from_secs(30);

/// One job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) call: CallId,
    pub(super) account: Account,
    pub(super) upstream_id: Option<Box<str>>,
    pub(super) day: Date,
    #[serde(with = "millionths")]
    pub(super) reserve: Credits,
    expires: Moment,
    pub(super) stage: Stage,
    /// Whether its cost is known.
    pub(super) is_settled: bool,
    /// When the gateway is to ask about it, unless somebody is told of it before.
    asks: Moment,
    /// Which it was of all that this process knows to have begun.
    pub(super) number: u64,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// It goes on, or may.
    GoesOn,
    /// Its end was seen.
    Over,
    /// Nobody has seen its end in time.
    GivenUp,
}

/// What has come about of a job.
#[derive(Debug)]
pub(super) struct Turn {
    /// The job as it is by now.
    pub(super) job: Job,
    /// It gives its place back.
    pub(super) frees: bool,
    /// It says its figure only now, and was over, or given up, before: the bill may have had its cost for long.
    pub(super) is_late: bool,
    /// To be written, in order.
    pub(super) events: Vec<JobEvent>,
    /// What is booked by estimate is another amount now.
    pub(super) figure: Option<Credits>,
}

impl Turn {
    fn of(job: &Job) -> Self {
        Self { job: job.clone(), frees: false, is_late: false, events: Vec::new(), figure: None }
    }

    /// Nobody has seen its end in time.
    pub(super) fn is_given_up(&self) -> bool {
        self.frees && self.job.stage == Stage::GivenUp
    }

    /// What is to be written of it.
    pub(super) fn notes(&self, at: jiff::Timestamp) -> impl Iterator<Item = NewJob> {
        let Job { call, account, .. } = &self.job;
        self.events.iter().map(move |event| NewJob {
            call: *call,
            account: account.clone(),
            at,
            event: event.clone(),
        })
    }
}

/// All jobs that are known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Jobs {
    by_call: BTreeMap<CallId, Job>,
    by_id: HashMap<(Thing, Box<str>), CallId>,
    begun: u64,
}

/// What a call's answer, or a later one, says of a job.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// How far it has come.
    pub status: Option<Status>,
    /// What it cost.
    #[serde(with = "millionths::option")]
    pub figure: Option<Credits>,
    /// The upstream knows it no more.
    pub gone: bool,
    /// It was the gateway that asked: nobody else need have.
    pub own: bool,
}

impl Told {
    /// What an answer about a job says of it, by its status and what was read in it; nothing where it is another error.
    #[must_use]
    pub fn by(status: StatusCode, reading: &Reading) -> Option<Self> {
        let gone = status == StatusCode::NOT_FOUND || status == StatusCode::GONE;
        // An error says nothing of what the job cost.
        let figure = reading.usage.credits.filter(|_| !gone);
        (gone || status.is_success()).then_some(Self { status: reading.status, figure, gone, own: false })
    }
}

fn thing(account: &Account) -> Option<Thing> {
    account.route.and_then(|route| route.row().makes)
}

impl Jobs {
    /// A job has begun, or may have.
    pub(super) fn begin(
        &mut self,
        call: CallId,
        account: Account,
        upstream_id: Option<Box<str>>,
        (day, reserve): (Date, Credits),
        now: Moment,
    ) {
        self.begun += 1;
        let (stage, number) = (Stage::GoesOn, self.begun);
        let (expires, asks) = (now + EXPIRES, now + UNSEEN);
        self.insert(Job {
            call,
            account,
            upstream_id,
            day,
            reserve,
            expires,
            stage,
            is_settled: false,
            asks,
            number,
        });
    }

    /// Whether a job of this call is known.
    pub(super) fn knows(&self, call: CallId) -> bool {
        self.by_call.contains_key(&call)
    }

    /// What the upstream calls a job that is known.
    pub(super) fn named(&mut self, call: CallId, upstream_id: Option<Box<str>>) {
        let Some(job) = self.by_call.get_mut(&call).filter(|job| job.upstream_id.is_none()) else { return };
        if let (Some(thing), Some(id)) = (thing(&job.account), &upstream_id) {
            self.by_id.insert((thing, id.clone()), call);
        }
        job.upstream_id = upstream_id;
    }

    /// Takes up one that another process began, so long ago.
    pub(super) fn take_up(&mut self, known: KnownJob, age: Duration, now: Moment) {
        let stage = match known.stage {
            KnownStage::GoesOn => Stage::GoesOn,
            KnownStage::Over => Stage::Over,
            KnownStage::GivenUp => Stage::GivenUp,
        };
        self.insert(Job {
            call: known.call,
            account: known.account,
            upstream_id: known.upstream_id,
            day: known.day,
            reserve: known.reserve,
            // Asked about once at the least before it is given up, however long nobody was there to ask.
            expires: now + EXPIRES.saturating_sub(age).max(UNSEEN),
            stage,
            is_settled: known.is_settled,
            asks: now + ASKED_EVERY,
            number: 0,
        });
    }

    fn insert(&mut self, job: Job) {
        if let (Some(thing), Some(id)) = (thing(&job.account), &job.upstream_id) {
            self.by_id.insert((thing, id.clone()), job.call);
        }
        self.by_call.insert(job.call, job);
        // Those that go on are few, by what the upstream takes, and end in time.
        while self.by_call.len() > MOST
            && let Some(oldest) = self.by_call.values().find(|job| job.stage != Stage::GoesOn)
        {
            let call = oldest.call;
            self.forget(call);
        }
    }

    fn forget(&mut self, call: CallId) {
        let Some(job) = self.by_call.remove(&call) else { return };
        if let (Some(thing), Some(id)) = (thing(&job.account), job.upstream_id) {
            self.by_id.remove(&(thing, id));
        }
    }

    /// What was told of a job by its id.
    pub(super) fn told_by_id(&mut self, thing: Thing, id: &str, told: Told, now: Moment) -> Option<Turn> {
        let call = *self.by_id.get(&(thing, id.into()))?;
        // While it goes on, a figure is one of the moment.
        let is_over = told.status.is_some_and(Status::is_final);
        self.told(call, Told { figure: told.figure.filter(|_| is_over), ..told }, Basis::Final, now)
    }

    /// What is told of a job, and what its figure rests on.
    pub(super) fn told(&mut self, call: CallId, told: Told, basis: Basis, now: Moment) -> Option<Turn> {
        let job = self.by_call.get_mut(&call)?;
        let before = job.stage;
        if !told.own {
            job.asks = now + UNSEEN;
        }
        let mut events = Vec::new();
        let is_over = told.gone || told.status.is_some_and(Status::is_final);
        // One that was given up stays it: it was counted then.
        if is_over && job.stage == Stage::GoesOn {
            job.stage = Stage::Over;
            events.push(JobEvent::Over);
        }
        let figure = told.figure.filter(|_| !job.is_settled);
        if let Some(credits) = figure {
            job.is_settled = true;
            let after_all = before == Stage::GivenUp;
            events.push(JobEvent::Settled { credits, basis, after_all });
        }
        let frees = before == Stage::GoesOn && job.stage != Stage::GoesOn;
        let is_late = before != Stage::GoesOn && basis == Basis::Final;
        let turn = Turn { frees, is_late, events, figure, ..Turn::of(job) };
        if turn.job.is_settled && turn.job.stage != Stage::GoesOn {
            self.forget(call);
        }
        Some(turn)
    }

    /// What a job cost was written by hand: nothing that it says any more changes that.
    pub(super) fn corrected(&mut self, call: CallId) -> Option<Turn> {
        let job = self.by_call.get_mut(&call).filter(|job| !job.is_settled)?;
        job.is_settled = true;
        let mut turn = Turn::of(job);
        if job.stage != Stage::GivenUp {
            // Counted at what was held, as every call that is corrected.
            turn.events.push(JobEvent::GivenUp { reserve: job.reserve });
        }
        if job.stage != Stage::GoesOn {
            self.forget(call);
        }
        Some(turn)
    }

    /// Whether there are any whose end nobody has seen in time.
    pub(super) fn any_expired(&self, now: Moment) -> bool {
        self.by_call.values().any(|job| job.stage == Stage::GoesOn && now >= job.expires)
    }

    /// Gives up those whose end nobody has seen in time.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Turn> {
        let late = |job: &&mut Job| job.stage == Stage::GoesOn && now >= job.expires;
        let mut turns = Vec::new();
        for job in self.by_call.values_mut().filter(late) {
            job.stage = Stage::GivenUp;
            let mut turn = Turn { frees: true, ..Turn::of(job) };
            turn.events.push(if job.is_settled {
                JobEvent::Over
            } else {
                JobEvent::GivenUp { reserve: job.reserve }
            });
            turns.push(turn);
        }
        for call in
            turns.iter().filter(|turn| turn.job.is_settled).map(|turn| turn.job.call).collect::<Vec<_>>()
        {
            self.forget(call);
        }
        turns
    }

    /// The job that the gateway is to ask about next: one that nobody has asked about for a while.
    pub(super) fn unwatched(&self, now: Moment) -> Option<(CallId, Thing, Box<str>)> {
        let due = |job: &&Job| job.stage == Stage::GoesOn && now >= job.asks;
        let jobs = self.by_call.values().filter(due);
        jobs.filter(|job| job.upstream_id.is_some())
            .min_by_key(|job| job.asks)
            .and_then(|job| Some((job.call, thing(&job.account)?, job.upstream_id.clone()?)))
    }

    /// The gateway asks about a job.
    pub(super) fn asked(&mut self, call: CallId, now: Moment) {
        if let Some(job) = self.by_call.get_mut(&call) {
            job.asks = now + ASKED_EVERY;
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Job> {
        self.by_call.values()
    }

    /// How many have begun since the process did.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Those of a route that go on, those of them whose id nobody knows, and those whose cost is not known though they are over.
    pub(super) fn count(&self, route: Route) -> [usize; 3] {
        let of_route = || self.by_call.values().filter(move |job| job.account.route == Some(route));
        let goes_on = |job: &&Job| job.stage == Stage::GoesOn;
        [
            of_route().filter(goes_on).filter(|job| job.upstream_id.is_some()).count(),
            of_route().filter(goes_on).filter(|job| job.upstream_id.is_none()).count(),
            of_route().filter(|job| job.stage != Stage::GoesOn && !job.is_settled).count(),
        ]
    }
}

/// Tells of a job if it was given up.
pub(super) fn tell_if_given_up(turn: &Turn) {
    if !turn.is_given_up() {
        return;
    }
    let Job { call, upstream_id, account, .. } = &turn.job;
    tracing::warn!(
        call,
        upstream_id,
        team = &*account.team,
        route = account.route_label(),
        "nobody has seen the end of a job; its place is free, and it stays booked at what was held for it"
    );
}

#[cfg(test)]
mod tests;
