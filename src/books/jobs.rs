//! What the desk's keeper does about jobs: their places, their corrections, and what is written of them.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::bill::{Between, Marks};
use super::job::{Job, Stage, Told};
use super::keeper::Keeper;
use super::saying::Saying;
use super::state::State;
use super::step::Step;
use crate::credits::Credits;
use crate::ledger::{Account, Basis, CallId, JobEvent, KnownJob, NewJob, Note};
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

impl Keeper {
    /// A call that begins a job has ended, and nothing proves that it has not begun one. Before its ending is written.
    pub(super) fn begin_job(
        saying: &mut Saying<'_>,
        (call, account): (CallId, Account),
        upstream_id: Option<&str>,
        (day, reserve): (Date, Credits),
        at: Timestamp,
    ) {
        let upstream_id: Option<Box<str>> = upstream_id.map(Into::into);
        let (of_job, id) = (account.clone(), upstream_id.clone());
        saying.say(Step::JobBegun { call, account: of_job, upstream_id: id, day, reserve });
        let event = JobEvent::Begun { upstream_id, day, reserve };
        saying.note(Note::Job(NewJob { call, account, at, event }));
    }

    /// An answer that went by said this of a job.
    pub fn told_of_job(self: &Arc<Self>, thing: Thing, id: &str, told: Told) {
        self.say(Step::ThingTold { thing, id: id.into(), told });
    }

    /// What a call cost was corrected by hand, which may be one that began a job.
    pub fn job_corrected(self: &Arc<Self>, call: CallId) {
        self.say(Step::Corrected(call));
    }

    /// Gives up jobs whose end nobody has seen in time.
    pub fn expire_jobs(self: &Arc<Self>) {
        let now = self.moment();
        if self.state().common.jobs.any_expired(now) {
            self.say(Step::JobsExpire);
        }
    }

    /// The job that the gateway is to ask about next, because nobody else has for a while.
    #[must_use]
    pub fn unwatched_job(&self) -> Option<Unwatched> {
        let now = self.moment();
        let (call, thing, id) = self.state().common.jobs.unwatched(now)?;
        Some(Unwatched { call, thing, id })
    }

    /// The gateway asks about it.
    pub fn asked_about(self: &Arc<Self>, unwatched: &Unwatched) {
        self.say(Step::JobAsked(unwatched.call));
    }

    /// Jobs of a route, and what stands around them.
    #[must_use]
    pub fn jobs(&self, route: Route) -> OfRoute {
        let state = self.state();
        let [running, unknown, in_doubt] = state.common.jobs.count(route);
        let (taken, waiting) = state.common.desk.of_route(route.index());
        OfRoute { running, unknown, in_doubt, taken, waiting }
    }

    /// Takes up jobs that earlier processes began.
    pub(super) fn take_up_jobs(&self, known: impl IntoIterator<Item = KnownJob>) {
        let now = self.moment();
        self.state().common.take_up_jobs(known, self.clock.wall(), now);
    }

    /// How the books stand, for a reading of the bill that is about to be made.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.state().common.marks()
    }

    /// The upstream has billed so much in the period that began at `start`, as it said when it was asked; then the books stood as
    /// `before` has it. What follows from it for one job is booked.
    pub fn billed(self: &Arc<Self>, before: Marks, start: Timestamp, billed: Credits) {
        let (call, credits) = {
            let mut state = self.state();
            let marks = state.common.marks();
            let Some(between) = state.bills.read(before, marks, start, billed) else { return };
            let Some(call) = state.the_one_job(between) else {
                if between.rest < state.least_of(between) {
                    state.bills.wait();
                }
                return;
            };
            state.bills.derived(between.rest);
            (call, between.rest)
        };
        tracing::info!(call, %credits, "what a job cost follows from the upstream's bill");
        let told = Told { figure: Some(credits), ..Told::default() };
        self.say(Step::JobTold { call, told, basis: Basis::Derived });
    }
}

impl State {
    /// Jobs that began between two readings, and whose cost is not known.
    fn unsettled(&self, between: Between) -> impl Iterator<Item = &Job> {
        let (from, to) = between.begun;
        self.common.jobs.all().filter(move |job| !job.is_settled && job.number > from && job.number <= to)
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
