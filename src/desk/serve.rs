//! Who is served next, and who is turned away: what becomes of calls that wait.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::state::Desk;
use super::terms::{No, Outcome, Refused, Ticket};
use super::turns::{Lack, Waiter};
use super::window::Moment;

/// How late spaced calls may be and still be made up for: the ideal times go on meanwhile.
const MADE_UP: Duration = Duration::from_secs(5);

impl Desk {
    /// Lets through whoever's turn it is, and turns away whose time is up. To be asked whenever something that calls wait
    /// for may have come, and at [`Desk::next`].
    pub fn turn(&mut self, now: Moment) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.window.advance(now);
        self.turn_away_the_stopped(now, &mut outcomes);
        loop {
            self.look_again_where_freed(now, &mut outcomes);
            while let Some(due) = self.due(now).filter(|due| *due <= now) {
                let Some(waiter) = self.first_in_turn(now, &mut outcomes) else { break };
                self.spaced = Some(due.max(now.saturating_sub(MADE_UP)));
                outcomes.push(Outcome::granted(self.grant(waiter, now)));
            }
            self.turn_away(now, &mut outcomes);
            // Whoever stood behind one that was turned away may not lack what it did.
            if !self.freed {
                return outcomes;
            }
        }
    }

    fn look_again_where_freed(&mut self, now: Moment, outcomes: &mut Vec<Outcome>) {
        if std::mem::take(&mut self.freed) && self.turns.waiting > self.turns.in_turn {
            let lacking = self.turns.teams.iter().filter(|(_, team)| team.queue.len() > team.in_turn);
            let names: Vec<_> = lacking.map(|(name, _)| Arc::clone(name)).collect();
            for name in names {
                self.look_again(&name, now, outcomes);
            }
            self.offer_routes(now, outcomes);
        }
    }

    /// Offers what is free of capped routes to those that wait for it, to whoever's team has had the least of the route first.
    fn offer_routes(&mut self, now: Moment, outcomes: &mut Vec<Outcome>) {
        // Whoever is passed over, for its team's own bound say, is not looked at again.
        let mut passed = HashSet::new();
        while let Some((name, ticket)) = self.next_of_a_route(&passed, now) {
            passed.insert(ticket);
            let Some(team) = self.turns.teams.get(&name) else { return };
            let Some(index) = team.place_of(ticket) else { return };
            let waiter = &team.queue[index];
            let behind = team.lacks_in_front(waiter);
            match self.lack(&waiter.ask, false).map(|lack| lack.or(behind)) {
                Ok(None) if self.goes_at_once(&waiter.ask, now) => {
                    let Some(waiter) = self.turns.take(&name, index, now) else { return };
                    outcomes.push(Outcome::granted(self.grant(waiter, now)));
                }
                Ok(lack) => {
                    // Whoever stands behind one that is in turn by now may not lack what it did.
                    self.freed |= lack.is_none();
                    self.turns.lacks(&name, index, lack, now);
                }
                Err(no) => self.turn_one_away(&name, index, no, now, outcomes),
            }
        }
    }

    /// The call that what is free of its route is for: the oldest of the team that has had the least, ties by name.
    fn next_of_a_route(&self, passed: &HashSet<Ticket>, now: Moment) -> Option<(Arc<str>, Ticket)> {
        let waits = |waiter: &&Waiter| {
            let standing = self.turns.standing(waiter.ask.route);
            waiter.lacks == Some(Lack::OfRoute)
                && !passed.contains(&waiter.ticket)
                && waiter.ask.cap.is_some_and(|cap| !self.routes.is_full(&waiter.ask, cap, standing))
        };
        let waiting = self.turns.teams.iter();
        let waiting =
            waiting.flat_map(|(name, team)| team.queue.iter().filter(waits).map(move |w| (name, w)));
        let next = waiting.reduce(|best, other| {
            let (ask, next) = (&other.1.ask, &best.1.ask);
            let is_before = match ask.route.cmp(&next.route) {
                Ordering::Equal => self.routes.is_before(ask, next, now),
                // Routes have nothing to do with each other.
                order => order.is_lt(),
            };
            if is_before { other } else { best }
        });
        next.map(|(name, waiter)| (Arc::clone(name), waiter.ticket))
    }

    /// When the next call may be let through, if any lacks nothing but its turn and a place is free.
    fn due(&self, now: Moment) -> Option<Moment> {
        let free = self.free(now);
        if self.turns.in_turn == 0 || free == 0 {
            return None;
        }
        let Some(last) = self.spaced.filter(|_| self.settings.queues) else { return Some(now) };
        Some(last + self.window.spacing(free, last, now))
    }

    /// Takes the call whose turn it is out of its queue. One that turns out to lack something steps aside.
    fn first_in_turn(&mut self, now: Moment, outcomes: &mut Vec<Outcome>) -> Option<Waiter> {
        loop {
            let name = Arc::clone(self.turns.least()?);
            let team = self.turns.teams.get(&name)?;
            let index = team.queue.iter().position(|waiter| waiter.lacks.is_none())?;
            let waiter = &team.queue[index];
            let lack = self.lack(&waiter.ask, true).map(|lack| lack.or_else(|| team.lacks_in_front(waiter)));
            match lack {
                Ok(None) => return self.turns.take(&name, index, now),
                Ok(lack) => {
                    // What is free of its route may be another's.
                    self.freed |= waiter.ask.cap.is_some();
                    self.turns.lacks(&name, index, lack, now);
                }
                Err(no) => self.turn_one_away(&name, index, no, now, outcomes),
            }
        }
    }

    /// Looks whether calls of a team that lacked something, not of their route, still do. One that does not is as one that comes anew, but for its
    /// place in the team's queue.
    fn look_again(&mut self, name: &Arc<str>, now: Moment, outcomes: &mut Vec<Outcome>) {
        if let Some(team) = self.turns.teams.get_mut(name) {
            team.ring.advance(now);
        }
        let mut index = 0;
        while let Some(team) = self.turns.teams.get(name)
            && index < team.queue.len()
        {
            let waiter = &team.queue[index];
            if matches!(waiter.lacks, None | Some(Lack::OfRoute)) || team.lacks_in_front(waiter).is_some() {
                index += 1;
                continue;
            }
            match self.lack(&waiter.ask, false) {
                Ok(None) if self.goes_at_once(&waiter.ask, now) => {
                    let Some(waiter) = self.turns.take(name, index, now) else { return };
                    outcomes.push(Outcome::granted(self.grant(waiter, now)));
                }
                Ok(lack) => {
                    self.turns.lacks(name, index, lack, now);
                    index += 1;
                }
                Err(no) => self.turn_one_away(name, index, no, now, outcomes),
            }
        }
    }

    /// Turns away those that the upstream cannot serve.
    fn turn_away_the_stopped(&mut self, now: Moment, outcomes: &mut Vec<Outcome>) {
        for costs in [true, false] {
            let Some((trouble, look)) = self.upstream.stops(costs, now) else { continue };
            let names: Vec<_> = self.turns.teams.keys().cloned().collect();
            for name in names {
                let of_team = |desk: &Self| {
                    desk.turns.teams.get(&name)?.queue.iter().position(|w| w.ask.costs == costs)
                };
                while let Some(index) = of_team(self) {
                    self.upstream.refused();
                    self.turn_one_away(&name, index, No::Upstream { trouble, look }, now, outcomes);
                }
            }
        }
    }

    /// Turns away those whose time is up.
    fn turn_away(&mut self, now: Moment, outcomes: &mut Vec<Outcome>) {
        while let Some((_, ticket, name)) = self.turns.first_deadline().filter(|(at, ..)| *at <= now) {
            let Some(team) = self.turns.teams.get(&name) else { return };
            let Some(index) = team.place_of(ticket) else { return };
            let no = self.no(&team.queue[index], now);
            self.turn_one_away(&name, index, no, now, outcomes);
        }
    }

    fn turn_one_away(
        &mut self,
        name: &Arc<str>,
        index: usize,
        no: No,
        now: Moment,
        outcomes: &mut Vec<Outcome>,
    ) {
        if let Some(Waiter { ticket, ask, joined, .. }) = self.turns.take(name, index, now) {
            self.freed = self.turns.waiting > self.turns.in_turn;
            outcomes.push(Outcome { ticket, joined, verdict: Err(Box::new(Refused { ask, no })) });
        }
    }

    /// Whether a place is free and due to somebody who waits for it.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        self.due(now).is_some_and(|due| due <= now)
    }

    /// When to ask [`Desk::turn`] again, if nothing happens before.
    #[must_use]
    pub fn next(&self, now: Moment) -> Option<Moment> {
        let (deadline, ..) = self.turns.first_deadline()?;
        let lacking = self.turns.waiting > self.turns.in_turn;
        let day = Some(self.day_ends).filter(|ends| lacking && *ends > now);
        let place =
            (self.turns.in_turn > 0).then(|| self.due(now).unwrap_or_else(|| self.place_from(1, now)));
        [Some(deadline), day, place].into_iter().flatten().min()
    }
}
