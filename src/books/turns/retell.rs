//! Turns of other gateways, taken up.

use super::body::{Body, Seen, What, Word};
use super::turner::Turner;
use crate::books::common::Given;
use crate::books::queue_counts::Waited;
use crate::books::shared::GRACE_OF_A_GRANT;
use crate::books::state::{State, Told, tell_of};
use crate::books::step::Step;
use crate::desk::{Outcome, Refused, Retold, Ticket};
use crate::ledger::{Command, Turn};

impl Turner {
    /// Takes a turn up. Calls of this gateway's that were told something in it are told.
    pub(super) fn retell(&self, state: &mut State, turn: &Turn, body: Body, seen: Seen) {
        let Body { settings, words, figures, .. } = body;
        state.common.desk.set(settings);
        for Word { said, outcomes, spaced } in words {
            self.retell_word(state, said, turn);
            for outcome in state.common.desk.retell_turn(&outcomes, spaced, turn.clock) {
                self.retell_outcome(state, outcome, turn, seen);
            }
        }
        if state.common.figures() != figures {
            self.shared.health.differs();
            tracing::error!(
                turn = turn.turn, gateway = turn.gateway, here = ?state.common.figures(), there = ?figures,
                "two gateways have not the same desk, though they have heard the same"
            );
        }
    }

    fn retell_word(&self, state: &mut State, said: What, turn: &Turn) {
        let now = turn.clock;
        match said {
            What::Ask { ask, came, booking, told } => {
                if told != Retold::Refused {
                    let ticket = came.map_or_else(|| state.common.desk.next_ticket(), |(ticket, _)| ticket);
                    state.common.comes(ticket, &ask, booking, now);
                }
                if let Some(granted) = state.common.desk.retell(*ask, came, told, now) {
                    state.common.give(granted);
                }
            }
            What::Spare => state.common.desk.retell_spare(now),
            What::Step(step) => {
                if let Step::Made { thing, id, team } = &step {
                    self.keeper.owners.take_up_told(*thing, id, team);
                }
                let taken = state.common.take(step, now);
                taken.change.into_iter().for_each(tell_of);
            }
        }
    }

    fn retell_outcome(&self, state: &mut State, outcome: Outcome, turn: &Turn, seen: Seen) {
        let Outcome { ticket, joined, verdict } = outcome;
        let now = turn.clock;
        let booking = state.common.calls.as_ref().and_then(|calls| calls.booking(ticket)).cloned();
        let waited = now.saturating_sub(joined);
        let (owner, team, how, told): (_, _, _, Told) = match verdict {
            Ok(granted) => {
                let (owner, team) = (granted.ask.owner, granted.ask.team.clone());
                let mut given = state.common.give(granted);
                // It was given when that turn was taken, and is good from then on.
                let ago = seen.now.saturating_sub(turn.clock);
                given.good_until = (seen.asked + GRACE_OF_A_GRANT).checked_sub(ago);
                (owner, team, Waited::Granted, Ok(given))
            }
            Err(refused) => {
                state.common.leaves(ticket);
                let Refused { ask, no } = *refused;
                let how = Waited::of(&no);
                let refusal = state.refusal(no, &ask, waited, now);
                (ask.owner, ask.team.clone(), how, Err(refusal))
            }
        };
        // What was told before a desk was taken from the ledger again is not told again.
        if owner != self.shared.id() || turn.turn <= self.told_to {
            return;
        }
        if let (Ok(given), Some(booking)) = (&told, &booking)
            && given.granted.ask.costs
        {
            self.counts.wrote(&Command::Hold(given.entry(
                &booking.request_id,
                seen.wall,
                booking.retry.map(Box::new),
            )));
        }
        self.keeper.counts.waited(&team, how, waited);
        self.tell(state, ticket, told);
    }

    /// Tells a call that waits here. One that has left meanwhile gives back what it was given.
    pub(super) fn tell(&self, state: &mut State, ticket: Ticket, told: Told) {
        let untold = match state.callers.remove(&ticket) {
            Some(caller) => caller.send(told).err(),
            None => Some(told),
        };
        if let Some(Ok(given)) = untold {
            self.give_back(given);
        }
    }

    /// Behind the lock that this is called under.
    pub(super) fn give_back(&self, given: Given) {
        let keeper = std::sync::Arc::clone(&self.keeper);
        self.runtime.spawn(async move { keeper.give_back(given) });
    }
}
