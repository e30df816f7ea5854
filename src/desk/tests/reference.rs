//! The desk's rules written down a second time, the slow and obvious way: lists that are searched, sums that are added up,
//! nothing remembered that can be worked out.
//!
//! Long because the rules stand in one place here, to be read beside one another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use super::super::*;
use crate::credits::Credits;
use crate::credits::budget::{Budget, Grant, Tally, Whose};
use crate::credits::period::Period;

/// One call that was given a place.
#[derive(Clone, Debug)]
struct Place {
    /// The first tick in which it is free.
    leaves: u128,
    team: Arc<str>,
}

#[derive(Clone, Debug)]
struct Waiting {
    ticket: u64,
    ask: Ask,
    joined: Moment,
    lacks: Option<What>,
    unfunded: Option<Moment>,
}

/// Booked: day, team, key, spent, held, route.
type Row = (Date, Arc<str>, Arc<str>, Credits, Credits, usize);

/// One of a capped route's places, as long as a team has it.
struct Slot {
    route: usize,
    team: Arc<str>,
    from: Moment,
    until: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Shared,
    OfKey,
    OfRoutesBudget,
    OfRoute,
}

/// What an outcome is compared by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Granted(u64),
    Waits(u64),
    Closed,
    Full,
    QueueFull,
    RouteFull,
    Short(Whose),
}

pub(super) struct Naive {
    pub(super) settings: Settings,
    places: Vec<Place>,
    others: (u32, Moment),
    stated: (u32, Moment),
    closed: Moment,
    rows: Vec<Row>,
    grants: Vec<Grant>,
    today: Date,
    day_ends: Moment,
    waiting: Vec<Waiting>,
    tags: BTreeMap<Arc<str>, f64>,
    virtual_time: f64,
    seen: BTreeMap<Arc<str>, (Moment, u32)>,
    slots: Vec<Slot>,
    /// What a team is reckoned to have had of a route, beyond its slots: nobody saves up.
    lifts: BTreeMap<(usize, Arc<str>), u128>,
    /// What the team that was served last had had of each route by then, by its weight.
    served: BTreeMap<usize, u128>,
    spaced: Option<Moment>,
    /// A call that waits lacks something else than it did.
    changed: bool,
    next: u64,
}

fn tick(at: Moment) -> u128 {
    at.as_millis() / 100
}

fn leaves(at: Moment) -> Moment {
    // 61 seconds later, and at the next tick's beginning.
    Duration::from_millis(u64::try_from((tick(at + Duration::from_secs(61)) + 1) * 100).unwrap())
}

impl Naive {
    pub(super) fn new(settings: Settings, now: Moment, today: Date, day_ends: Moment) -> Self {
        Self {
            settings,
            places: Vec::new(),
            others: (0, now),
            stated: (u32::MAX, now),
            closed: now,
            rows: Vec::new(),
            grants: Vec::new(),
            today,
            day_ends,
            waiting: Vec::new(),
            tags: BTreeMap::new(),
            virtual_time: 0.0,
            seen: BTreeMap::new(),
            slots: Vec::new(),
            lifts: BTreeMap::new(),
            served: BTreeMap::new(),
            spaced: None,
            changed: false,
            next: 0,
        }
    }

    fn limit(&self, now: Moment) -> u32 {
        let stated = if now < self.stated.1 { self.stated.0 } else { u32::MAX };
        self.settings.per_minute.get().min(stated)
    }

    fn ours(&self, now: Moment) -> Vec<&Place> {
        self.places.iter().filter(|place| place.leaves > tick(now)).collect()
    }

    pub(super) fn used(&self, now: Moment) -> u32 {
        let others = if now < self.others.1 { self.others.0 } else { 0 };
        u32::try_from(self.ours(now).len()).unwrap() + others
    }

    fn free(&self, now: Moment) -> u32 {
        if now < self.closed { 0 } else { self.limit(now).saturating_sub(self.used(now)) }
    }

