//! What was said and given at another gateway's desk, taken up: what was given there is given, whatever this desk would have
//! said. So two desks that hear the same have given the same, also where their rules are of two releases.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::Desk;
use super::terms::{Ask, Granted, Outcome, Refused, Ticket};
use super::turns::Waiter;
use super::window::{ARRIVAL, Moment, Tick};

/// What a call was told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retold {
    /// It may go.
    Granted,
    /// It waits.
    Waits,
    /// It is not served.
    Refused,
}

impl Desk {
    /// A call asked, or was put back, and was told this. Returns what it was given, if it was.
    pub fn retell(
        &mut self,
        ask: Ask,
        came: Option<(Ticket, Moment)>,
        told: Retold,
        now: Moment,
    ) -> Option<Box<Granted>> {
        self.window.advance(now);
        let (ticket, joined) = came.unwrap_or((self.next, now));
        if came.is_none() {
            self.next.0 += 1;
        }
        let lacks = self.lack(&ask, false).ok().flatten();
        let team = self.turns.called(&ask.team, ask.weight, now);
        let mut waiter = Waiter { ticket, ask, joined, lacks: None, unfunded: None };
        match told {
            Retold::Refused => None,
            Retold::Granted => Some(self.grant(waiter, now)),
            Retold::Waits => {
                waiter.lacks = lacks.or_else(|| team.lacks_in_front(&waiter));
                if waiter.lacks_credits() {
                    waiter.unfunded = Some(now);
                }
                if waiter.ask.cap.is_some() {
                    self.routes.join(&waiter.ask, now);
                }
                self.turns.join(waiter, now);
                self.freed = true;
                None
            }
        }
    }

    /// A place was given for a request of a gateway's own.
    pub fn retell_spare(&mut self, now: Moment) {
        self.window.advance(now);
        self.window.ring().enter(Tick::leaving(now, ARRIVAL + self.settings.grace));
    }

    /// Calls that waited were told: those may go, or are not served; and the desk's own time of the last that was let through in
    /// its turn is this. Where these rules say the same, what they leave behind is the same too.
    pub fn retell_turn(
        &mut self,
        told: &[(Ticket, bool)],
        spaced: Option<Moment>,
        now: Moment,
    ) -> Vec<Outcome> {
        if !self.has_waiting() {
            self.spaced = spaced;
            return Vec::new();
        }
        let before = self.clone();
        let own = self.turn(now);
        if own.iter().map(|outcome| (outcome.ticket, outcome.verdict.is_ok())).eq(told.iter().copied()) {
            self.spaced = spaced;
            return own;
        }
        *self = before;
        let outcomes =
            told.iter().filter_map(|(ticket, granted)| self.retell_outcome(*ticket, *granted, now));
        let outcomes = outcomes.collect();
        self.spaced = spaced;
        outcomes
    }

    fn retell_outcome(&mut self, ticket: Ticket, granted: bool, now: Moment) -> Option<Outcome> {
        self.window.advance(now);
        let (name, index) = self
            .turns
            .teams
            .iter()
            .find_map(|(name, team)| team.place_of(ticket).map(|index| (Arc::clone(name), index)))?;
        let waiter = self.turns.take(&name, index, now)?;
        self.freed = true;
        if granted {
            return Some(Outcome::granted(self.grant(waiter, now)));
        }
        let no = self.no(&waiter, now);
        let Waiter { ticket, ask, joined, .. } = waiter;
        Some(Outcome { ticket, joined, verdict: Err(Box::new(Refused { ask, no })) })
    }

    /// What is behind the number of the last call that came: the next one's.
    #[must_use]
    pub fn next_ticket(&self) -> Ticket {
        self.next
    }

    /// The ideal moment of the last call that was let through in its turn.
    #[must_use]
    pub fn spaced(&self) -> Option<Moment> {
        self.spaced
    }

    /// Gateways that calls wait at.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<u32> {
        let queues = self.turns.teams.values().flat_map(|team| &team.queue);
        queues.map(|waiter| waiter.ask.owner).collect()
    }

    /// Calls that wait and came to one of several gateways: whose they are, and which.
    #[must_use]
    pub fn waiting_at(&self, owner: u32) -> Vec<(Arc<str>, Ticket)> {
        let queues = self.turns.teams.values().flat_map(|team| &team.queue);
        let own = queues.filter(|waiter| waiter.ask.owner == owner);
        own.map(|waiter| (Arc::clone(&waiter.ask.team), waiter.ticket)).collect()
    }
}
