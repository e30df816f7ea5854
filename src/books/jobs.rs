//! What the desk's keeper does about jobs: their places, their corrections, and what is written of them.

use jiff::Timestamp;
use jiff::civil::Date;

use super::bill::{Between, Marks};
use super::job::{Job, Stage, Told, Turn};
use super::local::LocalDesk;
use super::state::State;
use crate::credits::Credits;
use crate::desk::BookedOn;
use crate::ledger::{Account, Basis, CallId, JobEvent, KnownJob, KnownStage, NewJob, Note};
use crate::route::{Route, Thing};

/// A job that the gateway is to ask about.
#[derive(Clone, Debug)]
pub struct Unwatched {
    call: CallId,
    /// What it is.
    pub thing: Thing,
    /// As the upstream knows it.
    pub id: Box<str>,
}

/// Jobs of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfRoute {
    /// That go on.
    pub running: usize,
    /// That may go on, and whose id nobody knows: the answer that had it was lost.
    pub unknown: usize,
    /// That are over or given up, and whose cost is not known.
    pub in_doubt: usize,
    /// Places that are taken, by these and by calls on their way.
    pub taken: usize,
    /// Calls that wait for a place.
    pub waiting: usize,
}

impl LocalDesk {
    /// A call that begins a job has ended, and nothing proves that it has not begun one. Before its ending is written.
    pub(super) fn begin_job(
        &self,
        (call, account): (CallId, Account),
        upstream_id: Option<&str>,
        (day, reserve): (Date, Credits),
    ) {
        let now = self.clock.since_origin();
        let upstream_id: Option<Box<str>> = upstream_id.map(Into::into);
        {
            let mut state = self.state();
            let State { desk, jobs, .. } = &mut *state;
            if let Some(route) = account.route {
                desk.take_route(route.index(), &account.team, now);
            }
            jobs.begin(call, account.clone(), upstream_id.clone(), (day, reserve), now);
        }
        let (at, event) = (self.clock.wall(), JobEvent::Begun { upstream_id, day, reserve });
        self.ledger.note(Note::Job(NewJob { call, account, at, event }));
    }

    /// The answer that began a job said this of it. Behind its call's ending, which has a figure of its own in it already.
    pub(super) fn told_at_its_beginning(&self, call: CallId, told: Told) {
        let now = self.clock.since_origin();
        let turn = self.state().jobs.told(call, told, Basis::Final, now);
        if let Some(turn) = turn {
            self.take_turn(&Turn { figure: None, ..turn });
        }
    }

    /// An answer that went by said this of a job.
    pub fn told_of_job(&self, thing: Thing, id: &str, told: Told) {
        let now = self.clock.since_origin();
        let turn = self.state().jobs.told_by_id(thing, id, told, now);
        if let Some(turn) = turn {
            self.take_turn(&turn);
        }
    }

    /// Writes what has come about of a job, books it, and gives its place back.
    fn take_turn(&self, turn: &Turn) {
        for note in turn.notes(self.clock.wall()) {
            self.ledger.note(Note::Job(note));
        }
        let Job { account, day, reserve, .. } = &turn.job;
        if !turn.frees && turn.figure.is_none() {
            return;
        }
        let mut state = self.state();
        let now = state.roll();
        if let Some(figure) = turn.figure {
            let route = account.route.map(Route::index);
            let on = BookedOn { team: &account.team, key_id: &account.key_id, route };
            let signed = |credits: Credits| i64::try_from(credits.millionths()).unwrap_or(i64::MAX);
            state.desk.adjust(*day, on, signed(figure) - signed(*reserve));
            state.marks.settled += figure;
            // The difference of two readings is then not what was settled between them.
            state.marks.doubts += u64::from(turn.is_late);
        }
        if let (true, Some(route)) = (turn.frees, account.route) {
            state.desk.free_route(route.index(), &account.team, now);
        }
        self.turn(&mut state);
    }

    /// What a call cost was corrected by hand, which may be one that began a job.
    pub fn job_corrected(&self, call: CallId) {
        let turn = {
            let mut state = self.state();
            let turn = state.jobs.corrected(call);
            // In the bill, and in no sum of what was settled.
            state.marks.doubts += u64::from(turn.is_some());
            turn
        };
        if let Some(turn) = turn {
            self.take_turn(&turn);
        }
    }

