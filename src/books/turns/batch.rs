//! What a gateway says in one turn, and what becomes of it: told to nobody before it is committed.

use std::sync::Arc;

use tokio::time::Instant;

use super::body::{Body, What, Word};
use super::outbox::LateEnding;
use crate::books::calls::{Booking, Calls, Elsewhere, Open};
use crate::books::common::Given;
use crate::books::job::tell_if_given_up;
use crate::books::keeper::Keeper;
use crate::books::queue_counts::Waited;
use crate::books::shared::queue::{KeptEnding, Pending, Spare};
use crate::books::shared::{GRACE_OF_A_GRANT, Shared};
use crate::books::state::{State, Told, tell_of};
use crate::books::step::Step;
use crate::desk::{Ask, Moment, Outcome, Refused, Retold, Ticket, Verdict};
use crate::ledger::entry::{Entry, HoldEntry};
use crate::ledger::{Account, CallId, Command, Correction, Look, OpenHold, Said};
use crate::refuse::Refusal;

/// What one thing that was said has come to.
#[derive(Debug)]
pub(super) enum Result {
    /// Nothing that anybody waits for.
    Nothing,
    /// A call is told this.
    Told(Told),
    /// It waits.
    Waits(Ticket),
    /// A place for a request of the gateway's own.
    Spare(Spare),
}

/// One turn in the making.
#[derive(Debug)]
pub(super) struct Batch {
    /// What was to be said, with what has become of it.
    pub(super) said: Vec<(Pending, Result)>,
    /// Calls that waited here, and what they are told.
    pub(super) outcomes: Vec<(Ticket, Told)>,
    /// What is booked of this gateway's calls: to be counted.
    pub(super) commands: Vec<Command>,
    words: Vec<Word>,
    entries: Vec<u8>,
    corrections: Vec<Correction>,
    /// Endings of calls that were given up as lost.
    pub(super) late: Vec<LateEnding>,
    now: Moment,
    wall: jiff::Timestamp,
    /// Until when what is given may be used.
    good_until: Instant,
}

impl Batch {
    /// A turn, asked for at `asked`, that sees this.
    pub(super) fn new(look: &Look, asked: Instant) -> Self {
        Self {
            said: Vec::new(),
            outcomes: Vec::new(),
            commands: Vec::new(),
            words: Vec::new(),
            entries: Vec::new(),
            corrections: Vec::new(),
            late: Vec::new(),
            now: look.now,
            wall: look.wall,
            good_until: asked + GRACE_OF_A_GRANT,
        }
    }

