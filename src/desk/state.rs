//! The desk itself: who is let through, who waits, and whose turn it is.

use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::accounts::{Accounts, BookedOn, Room};
use super::routes::Routes;
use super::terms::{Ask, Granted, No, Refused, Settings, Ticket, Verdict};
use super::turns::{Lack, Turns, Waiter};
use super::upstream::{Change, Seen, Upstream};
use super::window::{ARRIVAL, Moment, Tick, Window};
use crate::credits::Credits;
use crate::credits::budget::{Grant, Whose};

/// One desk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Desk {
    pub(super) settings: Settings,
    pub(super) window: Window,
    pub(super) accounts: Accounts,
    pub(super) turns: Turns,
    pub(super) upstream: Upstream,
    pub(super) routes: Routes,
    pub(super) next: Ticket,
    /// The ideal moment of the last spaced call, so that lateness does not add up.
    pub(super) spaced: Option<Moment>,
    /// When today is over.
    pub(super) day_ends: Moment,
    /// Something that was lacked may be there.
    pub(super) freed: bool,
}

impl Desk {
    /// A desk that has given nothing yet. Today is over at `day_ends`.
    #[must_use]
    pub fn new(settings: Settings, now: Moment, today: Date, day_ends: Moment) -> Self {
        Self {
            settings,
            window: Window::new(now),
            accounts: Accounts::new(today),
            turns: Turns::new(),
            upstream: Upstream::default(),
            routes: Routes::default(),
            next: Ticket(0),
            spaced: None,
            day_ends,
            freed: false,
        }
    }

    /// Other settings from now on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// A later day has begun, and is over at `ends`.
    pub fn roll(&mut self, today: Date, ends: Moment) {
        if today != self.accounts.today() {
            self.accounts.roll(today);
            self.freed = true;
        }
        self.day_ends = ends;
    }

    /// The day that is booked on.
    #[must_use]
    pub fn today(&self) -> Date {
        self.accounts.today()
    }

    /// Takes up a sum that was spent, or a correction.
    pub fn adjust(&mut self, day: Date, on: BookedOn<'_>, millionths: i64) {
        self.accounts.adjust(day, on, millionths);
        self.freed = true;
    }

    /// Replaces the grants in force.
    pub fn set_grants(&mut self, grants: Vec<Grant>) {
        self.accounts.set_grants(grants);
        self.freed = true;
    }

