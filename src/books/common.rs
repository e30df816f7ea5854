//! What all gateways of a ledger have in common: the desk, the jobs, and what is open. A value that changes by [`Step`]s and by
//! calls that ask, and by nothing else: whoever takes up the same ones in the same order has the same.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::bill::Marks;
use super::calls::{Booking, Calls, Open, account_of};
use super::job::{Jobs, Stage, Turn};
use super::kept::{Keeping, Kept};
use super::learned::Learned;
use super::step::{Ended, Sight, Step};
use crate::credits::Credits;
use crate::credits::budget::Whose;
use crate::desk::{Ask, BookedOn, Change, Desk, Granted, Moment, Ticket};
use crate::ledger::{Account, Basis, CallId, KnownJob, KnownStage, NewHold, Retry};
use crate::route::Route;

#[derive(Debug)]
pub(super) struct Common {
    pub(super) desk: Desk,
    pub(super) learned: Learned,
    pub(super) jobs: Jobs,
    /// What happened since the process began, for readings of the bill.
    marks: Marks,
    pub(super) next_call: CallId,
    /// Calls that hold credits and have not ended.
    pub(super) open: usize,
    /// When the upstream's pool is filled again, as its usage says.
    pub(super) pool_resets: Option<Timestamp>,
    /// The last correction by hand that the accounts know of.
    pub(super) last_change: i64,
    /// Which calls those are that are open, and whose: where there are several gateways.
    pub(super) calls: Option<Calls>,
}

/// What a call was given, and the number it is booked by.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) granted: Box<Granted>,
    pub(super) call: CallId,
    /// Until when it may be used, where that is bounded.
    pub(super) good_until: Option<Instant>,
    /// It counts among its team's calls at all gateways, until it is over.
    pub(super) counts: bool,
}

/// What a step has come to, for whoever keeps the books.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// What has come about of jobs: to be written.
    pub(super) jobs: Vec<Turn>,
    /// What has become of the upstream: to be told.
    pub(super) change: Option<Change>,
    /// Calls of a gateway that is lost: to be booked in doubt.
    pub(super) lost: Vec<(CallId, Open)>,
}

/// What two gateways have the same where they have the same desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Figures {
    next_call: CallId,
    next: Ticket,
    open: usize,
    held: u64,
}

impl Given {
    /// For the ledger, as of `at`.
    pub(super) fn entry(&self, request_id: &str, at: Timestamp, retry: Option<Box<Retry>>) -> NewHold {
        let Granted { ask, day, .. } = &*self.granted;
        NewHold {
            call: self.call,
            account: account_of(ask),
            request_id: request_id.into(),
            reserve: ask.reserve,
            at,
            day: *day,
            retry,
        }
    }
}

/// Whose accounts something is booked on.
pub(super) fn booked_on(account: &Account) -> BookedOn<'_> {
    let Account { team, key_id, route } = account;
    BookedOn { team, key_id, route: route.map(Route::index) }
}

impl Common {
    pub(super) fn new(desk: Desk, last_call: CallId, last_change: i64) -> Self {
        Self {
            desk,
            learned: Learned::default(),
            jobs: Jobs::default(),
            marks: Marks::default(),
            next_call: last_call + 1,
            open: 0,
            pool_resets: None,
            last_change,
            calls: None,
        }
    }

    /// As it was written down; what is learned is this.
    pub(super) fn of(kept: Kept, learned: Learned) -> Self {
        let Kept { desk, calls, jobs, next_call, last_change } = kept;
        let open = calls.open();
        let common = Self::new(desk, next_call - 1, last_change);
        Self { learned, jobs, open, calls: Some(calls), ..common }
    }

    /// As it is written down, for gateways that start.
    pub(super) fn kept(&self) -> Option<Vec<u8>> {
        let Self { desk, jobs, next_call, last_change, .. } = self;
        let calls = self.calls.as_ref()?;
        Some(Keeping { desk, calls, jobs, next_call: *next_call, last_change: *last_change }.write())
    }

    /// A call has asked, or was put back, and was not refused: it is there under this ticket.
    pub(super) fn comes(&mut self, ticket: Ticket, ask: &Ask, booking: Booking, now: Moment) {
        if let Some(calls) = &mut self.calls {
            calls.come(ticket, ask, booking, now);
        }
    }