    /// Whether anything was said.
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.entries.is_empty() && self.corrections.is_empty()
    }

    fn book(&mut self, entry: &Entry<'_>) {
        entry.write(&mut self.entries);
    }

    /// Says a step, and whatever follows from it.
    pub(super) fn step(&mut self, keeper: &Keeper, shared: &Shared, state: &mut State, step: Step) {
        let taken = state.common.take(step.clone(), self.now);
        for turn in &taken.jobs {
            tell_if_given_up(turn);
            for note in turn.notes(self.wall) {
                self.command(Command::Job(note));
            }
        }
        taken.change.into_iter().for_each(tell_of);
        for (call, open) in taken.lost {
            self.give_up(call, &open);
        }
        self.word(keeper, shared, state, What::Step(step));
    }

    /// Books something.
    fn command(&mut self, command: Command) {
        self.book(&Entry::from(&command));
        self.commands.push(command);
    }

    /// A call of a gateway that is lost: booked at what was held for it, in doubt.
    fn give_up(&mut self, call: CallId, open: &Open) {
        tracing::warn!(
            call, request_id = &*open.request_id, team = &*open.account.team, reserve = %open.reserve, gateway = open.owner,
            "a call was in flight at a gateway that is lost; its reserve is booked, in doubt"
        );
        let hold = OpenHold {
            call,
            team: open.account.team.to_string(),
            key_id: open.account.key_id.to_string(),
            route: open.account.route_label().to_owned(),
            request_id: open.request_id.to_string(),
            reserve: open.reserve,
            at: self.wall,
            day: open.day,
        };
        if let Some(job) = hold.job() {
            self.book(&Entry::from(&Command::Job(job)));
        }
        self.book(&Entry::from(&Command::End(hold.lost(self.wall))));
    }

    /// Something was said; whoever waits for what it frees is told.
    fn word(&mut self, keeper: &Keeper, shared: &Shared, state: &mut State, said: What) {
        let mut outcomes = Vec::new();
        if state.common.desk.has_waiting() {
            for outcome in state.common.desk.turn(self.now) {
                outcomes.push((outcome.ticket, outcome.verdict.is_ok()));
                self.outcome(keeper, shared, state, outcome);
            }
        }
        if !(outcomes.is_empty() && matches!(said, What::Step(Step::Look))) {
            let spaced = state.common.desk.spaced();
            self.words.push(Word { said, outcomes, spaced });
        }
    }

    /// A call that waited is told something.
    fn outcome(&mut self, keeper: &Keeper, shared: &Shared, state: &mut State, outcome: Outcome) {
        let Outcome { ticket, joined, verdict } = outcome;
        let waited = self.now.saturating_sub(joined);
        let (owner, team, how, told) = match verdict {
            Ok(granted) => {
                let (owner, team) = (granted.ask.owner, Arc::clone(&granted.ask.team));
                let is_own = owner == shared.id();
                let booking = state.common.calls.as_ref().and_then(|calls| calls.booking(ticket)).cloned();
                let given = state.common.give(granted);
                let given = self.given(given, booking.as_ref(), is_own);
                (owner, team, Waited::Granted, Ok(given))
            }
            Err(refused) => {
                let Refused { ask, no } = *refused;
                state.common.leaves(ticket);
                let how = Waited::of(&no);
                let refusal = state.refusal(no, &ask, waited, self.now);
                (ask.owner, Arc::clone(&ask.team), how, Err(refusal))
            }
        };
        if owner == shared.id() {
            keeper.counts.waited(&team, how, waited);
            self.outcomes.push((ticket, told));
        }
    }

    /// What was given is booked, and may be used for a while.
    fn given(&mut self, mut given: Given, booking: Option<&Booking>, is_own: bool) -> Given {
        given.good_until = Some(self.good_until);
        let ask = &given.granted.ask;
        if let (true, Some(booking)) = (ask.costs, booking) {
            let (hold, owner) =
                (given.entry(&booking.request_id, self.wall, booking.retry.map(Box::new)), ask.owner);
            self.book(&Entry::Hold(HoldEntry { replica: owner, ..(&hold).into() }));
            if is_own {
                self.commands.push(Command::Hold(hold));
            }
        }
        given
    }

    /// Says what waits to be said.
    pub(super) fn say(&mut self, keeper: &Keeper, shared: &Shared, state: &mut State, pending: Vec<Pending>) {
        for pending in pending {
            let result = match &pending {
                // Whoever asked has left.
                Pending::Ask { told, .. } if told.is_closed() => Result::Nothing,
                Pending::Ask { ask, came, booking, .. } => {
                    self.ask(keeper, shared, state, (**ask).clone(), *came, booking)
                }
                Pending::Spare(_) => {
                    let tick = state.common.desk.spare_place(self.now);
                    if tick.is_some() {
                        self.words.push(Word {
                            said: What::Spare,
                            outcomes: Vec::new(),
                            spaced: state.common.desk.spaced(),
                        });
                    }
                    Result::Spare(tick.map(|tick| (tick, Some(self.good_until))))
                }
                Pending::Step(step) => {
                    self.step(keeper, shared, state, step.clone());
                    Result::Nothing
                }
                Pending::Entry(command) => {
                    self.command((**command).clone());
                    Result::Nothing
                }
                Pending::Ending(group) => {
                    self.end(keeper, shared, state, &group.kept(), &group.commands);
                    Result::Nothing
                }
                Pending::Kept(ending) => {
                    self.end(keeper, shared, state, ending, &[]);
                    Result::Nothing
                }
                Pending::CaughtUp(_) | Pending::Booked(_) => Result::Nothing,
            };
            self.said.push((pending, result));
        }
        self.step(keeper, shared, state, Step::Look);
    }

    fn ask(
        &mut self,
        keeper: &Keeper,
        shared: &Shared,
        state: &mut State,
        ask: Ask,
        came: Option<(Ticket, Moment)>,
        booking: &Booking,
    ) -> Result {
        let ask = Ask { owner: shared.id(), ..ask };
        let refusal = repeats(state, shared, booking).or_else(|| too_many(state, &ask, booking, self.now));
        if let Some(refusal) = refusal {
            return Result::Told(Err(refusal));
        }
        let asked = Box::new(ask.clone());
        let team = Arc::clone(&ask.team);
        let verdict = match came {
            Some(came) => state.common.desk.put_back(ask, came, self.now),
            None => state.common.desk.ask(ask, self.now),
        };
        let (told, result) = match verdict {
            Verdict::Granted(granted) => {
                state.common.comes(granted.ticket, &asked, booking.clone(), self.now);
                let given = state.common.give(granted);
                (Retold::Granted, Result::Told(Ok(self.given(given, Some(booking), true))))
            }
            Verdict::Waits(ticket) => {
                state.common.comes(ticket, &asked, booking.clone(), self.now);
                (Retold::Waits, Result::Waits(ticket))
            }
            Verdict::Refused(refused) => {
                let Refused { ask, no } = *refused;
                keeper.count_refused(&team, &no);
                let refusal = state.refusal(no, &ask, std::time::Duration::ZERO, self.now);
                (Retold::Refused, Result::Told(Err(refusal)))
            }
        };
        let booking = booking.clone();
        self.word(keeper, shared, state, What::Ask { ask: asked, came, booking, told });
        result
    }

    /// All that is said at the end of a call. Where the call was given up as lost it is booked, and what it came to is a
    /// correction, and looked up first.
    fn end(
        &mut self,
        keeper: &Keeper,
        shared: &Shared,
        state: &mut State,
        kept: &KeptEnding,
        own: &[Command],
    ) {
        let KeptEnding { ended, entries, before } = kept;
        let calls = state.common.calls.as_ref();
        if calls.is_some_and(|calls: &Calls| calls.is_open(ended.call)) {
            self.entries.extend_from_slice(entries);
            self.commands.extend_from_slice(own);
            for step in before {
                self.step(keeper, shared, state, step.clone());
            }
            self.step(keeper, shared, state, Step::Ended(ended.clone()));
            return;
        }
        // What the upstream calls a job that may have begun is news all the same.
        if let Some(begun @ Step::JobBegun { call, .. }) = before.first()
            && state.common.jobs.knows(*call)
        {
            self.step(keeper, shared, state, begun.clone());
        }
        let ends = Entry::read_all(entries).filter_map(|entry| match entry {
            Entry::End(end) => Some(LateEnding::of(&end)),
            _ => None,
        });
        self.late.extend(ends);
    }

    /// A late ending has come to this.
    pub(super) fn correct(
        &mut self,
        keeper: &Keeper,
        shared: &Shared,
        state: &mut State,
        (day, account): (jiff::civil::Date, Account),
        correction: Correction,
    ) {
        let (call, millionths) = (correction.call, correction.difference);
        self.corrections.push(correction);
        self.step(keeper, shared, state, Step::Adjusted { day, account, millionths });
        // Of a job that it may have begun the cost is known by that.
        self.step(keeper, shared, state, Step::Corrected(call));
    }

    /// As it is to be written.
    pub(super) fn written(&mut self, state: &State, shared: &Shared, (turn, batch): (i64, i64)) -> Said {
        let entries = std::mem::take(&mut self.entries);
        let corrections = std::mem::take(&mut self.corrections);
        let settings = shared.settings();
        let words = std::mem::take(&mut self.words);
        let body = Body {
            settings,
            words,
            figures: state.common.figures(),
            entries: entries.clone(),
            corrections: corrections.clone(),
        };
        Said { turn, batch, body: body.write(), entries, corrections }
    }
}

/// Why a call is refused of which its team has too many, over all gateways.
fn too_many(state: &State, ask: &Ask, booking: &Booking, now: Moment) -> Option<Refusal> {
    state.common.calls.as_ref()?.teams.refuse(&ask.team, booking.limits?, now)
}

/// Why a call is refused that another gateway makes, or has made, with the same key.
fn repeats(state: &State, shared: &Shared, booking: &Booking) -> Option<Refusal> {
    let calls = state.common.calls.as_ref()?;
    match calls.elsewhere(booking.retry.as_ref()?, shared.id())? {
        Elsewhere::Another => Some(Refusal::RetryKeyReused),
        // It has come to nothing, as was looked up.
        Elsewhere::Ended(call, _) if booking.after == Some(call) => None,
        // What it has come to is looked up for whoever asks again.
        Elsewhere::UnderWay | Elsewhere::Ended(..) => Some(Refusal::RetryInProgress),
    }
}
