//! Whose turn it is: start-time fair queueing over teams (Goyal, Vin and Cheng, IEEE/ACM Transactions on Networking 5(5),
//! 1997), a queue per team, every call one place. A team that joins starts where the service is, not where it would have
//! been: nobody saves up turns.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::terms::{Ask, Ticket};
use super::window::{Moment, Ring};
use crate::credits::budget::{Budget, Whose};

/// How long a team that has not called counts in the others' shares.
pub const ACTIVE: Duration = Duration::from_mins(5);

/// What a call that waits lacks, where it is not its turn alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lack {
    /// Credits of the organisation or of its team: whoever of the team is behind it lacks them too.
    Shared,
    /// Credits of its key.
    OfKey,
    /// Credits that its team may spend on its route.
    OfRoutesBudget,
    /// A place of its route, of which only so many are under way at once.
    OfRoute,
}

/// A call that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) ask: Ask,
    pub(super) joined: Moment,
    /// What it lacks.
    pub(super) lacks: Option<Lack>,
    /// Since when it has lacked credits, if it ever has: it does not begin to wait for them anew.
    pub(super) unfunded: Option<Moment>,
}

impl Waiter {
    /// When it has waited as long as it may.
    pub(super) fn deadline(&self) -> Moment {
        let patience = &self.ask.patience;
        if !self.lacks_credits() {
            return self.joined + patience.turn;
        }
        let since = self.unfunded.unwrap_or(self.joined);
        (since + patience.credits).min(self.joined.saturating_add(patience.most))
    }

    /// Whether it waits for credits, and not for its turn or its route.
    pub(super) fn lacks_credits(&self) -> bool {
        matches!(self.lacks, Some(Lack::Shared | Lack::OfKey | Lack::OfRoutesBudget))
    }

    /// Whether one that lacks something and is older keeps this one from going first.
    fn is_behind(&self, older: &Self) -> bool {
        match older.lacks {
            None => false,
            Some(Lack::Shared) => {
                let shared =
                    |(whose, _): &(Whose, Budget)| matches!(whose, Whose::Organisation | Whose::Team(_));
                self.ask.costs && self.ask.budgets.0.iter().any(shared)
            }
            Some(Lack::OfKey) => self.ask.costs && self.ask.key_id == older.ask.key_id,
            Some(Lack::OfRoutesBudget) => self.ask.costs && self.ask.route == older.ask.route,
            Some(Lack::OfRoute) => self.ask.cap.is_some() && self.ask.capped() == older.ask.capped(),
        }
    }
}

/// A team, as far as turns go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Team {
    pub(super) weight: NonZeroU32,
    /// The start tag of its next call.
    pub(super) tag: f64,
    /// When it last called, while it counts in the others' shares.
    seen: Option<Moment>,
    /// Its places in the window.
    pub(super) ring: Ring,
    /// Its calls that wait, the oldest first.
    pub(super) queue: VecDeque<Waiter>,
    /// Those of them that lack nothing but their turn.
    pub(super) in_turn: usize,
    /// Since when some have, and the places that were given since.
    pub(super) backlog: Option<(Moment, u32)>,
}

impl Team {
    fn new(weight: NonZeroU32, now: Moment) -> Self {
        let (ring, queue) = (Ring::new(now), VecDeque::new());
        Self { weight, tag: 0.0, seen: None, ring, queue, in_turn: 0, backlog: None }
    }

    /// What an older call of the team lacks that keeps this one from going first.
    pub(super) fn lacks_in_front(&self, waiter: &Waiter) -> Option<Lack> {
        let mut older = self.queue.iter().take_while(|older| older.ticket < waiter.ticket);
        older.find(|older| waiter.is_behind(older))?.lacks
    }

    pub(super) fn place_of(&self, ticket: Ticket) -> Option<usize> {
        self.queue.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()
    }
}