    fn tally(&self, whose: &Whose, budget: Budget) -> Tally {
        let within =
            |day: Date| budget.period.first(self.today) <= day && day < budget.period.next(self.today);
        let counts = |row: &Row| match whose {
            Whose::Organisation => true,
            Whose::Team(name) => *name == row.1,
            Whose::Key(id) => *id == row.2,
            Whose::Route { team, number, .. } => *team == row.1 && *number == row.5,
        };
        let (mut used, mut held, mut granted) = (Credits::ZERO, Credits::ZERO, Credits::ZERO);
        for row in self.rows.iter().filter(|row| within(row.0) && counts(row)) {
            used += row.3;
            held += row.4;
        }
        // Day by day from the first: when a period is over, what it spent beyond the budget is paid with whatever grant ends
        // soonest of those that touched it.
        let is_whose = |grant: &&Grant| match whose {
            Whose::Organisation => grant.team == "organisation",
            Whose::Team(name) => grant.team == **name,
            Whose::Key(_) | Whose::Route { .. } => false,
        };
        let mut purses: Vec<_> =
            self.grants.iter().filter(is_whose).map(|grant| (grant, grant.credits)).collect();
        purses.sort_by_key(|(grant, _)| grant.until);
        purses.retain(|(grant, _)| grant.from <= self.today);
        let mut day =
            purses.iter().map(|(grant, _)| budget.period.first(grant.from)).min().unwrap_or(self.today);
        while budget.period.next(day) <= self.today {
            let end = budget.period.next(day);
            let rows = self.rows.iter().filter(|row| day <= row.0 && row.0 < end && counts(row));
            let mut over = rows.fold(Credits::ZERO, |sum, row| sum + row.3).saturating_sub(budget.credits);
            for (grant, purse) in &mut purses {
                if grant.from < end && day <= grant.until {
                    let pays = over.min(*purse);
                    (over, *purse) = (over.saturating_sub(pays), purse.saturating_sub(pays));
                }
            }
            day = end;
        }
        for (grant, purse) in purses {
            let lasts = self.today <= grant.until && !grant.taken_back;
            granted += if lasts { purse } else { Credits::ZERO };
        }
        Tally { whole: budget.credits + granted, granted, used, held }
    }

    /// The budget in the way: one that no call in flight can give back to before the others.
    fn in_the_way(&self, ask: &Ask) -> Option<(Whose, Budget, bool)> {
        let short: Vec<_> = ask
            .budgets
            .0
            .iter()
            .map(|(whose, budget)| (whose.clone(), *budget, self.tally(whose, *budget)))
            .filter(|(.., tally)| ask.costs && tally.left() < ask.reserve)
            .map(|(whose, budget, tally)| (whose, budget, tally.would_fit_without_holds(ask.reserve)))
            .collect();
        short.iter().find(|(.., passes)| !passes).or(short.first()).cloned()
    }

    fn taken(&self, route: usize, of: impl Fn(&str) -> bool) -> usize {
        let open = |slot: &&Slot| slot.route == route && slot.until.is_none() && of(&slot.team);
        self.slots.iter().filter(open).count()
    }

    /// Nanoseconds that a team has had of a route.
    fn had(&self, route: usize, team: &Arc<str>, now: Moment) -> u128 {
        let of = self.slots.iter().filter(|slot| slot.route == route && slot.team == *team);
        let had = of.map(|slot| slot.until.unwrap_or(now).saturating_sub(slot.from).as_nanos());
        had.sum::<u128>() + self.lifts.get(&(route, Arc::clone(team))).copied().unwrap_or(0)
    }

    fn is_full(&self, ask: &Ask, cap: Cap, stands: bool) -> bool {
        let standing = self.waiting.iter().filter(|waiting| {
            waiting.lacks.is_none() && waiting.ask.cap.is_some() && waiting.ask.route == ask.route
        });
        let standing = if stands { 0 } else { standing.count() };
        self.taken(ask.route, |_| true) + standing >= cap.calls.get()
            || cap.team.is_some_and(|most| self.taken(ask.route, |team| *team == *ask.team) >= most.get())
    }

    fn joins_route(&mut self, ask: &Ask, now: Moment) {
        if ask.cap.is_some() && self.taken(ask.route, |team| *team == *ask.team) == 0 {
            let least = self.served.get(&ask.route).copied().unwrap_or(0) * u128::from(ask.weight.get());
            let missing = least.saturating_sub(self.had(ask.route, &ask.team, now));
            *self.lifts.entry((ask.route, Arc::clone(&ask.team))).or_default() += missing;
        }
    }

