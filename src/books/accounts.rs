//! Credit accounts: who may spend how much in the running period, what is held, and what is spent.
//!
//! Kept in memory, in one place and behind one lock, so that admission is one serial step: all budgets
//! that apply, or none. The ledger is what it is rebuilt from.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pace::Pace;
use crate::clock::Clock;
use crate::config::{Credits as CreditSettings, Reserve};
use crate::credits::Credits;
use crate::credits::budget::{Budget, Budgets, Grant, Standing, Tally, Whose};
use crate::credits::period::day_of;
use crate::ledger::{self, CallId, Ledger, Spend};
use crate::route::Route;

/// Days of sums kept in memory: the longest period, and a margin for holds that end after theirs.
pub(super) const KEPT_DAYS: i32 = 45;
/// Costs that a learned reserve looks back on.
pub(super) const LEARNED_FROM: usize = 1024;
/// Fewer costs than this teach nothing; the floor holds.
const LEARNED_LEAST: usize = 20;
/// Days that the ledger may be ahead of the clock at a start: a step back, or another zone.
const CARRY_OVER: i32 = 2;
/// A leap of the wall clock against the monotonic one that is worth a word.
const LEAP: Duration = Duration::from_mins(5);

/// All accounts of a gateway.
#[derive(Debug)]
pub struct Accounts {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// Told whenever something that was held is free.
    pub(super) freed: Notify,
}

#[derive(Debug)]
struct State {
    next_call: CallId,
    /// The latest day seen. A clock that steps back does not reopen an earlier one.
    today: Date,
    /// Wall and monotonic time at the last look, to notice leaps.
    looked: (Timestamp, Instant),
    scopes: HashMap<Whose, BTreeMap<Date, Sums>>,
    grants: Vec<Grant>,
    open: usize,
    /// The highest threshold each budget was seen past, by the first day of its period.
    passed: HashMap<Whose, (Date, u64)>,
    /// Recent final costs by route, for learned reserves.
    costs: [VecDeque<Credits>; Route::COUNT],
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    used: Credits,
    held: Credits,
}

/// What a hold is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whom it is booked on.
    pub account: ledger::Account,
    /// The id that the caller sees.
    pub request_id: String,
    /// Every budget that binds.
    pub budgets: Budgets,
}

/// What was taken for a call, of every budget that binds.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) call: CallId,
    pub(super) account: ledger::Account,
    pub(super) reserve: Credits,
    pub(super) day: Date,
    pub(super) zone: TimeZone,
    pub(super) budgets: Budgets,
    /// What the tightest budget has left with it counted; nothing where none binds.
    pub(super) left: Option<Credits>,
}

