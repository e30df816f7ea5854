//! Whoever keeps a desk: asks it, writes down what it gives, and tells those who wait. The desk lives in memory, or is one that
//! several gateways have in common; see `local.rs` and [`super::shared`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use tokio::time::Instant;

use super::bill::Bills;
use super::calls::Elsewhere;
use super::common::Common;
use super::days::{Days, FOLLOWED_BACK};
use super::home::{Alarm, Home};
use super::learned;
use super::owners::Owners;
use super::queue_counts::{QueueCounts, Waited};
use super::shared::Shared;
use super::state::State;
use super::step::{Sight, Step};
use crate::clock::Clock;
use crate::config::{Config, Credits as CreditSettings};
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::credits::period::day_of;
use crate::desk::{BookedOn, Desk, GRACE, Moment, Seen, Settings};
use crate::ledger::{Account, Aside, CallId, Ledger, NewAsks, NewSaving, Retry, Spend};
use crate::refuse::Refusal;
use crate::route::Route;

/// The desk, and all that stands around it.
#[derive(Debug)]
pub struct Keeper {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: Clock,
    pub(super) counts: QueueCounts,
    /// Whose things are that were made through the gateway.
    pub owners: Owners,
    state: Mutex<State>,
    pub(super) home: Home,
}

/// What the desk is to go by under a configuration.
pub(super) fn settings(config: &Config, grace: Duration) -> Settings {
    Settings {
        per_minute: config.upstream.requests_per_minute,
        reserve: config.queue.reserve,
        waiting: config.queue.waiting,
        queues: !config.queue.wait.is_zero(),
        grace,
    }
}

/// A desk as sums of a ledger say, and the calendar beside it, when it is `wall` and, as the desk knows time, `now`.
pub(super) fn desk(
    config: &Config,
    clock: Clock,
    spent: &[Spend],
    (wall, now): (Timestamp, Moment),
    grace: Duration,
) -> (Desk, Days) {
    let zone = &config.credits.zone;
    let mut today = day_of(wall, zone);
    let furthest = today.checked_add(FOLLOWED_BACK.days()).unwrap_or(today);
    for spend in spent {
        // A ledger that was written with the clock a little further on has closed the days before. Days further
        // off were written under a wrong clock, and must not freeze the budgets until they come.
        if spend.day <= furthest {
            today = today.max(spend.day);
        } else {
            tracing::error!(day = %spend.day, team = spend.team, "the ledger has entries of the future: the clock was wrong; they count for their own day alone");
        }
    }
    let days = Days::new(clock, zone, today);
    let desk = desk_with(config, grace, spent, (now, today, now + days.left(wall)));
    (desk, days)
}

/// A desk that knows what was spent, when it is `now` on the day `today`, which is over at `ends`.
pub(crate) fn desk_with(
    config: &Config,
    grace: Duration,
    spent: &[Spend],
    (now, today, ends): (Moment, Date, Moment),
) -> Desk {
    let mut desk = Desk::new(settings(config, grace), now, today, ends);
    for spend in spent {
        let millionths = i64::try_from(spend.credits().millionths()).unwrap_or(i64::MAX);
        let (team, key_id) = (spend.team.as_str().into(), spend.key_id.as_str().into());
        let route = Route::named(&spend.route).map(Route::index);
        desk.adjust(spend.day, BookedOn { team: &team, key_id: &key_id, route }, millionths);
    }
    desk
}

fn names(config: &Config) -> Vec<String> {
    config.teams.iter().map(|team| team.name.clone()).collect()
}

