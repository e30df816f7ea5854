//! The desk of a gateway that is alone on its ledger: one value behind one lock, one alarm for whoever waits, and the journal.
//!
//! What it gives is held in memory at once, so that admission is one serial step, and written to the ledger by the call that
//! was given it before that call goes on. The ledger is what it is rebuilt from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::bill::{Bills, Marks};
use super::days::{Days, FOLLOWED_BACK};
use super::job::Jobs;
use super::learned::Learned;
use super::owners::Owners;
use super::pace::Pace;
use super::queue_counts::{QueueCounts, Waited};
use super::state::State;
use crate::clock::Clock;
use crate::config::{Config, Credits as CreditSettings, Reserve};
use crate::credits::Credits;
use crate::credits::budget::{Budgets, Grant, Standing, Whose};
use crate::credits::period::day_of;
use crate::desk::{Ask, BookedOn, Desk, Look, Seen, Settings, State as UpstreamState};
use crate::ledger::{Account, CallId, Ledger, NewSaving, Spend};
use crate::refuse::Refusal;
use crate::route::{Learns, Route};

/// The desk, and all that stands around it.
#[derive(Debug)]
pub struct LocalDesk {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: Clock,
    pub(super) counts: QueueCounts,
    /// Whose things are that were made through the gateway.
    pub owners: Owners,
    state: Mutex<State>,
    /// The alarm is to ring earlier than it was set to.
    pub(super) earlier: Notify,
    /// Where the alarm rings: not on an event loop that writes the ledger, and may hang with its disk.
    pub(super) runtime: Option<Handle>,
}

/// What the desk is to go by under a configuration.
fn settings(config: &Config) -> Settings {
    Settings {
        per_minute: config.upstream.requests_per_minute,
        reserve: config.queue.reserve,
        waiting: config.queue.waiting,
        queues: !config.queue.wait.is_zero(),
    }
}

fn names(config: &Config) -> Vec<String> {
    config.teams.iter().map(|team| team.name.clone()).collect()
}