    /// It waits no more, and was given nothing.
    pub(super) fn leaves(&mut self, ticket: Ticket) {
        if let Some(calls) = &mut self.calls {
            calls.leave(ticket);
        }
    }

    /// Books what the desk gave.
    pub(super) fn give(&mut self, granted: Box<Granted>) -> Given {
        let call = self.next_call;
        if granted.ask.costs {
            self.next_call += 1;
            self.open += 1;
        }
        let counts = self.calls.as_mut().is_some_and(|calls| calls.give(call, &granted));
        Given { granted, call, good_until: None, counts }
    }

    /// Takes up a step.
    pub(super) fn take(&mut self, step: Step, now: Moment) -> Taken {
        let mut taken = Taken::default();
        match step {
            Step::Day { today, ends } => self.desk.roll(today, ends),
            Step::Left { team, ticket } => {
                self.desk.leave(&team, ticket, now);
                self.leaves(ticket);
            }
            Step::Sent { team, tick, at } => self.desk.sent(&team, tick, at, now),
            Step::Answered { team, tick, at, said, seen } => {
                self.desk.answered(&team, tick, at, now);
                self.desk.heed(said, now);
                taken.change = seen.and_then(|Sight { seen, sent }| self.desk.see(seen, sent, now));
            }
            Step::Unsent { team, tick } => self.desk.free_place(&team, tick, now),
            Step::Seen(Sight { seen, sent }) => taken.change = self.desk.see(seen, sent, now),
            Step::PoolResets(at) => self.pool_resets = Some(at),
            Step::Ended(ended) => self.end(&ended, now),
            Step::Freed { call, route, team } => {
                if self.calls.as_mut().is_none_or(|calls| calls.free(call)) {
                    self.desk.free_route(route.index(), &team, now);
                }
            }
            Step::Over { team, owner } => {
                if let Some(calls) = &mut self.calls {
                    calls.teams.go(&team, owner);
                }
            }
            Step::JobBegun { call, account, upstream_id, day, reserve } => {
                if self.jobs.knows(call) {
                    // It was begun for its gateway, which was given up as lost: what it is called is news.
                    self.jobs.named(call, upstream_id);
                } else {
                    if let Some(route) = account.route {
                        self.desk.take_route(route.index(), &account.team, now);
                    }
                    self.jobs.begin(call, account, upstream_id, (day, reserve), now);
                }
            }
            Step::JobTold { call, told, basis } => {
                let turn = self.jobs.told(call, told, basis, now);
                // What is told at its beginning has a figure that its call's ending has too.
                let at_its_beginning = basis == Basis::Final;
                let turn =
                    turn.map(|turn| Turn { figure: turn.figure.filter(|_| !at_its_beginning), ..turn });
                taken.jobs.extend(turn);
            }
            Step::ThingTold { thing, id, told } => {
                taken.jobs.extend(self.jobs.told_by_id(thing, &id, told, now));
            }
            Step::Corrected(call) => {
                let turn = self.jobs.corrected(call);
                // In the bill, and in no sum of what was settled.
                self.marks.doubts += u64::from(turn.is_some());
                taken.jobs.extend(turn);
            }
            Step::JobsExpire => {
                taken.jobs = self.jobs.expire(now);
                self.marks.given_up += taken.jobs.len() as u64;
            }
            Step::JobAsked(call) => self.jobs.asked(call, now),
            Step::Adjusted { day, account, millionths } => {
                self.desk.adjust(day, booked_on(&account), millionths);
            }
            Step::Grants(grants) => self.desk.set_grants(grants),
            // Whose things are is kept beside.
            Step::Look | Step::Made { .. } => {}
            Step::Lost(gateway) => taken.lost = self.lose(gateway, now),
            Step::ChangesUpTo(seq) => self.last_change = self.last_change.max(seq),
        }
        for turn in &taken.jobs {
            self.job_turn(turn, now);
        }
        taken
    }