/// All teams.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Turns {
    pub(super) teams: BTreeMap<Arc<str>, Team>,
    /// The start tag of the call that was served last.
    virtual_time: f64,
    /// The weights of the teams that count in shares.
    active: u64,
    /// No team stops counting before this.
    expires: Moment,
    /// Calls that lack nothing but their turn.
    pub(super) in_turn: usize,
    /// Of those by route, where it is capped: they stand for what is free of it.
    standing: BTreeMap<usize, usize>,
    /// Calls that wait.
    pub(super) waiting: usize,
    /// When they have waited as long as they may.
    deadlines: BTreeMap<(Moment, Ticket), Arc<str>>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            teams: BTreeMap::new(),
            virtual_time: 0.0,
            active: 0,
            expires: Moment::MAX,
            in_turn: 0,
            standing: BTreeMap::new(),
            waiting: 0,
            deadlines: BTreeMap::new(),
        }
    }

    /// The team of a call; it has called just now.
    pub(super) fn called(&mut self, name: &Arc<str>, weight: NonZeroU32, now: Moment) -> &mut Team {
        self.forget(now);
        let team = self.teams.entry(Arc::clone(name)).or_insert_with(|| Team::new(weight, now));
        let before = if team.seen.is_some() { u64::from(team.weight.get()) } else { 0 };
        self.active = self.active - before + u64::from(weight.get());
        (team.seen, team.weight) = (Some(now), weight);
        self.expires = self.expires.min(now + ACTIVE);
        team.ring.advance(now);
        if team.in_turn == 0 {
            team.tag = team.tag.max(self.virtual_time);
        }
        team
    }

    /// Teams that have not called for a while stop counting in shares; those that wait go on.
    fn forget(&mut self, now: Moment) {
        if now < self.expires {
            return;
        }
        self.expires = Moment::MAX;
        for team in self.teams.values_mut() {
            let Some(seen) = &mut team.seen else { continue };
            if team.in_turn > 0 {
                *seen = now;
            }
            if now >= *seen + ACTIVE {
                self.active -= u64::from(team.weight.get());
                team.seen = None;
            } else {
                self.expires = self.expires.min(*seen + ACTIVE);
            }
        }
    }

    /// The part of `places` that a team of this weight has a claim to.
    #[expect(clippy::cast_precision_loss, reason = "a sum of weights")]
    pub(super) fn share(&self, name: &str, weight: NonZeroU32, places: f64) -> f64 {
        let counted = self.teams.get(name).filter(|team| team.seen.is_some());
        let others = self.active - counted.map_or(0, |team| u64::from(team.weight.get()));
        let weight = u64::from(weight.get());
        places * weight as f64 / (others + weight) as f64
    }

    /// The team whose turn it is, ties by name.
    pub(super) fn least(&self) -> Option<&Arc<str>> {
        let waiting = self.teams.iter().filter(|(_, team)| team.in_turn > 0);
        let least = waiting.reduce(|least, other| if other.1.tag < least.1.tag { other } else { least });
        least.map(|(name, _)| name)
    }

    /// A place is given to a team.
    pub(super) fn serve(&mut self, name: &str) {
        let Some(team) = self.teams.get_mut(name) else { return };
        self.virtual_time = self.virtual_time.max(team.tag);
        team.tag += 1.0 / f64::from(team.weight.get());
        if let Some((_, given)) = &mut team.backlog {
            *given += 1;
        }
    }

    /// A call joins its team's queue, in the order of tickets: one that is put back is the oldest.
    pub(super) fn join(&mut self, waiter: Waiter, now: Moment) {
        let name = Arc::clone(&waiter.ask.team);
        let Some(team) = self.teams.get_mut(&name) else { return };
        self.deadlines.insert((waiter.deadline(), waiter.ticket), Arc::clone(&name));
        let at = team.queue.partition_point(|other| other.ticket < waiter.ticket);
        let (in_turn, route) = (waiter.lacks.is_none(), waiter.ask.capped());
        team.queue.insert(at, waiter);
        self.waiting += 1;
        if in_turn {
            self.counts_in_turn(&name, route, now);
        }
    }

    /// Calls that lack nothing but their turn, of a route.
    pub(super) fn standing(&self, route: usize) -> usize {
        self.standing.get(&route).copied().unwrap_or(0)
    }

    /// A call of a team, of this route if that is capped, lacks nothing but its turn from now on.
    fn counts_in_turn(&mut self, name: &str, route: Option<usize>, now: Moment) {
        let Some(team) = self.teams.get_mut(name) else { return };
        if let Some(route) = route {
            *self.standing.entry(route).or_default() += 1;
        }
        if team.in_turn == 0 {
            team.tag = team.tag.max(self.virtual_time);
            team.backlog = Some((now, 0));
        }
        team.in_turn += 1;
        self.in_turn += 1;
    }

    fn counts_in_turn_no_more(&mut self, name: &str, route: Option<usize>, now: Moment) {
        let Some(team) = self.teams.get_mut(name) else { return };
        if let Some(standing) = route.and_then(|route| self.standing.get_mut(&route)) {
            *standing -= 1;
        }
        team.in_turn -= 1;
        self.in_turn -= 1;
        // A team that waits for its turn has called until now.
        team.seen = team.seen.map(|seen| seen.max(now));
        if team.in_turn == 0 {
            team.backlog = None;
        }
    }

    /// What the call at `index` of a team lacks is another thing from now on.
    pub(super) fn lacks(&mut self, name: &str, index: usize, lack: Option<Lack>, now: Moment) {
        let Some(team) = self.teams.get_mut(name) else { return };
        let waiter = &mut team.queue[index];
        let (was, before) = (waiter.lacks, (waiter.deadline(), waiter.ticket));
        waiter.lacks = lack;
        if waiter.lacks_credits() {
            waiter.unfunded.get_or_insert(now);
        }
        let (after, route) = ((waiter.deadline(), waiter.ticket), waiter.ask.capped());
        if let Some(name) = self.deadlines.remove(&before) {
            self.deadlines.insert(after, name);
        }
        match (was.is_some(), lack.is_some()) {
            (true, false) => self.counts_in_turn(name, route, now),
            (false, true) => self.counts_in_turn_no_more(name, route, now),
            _ => {}
        }
    }

    /// Takes a call out of its team's queue.
    pub(super) fn take(&mut self, name: &str, index: usize, now: Moment) -> Option<Waiter> {
        let waiter = self.teams.get_mut(name)?.queue.remove(index)?;
        self.deadlines.remove(&(waiter.deadline(), waiter.ticket));
        self.waiting -= 1;
        if waiter.lacks.is_none() {
            self.counts_in_turn_no_more(name, waiter.ask.capped(), now);
        }
        Some(waiter)
    }

    /// The call whose time is up first, and when.
    pub(super) fn first_deadline(&self) -> Option<(Moment, Ticket, Arc<str>)> {
        let ((at, ticket), team) = self.deadlines.first_key_value()?;
        Some((*at, *ticket, Arc::clone(team)))
    }

    /// A team that is gone is kept for as long as it has places: it may come back.
    pub(super) fn let_go(&mut self, name: &str, now: Moment) {
        let Some(team) = self.teams.get_mut(name) else { return };
        team.ring.advance(now);
        if team.ring.used() == 0 && team.queue.is_empty() {
            self.active -= team.seen.map_or(0, |_| u64::from(team.weight.get()));
            self.teams.remove(name);
        }
    }

    /// How many calls have their turn before one of a team that has `ahead` others in front of it.
    pub(super) fn before(&self, name: &str, ahead: usize) -> usize {
        let Some(team) = self.teams.get(name) else { return self.in_turn };
        let turns = f64::from(u32::try_from(ahead).unwrap_or(u32::MAX));
        let start = if team.in_turn == 0 { team.tag.max(self.virtual_time) } else { team.tag };
        let start = start + turns / f64::from(team.weight.get());
        let of_others = self.teams.iter().filter(|(other, team)| &***other != name && team.in_turn > 0);
        let earlier = of_others.map(|(other, team)| {
            let turns = (start - team.tag) * f64::from(team.weight.get());
            // As many of its calls as have an earlier tag, ties by name.
            let tie = turns >= 0.0 && turns.fract() == 0.0 && **other < *name;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bounded by the queue"
            )]
            let calls = turns.ceil().max(0.0) as usize + usize::from(tie);
            calls.min(team.in_turn)
        });
        ahead + earlier.sum::<usize>()
    }
}