impl LocalDesk {
    /// A desk over a ledger, as its sums say. `spent` is what was settled by day, team and key; `last_call` the last call
    /// ever held.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        clock: Clock,
        config: &Config,
        counts: QueueCounts,
        last_call: CallId,
        spent: &[Spend],
    ) -> Arc<Self> {
        let zone = &config.credits.zone;
        let mut today = day_of(clock.wall(), zone);
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
        let mut desk = Desk::new(settings(config), clock.since_origin(), today, days.end());
        for spend in spent {
            let millionths = i64::try_from(spend.credits().millionths()).unwrap_or(i64::MAX);
            let (team, key_id) = (spend.team.as_str().into(), spend.key_id.as_str().into());
            let route = Route::named(&spend.route).map(Route::index);
            desk.adjust(spend.day, BookedOn { team: &team, key_id: &key_id, route }, millionths);
        }
        let teams = names(config);
        for name in &teams {
            counts.team(name);
        }
        let state = State {
            teams,
            desk,
            days,
            learned: Learned::default(),
            jobs: Jobs::default(),
            marks: Marks::default(),
            bills: Bills::default(),
            next_call: last_call + 1,
            open: 0,
            passed: HashMap::new(),
            callers: HashMap::new(),
            alarm: None,
            closing: false,
            pool_resets: None,
        };
        let owners = Owners::new(Arc::clone(&ledger), clock);
        let (state, earlier, runtime) = (Mutex::new(state), Notify::new(), Handle::try_current().ok());
        Arc::new(Self { ledger, clock, counts, owners, state, earlier, runtime })
    }

    /// Another configuration is in force. Who waits for a team that is gone is told so.
    pub fn reconfigure(&self, config: &Config) {
        let mut state = self.state();
        let State { desk, days, .. } = &mut *state;
        desk.set(settings(config));
        days.set_zone(&config.credits.zone, desk.today());
        let is_gone = |name: &str| !config.teams.iter().any(|team| team.name == name);
        self.dismiss(&mut state, is_gone, &Refusal::InvalidApiKey);
        let teams = names(config);
        let before = std::mem::replace(&mut state.teams, teams);
        before.iter().filter(|name| is_gone(name)).for_each(|name| self.counts.forget(name));
        for name in &state.teams {
            self.counts.team(name);
        }
        // What was wrong, with the key say, may have been mended.
        let now = self.clock.since_origin();
        state.see(Seen::Reconfigured, now, now);
        self.turn(&mut state);
    }

    /// The gateway is going. Who waits is told so, and nobody waits from now on.
    pub fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        self.dismiss(&mut state, |_| true, &Refusal::Draining);
    }

    fn dismiss(&self, state: &mut State, whom: impl Fn(&str) -> bool, why: &Refusal) {
        let now = state.roll();
        for (team, ticket, joined) in state.desk.dismiss(whom, now) {
            self.counts.waited(&team, Waited::Dismissed, now.saturating_sub(joined));
            if let Some(caller) = state.callers.remove(&ticket) {
                // One that leaves at this moment needs no word.
                let _ = caller.send(Err(why.clone()));
            }
        }
    }

    /// Copies were given the answer of a call, and would have cost so much each.
    pub fn saved(&self, account: Account, copies: u32, each: Credits) {
        let credits = Credits::from_millionths(each.millionths().saturating_mul(copies.into()));
        if credits > Credits::ZERO {
            let day = self.state().desk.today();
            self.ledger.saved(NewSaving { account, day, copies, credits });
        }
    }

    /// Takes up a correction of what was spent.
    pub fn adjust(&self, day: Date, on: BookedOn<'_>, millionths: i64) {
        let mut state = self.state();
        state.desk.adjust(day, on, millionths);
        self.turn(&mut state);
    }

    /// Replaces the grants in force.
    pub fn set_grants(&self, grants: Vec<Grant>) {
        let mut state = self.state();
        state.desk.set_grants(grants);
        self.turn(&mut state);
    }

    /// Costs of a route that a learned reserve starts from, the oldest first.
    pub fn learn_from(&self, route: Route, costs: impl IntoIterator<Item = Credits>) {
        let mut state = self.state();
        for cost in costs {
            state.learned.cost(route, cost);
        }
    }

    /// Takes up what was sent before there was this desk, so many moments ago each.
    pub fn take_up(&self, ages: impl IntoIterator<Item = Duration>) {
        let mut state = self.state();
        let now = state.roll();
        ages.into_iter().for_each(|age| state.desk.take_up(age, now));
    }

    /// Takes up what was seen of the upstream.
    pub fn see(&self, seen: Seen) {
        let now = self.clock.since_origin();
        let mut state = self.state();
        state.see(seen, now, now);
        self.turn(&mut state);
    }

    /// Takes up what the upstream's usage says: whether its pool has credits, and when it is filled again.
    pub fn pool(&self, has_credits: bool, resets: Timestamp) {
        self.state().pool_resets = Some(resets);
        self.see(Seen::Usage { has_credits });
    }

    /// How the upstream is, as far as it has told.
    #[must_use]
    pub fn upstream(&self) -> UpstreamState {
        self.state().desk.upstream(self.clock.since_origin())
    }

    /// What a call of a route is to hold.
    #[must_use]
    pub fn reserve(&self, settings: &CreditSettings, route: Route) -> Credits {
        let row = route.row();
        match (row.learns, settings.reserve) {
            (Learns::Never, _) => row.reserve,
            (Learns::AsConfigured, Reserve::Fixed(credits)) => credits,
            (Learns::AsConfigured, Reserve::Learned { floor }) => {
                self.state().learned.reserve(floor, floor, route)
            }
            (Learns::From(floor), _) => self.state().learned.reserve(row.reserve, floor, route),
        }
    }

    /// What would become of a call, apart from its budgets: which in the order of turns it would be, how long until its turn
    /// at the least, and why it would be refused.
    #[must_use]
    pub fn look(&self, ask: &Ask) -> (usize, Duration, Option<Refusal>) {
        let mut state = self.state();
        let now = state.roll();
        let Look { position, from, refused } = state.desk.look(ask, now);
        let refusal = refused.map(|no| state.refusal(no, ask, Duration::ZERO, now));
        (position, from.saturating_sub(now), refusal)
    }

    /// How the budgets stand, without taking anything: whether a call would be admitted now.
    #[must_use]
    pub fn standings(&self, budgets: &Budgets) -> Vec<Standing> {
        let mut state = self.state();
        state.roll();
        budgets.0.iter().map(|(whose, budget)| state.standing(whose, *budget)).collect()
    }

    /// What a team holds now.
    #[must_use]
    pub fn held(&self, whose: &Whose) -> Credits {
        self.state().desk.held(whose)
    }

    /// Credits per day that are spent at present; nothing if none were in the last days.
    #[must_use]
    pub fn pace(&self, whose: &Whose) -> Option<Pace> {
        let mut state = self.state();
        state.roll();
        Pace::of(
            state.desk.spent(whose).into_iter(),
            state.desk.today(),
            self.clock.wall(),
            state.days.zone(),
        )
    }

    /// Calls that are held and not ended.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.state().open
    }

    /// Places of the upstream's window that are in use, those of others included.
    #[must_use]
    pub fn window_used(&self) -> u32 {
        let now = self.clock.since_origin();
        self.state().desk.used(now)
    }

    /// Calls of a team that wait, and how many places it is behind its fair share.
    #[must_use]
    pub fn waiting(&self, team: &str) -> (u32, f64) {
        let state = self.state();
        let waiting = u32::try_from(state.desk.waiting(team)).unwrap_or(u32::MAX);
        (waiting, state.desk.lag(team, self.clock.since_origin()))
    }

    /// Looks whether the ledger is still the one that was opened. Reads the file system: not for an event loop.
    pub fn look_at_ledger(&self) {
        self.ledger.look();
    }

    /// Returns when the ledger has written all that was booked.
    pub fn flush(&self) {
        self.ledger.flush();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
