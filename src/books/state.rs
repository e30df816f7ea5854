//! What is behind a keeper's lock: what all gateways of the ledger have in common, the calendar beside it, and who waits here
//! for a word.

use std::collections::HashMap;
use std::time::Duration;

use jiff::civil::Date;
use tokio::sync::oneshot;

use super::bill::Bills;
use super::common::{Common, Given};
use super::days::Days;
use crate::credits::budget::{Budget, Budgets, Standing, Tally, Whose};
use crate::credits::period::written;
use crate::desk::{Ask, Change, Moment, No, NoPlace, State as UpstreamState, Ticket, Trouble};
use crate::refuse::Refusal;
use crate::route::Route;

#[derive(Debug)]
pub(super) struct State {
    /// Those that are configured.
    pub(super) teams: Vec<String>,
    /// What all gateways of the ledger have in common.
    pub(super) common: Common,
    pub(super) days: Days,
    /// Readings of the bill.
    pub(super) bills: Bills,
    /// The highest threshold each budget was seen past, by the first day of its period.
    pub(super) passed: HashMap<Whose, (Date, u64)>,
    /// Calls that wait, by what they are told with.
    pub(super) callers: HashMap<Ticket, oneshot::Sender<Told>>,
    /// When the alarm rings, while there is one.
    pub(super) alarm: Option<Moment>,
    /// Nobody waits any more.
    pub(super) closing: bool,
}

/// What a call that waited is told.
pub(super) type Told = Result<Given, Refusal>;

impl State {
    /// A caller that waits leaves. Returns when it had come, if it was still waiting.
    pub(super) fn leave(&mut self, team: &str, ticket: Ticket, now: Moment) -> Option<Moment> {
        self.callers.remove(&ticket)?;
        self.common.desk.leave(team, ticket, now)
    }

    pub(super) fn standing(&self, whose: &Whose, budget: Budget) -> Standing {
        self.stands(whose, budget, self.common.desk.tally(whose, budget))
    }

    fn stands(&self, whose: &Whose, budget: Budget, tally: Tally) -> Standing {
        let resets = budget.period.resets(self.common.desk.today(), self.days.zone());
        Standing { whose: whose.clone(), budget, tally, resets }
    }

    /// In words for the caller.
    pub(super) fn refusal(&self, no: No, ask: &Ask, waited: Duration, now: Moment) -> Refusal {
        match no {
            No::Upstream { trouble, look } => self.troubled(trouble, look.saturating_sub(now)),
            No::Place(no_place) => refusal_of(no_place, waited, ask.patience.turn, now),
            No::QueueFull { waiting, from } => {
                let retry_after = from.saturating_sub(now);
                Refusal::QueueFull { team: ask.team.to_string(), waiting, retry_after }
            }
            No::RouteFull { calls, of_team } => {
                let route = Route::all().nth(ask.route);
                Refusal::RouteFull {
                    team: of_team.then(|| ask.team.to_string()),
                    route: route.map_or("", Route::label),
                    limit: calls.get(),
                    jobs: route.is_some_and(|route| route.row().job().is_some()),
                }
            }
            No::Short { whose, budget, tally } => {
                let standing = self.stands(&whose, budget, tally);
                Refusal::of_budget(&standing, ask.reserve, self.days.zone())
            }
        }
    }

    /// In words for a caller that the upstream cannot serve.
    fn troubled(&self, trouble: Trouble, look: Duration) -> Refusal {
        match trouble {
            Trouble::PoolEmpty => {
                let resets = self.common.pool_resets.map(|at| written(at, self.days.zone()));
                Refusal::UpstreamCreditsExhausted { resets }
            }
            Trouble::WorkspaceLimit => Refusal::UpstreamWorkspaceLimit,
            Trouble::SubscriptionLapsed => Refusal::UpstreamSubscriptionLapsed,
            Trouble::KeyRefused => Refusal::UpstreamCredentials,
            Trouble::Unreachable => Refusal::UpstreamDown { retry_after: look },
        }
    }

    /// Says, once per period, that a budget has passed a threshold.
    pub(super) fn notice_thresholds(&mut self, budgets: &Budgets) {
        for (whose, budget) in &*budgets.0 {
            let threshold = self.common.desk.tally(whose, *budget).threshold();
            if threshold == 0 {
                continue;
            }
            let standing = self.standing(whose, *budget);
            let first = budget.period.first(self.common.desk.today());
            let before = self.passed.get(whose).filter(|(period, _)| *period == first);
            if before.is_some_and(|(_, passed)| *passed >= threshold) {
                continue;
            }
            self.passed.insert(whose.clone(), (first, threshold));
            let Standing { tally, resets, .. } = standing;
            tracing::warn!(
                budget = ?whose, threshold_percent = threshold, used = %tally.used, credits = %tally.whole, %resets,
                "a budget has passed a threshold"
            );
        }
    }
}

/// In words for a caller that has waited for so long, and can for so long.
pub(super) fn refusal_of(no_place: NoPlace, waited: Duration, can_wait: Duration, now: Moment) -> Refusal {
    let until = |at: Moment| at.saturating_sub(now);
    match no_place {
        NoPlace::Closed { until: at } => Refusal::UpstreamWindowClosed { retry_after: until(at) },
        NoPlace::Full { per_minute, position, from } => {
            let retry_after = until(from);
            Refusal::UpstreamWindowFull { per_minute, position, waited, can_wait, retry_after }
        }
    }
}

/// Tells of a state of the upstream's: a line when it begins, one a minute while it goes on, and one when it is over.
pub(super) fn tell_of(change: Change) {
    match change {
        Change::Began(state) => {
            tracing::error!(state = state.as_str(), "{}", advice(state));
        }
        Change::GoesOn(state, refused) => {
            tracing::warn!(state = state.as_str(), refused, "the upstream's state goes on");
        }
        Change::Ended(state, refused, lasted) => {
            let seconds = lasted.as_secs();
            tracing::info!(
                state = state.as_str(),
                refused,
                seconds,
                "the upstream's state is over: calls flow again"
            );
        }
    }
}

/// What an operator is told when a state begins.
const fn advice(state: UpstreamState) -> &'static str {
    match state {
        UpstreamState::Serving | UpstreamState::WindowClosed => "the upstream serves",
        UpstreamState::PoolEmpty => {
            "the organisation's pool of credits is empty: calls that cost are refused until the upstream has credits again"
        }
        UpstreamState::WorkspaceLimit => {
            "a limit that the organisation set for a workspace or a project is reached: raise it in the dashboard"
        }
        UpstreamState::SubscriptionLapsed => {
            "the upstream's subscription has lapsed: every call is refused until it is renewed"
        }
        UpstreamState::KeyRefused => {
            "the upstream refuses the organisation's key: renew it at its source, `upstream.api_key`, and it is picked up"
        }
        UpstreamState::Unreachable => {
            "the upstream cannot be reached: calls are refused until a connection can be made"
        }
        UpstreamState::Slow => "the upstream gives no answer within `upstream.first_byte_timeout`",
    }
}
