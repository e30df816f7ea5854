//! What the desk can tell without giving anything: how things stand, and what would become of a call.

use std::time::Duration;

use jiff::civil::Date;

use super::accounts::Room;
use super::state::Desk;
use super::terms::{Ask, No, NoPlace};
use super::turns::{Lack, Waiter};
use super::upstream::State;
use super::window::Moment;
use crate::credits::Credits;
use crate::credits::budget::{Budget, Tally, Whose};

/// What would become of a call that asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Which it would be in the order of turns, from 1.
    pub position: usize,
    /// When it would be its turn at the earliest; now, if at once.
    pub from: Moment,
    /// Why it would be refused at once, apart from its budgets.
    pub refused: Option<No>,
}

impl Desk {
    /// What would become of a call.
    pub fn look(&mut self, ask: &Ask, now: Moment) -> Look {
        self.window.advance(now);
        let (mut waiting, mut in_turn) = (0, 0);
        if let Some(team) = self.turns.teams.get_mut(&ask.team) {
            team.ring.advance(now);
            (waiting, in_turn) = (team.queue.len(), team.in_turn);
        }
        if let Some((trouble, look)) = self.upstream.stops(ask.costs, now) {
            return Look { position: 1, from: look, refused: Some(No::Upstream { trouble, look }) };
        }
        let is_free =
            ask.cap.is_none_or(|cap| !self.routes.is_full(ask, cap, self.turns.standing(ask.route)));
        if is_free && self.goes_at_once(ask, now) {
            return Look { position: 1, from: now, refused: None };
        }
        let (position, from) = (self.turns.before(&ask.team, in_turn) + 1, self.earliest(&ask.team, now));
        let lacks = match self.lack(ask, false) {
            Ok(Some(Lack::OfRoute)) => Some(Lack::OfRoute),
            _ => None,
        };
        let waiter = Waiter { ticket: self.next, ask: ask.clone(), joined: now, lacks, unfunded: None };
        let full = No::QueueFull { waiting: self.settings.waiting, from };
        let full = (waiting >= self.settings.waiting).then_some(full);
        Look { position, from, refused: self.hopeless(&waiter, now).or(full) }
    }

    /// Why a call that would have to wait would wait in vain, if it would.
    pub(super) fn hopeless(&self, waiter: &Waiter, now: Moment) -> Option<No> {
        let lacks_credits = waiter.lacks_credits();
        let from = match waiter.lacks {
            Some(_) => now,
            None => self.earliest(&waiter.ask.team, now),
        };
        let begins = match self.accounts.room(&waiter.ask.budgets, waiter.ask.reserve) {
            Room::Short { passes: false, .. } if lacks_credits => self.day_ends,
            _ => from,
        };
        let deadline = waiter.deadline();
        let waits = deadline > now && (lacks_credits || self.settings.queues);
        (!waits || begins > deadline).then(|| self.no(waiter, now))
    }

    /// Why a call that has waited in vain, or would, is not served.
    pub(super) fn no(&self, waiter: &Waiter, now: Moment) -> No {
        match (waiter.lacks, waiter.ask.cap) {
            (Some(Lack::OfRoute), Some(cap)) => {
                let (_, of_team) = self.routes.taken(waiter.ask.route, &waiter.ask.team);
                match cap.team.filter(|most| of_team >= most.get()) {
                    Some(calls) => No::RouteFull { calls, of_team: true },
                    None => No::RouteFull { calls: cap.calls, of_team: false },
                }
            }
            (Some(Lack::Shared | Lack::OfKey | Lack::OfRoutesBudget), _)
                if !waiter.ask.budgets.0.is_empty() =>
            {
                let index = match self.accounts.room(&waiter.ask.budgets, waiter.ask.reserve) {
                    Room::Short { index, .. } => index,
                    // One of its team in front of it is short of what it would have.
                    Room::For(_) => 0,
                };
                self.short(&waiter.ask, index)
            }
            _ => {
                let in_front = |other: &&Waiter| other.ticket < waiter.ticket && other.lacks.is_none();
                let team = self.turns.teams.get(&waiter.ask.team);
                let ahead = team.map_or(0, |team| team.queue.iter().filter(in_front).count());
                let position = self.turns.before(&waiter.ask.team, ahead) + 1;
                No::Place(self.no_place(position, self.from(ahead, now), now))
            }
        }
    }

