//! Credit accounts: who may spend how much in the running period, what is held, and what is spent.
//!
//! Kept in memory, in one place and behind one lock, so that admission is one serial step: all budgets
//! that apply, or none. The ledger is what it is rebuilt from.

pub mod ending;
mod hold;
pub mod open;
mod pace;
pub mod upstream;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::hold::{Closing, Hold, after_crash};
pub use self::pace::Pace;
use crate::clock::Clock;
use crate::config::{Credits as CreditSettings, Reserve};
use crate::credits::Credits;
use crate::credits::budget::{Budget, Budgets, Grant, Standing, Whose};
use crate::credits::period::day_of;
use crate::ledger::{self, CallId, Ledger, NewHold, Spend};
use crate::refuse::Refusal;

/// Days of sums kept in memory: the longest period, and a margin for holds that end after theirs.
const KEPT_DAYS: i32 = 45;
/// Costs that a learned reserve looks back on.
const LEARNED_FROM: usize = 1024;
/// Fewer costs than this teach nothing; the floor holds.
const LEARNED_LEAST: usize = 20;
/// Days that the ledger may be ahead of the clock at a start: a step back, or another zone.
const CARRY_OVER: i32 = 2;
/// A leap of the wall clock against the monotonic one that is worth a word.
const LEAP: Duration = Duration::from_mins(5);

/// All accounts of a gateway.
#[derive(Debug)]
pub struct Accounts {
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    state: Mutex<State>,
    /// Told whenever something that was held is free.
    freed: Notify,
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
    /// Recent final costs, for a learned reserve.
    costs: VecDeque<Credits>,
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

/// Why a hold was not admitted at this moment.
struct Full {
    standing: Standing,
    /// It would fit if the calls in flight came to nothing.
    may_fit: bool,
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
            costs: VecDeque::new(),
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

    /// Costs that a learned reserve starts from, the oldest first.
    pub fn learn_from(&self, costs: impl IntoIterator<Item = Credits>) {
        let mut state = self.state();
        for cost in costs {
            state.learn(cost);
        }
    }

    /// What a call is to hold.
    #[must_use]
    pub fn reserve(&self, settings: &CreditSettings) -> Credits {
        match settings.reserve {
            Reserve::Fixed(credits) => credits,
            Reserve::Learned { floor } => self.state().learned().map_or(floor, |learned| learned.max(floor)),
        }
    }

    /// Holds credits for a call: in all budgets or in none, and durably in the ledger, before it returns.
    /// Where only the holds of other calls are in the way, waits for them up to `settings.wait`.
    ///
    /// Cancel-safe: dropped while it waits, it holds nothing; dropped while the ledger writes, what it held
    /// is given back.
    ///
    /// # Errors
    /// Whose budget is spent, or that the ledger cannot write.
    pub async fn hold(self: &Arc<Self>, asked: Asked, settings: &CreditSettings) -> Result<Hold, Refusal> {
        let reserve = self.reserve(settings);
        let deadline = self.clock.now() + settings.wait;
        let (call, day, left) = loop {
            let freed = self.freed.notified();
            match self.try_take(&asked, reserve, &settings.zone) {
                Ok(taken) => break taken,
                Err(full) => {
                    let waited = full.may_fit && tokio::time::timeout_at(deadline, freed).await.is_ok();
                    if !waited {
                        return Err(Refusal::of_budget(&full.standing, reserve, &settings.zone));
                    }
                }
            }
        };
        let Asked { account, request_id, budgets } = asked;
        let mut hold = Hold {
            accounts: Arc::clone(self),
            call,
            account,
            request_id,
            reserve,
            day,
            zone: settings.zone.clone(),
            left: (!budgets.0.is_empty()).then_some(left),
            budgets,
            sent: false,
            ended: false,
        };
        let written = self.ledger.hold(NewHold {
            call,
            account: hold.account.clone(),
            request_id: hold.request_id.clone(),
            reserve,
            at: self.clock.wall(),
            day,
        });
        if written.await.is_ok() {
            return Ok(hold);
        }
        // It is not there, so there is nothing to end but what is held in memory.
        hold.ended = true;
        self.release(&hold, Credits::ZERO, None);
        Err(Refusal::LedgerUnavailable)
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

    /// One serial step: all budgets are looked at, and then all are taken from.
    fn try_take(
        &self,
        asked: &Asked,
        reserve: Credits,
        zone: &TimeZone,
    ) -> Result<(CallId, Date, Credits), Full> {
        let mut state = self.state();
        let today = state.roll(self.clock, zone);
        let mut least = Credits::MAX;
        for (whose, budget) in &*asked.budgets.0 {
            let standing = state.standing(whose, *budget, today, zone);
            let left = standing.left();
            if left < reserve {
                let without_holds =
                    (standing.budget.credits + standing.granted).saturating_sub(standing.used);
                let may_fit = standing.held > Credits::ZERO && without_holds >= reserve;
                return Err(Full { standing, may_fit });
            }
            least = least.min(left.saturating_sub(reserve));
        }
        for whose in scopes_of(&asked.account.team, &asked.account.key_id) {
            state.sums(whose, today).held += reserve;
        }
        let call = state.next_call;
        state.next_call += 1;
        state.open += 1;
        Ok((call, today, least))
    }

    /// What was held is spent or free.
    fn release(&self, hold: &Hold, spent: Credits, final_cost: Option<Credits>) {
        let mut state = self.state();
        for whose in scopes_of(&hold.account.team, &hold.account.key_id) {
            let sums = state.sums(whose, hold.day);
            sums.held = sums.held.saturating_sub(hold.reserve);
            sums.used += spent;
        }
        state.open = state.open.saturating_sub(1);
        if let Some(cost) = final_cost {
            state.learn(cost);
        }
        for (whose, budget) in &*hold.budgets.0 {
            state.notice_threshold(whose, *budget, hold.day, &hold.zone);
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
        Standing { whose: whose.clone(), budget, granted, used, held, resets: period.resets(today, zone) }
    }

    /// Says, once per period, that a budget has passed a threshold.
    fn notice_threshold(&mut self, whose: &Whose, budget: Budget, day: Date, zone: &TimeZone) {
        let standing = self.standing(whose, budget, day, zone);
        let threshold = standing.threshold();
        let first = budget.period.first(day);
        let passed =
            self.passed.get(whose).filter(|(period, _)| *period == first).map_or(0, |(_, passed)| *passed);
        if threshold > passed {
            self.passed.insert(whose.clone(), (first, threshold));
            tracing::warn!(
                budget = ?whose, threshold_percent = threshold, used = %standing.used,
                credits = %(budget.credits + standing.granted), resets = %standing.resets,
                "a budget has passed a threshold"
            );
        }
    }

    fn learn(&mut self, cost: Credits) {
        if self.costs.len() == LEARNED_FROM {
            self.costs.pop_front();
        }
        self.costs.push_back(cost);
    }

    /// The dearest call in a hundred, of the recent ones.
    fn learned(&self) -> Option<Credits> {
        if self.costs.len() < LEARNED_LEAST {
            return None;
        }
        let mut costs: Vec<_> = self.costs.iter().copied().collect();
        let at = (costs.len() * 99 / 100).min(costs.len() - 1);
        Some(*costs.select_nth_unstable(at).1)
    }
}