    fn lack(&self, ask: &Ask, stands: bool) -> Result<Option<What>, Whose> {
        if let Some((whose, budget, passes)) = self.in_the_way(ask) {
            let ends_today = budget.period.next(self.today) == Period::Day.next(self.today);
            return match whose {
                _ if !passes && !ends_today => Err(whose),
                Whose::Key(_) => Ok(Some(What::OfKey)),
                Whose::Route { .. } => Ok(Some(What::OfRoutesBudget)),
                _ => Ok(Some(What::Shared)),
            };
        }
        Ok(ask.cap.is_some_and(|cap| self.is_full(ask, cap, stands)).then_some(What::OfRoute))
    }

    fn is_behind(ask: &Ask, older: &Waiting) -> bool {
        if ask.team != older.ask.team {
            return false;
        }
        let own = |whose: &Whose| matches!(whose, Whose::Key(_) | Whose::Route { .. });
        let has_shared = ask.budgets.0.iter().any(|(whose, _)| !own(whose));
        match older.lacks {
            None => false,
            Some(What::Shared) => ask.costs && has_shared,
            Some(What::OfKey) => ask.costs && ask.key_id == older.ask.key_id,
            Some(What::OfRoutesBudget) => ask.costs && ask.route == older.ask.route,
            Some(What::OfRoute) => {
                ask.cap.is_some() && older.ask.cap.is_some() && ask.route == older.ask.route
            }
        }
    }

    fn lacks_in_front(&self, ask: &Ask, ticket: u64) -> Option<What> {
        let older = self.waiting.iter().filter(|older| older.ticket < ticket);
        older.filter(|older| Self::is_behind(ask, older)).find_map(|older| older.lacks)
    }

    fn in_turn(&self, team: &str) -> usize {
        self.waiting.iter().filter(|waiting| &*waiting.ask.team == team && waiting.lacks.is_none()).count()
    }

    fn at_once(&self, ask: &Ask, now: Moment) -> bool {
        if self.free(now) == 0 || !self.settings.queues {
            return self.free(now) > 0;
        }
        let counted = self.seen.iter().filter(|(name, (seen, _))| {
            **name != ask.team && (now < *seen + ACTIVE || self.in_turn(name) > 0)
        });
        let weights: u32 = counted.map(|(_, (_, weight))| *weight).sum::<u32>() + ask.weight.get();
        let share = f64::from(self.limit(now)) * (1.0 - self.settings.reserve) * f64::from(ask.weight.get())
            / f64::from(weights);
        let used = self.ours(now).into_iter().filter(|place| place.team == ask.team).count();
        self.in_turn(&ask.team) == 0 && f64::from(u32::try_from(used).unwrap()) < share
    }

    fn grant(&mut self, ask: &Ask, now: Moment) {
        self.places.push(Place { leaves: tick(leaves(now)), team: Arc::clone(&ask.team) });
        let tag = self.tags.get_mut(&ask.team).unwrap();
        self.virtual_time = self.virtual_time.max(*tag);
        *tag += 1.0 / f64::from(ask.weight.get());
        if ask.costs {
            let (team, key) = (Arc::clone(&ask.team), Arc::clone(&ask.key_id));
            self.rows.push((self.today, team, key, Credits::ZERO, ask.reserve, ask.route));
        }
        if ask.cap.is_some() {
            self.joins_route(ask, now);
            let had = self.had(ask.route, &ask.team, now) / u128::from(ask.weight.get());
            let served = self.served.entry(ask.route).or_default();
            *served = had.max(*served);
            let (route, team) = (ask.route, Arc::clone(&ask.team));
            self.slots.push(Slot { route, team, from: now, until: None });
        }
    }

    fn joins_turns(&mut self, team: &Arc<str>) {
        if self.in_turn(team) == 0 {
            let tag = self.tags.entry(Arc::clone(team)).or_insert(0.0);
            *tag = tag.max(self.virtual_time);
        }
    }

    fn deadline(waiting: &Waiting) -> Moment {
        let patience = &waiting.ask.patience;
        match waiting.lacks {
            Some(What::Shared | What::OfKey | What::OfRoutesBudget) => (waiting.unfunded.unwrap()
                + patience.credits)
                .min(waiting.joined.saturating_add(patience.most)),
            _ => waiting.joined + patience.turn,
        }
    }

    /// When each place leaves, one by one.
    fn leaving(&self, now: Moment) -> Vec<Moment> {
        let at = |place: &&Place| Duration::from_millis(u64::try_from(place.leaves * 100).unwrap());
        let mut leaving: Vec<_> = self.ours(now).iter().map(at).collect();
        if now < self.others.1 {
            leaving.extend(std::iter::repeat_n(self.others.1, self.others.0 as usize));
        }
        leaving.sort_unstable();
        leaving
    }