    /// That the window is full, or closed.
    pub(super) fn no_place(&self, position: usize, from: Moment, now: Moment) -> NoPlace {
        if let Some(until) = self.window.closed(now) {
            return NoPlace::Closed { until };
        }
        let per_minute = self.window.limit(self.settings.per_minute.get(), now);
        NoPlace::Full { per_minute, position, from }
    }

    /// Why a place that was given is one no more.
    #[must_use]
    pub fn no_place_now(&self, now: Moment) -> NoPlace {
        self.no_place(1, self.place_from(1, now), now)
    }

    /// When it would be the turn of a call that came now, at the earliest.
    pub(super) fn earliest(&self, team: &str, now: Moment) -> Moment {
        self.from(self.turns.teams.get(team).map_or(0, |team| team.in_turn), now)
    }

    /// When it is the turn of a call that has so many of its own team in front of it, at the earliest: each of them needs a
    /// place, and so does it.
    fn from(&self, ahead: usize, now: Moment) -> Moment {
        let place = self.place_from(ahead + 1, now);
        let free = self.free(now);
        match self.spaced.filter(|_| self.settings.queues && free > 0) {
            Some(last) => place.max(last + self.window.spacing(free, last, now)),
            None => place,
        }
    }

    /// How a budget stands.
    #[must_use]
    pub fn tally(&self, whose: &Whose, budget: Budget) -> Tally {
        self.accounts.tally(whose, budget)
    }

    /// What a scope holds, whatever the day.
    #[must_use]
    pub fn held(&self, whose: &Whose) -> Credits {
        self.accounts.held(whose)
    }

    /// What a scope has spent, by day.
    #[must_use]
    pub fn spent(&self, whose: &Whose) -> Vec<(Date, Credits)> {
        self.accounts.spent(whose)
    }

    /// Places of the window that are in use, those of others included.
    pub fn used(&mut self, now: Moment) -> u32 {
        self.window.advance(now);
        self.window.used(now)
    }

    /// How the upstream is, as far as it has told.
    #[must_use]
    pub fn upstream(&self, now: Moment) -> State {
        match (self.upstream.state(), self.window.closed(now)) {
            (State::Serving | State::Slow, Some(_)) => State::WindowClosed,
            (state, _) => state,
        }
    }

    /// How many of a route are under way, and how many calls wait for one.
    #[must_use]
    pub fn of_route(&self, route: usize) -> (usize, usize) {
        let (taken, _) = self.routes.taken(route, "");
        let waits = |waiter: &&Waiter| waiter.lacks == Some(Lack::OfRoute) && waiter.ask.route == route;
        let queues = self.turns.teams.values().map(|team| team.queue.iter().filter(waits).count());
        (taken, queues.sum())
    }

    /// Calls of a team that wait.
    #[must_use]
    pub fn waiting(&self, team: &str) -> usize {
        self.turns.teams.get(team).map_or(0, |team| team.queue.len())
    }

    /// How long another call of a team would wait for a place of the window at the least, behind those that wait for one; nothing where
    /// none does.
    pub fn least_wait(&mut self, team: &str, now: Moment) -> Option<Duration> {
        self.window.advance(now);
        let waits = self.turns.teams.get(team).is_some_and(|team| team.in_turn > 0);
        waits.then(|| self.earliest(team, now).saturating_sub(now))
    }

    /// How many places a team whose calls wait is behind its fair share since they do.
    #[must_use]
    pub fn lag(&self, name: &str, now: Moment) -> f64 {
        let Some(team) = self.turns.teams.get(name) else { return 0.0 };
        let Some((since, given)) = team.backlog else { return 0.0 };
        let a_second = f64::from(self.settings.per_minute.get()) / 60.0;
        let fair = self.turns.share(name, team.weight, a_second) * now.saturating_sub(since).as_secs_f64();
        (fair - f64::from(given)).max(0.0)
    }
}
