//! Accounts: what was spent and what is held, by whose it is and by period, as sums that are kept running: a call adds
//! to them and compares, and no calendar is asked. It is asked when a day is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::credits::budget::{Budget, Budgets, Grant, Tally, Whose};
use crate::credits::period::Period;
use crate::credits::{Credits, millionths};

/// How many days back sums are known: the longest period, and a margin for holds that end after theirs.
pub const KEPT_DAYS: i32 = 45;
/// How many days back it is known what earlier periods took of a grant.
pub const GRANT_DAYS: i32 = 400;
/// Days with sums that are kept: those, and some of a clock that was wrong. Keys are many, and are granted nothing.
const KEPT: usize = 50;
const KEPT_OF_GRANTED: usize = 405;

const PERIODS: [Period; 3] = [Period::Day, Period::Week, Period::Month];

/// What was spent and what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    #[serde(with = "millionths")]
    used: Credits,
    #[serde(with = "millionths")]
    held: Credits,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.used += other.used;
        self.held += other.held;
    }
}

/// The sums of one scope.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Account {
    /// Of the days that are not today.
    days: BTreeMap<Date, Sums>,
    /// Of the running day, week and month.
    running: [Sums; PERIODS.len()],
}

/// The days that the running periods are made of.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Bounds {
    today: Date,
    /// The first day of each, and the first one behind it.
    periods: [(Date, Date); PERIODS.len()],
}

impl Bounds {
    fn of(today: Date) -> Self {
        Self { today, periods: PERIODS.map(|period| (period.first(today), period.next(today))) }
    }
}

impl Account {
    /// Changes the sums of a day, and of the running periods that it is in.
    fn change(&mut self, day: Date, bounds: &Bounds, change: impl Fn(&mut Sums)) {
        if day == bounds.today {
            self.running.iter_mut().for_each(change);
            return;
        }
        change(self.days.entry(day).or_default());
        for (sums, (first, next)) in self.running.iter_mut().zip(bounds.periods) {
            if (first..next).contains(&day) {
                change(sums);
            }
        }
    }

    fn roll(&mut self, from: &Bounds, to: &Bounds, kept: usize) {
        self.days.entry(from.today).or_default().add(self.running[0]);
        for (sums, (first, next)) in self.running.iter_mut().zip(to.periods) {
            *sums = Sums::default();
            self.days.range(first..next).for_each(|(_, of_day)| sums.add(*of_day));
        }
        self.days.remove(&to.today);
        self.days.retain(|_, sums| *sums != Sums::default());
        // By number and not by distance: a clock that leaps for a moment makes nobody forget.
        while self.days.len() > kept
            && let Some((day, sums)) = self.days.first_key_value()
            && sums.held == Credits::ZERO
        {
            let day = *day;
            self.days.remove(&day);
        }
    }
}

/// Whose accounts a call is booked on, beside the organisation's.
#[derive(Clone, Copy, Debug)]
pub struct BookedOn<'a> {
    /// Its team.
    pub team: &'a Arc<str>,
    /// The key that it came with.
    pub key_id: &'a Arc<str>,
    /// Its route, by number, where it is one that there is yet.
    pub route: Option<usize>,
}

/// Whether the budgets of a call have room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// All have; so much is left of the tightest then, where one binds.
    For(Option<Credits>),
    /// This one of them has not.
    Short {
        /// Which.
        index: usize,
        /// Whether it would if the calls in flight came to nothing.
        passes: bool,
    },
}

/// All accounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Accounts {
    bounds: Bounds,
    organisation: Account,
    teams: HashMap<Arc<str>, Account>,
    keys: HashMap<Arc<str>, Account>,
    /// Of each team, by route.
    routes: HashMap<Arc<str>, BTreeMap<usize, Account>>,
    grants: Vec<Grant>,
}

impl Accounts {
    pub(super) fn new(today: Date) -> Self {
        Self {
            bounds: Bounds::of(today),
            organisation: Account::default(),
            teams: HashMap::default(),
            keys: HashMap::default(),
            routes: HashMap::default(),
            grants: Vec::new(),
        }
    }

    pub(super) fn today(&self) -> Date {
        self.bounds.today
    }

    /// Moves to another day.
    pub(super) fn roll(&mut self, today: Date) {
        let to = Bounds::of(today);
        for account in self.teams.values_mut().chain([&mut self.organisation]) {
            account.roll(&self.bounds, &to, KEPT_OF_GRANTED);
        }
        let of_routes = self.routes.values_mut().flat_map(BTreeMap::values_mut);
        for account in self.keys.values_mut().chain(of_routes) {
            account.roll(&self.bounds, &to, KEPT);
        }
        self.bounds = to;
    }

    pub(super) fn set_grants(&mut self, grants: Vec<Grant>) {
        self.grants = grants;
    }

    fn change(&mut self, day: Date, on: BookedOn<'_>, change: impl Fn(&mut Sums) + Copy) {
        self.organisation.change(day, &self.bounds, change);
        account(&mut self.teams, on.team).change(day, &self.bounds, change);
        account(&mut self.keys, on.key_id).change(day, &self.bounds, change);
        if let Some(route) = on.route {
            let of_team = self.routes.entry(Arc::clone(on.team)).or_default();
            of_team.entry(route).or_default().change(day, &self.bounds, change);
        }
    }