    fn spacing(&self, last: Moment, now: Moment) -> Duration {
        let free = self.free(now);
        let each = self.leaving(now).into_iter().zip(1u32..);
        each.map(|(at, j)| at.saturating_sub(last) / (free + j)).max().unwrap_or_default()
    }

    fn due(&self, now: Moment) -> Option<Moment> {
        if self.free(now) == 0 || self.waiting.iter().all(|waiting| waiting.lacks.is_some()) {
            return None;
        }
        match self.spaced.filter(|_| self.settings.queues) {
            None => Some(now),
            Some(last) => Some(last + self.spacing(last, now)),
        }
    }

    fn place_from(&self, places: usize, now: Moment) -> Moment {
        let too_many = (self.used(now) as usize + places).saturating_sub(self.limit(now) as usize);
        let left = match too_many {
            0 => now,
            n => {
                // Each place that leaves is taken again, for a minute at least.
                let leaving = self.leaving(now);
                let mut rounds = leaving.clone();
                while rounds.len() < n {
                    let round = *rounds
                        .len()
                        .checked_sub(leaving.len())
                        .map_or(&now, |i| rounds.get(i).unwrap_or(&now));
                    rounds.push(round + WINDOW);
                }
                let raised = self.stated.0 < self.settings.per_minute.get() && now < self.stated.1;
                if raised { rounds[n - 1].min(self.stated.1) } else { rounds[n - 1] }
            }
        };
        left.max(self.closed)
    }

    fn word(&self, waiting: &Waiting, now: Moment) -> Word {
        match waiting.lacks {
            Some(What::OfRoute) => Word::RouteFull,
            Some(_) => {
                let first = || waiting.ask.budgets.0.first().map(|(whose, _)| whose.clone());
                let whose = self.in_the_way(&waiting.ask).map(|(whose, ..)| whose).or_else(first);
                Word::Short(whose.unwrap())
            }
            None if now < self.closed => Word::Closed,
            None => Word::Full,
        }
    }

    pub(super) fn ask(&mut self, ask: Ask, again: Option<(u64, Moment)>, now: Moment) -> Word {
        let (ticket, joined) = again.unwrap_or((self.next, now));
        self.next += u64::from(again.is_none());
        let lack = self.lack(&ask, false);
        self.seen.insert(Arc::clone(&ask.team), (now, ask.weight.get()));
        self.joins_turns(&ask.team);
        let lacks = match lack {
            Ok(lack) => lack.or_else(|| self.lacks_in_front(&ask, ticket)),
            Err(whose) => return Word::Short(whose),
        };
        if lacks.is_none() && self.at_once(&ask, now) {
            self.grant(&ask, now);
            return Word::Granted(ticket);
        }
        let credits = matches!(lacks, Some(What::Shared | What::OfKey | What::OfRoutesBudget));
        self.joins_route(&ask, now);
        let waiting = Waiting { ticket, ask, joined, lacks, unfunded: credits.then_some(now) };
        let deadline = Self::deadline(&waiting);
        let begins = match self.in_the_way(&waiting.ask) {
            Some((_, _, false)) if credits => self.day_ends,
            _ if lacks.is_some() => now,
            _ => {
                let place = self.place_from(self.in_turn(&waiting.ask.team) + 1, now);
                let last = self.spaced.filter(|_| self.free(now) > 0);
                last.map_or(place, |last| place.max(last + self.spacing(last, now)))
            }
        };
        if deadline <= now || begins > deadline || !(credits || self.settings.queues) {
            return self.word(&waiting, now);
        }
        let of_team = self.waiting.iter().filter(|other| other.ask.team == waiting.ask.team).count();
        if again.is_none() && of_team >= self.settings.waiting {
            return Word::QueueFull;
        }
        let at = self.waiting.partition_point(|other| other.ticket < ticket);
        self.waiting.insert(at, waiting);
        Word::Waits(ticket)
    }