impl Keeper {
    /// A keeper of a desk that is here alone, over a ledger, as its sums say. `spent` is what was settled by day, team and key;
    /// `last_call` the last call ever held.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        clock: Clock,
        config: &Config,
        counts: QueueCounts,
        last_call: CallId,
        spent: &[Spend],
    ) -> Arc<Self> {
        let (desk, days) = desk(config, clock, spent, (clock.wall(), clock.since_origin()), Duration::ZERO);
        let common = Common::new(desk, last_call, 0);
        Arc::new(Self::over(ledger, clock, config, counts, (common, days), Home::Local(Alarm::new())))
    }

    pub(super) fn over(
        ledger: Arc<dyn Ledger>,
        clock: Clock,
        config: &Config,
        counts: QueueCounts,
        (common, days): (Common, Days),
        home: Home,
    ) -> Self {
        let teams = names(config);
        for name in &teams {
            counts.team(name);
        }
        let state = State {
            teams,
            common,
            days,
            bills: Bills::default(),
            passed: HashMap::new(),
            callers: HashMap::new(),
            alarm: None,
            closing: false,
        };
        let owners = Owners::new(Arc::clone(&ledger), clock);
        Self { ledger, clock, counts, owners, state: Mutex::new(state), home }
    }

    /// Says something at the desk: it is taken up at once where that is here, and in the next turn where it is not.
    pub(super) fn say(self: &Arc<Self>, step: Step) {
        match &self.home {
            Home::Local(_) => self.take(&mut self.state(), step),
            Home::Shared(shared) => shared.say(step),
        }
    }

    /// The time as the desk knows it.
    pub(super) fn moment(&self) -> Moment {
        match &self.home {
            Home::Local(_) => self.clock.since_origin(),
            Home::Shared(shared) => shared.time.moment(self.clock.since_origin()),
        }
    }

    /// When a moment of the desk's is, or was.
    pub(super) fn instant(&self, moment: Moment) -> Instant {
        match &self.home {
            Home::Local(_) => self.clock.after_origin(moment),
            Home::Shared(shared) => self.clock.after_origin(shared.time.since_origin(moment)),
        }
    }

    /// Moves on to the clock's day, where that is here. Returns the time as the desk knows it.
    pub(super) fn look_at(&self, state: &mut State) -> Moment {
        match &self.home {
            Home::Local(_) => state.days.roll(&mut state.common.desk),
            Home::Shared(_) => self.seen_at(),
        }
    }

    /// The time for whoever looks, and says nothing.
    pub(super) fn seen_at(&self) -> Moment {
        match &self.home {
            Home::Local(_) => self.clock.since_origin(),
            Home::Shared(shared) => shared.time.surely(self.clock.since_origin()),
        }
    }

    /// A call that another gateway has made has come to nothing, as the ledger says by now.
    pub fn comes_to_nothing(&self, retry: &Retry, call: CallId) {
        if let Home::Shared(shared) = &self.home {
            shared.comes_to_nothing(retry.key, call);
        }
    }

    /// Another configuration is in force. Who waits for a team that is gone is told so.
    pub fn reconfigure(self: &Arc<Self>, config: &Config) {
        let mut state = self.state();
        let State { common, days, .. } = &mut *state;
        match &self.home {
            Home::Local(_) => common.desk.set(settings(config, Duration::ZERO)),
            Home::Shared(shared) => shared.set(settings(config, GRACE), config.retries.keep),
        }
        days.set_zone(&config.credits.zone, common.desk.today());
        let is_gone = |name: &str| !config.teams.iter().any(|team| team.name == name);
        self.dismiss(&mut state, is_gone, &Refusal::InvalidApiKey);
        let teams = names(config);
        let before = std::mem::replace(&mut state.teams, teams);
        before.iter().filter(|name| is_gone(name)).for_each(|name| self.counts.forget(name));
        for name in &state.teams {
            self.counts.team(name);
        }
        drop(state);
        // What was wrong, with the key say, may have been mended.
        self.see(Seen::Reconfigured);
    }

    /// The gateway is going. Who waits is told so, and nobody waits from now on.
    pub fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        self.dismiss(&mut state, |_| true, &Refusal::Draining);
    }

    fn dismiss(&self, state: &mut State, whom: impl Fn(&str) -> bool, why: &Refusal) {
        let now = self.look_at(state);
        let dismissed = match &self.home {
            Home::Local(_) => state.common.desk.dismiss(whom, now),
            Home::Shared(shared) => shared.dismiss(&state.common.desk, whom),
        };
        for (team, ticket, joined) in dismissed {
            self.counts.waited(&team, Waited::Dismissed, now.saturating_sub(joined));
            if let Some(caller) = state.callers.remove(&ticket) {
                // One that leaves at this moment needs no word.
                let _ = caller.send(Err(why.clone()));
            }
        }
    }

    /// Calls have asked that nothing else tells of.
    pub fn asked(&self, asks: impl IntoIterator<Item = NewAsks>) {
        for asks in asks {
            self.ledger.aside(Aside::Asked(asks));
        }
    }

    /// Copies were given the answer of a call, and would have cost so much each.
    pub fn saved(&self, account: Account, copies: u32, each: Credits) {
        if let Some(saving) = self.saving(account, copies, each) {
            self.ledger.aside(Aside::Saved(saving));
        }
    }

    /// What copies would have cost, if anything.
    pub(super) fn saving(&self, account: Account, copies: u32, each: Credits) -> Option<NewSaving> {
        let credits = Credits::from_millionths(each.millionths().saturating_mul(copies.into()));
        let day = self.state().common.desk.today();
        (credits > Credits::ZERO).then_some(NewSaving { account, day, copies, credits })
    }

    /// Takes up a correction of what was spent.
    pub fn adjust(self: &Arc<Self>, day: Date, account: Account, millionths: i64) {
        self.say(Step::Adjusted { day, account, millionths });
    }

    /// Replaces the grants in force.
    pub fn set_grants(self: &Arc<Self>, grants: Vec<Grant>) {
        self.say(Step::Grants(grants));
    }

    /// Costs of a route that a learned reserve starts from, the oldest first.
    pub fn learn_from(&self, route: Route, costs: impl IntoIterator<Item = Credits>) {
        let mut state = self.state();
        for cost in costs {
            state.common.learned.cost(route, cost);
        }
    }

    /// Takes up what was sent before there was this desk, so many moments ago each.
    pub fn take_up(&self, ages: impl IntoIterator<Item = Duration>) {
        let mut state = self.state();
        let now = self.look_at(&mut state);
        ages.into_iter().for_each(|age| state.common.desk.take_up(age, now));
    }

    /// Takes up what was seen of the upstream.
    pub fn see(self: &Arc<Self>, seen: Seen) {
        let sent = self.moment();
        self.say(Step::Seen(Sight { seen, sent }));
    }

    /// Takes up what the upstream's usage says: whether its pool has credits, and when it is filled again.
    pub fn pool(self: &Arc<Self>, has_credits: bool, resets: Timestamp) {
        self.say(Step::PoolResets(resets));
        self.see(Seen::Usage { has_credits });
    }

    /// What a call of a route is to hold.
    #[must_use]
    pub fn reserve(&self, settings: &CreditSettings, route: Route) -> Credits {
        learned::reserve(settings, route, |unlearned, floor| {
            self.state().common.learned.reserve(unlearned, floor, route)
        })
    }

    /// Looks whether the ledger is still the one that was opened. Reads the file system: not for an event loop.
    pub fn look_at_ledger(&self) {
        self.ledger.look();
    }

    /// Returns when the ledger has written all that was booked; or, where others write it too, when that has been waited for long
    /// enough, and is kept.
    pub async fn finish(&self) {
        match &self.home {
            Home::Local(_) => self.ledger.flush(),
            Home::Shared(shared) => shared.finish().await,
        }
    }

    /// What is known of a call that another gateway has made, by the key that names it and its retries.
    pub async fn elsewhere(&self, retry: &Retry) -> Option<Elsewhere> {
        let Home::Shared(shared) = &self.home else { return None };
        shared.catch_up().await;
        self.state().common.calls.as_ref()?.elsewhere(retry, shared.id())
    }

    /// Returns when all that other gateways have said until now is known here.
    pub async fn catch_up(&self) {
        if let Home::Shared(shared) = &self.home {
            shared.catch_up().await;
        }
    }

    /// What other gateways have to do with this one's desk, if there are any.
    #[must_use]
    pub fn shared(&self) -> Option<&Shared> {
        match &self.home {
            Home::Local(_) => None,
            Home::Shared(shared) => Some(shared),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
