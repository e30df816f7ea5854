//! Credits held for one call, and their one ending.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::calls::account_of;
use super::common::Given;
use super::job::Told;
use super::keeper::Keeper;
use super::place::RoutePermit;
use super::saying::Saying;
use super::step::{Ended, Step};
use crate::credits::Credits;
use crate::desk::Granted;
use crate::ledger::{
    Account, Aside, Basis, CallId, Ending, Fate, NEVER_SENT, NewEnding, NewHold, NewWait, Retry,
};
use crate::meter::Usage;
use crate::route::Route;
use crate::route::query::is_word;

/// How a call ended, for the ledger.
#[derive(Clone, Debug)]
pub struct Closing {
    /// What is booked.
    pub ending: Ending,
    /// As the record says.
    pub outcome: &'static str,
    /// The upstream's id of the response.
    pub response_id: Option<String>,
    /// What the upstream reported.
    pub usage: Usage,
    /// When it ended.
    pub at: Timestamp,
    /// When it was sent, if it was.
    pub sent_at: Option<Timestamp>,
    /// Copies that were given the same answer.
    pub copies: u32,
    /// What the answer said of a job that it has begun.
    pub job: Told,
}

/// Credits held for one call. Ends once: by [`Hold::end`], or, if it is simply dropped, by rule.
#[derive(Debug)]
pub struct Hold {
    desk: Arc<Keeper>,
    given: Given,
    route: Route,
    /// How long the call has waited for it.
    queued: Duration,
    sent: bool,
    ended: bool,
    /// Where the route is capped. Given back behind the ending: a job that may have begun has taken its place by then.
    _permit: Option<RoutePermit>,
}

impl Hold {
    pub(super) fn new(
        desk: Arc<Keeper>,
        given: Given,
        (route, permit): (Route, Option<RoutePermit>),
        queued: Duration,
    ) -> Self {
        Self { desk, given, route, queued, sent: false, ended: false, _permit: permit }
    }

    /// What is held.
    #[must_use]
    pub fn reserve(&self) -> Credits {
        self.given.granted.ask.reserve
    }

    /// What the tightest budget has left with this hold counted; `None` where no budget binds.
    #[must_use]
    pub fn left(&self) -> Option<Credits> {
        self.given.granted.left
    }

    /// The number that the call is booked by.
    #[must_use]
    pub fn call(&self) -> CallId {
        self.given.call
    }

    /// Whether the request may have reached the upstream: what a drop makes of the hold.
    pub fn sent(&mut self, sent: bool) {
        self.sent = sent;
    }

    /// Ends the hold.
    pub fn end(mut self, closing: Closing) {
        self.close(closing);
    }

    fn account(&self) -> Account {
        account_of(&self.given.granted.ask)
    }

    /// For the ledger.
    pub(super) fn entry(&self, request_id: &str, retry: Option<Box<Retry>>) -> NewHold {
        self.given.entry(request_id, self.desk.clock.wall(), retry)
    }

    /// The ledger could not write it: it is not there, so there is nothing to end but what is held in memory.
    pub(super) fn not_written(mut self) {
        self.ended = true;
        self.release(Saying::new(&self.desk), Credits::ZERO, false, Fate::Free);
    }

    fn close(&mut self, closing: Closing) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Closing { ending, outcome, response_id, usage, at, sent_at, copies, job } = closing;
        // No text of a database has it.
        let response_id = response_id.filter(|id| !id.contains('\0'));
        let (call, account, reserve) = (self.given.call, self.account(), self.reserve());
        let mut saying = Saying::new(&self.desk);
        let begins = self.route.row().job().is_some() && !matches!(ending, Ending::Voided { .. });
        if begins {
            let day = self.given.granted.day;
            let id = response_id.as_deref().filter(|id| is_word(id));
            Keeper::begin_job(&mut saying, (call, account.clone()), id, (day, reserve), at);
        }
        let fate = Fate::of(&ending, self.route.row().requires_key);
        let (spent, final_cost) = match ending {
            Ending::Settled { credits, basis: Basis::Final, .. } => (credits, Some(credits)),
            Ending::Settled { credits, .. } => (credits, None),
            Ending::Voided { .. } => (Credits::ZERO, None),
        };
        // The ledger first: whoever is admitted on what this frees stands behind it there, so that no prefix of the
        // entries, and no crash between two of them, shows more taken than a budget has.
        if let Some(cost) = final_cost.filter(|_| copies > 0)
            && let Some(would_cost) = self.desk.saving(account.clone(), copies, cost)
        {
            saying.aside(Aside::Saved(would_cost));
        }
        if !self.queued.is_zero() {
            saying.aside(Aside::Waited(NewWait { call, queued: self.queued }));
        }
        let ended = NewEnding { call, account, reserve, at, sent_at, outcome, response_id, usage, ending };
        saying.end(ended);
        if begins {
            let told = Told { figure: final_cost, ..job };
            saying.say(Step::JobTold { call, told, basis: Basis::Final });
        }
        self.release(saying, spent, final_cost.is_some(), fate);
    }

    /// What was held is spent or free.
    fn release(&self, saying: Saying<'_>, spent: Credits, is_final: bool, fate: Fate) {
        let Granted { ask, day, .. } = &*self.given.granted;
        let (call, account, reserve) = (self.given.call, self.account(), ask.reserve);
        saying.ended(Ended { call, account, day: *day, reserve, spent, is_final, fate });
        self.desk.state().notice_thresholds(&ask.budgets);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (ending, outcome) = if self.sent {
            let reason = "dropped";
            (Ending::Settled { credits: self.reserve(), basis: Basis::Estimated, reason }, "cut")
        } else {
            (Ending::Voided { reason: NEVER_SENT }, "refused")
        };
        let (usage, at) = (Usage::default(), self.desk.clock.wall());
        let job = Told::default();
        self.close(Closing { ending, outcome, response_id: None, usage, at, sent_at: None, copies: 0, job });
    }
}