    pub(super) fn turn(&mut self, now: Moment) -> Vec<(u64, Word)> {
        let mut told = Vec::new();
        loop {
            let before = told.len();
            self.changed = false;
            self.look_again(now, &mut told);
            self.offer_routes(now, &mut told);
            while self.due(now).is_some_and(|due| due <= now) {
                let due = self.due(now).unwrap();
                let Some(waiting) = self.first(now, &mut told) else { break };
                self.spaced = Some(due.max(now.saturating_sub(Duration::from_secs(5))));
                self.waited_until(&waiting, now);
                self.grant(&waiting.ask, now);
                told.push((waiting.ticket, Word::Granted(waiting.ticket)));
            }
            loop {
                let late = self.waiting.iter().filter(|waiting| Self::deadline(waiting) <= now);
                let Some(first) = late.min_by_key(|waiting| (Self::deadline(waiting), waiting.ticket)) else {
                    break;
                };
                let (ticket, word) = (first.ticket, self.word(first, now));
                let first = first.clone();
                self.waited_until(&first, now);
                self.waiting.retain(|waiting| waiting.ticket != ticket);
                told.push((ticket, word));
            }
            // Whoever lacks something else by now may not stand in the way of others any more.
            if told.len() == before && !self.changed {
                return told;
            }
        }
    }