    /// What was held is spent or free.
    fn end(&mut self, ended: &Ended, now: Moment) {
        let Ended { call, account, day, reserve, spent, is_final, fate } = ended;
        if let Some(calls) = &mut self.calls {
            // Where its gateway was lost it is booked: what it came to is a correction.
            let Some(open) = calls.end(*call, *fate) else { return };
            if let (true, Some(route)) = (open.has_permit, account.route) {
                self.desk.free_route(route.index(), &account.team, now);
            }
        }
        self.desk.end(*day, booked_on(account), *reserve, *spent);
        self.open = self.open.saturating_sub(1);
        let begins_a_job = account.route.is_some_and(|route| route.row().job().is_some());
        if *is_final {
            if let Some(route) = account.route {
                self.learned.cost(route, *spent);
            }
            self.marks.settled += *spent;
        } else if *spent > Credits::ZERO && !begins_a_job {
            self.marks.doubts += 1;
        }
    }

    /// What has come about of a job is booked, and its place given back.
    fn job_turn(&mut self, turn: &Turn, now: Moment) {
        let account = &turn.job.account;
        if let Some(figure) = turn.figure {
            let signed = |credits: Credits| i64::try_from(credits.millionths()).unwrap_or(i64::MAX);
            let difference = signed(figure) - signed(turn.job.reserve);
            self.desk.adjust(turn.job.day, booked_on(account), difference);
            self.marks.settled += figure;
            // The difference of two readings is then not what was settled between them.
            self.marks.doubts += u64::from(turn.is_late);
        }
        if let (true, Some(route)) = (turn.frees, account.route) {
            self.desk.free_route(route.index(), &account.team, now);
        }
    }

    /// What a gateway that is lost had open stays booked at its reserve, and jobs may have begun.
    fn lose(&mut self, gateway: u32, now: Moment) -> Vec<(CallId, Open)> {
        let Some(calls) = &mut self.calls else { return Vec::new() };
        let open = calls.lose(gateway);
        for (team, ticket) in self.desk.waiting_at(gateway) {
            self.desk.leave(&team, ticket, now);
            calls.leave(ticket);
        }
        for (call, Open { account, day, reserve, has_permit, .. }) in &open {
            if let Some(route) = account.route {
                if route.row().job().is_some() {
                    let (account, booked) = (account.clone(), (*day, *reserve));
                    self.desk.take_route(route.index(), &account.team, now);
                    self.jobs.begin(*call, account, None, booked, now);
                }
                if *has_permit {
                    self.desk.free_route(route.index(), &account.team, now);
                }
            }
            self.desk.end(*day, booked_on(account), *reserve, *reserve);
            self.open = self.open.saturating_sub(1);
            self.marks.doubts += 1;
        }
        open
    }

    /// Takes up jobs that earlier processes began, when it is `wall`.
    pub(super) fn take_up_jobs(
        &mut self,
        known: impl IntoIterator<Item = KnownJob>,
        wall: Timestamp,
        now: Moment,
    ) {
        for job in known {
            if let (KnownStage::GoesOn, Some(route)) = (job.stage, job.account.route) {
                self.desk.take_route(route.index(), &job.account.team, now);
            }
            let age = wall.duration_since(job.began).try_into().unwrap_or_default();
            self.jobs.take_up(job, age, now);
        }
    }

    /// Forgets keys that are past their time.
    pub(super) fn sweep(&mut self, now: Moment) {
        if let Some(calls) = &mut self.calls {
            calls.sweep(now);
        }
    }

    /// Gateways that have something open, or calls that wait.
    pub(super) fn owners(&self) -> BTreeSet<u32> {
        let open = self.calls.as_ref().map(Calls::owners).unwrap_or_default();
        open.into_iter().chain(self.desk.owners()).collect()
    }

    /// A few figures of all that is had in common, to be held against another gateway's.
    pub(super) fn figures(&self) -> Figures {
        let held = self.desk.held(&Whose::Organisation).millionths();
        Figures { next_call: self.next_call, next: self.desk.next_ticket(), open: self.open, held }
    }

    /// How the books stand, for a reading of the bill.
    pub(super) fn marks(&self) -> Marks {
        let going = self.jobs.all().filter(|job| job.stage == Stage::GoesOn).count();
        Marks { open: self.open + going, begun: self.jobs.begun(), ..self.marks }
    }
}
