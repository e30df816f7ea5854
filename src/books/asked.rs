//! How things stand at a desk, for whoever asks and takes nothing.

use std::cmp::Reverse;
use std::time::Duration;

use super::home::Home;
use super::keeper::Keeper;
use super::limits::Limits;
use super::pace::Pace;
use crate::credits::Credits;
use crate::credits::budget::{Budgets, Standing, Whose};
use crate::desk::{Ask, Look, State as UpstreamState};
use crate::limit::rate;
use crate::refuse::Refusal;

impl Keeper {
    /// How the upstream is, as far as it has told.
    #[must_use]
    pub fn upstream(&self) -> UpstreamState {
        self.state().common.desk.upstream(self.seen_at())
    }

    /// What would become of a call, apart from its budgets: which in the order of turns it would be, how long until its turn
    /// at the least, and why it would be refused.
    #[must_use]
    pub fn look(&self, ask: &Ask) -> (usize, Duration, Option<Refusal>) {
        let mut state = self.state();
        let now = self.look_at(&mut state);
        let Look { position, from, refused } = state.common.desk.look(ask, now);
        let refusal = refused.map(|no| state.refusal(no, ask, Duration::ZERO, now));
        (position, from.saturating_sub(now), refusal)
    }

    /// How the budgets stand, without taking anything: whether a call would be admitted now.
    #[must_use]
    pub fn standings(&self, budgets: &Budgets) -> Vec<Standing> {
        let mut state = self.state();
        self.look_at(&mut state);
        budgets.0.iter().map(|(whose, budget)| state.standing(whose, *budget)).collect()
    }

    /// What the tightest of the budgets has left; `None` where there is none.
    #[must_use]
    pub fn left(&self, budgets: &Budgets) -> Option<Credits> {
        self.standings(budgets).iter().map(|standing| standing.tally.left()).min()
    }

    /// What a team holds now.
    #[must_use]
    pub fn held(&self, whose: &Whose) -> Credits {
        self.state().common.desk.held(whose)
    }

    /// Credits per day that are spent at present; nothing if none were in the last days.
    #[must_use]
    pub fn pace(&self, whose: &Whose) -> Option<Pace> {
        let mut state = self.state();
        self.look_at(&mut state);
        Pace::of(
            state.common.desk.spent(whose).into_iter(),
            state.common.desk.today(),
            self.clock.wall(),
            state.days.zone(),
        )
    }

    /// Calls that are held and not ended.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.state().common.open
    }

    /// Places of the upstream's window that are in use, those of others included.
    #[must_use]
    pub fn window_used(&self) -> u32 {
        let now = self.seen_at();
        self.state().common.desk.used(now)
    }

    /// Calls of a team that wait, and how many places it is behind its fair share.
    #[must_use]
    pub fn waiting(&self, team: &str) -> (u32, f64) {
        let state = self.state();
        let waiting = u32::try_from(state.common.desk.waiting(team)).unwrap_or(u32::MAX);
        (waiting, state.common.desk.lag(team, self.seen_at()))
    }

    /// How long a call of a team that came now would wait for a place of the window at the least; nothing while none of them waits for
    /// one.
    #[must_use]
    pub fn least_wait(&self, team: &str) -> Option<Duration> {
        let mut state = self.state();
        let now = self.look_at(&mut state);
        state.common.desk.least_wait(team, now)
    }

    /// What a team has left of its rate, and its calls at the same time: of this gateway, or of all that share its ledger
    /// where that binds sooner.
    #[must_use]
    pub fn of_team(
        &self,
        team: &str,
        limits: Limits,
        here: (rate::Standing, usize),
    ) -> (rate::Standing, usize) {
        if matches!(self.home, Home::Local(_)) {
            return here;
        }
        let now = self.seen_at();
        let all = self.state().common.calls.as_ref().map(|calls| calls.teams.standing(team, limits, now));
        all.map_or(here, |(rate, calls)| {
            let tightness = |rate: &rate::Standing| (Reverse(rate.left), rate.one_more);
            let binds = if tightness(&rate) > tightness(&here.0) { rate } else { here.0 };
            (binds, calls.max(here.1))
        })
    }
}