    fn first(&mut self, now: Moment, told: &mut Vec<(u64, Word)>) -> Option<Waiting> {
        loop {
            let in_turn = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.lacks.is_none());
            let order = |team: &Arc<str>| (self.tags[team], Arc::clone(team));
            let index = in_turn
                .min_by(|(_, a), (_, b)| {
                    order(&a.ask.team).partial_cmp(&order(&b.ask.team)).unwrap().then(a.ticket.cmp(&b.ticket))
                })?
                .0;
            let waiting = &self.waiting[index];
            let lack = self.lack(&waiting.ask, true);
            match lack.map(|lack| lack.or_else(|| self.lacks_in_front(&waiting.ask, waiting.ticket))) {
                Ok(None) => return Some(self.waiting.remove(index)),
                Ok(lacks) => self.set_lack(index, lacks, now),
                Err(whose) => {
                    let waiting = self.waiting.remove(index);
                    self.waited_until(&waiting, now);
                    told.push((waiting.ticket, Word::Short(whose)));
                }
            }
        }
    }

    /// A team whose call waited for its turn has called until now.
    fn waited_until(&mut self, waiting: &Waiting, now: Moment) {
        if let Some((seen, _)) = self.seen.get_mut(&waiting.ask.team)
            && waiting.lacks.is_none()
        {
            *seen = now;
        }
    }

    fn set_lack(&mut self, index: usize, lacks: Option<What>, now: Moment) {
        if lacks.is_none() && self.waiting[index].lacks.is_some() {
            let team = Arc::clone(&self.waiting[index].ask.team);
            self.joins_turns(&team);
        }
        self.waited_until(&self.waiting[index].clone(), now);
        let waiting = &mut self.waiting[index];
        self.changed |= waiting.lacks != lacks;
        waiting.lacks = lacks;
        if matches!(lacks, Some(What::Shared | What::OfKey | What::OfRoutesBudget)) {
            waiting.unfunded.get_or_insert(now);
        }
    }

    fn look_again(&mut self, now: Moment, told: &mut Vec<(u64, Word)>) {
        let mut teams: Vec<_> = self.waiting.iter().map(|waiting| Arc::clone(&waiting.ask.team)).collect();
        teams.sort();
        teams.dedup();
        for team in teams {
            let tickets = self.waiting.iter().filter(|waiting| waiting.ask.team == team);
            for ticket in tickets.map(|waiting| waiting.ticket).collect::<Vec<_>>() {
                let index = self.waiting.iter().position(|waiting| waiting.ticket == ticket).unwrap();
                let waiting = &self.waiting[index];
                let skips = matches!(waiting.lacks, None | Some(What::OfRoute));
                if skips || self.lacks_in_front(&waiting.ask, ticket).is_some() {
                    continue;
                }
                match self.lack(&waiting.ask, false) {
                    Ok(None) if self.at_once(&waiting.ask, now) => {
                        let waiting = self.waiting.remove(index);
                        self.grant(&waiting.ask, now);
                        told.push((ticket, Word::Granted(ticket)));
                    }
                    Ok(lacks) => self.set_lack(index, lacks, now),
                    Err(whose) => {
                        self.waiting.remove(index);
                        told.push((ticket, Word::Short(whose)));
                    }
                }
            }
        }
    }

    /// What is free of each route goes to the team that has had the least of it, ties by name.
    fn offer_routes(&mut self, now: Moment, told: &mut Vec<(u64, Word)>) {
        let mut passed = Vec::new();
        loop {
            let candidates = self.waiting.iter().filter(|waiting| {
                waiting.lacks == Some(What::OfRoute)
                    && !passed.contains(&waiting.ticket)
                    && !self.is_full(&waiting.ask, waiting.ask.cap.unwrap(), false)
            });
            let order = |a: &&Waiting, b: &&Waiting| {
                let by_weight = |of: &Waiting, other: &Waiting| {
                    self.had(of.ask.route, &of.ask.team, now) * u128::from(other.ask.weight.get())
                };
                a.ask
                    .route
                    .cmp(&b.ask.route)
                    .then_with(|| by_weight(a, b).cmp(&by_weight(b, a)))
                    .then_with(|| (&a.ask.team, a.ticket).cmp(&(&b.ask.team, b.ticket)))
            };
            let Some(waiting) = candidates.min_by(order).cloned() else { return };
            let ticket = waiting.ticket;
            passed.push(ticket);
            let index = self.waiting.iter().position(|waiting| waiting.ticket == ticket).unwrap();
            let behind = self.lacks_in_front(&waiting.ask, ticket);
            match self.lack(&waiting.ask, false).map(|lack| lack.or(behind)) {
                Ok(None) if self.at_once(&waiting.ask, now) => {
                    self.waiting.remove(index);
                    self.grant(&waiting.ask, now);
                    told.push((ticket, Word::Granted(ticket)));
                }
                Ok(lacks) => self.set_lack(index, lacks, now),
                Err(whose) => {
                    self.waiting.remove(index);
                    told.push((ticket, Word::Short(whose)));
                }
            }
        }
    }

    pub(super) fn leave(&mut self, ticket: u64, now: Moment) -> bool {
        let before = self.waiting.len();
        for waiting in self.waiting.clone().iter().filter(|waiting| waiting.ticket == ticket) {
            self.waited_until(waiting, now);
        }
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        self.waiting.len() < before
    }

    pub(super) fn move_place(&mut self, team: &str, from: u128, to: Option<Moment>, now: Moment) {
        let found = self.places.iter().position(|place| &*place.team == team && place.leaves == from);
        if let Some(index) = found.filter(|_| from > tick(now)) {
            self.places.remove(index);
        }
        if let Some(to) = to {
            self.places.push(Place { leaves: tick(to), team: team.into() });
        }
    }

    pub(super) fn end(&mut self, ask: &Ask, day: Date, spent: Credits) {
        let index = self.rows.iter().position(|(of, team, key, _, held, route)| {
            *of == day && (team, key, route) == (&ask.team, &ask.key_id, &ask.route) && *held == ask.reserve
        });
        let row = &mut self.rows[index.unwrap()];
        (row.3, row.4) = (row.3 + spent, Credits::ZERO);
    }

    pub(super) fn free_route(&mut self, route: usize, team: &str, now: Moment) {
        let mut open = self.slots.iter_mut();
        let slot =
            open.find(|slot| slot.route == route && *slot.team == *team && slot.until.is_none()).unwrap();
        slot.until = Some(now);
    }

    pub(super) fn heed(&mut self, said: Said, now: Moment) {
        let ours = u32::try_from(self.ours(now).len()).unwrap();
        if let Some(limit) = said.limit {
            self.stated = (limit, now + WINDOW);
            if let Some(remaining) = said.remaining {
                let others = limit.saturating_sub(remaining).saturating_sub(ours);
                self.others = (others, now + said.reset.unwrap_or(WINDOW).clamp(TICK, WINDOW));
            }
        }
        if let Some(closed_for) = said.closed_for {
            self.closed = self.closed.max(now + closed_for);
        }
    }

    pub(super) fn set_grants(&mut self, grants: Vec<Grant>) {
        self.grants = grants;
    }

    pub(super) fn roll(&mut self, today: Date, ends: Moment) {
        (self.today, self.day_ends) = (today, ends);
    }

    pub(super) fn spend(&mut self, day: Date, team: &Arc<str>, key_id: &Arc<str>, amount: Credits) {
        self.rows.push((day, Arc::clone(team), Arc::clone(key_id), amount, Credits::ZERO, usize::MAX));
    }

    pub(super) fn is_taken(from: u128, now: Moment) -> bool {
        from > tick(now)
    }

    pub(super) fn has_room(&self, now: Moment) -> bool {
        self.free(now) > 0
    }
}