impl Accounts {
    /// Accounts over a ledger, as its sums say. `spent` is what was settled by day, team and key;
    /// `last_call` the last call ever held.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        clock: Clock,
        zone: &TimeZone,
        last_call: CallId,
        spent: &[Spend],
    ) -> Arc<Self> {
        let wall = clock.wall();
        let mut state = State {
            next_call: last_call + 1,
            today: day_of(wall, zone),
            looked: (wall, clock.now()),
            scopes: HashMap::new(),
            grants: Vec::new(),
            open: 0,
            passed: HashMap::new(),
            costs: Default::default(),
        };
        let furthest = state.today.checked_add(CARRY_OVER.days()).unwrap_or(state.today);
        for spend in spent {
            // A ledger that was written with the clock a little further on has closed the days before. Days further
            // off were written under a wrong clock, and must not freeze the budgets until they come.
            if spend.day <= furthest {
                state.today = state.today.max(spend.day);
            } else {
                tracing::error!(day = %spend.day, team = spend.team, "the ledger has entries of the future: the clock was wrong; they count for their own day alone");
            }
            for whose in scopes_of(&spend.team.as_str().into(), &spend.key_id.as_str().into()) {
                state.sums(whose, spend.day).used += spend.credits();
            }
        }
        Arc::new(Self { ledger, clock, state: Mutex::new(state), freed: Notify::new() })
    }

    /// Takes up a correction of what was spent.
    pub fn adjust(&self, day: Date, team: &Arc<str>, key_id: &Arc<str>, millionths: i64) {
        let amount = Credits::from_millionths(millionths.unsigned_abs());
        let mut state = self.state();
        for whose in scopes_of(team, key_id) {
            let used = &mut state.sums(whose, day).used;
            *used = if millionths < 0 { used.saturating_sub(amount) } else { *used + amount };
        }
        drop(state);
        self.freed.notify_waiters();
    }

    /// Replaces the grants in force.
    pub fn set_grants(&self, grants: Vec<Grant>) {
        self.state().grants = grants;
        self.freed.notify_waiters();
    }

    /// Costs of a route that a learned reserve starts from, the oldest first.
    pub fn learn_from(&self, route: Route, costs: impl IntoIterator<Item = Credits>) {
        let mut state = self.state();
        for cost in costs {
            state.learn(route, cost);
        }
    }

    /// What a call of a route is to hold.
    #[must_use]
    pub fn reserve(&self, settings: &CreditSettings, route: Route) -> Credits {
        match settings.reserve {
            _ if !route.row().costs() => Credits::ZERO,
            Reserve::Fixed(credits) => credits,
            Reserve::Learned { floor } => {
                self.state().learned(route).map_or(floor, |learned| learned.max(floor))
            }
        }
    }

    /// How the budgets stand, without taking anything: whether a call would be admitted now.
    #[must_use]
    pub fn standings(&self, budgets: &Budgets, zone: &TimeZone) -> Vec<Standing> {
        let mut state = self.state();
        let today = state.roll(self.clock, zone);
        budgets.0.iter().map(|(whose, budget)| state.standing(whose, *budget, today, zone)).collect()
    }

    /// What a team holds now.
    #[must_use]
    pub fn held(&self, whose: &Whose) -> Credits {
        self.state()
            .scopes
            .get(whose)
            .map_or(Credits::ZERO, |days| days.values().fold(Credits::ZERO, |sum, day| sum + day.held))
    }

    /// Credits per day that are spent at present; nothing if none were in the last days.
    #[must_use]
    pub fn pace(&self, whose: &Whose, zone: &TimeZone) -> Option<Pace> {
        let mut state = self.state();
        let today = state.roll(self.clock, zone);
        let days = state.scopes.get(whose)?;
        Pace::of(days.iter().map(|(day, sums)| (*day, sums.used)), today, self.clock.wall(), zone)
    }

    /// Calls that are held and not ended.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.state().open
    }

    /// Returns when the ledger has written all that was booked.
    pub fn flush(&self) {
        self.ledger.flush();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One serial step: all budgets are looked at, and then all are taken from. Fails with how the one stands that is in the
    /// way; first of all one that no call in flight can give back to.
    pub(super) fn try_take(
        &self,
        asked: &Asked,
        reserve: Credits,
        zone: &TimeZone,
    ) -> Result<Taken, Standing> {
        let mut state = self.state();
        let today = state.roll(self.clock, zone);
        let mut least = None;
        let mut in_the_way: Option<(&Whose, Budget, bool)> = None;
        for (whose, budget) in &*asked.budgets.0 {
            let tally = state.tally(whose, *budget, today);
            if tally.left() < reserve {
                let passes = tally.would_fit_without_holds(reserve);
                if in_the_way.is_none_or(|(.., other_passes)| other_passes && !passes) {
                    in_the_way = Some((whose, *budget, passes));
                }
            }
            let left = tally.left().saturating_sub(reserve);
            least = Some(least.map_or(left, |least: Credits| least.min(left)));
        }
        if let Some((whose, budget, _)) = in_the_way {
            return Err(state.standing(whose, budget, today, zone));
        }
        for whose in scopes_of(&asked.account.team, &asked.account.key_id) {
            state.sums(whose, today).held += reserve;
        }
        let call = state.next_call;
        state.next_call += 1;
        state.open += 1;
        Ok(Taken {
            call,
            account: asked.account.clone(),
            reserve,
            day: today,
            zone: zone.clone(),
            budgets: asked.budgets.clone(),
            left: least,
        })
    }

    /// What was held is spent or free.
    pub(super) fn release(&self, taken: &Taken, spent: Credits, final_cost: Option<Credits>) {
        let mut state = self.state();
        for whose in scopes_of(&taken.account.team, &taken.account.key_id) {
            let sums = state.sums(whose, taken.day);
            sums.held = sums.held.saturating_sub(taken.reserve);
            sums.used += spent;
        }
        state.open = state.open.saturating_sub(1);
        if let (Some(cost), Some(route)) = (final_cost, taken.account.route) {
            state.learn(route, cost);
        }
        for (whose, budget) in &*taken.budgets.0 {
            state.notice_threshold(whose, *budget, taken.day, &taken.zone);
        }
        drop(state);
        self.freed.notify_waiters();
    }
}