    /// Gives up jobs whose end nobody has seen in time.
    pub fn expire_jobs(&self) {
        let now = self.clock.since_origin();
        let turns = {
            let mut state = self.state();
            let turns = state.jobs.expire(now);
            state.marks.given_up += turns.len() as u64;
            turns
        };
        for turn in turns {
            let Job { call, upstream_id, account, .. } = &turn.job;
            tracing::warn!(
                call,
                upstream_id,
                team = &*account.team,
                route = account.route_label(),
                "nobody has seen the end of a job; its place is free, and it stays booked at what was held for it"
            );
            self.take_turn(&turn);
        }
    }

    /// The job that the gateway is to ask about next, because nobody else has for a while.
    #[must_use]
    pub fn unwatched_job(&self) -> Option<Unwatched> {
        let now = self.clock.since_origin();
        let (call, thing, id) = self.state().jobs.unwatched(now)?;
        Some(Unwatched { call, thing, id })
    }

    /// The gateway asks about it.
    pub fn asked_about(&self, unwatched: &Unwatched) {
        let now = self.clock.since_origin();
        self.state().jobs.asked(unwatched.call, now);
    }

    /// Jobs of a route, and what stands around them.
    #[must_use]
    pub fn jobs(&self, route: Route) -> OfRoute {
        let state = self.state();
        let [running, unknown, in_doubt] = state.jobs.count(route);
        let (taken, waiting) = state.desk.of_route(route.index());
        OfRoute { running, unknown, in_doubt, taken, waiting }
    }

    /// Takes up jobs that earlier processes began.
    pub(super) fn take_up_jobs(&self, known: impl IntoIterator<Item = KnownJob>) {
        let (wall, now) = (self.clock.wall(), self.clock.since_origin());
        let mut state = self.state();
        let State { desk, jobs, .. } = &mut *state;
        for job in known {
            if let (KnownStage::GoesOn, Some(route)) = (job.stage, job.account.route) {
                desk.take_route(route.index(), &job.account.team, now);
            }
            let age = wall.duration_since(job.began).try_into().unwrap_or_default();
            jobs.take_up(job, age, now);
        }
    }

    /// How the books stand, for a reading of the bill that is about to be made.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.state().marks()
    }

    /// The upstream has billed so much in the period that began at `start`, as it said when it was asked; then the books stood as
    /// `before` has it. What follows from it for one job is booked.
    pub fn billed(&self, before: Marks, start: Timestamp, billed: Credits) {
        let now = self.clock.since_origin();
        let turn = {
            let mut state = self.state();
            let marks = state.marks();
            let Some(between) = state.bills.read(before, marks, start, billed) else { return };
            let Some(call) = state.the_one_job(between) else {
                if between.rest < state.least_of(between) {
                    state.bills.wait();
                }
                return;
            };
            state.bills.derived(between.rest);
            let told = Told { figure: Some(between.rest), ..Told::default() };
            state.jobs.told(call, told, Basis::Derived, now)
        };
        if let Some(turn) = turn {
            let (call, credits) = (turn.job.call, turn.figure);
            tracing::info!(call, ?credits, "what a job cost follows from the upstream's bill");
            self.take_turn(&turn);
        }
    }
}

impl State {
    pub(super) fn marks(&self) -> Marks {
        let going = self.jobs.all().filter(|job| job.stage == Stage::GoesOn).count();
        Marks { open: self.open + going, begun: self.jobs.begun(), ..self.marks }
    }

    /// Jobs that began between two readings, and whose cost is not known.
    fn unsettled(&self, between: Between) -> impl Iterator<Item = &Job> {
        let (from, to) = between.begun;
        self.jobs.all().filter(move |job| !job.is_settled && job.number > from && job.number <= to)
    }

    /// What they cost at the least.
    fn least_of(&self, between: Between) -> Credits {
        let ranges = self.unsettled(between).filter_map(|job| job.account.route?.row().job());
        ranges.map(|range| *range.start()).fold(Credits::ZERO, |a, b| a + b)
    }

    /// The one job that began and ended between two readings without a figure, if what is left of the bill can be its cost.
    fn the_one_job(&self, between: Between) -> Option<CallId> {
        let mut unsettled = self.unsettled(between);
        let (job, another) = (unsettled.next()?, unsettled.next());
        let range = job.account.route?.row().job()?;
        let can_be = job.stage == Stage::Over && another.is_none() && range.contains(&between.rest);
        can_be.then_some(job.call)
    }
}