    /// Takes up a sum, or a correction of one.
    pub(super) fn adjust(&mut self, day: Date, on: BookedOn<'_>, millionths: i64) {
        let amount = Credits::from_millionths(millionths.unsigned_abs());
        self.change(day, on, |sums| {
            sums.used = if millionths < 0 { sums.used.saturating_sub(amount) } else { sums.used + amount };
        });
    }

    /// Holds credits on today's sums.
    pub(super) fn hold(&mut self, on: BookedOn<'_>, reserve: Credits) {
        self.change(self.bounds.today, on, |sums| sums.held += reserve);
    }

    /// What was held on a day is spent or free.
    pub(super) fn release(&mut self, day: Date, on: BookedOn<'_>, reserve: Credits, spent: Credits) {
        self.change(day, on, |sums| {
            sums.held = sums.held.saturating_sub(reserve);
            sums.used += spent;
        });
    }

    fn of(&self, whose: &Whose) -> Option<&Account> {
        match whose {
            Whose::Organisation => Some(&self.organisation),
            Whose::Team(name) => self.teams.get(name),
            Whose::Key(id) => self.keys.get(id),
            Whose::Route { team, number, .. } => self.routes.get(team)?.get(number),
        }
    }

    pub(super) fn tally(&self, whose: &Whose, budget: Budget) -> Tally {
        let period = PERIODS.iter().position(|period| *period == budget.period).unwrap_or_default();
        let Sums { used, held } = self.of(whose).map(|account| account.running[period]).unwrap_or_default();
        let granted = if self.grants.is_empty() { Credits::ZERO } else { self.granted(whose, budget) };
        Tally { whole: budget.credits + granted, granted, used, held }
    }

    /// What grants add to the running period. A grant is given once, not once a period: what earlier periods spent beyond
    /// the budget is taken from those in force then, from the one that ends first first.
    fn granted(&self, whose: &Whose, budget: Budget) -> Credits {
        let name = match whose {
            Whose::Organisation => "organisation",
            Whose::Team(name) => name,
            Whose::Key(_) | Whose::Route { .. } => return Credits::ZERO,
        };
        let today = self.bounds.today;
        let of_name = self.grants.iter().filter(|grant| grant.team == name && grant.from <= today);
        let mut left: Vec<_> = of_name.map(|grant| (grant, grant.credits)).collect();
        let (Some(begin), Some(account)) = (left.iter().map(|(grant, _)| grant.from).min(), self.of(whose))
        else {
            return in_force(&left, today);
        };
        left.sort_by_key(|(grant, _)| grant.until);
        let mut first = budget.period.first(begin);
        while first < budget.period.first(today) {
            let next = budget.period.next(first);
            let used = account.days.range(first..next).map(|(_, sums)| sums.used);
            let spent = used.fold(Credits::ZERO, |sum, used| sum + used);
            let mut beyond = spent.saturating_sub(budget.credits);
            for (_, left) in left.iter_mut().filter(|(grant, _)| grant.from < next && grant.until >= first) {
                let taken = beyond.min(*left);
                *left = left.saturating_sub(taken);
                beyond = beyond.saturating_sub(taken);
            }
            first = next;
        }
        in_force(&left, today)
    }

    /// Whether every budget has room for `reserve`. Of those that have not, one that no call in flight can give back to is
    /// told first.
    pub(super) fn room(&self, budgets: &Budgets, reserve: Credits) -> Room {
        let (mut least, mut short) = (None, None);
        for (index, (whose, budget)) in budgets.0.iter().enumerate() {
            let tally = self.tally(whose, *budget);
            if tally.left() < reserve {
                let passes = tally.would_fit_without_holds(reserve);
                if short.is_none_or(|(_, other_passes)| other_passes && !passes) {
                    short = Some((index, passes));
                }
            }
            let left = tally.left().saturating_sub(reserve);
            least = Some(least.map_or(left, |least: Credits| least.min(left)));
        }
        short.map_or(Room::For(least), |(index, passes)| Room::Short { index, passes })
    }

    /// Whether the running period of a budget ends with the day.
    pub(super) fn ends_with_the_day(&self, budget: Budget) -> bool {
        budget.period.next(self.bounds.today) == Period::Day.next(self.bounds.today)
    }

    /// What a scope holds, whatever the day.
    pub(super) fn held(&self, whose: &Whose) -> Credits {
        self.of(whose).map_or(Credits::ZERO, |account| {
            account.days.values().fold(account.running[0].held, |sum, day| sum + day.held)
        })
    }

    /// What a scope has spent, by day.
    pub(super) fn spent(&self, whose: &Whose) -> Vec<(Date, Credits)> {
        let days = |account: &Account| {
            let before = account.days.iter().map(|(day, sums)| (*day, sums.used));
            before.chain([(self.bounds.today, account.running[0].used)]).collect()
        };
        self.of(whose).map(days).unwrap_or_default()
    }
}

/// What is left of grants that have not ended and were not taken back.
fn in_force(left: &[(&Grant, Credits)], today: Date) -> Credits {
    let going = left.iter().filter(|(grant, _)| grant.until >= today && !grant.taken_back);
    going.fold(Credits::ZERO, |sum, (_, left)| sum + *left)
}

/// The account of a name, made where there was none.
fn account<'a>(accounts: &'a mut HashMap<Arc<str>, Account>, name: &Arc<str>) -> &'a mut Account {
    accounts.entry(Arc::clone(name)).or_default()
}