/// The scopes that a call counts in, budgets or not.
fn scopes_of(team: &Arc<str>, key_id: &Arc<str>) -> [Whose; 3] {
    [Whose::Organisation, Whose::Team(Arc::clone(team)), Whose::Key(Arc::clone(key_id))]
}

impl State {
    fn sums(&mut self, whose: Whose, day: Date) -> &mut Sums {
        self.scopes.entry(whose).or_default().entry(day).or_default()
    }

    /// Moves on to the clock's day, never back.
    fn roll(&mut self, clock: Clock, zone: &TimeZone) -> Date {
        let (wall, now) = (clock.wall(), clock.now());
        let expected =
            self.looked.0.saturating_add(now.saturating_duration_since(self.looked.1)).unwrap_or(wall);
        let leap = Duration::try_from(wall.duration_since(expected).abs()).unwrap_or_default();
        if leap > LEAP {
            tracing::warn!(%wall, %expected, "the wall clock has leapt; budget periods follow it forwards, never back");
        }
        self.looked = (wall, now);
        let day = day_of(wall, zone);
        if day > self.today {
            self.today = day;
            let oldest = day.checked_sub(KEPT_DAYS.days()).unwrap_or(Date::MIN);
            for days in self.scopes.values_mut() {
                days.retain(|day, sums| *day >= oldest || sums.held > Credits::ZERO);
            }
        }
        self.today
    }

    fn standing(&self, whose: &Whose, budget: Budget, today: Date, zone: &TimeZone) -> Standing {
        let tally = self.tally(whose, budget, today);
        Standing { whose: whose.clone(), budget, tally, resets: budget.period.resets(today, zone) }
    }

    fn tally(&self, whose: &Whose, budget: Budget, today: Date) -> Tally {
        let period = budget.period;
        let (mut used, mut held) = (Credits::ZERO, Credits::ZERO);
        if let Some(days) = self.scopes.get(whose) {
            for sums in days.range(period.first(today)..period.next(today)).map(|(_, sums)| sums) {
                used += sums.used;
                held += sums.held;
            }
        }
        let name = match whose {
            Whose::Organisation => Some("organisation"),
            Whose::Team(name) => Some(&**name),
            Whose::Key(_) => None,
        };
        let granted = self
            .grants
            .iter()
            .filter(|grant| Some(grant.team.as_str()) == name && (grant.from..=grant.until).contains(&today))
            .fold(Credits::ZERO, |sum, grant| sum + grant.credits);
        Tally { whole: budget.credits + granted, granted, used, held }
    }

    /// Says, once per period, that a budget has passed a threshold.
    fn notice_threshold(&mut self, whose: &Whose, budget: Budget, day: Date, zone: &TimeZone) {
        let tally = self.tally(whose, budget, day);
        let threshold = tally.threshold();
        if threshold == 0 {
            return;
        }
        let first = budget.period.first(day);
        let passed =
            self.passed.get(whose).filter(|(period, _)| *period == first).map_or(0, |(_, passed)| *passed);
        if threshold > passed {
            self.passed.insert(whose.clone(), (first, threshold));
            tracing::warn!(
                budget = ?whose, threshold_percent = threshold, used = %tally.used, credits = %tally.whole,
                resets = %budget.period.resets(day, zone), "a budget has passed a threshold"
            );
        }
    }

    fn learn(&mut self, route: Route, cost: Credits) {
        let costs = &mut self.costs[route.index()];
        if costs.len() == LEARNED_FROM {
            costs.pop_front();
        }
        costs.push_back(cost);
    }

    /// The dearest call in a hundred, of the recent ones of a route: a persona must not teach a chat.
    fn learned(&self, route: Route) -> Option<Credits> {
        let costs = &self.costs[route.index()];
        if costs.len() < LEARNED_LEAST {
            return None;
        }
        let mut costs: Vec<_> = costs.iter().copied().collect();
        let at = (costs.len() * 99 / 100).min(costs.len() - 1);
        Some(*costs.select_nth_unstable(at).1)
    }
}