    /// Whether anybody waits, for whatever.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.turns.waiting > 0
    }

    /// A call asks to be let through.
    pub fn ask(&mut self, ask: Ask, now: Moment) -> Verdict {
        let ticket = self.next;
        self.next.0 += 1;
        self.consider(ask, (ticket, now), true, now)
    }

    /// A call that was let through is back: the upstream had no place for it. It stands where it stood.
    pub fn put_back(&mut self, ask: Ask, came: (Ticket, Moment), now: Moment) -> Verdict {
        self.consider(ask, came, false, now)
    }

    fn consider(
        &mut self,
        ask: Ask,
        (ticket, joined): (Ticket, Moment),
        is_bounded: bool,
        now: Moment,
    ) -> Verdict {
        self.window.advance(now);
        if let Some((trouble, look)) = self.upstream.stops(ask.costs, now) {
            self.upstream.refused();
            return Verdict::Refused(Box::new(Refused { ask, no: No::Upstream { trouble, look } }));
        }
        let lack = self.lack(&ask, false);
        let team = self.turns.called(&ask.team, ask.weight, now);
        let full = is_bounded && team.queue.len() >= self.settings.waiting;
        let mut waiter = Waiter { ticket, ask, joined, lacks: None, unfunded: None };
        let refused = |waiter: Waiter, no| Verdict::Refused(Box::new(Refused { ask: waiter.ask, no }));
        waiter.lacks = match lack {
            Ok(lack) => lack.or_else(|| team.lacks_in_front(&waiter)),
            Err(no) => return refused(waiter, no),
        };
        if waiter.lacks.is_none() && self.goes_at_once(&waiter.ask, now) {
            return Verdict::Granted(self.grant(waiter, now));
        }
        if waiter.lacks_credits() {
            waiter.unfunded = Some(now);
        }
        if waiter.ask.cap.is_some() {
            self.routes.join(&waiter.ask, now);
        }
        if let Some(no) = self.hopeless(&waiter, now) {
            return refused(waiter, no);
        }
        if full {
            let from = self.earliest(&waiter.ask.team, now);
            return refused(waiter, No::QueueFull { waiting: self.settings.waiting, from });
        }
        self.turns.join(waiter, now);
        Verdict::Waits(ticket)
    }

    /// What a call lacks at this moment besides its turn, or that it lacks it for good. One that `stands` in turn is one of
    /// those that what is free of its route is for.
    pub(super) fn lack(&self, ask: &Ask, stands: bool) -> Result<Option<Lack>, No> {
        if ask.costs
            && let Room::Short { index, passes } = self.accounts.room(&ask.budgets, ask.reserve)
        {
            let (whose, budget) = &ask.budgets.0[index];
            let comes = passes || self.accounts.ends_with_the_day(*budget);
            return match whose {
                _ if !comes => Err(self.short(ask, index)),
                Whose::Key(_) => Ok(Some(Lack::OfKey)),
                Whose::Route { .. } => Ok(Some(Lack::OfRoutesBudget)),
                Whose::Organisation | Whose::Team(_) => Ok(Some(Lack::Shared)),
            };
        }
        let standing = if stands { 0 } else { self.turns.standing(ask.route) };
        let full = ask.cap.is_some_and(|cap| self.routes.is_full(ask, cap, standing));
        Ok(full.then_some(Lack::OfRoute))
    }

    /// That a budget of a call has no room for it.
    pub(super) fn short(&self, ask: &Ask, index: usize) -> No {
        let (whose, budget) = &ask.budgets.0[index];
        No::Short { whose: whose.clone(), budget: *budget, tally: self.accounts.tally(whose, *budget) }
    }

    /// Places that are free now; none while the upstream wants to be left alone.
    pub(super) fn free(&self, now: Moment) -> u32 {
        let limit = self.window.limit(self.settings.per_minute.get(), now);
        match self.window.closed(now) {
            None => limit.saturating_sub(self.window.used(now)),
            Some(_) => 0,
        }
    }

    /// Whether a call that lacks nothing need not wait for its turn.
    pub(super) fn goes_at_once(&self, ask: &Ask, now: Moment) -> bool {
        let free = self.free(now);
        if free == 0 || !self.settings.queues {
            return free > 0;
        }
        let limit = f64::from(self.window.limit(self.settings.per_minute.get(), now));
        let share = self.turns.share(&ask.team, ask.weight, limit * (1.0 - self.settings.reserve));
        let (in_turn, used) =
            self.turns.teams.get(&ask.team).map_or((0, 0), |team| (team.in_turn, team.ring.used()));
        in_turn == 0 && f64::from(used) < share
    }

    /// Gives a call all it needs.
    pub(super) fn grant(&mut self, waiter: Waiter, now: Moment) -> Box<Granted> {
        let Waiter { ticket, ask, joined, .. } = waiter;
        let tick = Tick::leaving(now, ARRIVAL + self.settings.grace);
        self.in_rings(&ask.team, now, |ring| ring.enter(tick));
        self.turns.serve(&ask.team);
        self.upstream.lets_through(ask.costs, now);
        // What others lack may be another thing now.
        self.freed |= self.turns.waiting > self.turns.in_turn;
        let mut left = None;
        if ask.costs {
            if let Room::For(least) = self.accounts.room(&ask.budgets, ask.reserve) {
                left = least;
            }
            self.accounts.hold(ask.booked_on(), ask.reserve);
        }
        if ask.cap.is_some() {
            self.routes.take(&ask, now);
        }
        Box::new(Granted { ask, ticket, joined, tick, day: self.accounts.today(), left })
    }

    /// Takes up what was seen of the upstream, by a call that was sent at `sent`.
    pub fn see(&mut self, seen: Seen, sent: Moment, now: Moment) -> Option<Change> {
        self.upstream.see(seen, sent, now)
    }

    /// When so many places are free.
    pub(super) fn place_from(&self, places: usize, now: Moment) -> Moment {
        let configured = self.settings.per_minute.get();
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        let needed = self.window.used(now).saturating_add(places);
        let too_many = needed.saturating_sub(self.window.limit(configured, now));
        let left = if too_many == 0 { now } else { self.window.when_free(too_many, configured, now) };
        self.window.closed(now).map_or(left, |until| until.max(left))
    }

    /// A call has left the queue. Returns when it had come, if it was there.
    pub fn leave(&mut self, team: &str, ticket: Ticket, now: Moment) -> Option<Moment> {
        let index = self.turns.teams.get(team)?.place_of(ticket)?;
        self.freed = true;
        self.turns.take(team, index, now).map(|waiter| waiter.joined)
    }

    /// Turns away whoever waits, of the teams that `gone` says.
    pub fn dismiss(&mut self, gone: impl Fn(&str) -> bool, now: Moment) -> Vec<(Arc<str>, Ticket, Moment)> {
        let mut dismissed = Vec::new();
        let names: Vec<_> = self.turns.teams.keys().filter(|name| gone(name)).cloned().collect();
        for name in names {
            while let Some(Waiter { ticket, joined, .. }) = self.turns.take(&name, 0, now) {
                dismissed.push((Arc::clone(&name), ticket, joined));
            }
            self.turns.let_go(&name, now);
        }
        self.freed = true;
        dismissed
    }

    /// A call that costs has ended: what was held of it is spent or free.
    pub fn end(&mut self, day: Date, on: BookedOn<'_>, reserve: Credits, spent: Credits) {
        self.accounts.release(day, on, reserve, spent);
        self.freed = true;
    }

    /// A call of a capped route goes on, or went on before there was this desk, as a job: it has one of its route.
    pub fn take_route(&mut self, route: usize, team: &Arc<str>, now: Moment) {
        self.routes.take_up(route, team, now);
    }

    /// A call of a capped route, or its job, is over.
    pub fn free_route(&mut self, route: usize, team: &str, now: Moment) {
        self.routes.free(route, team, now);
        self.freed = true;
    }
}
