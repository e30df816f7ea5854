//! Credits held for one call, and their one ending.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Accounts, Budgets};
use crate::credits::Credits;
use crate::ledger::{self, Basis, CallId, Ending, NewEnding, OpenHold};
use crate::meter::Usage;
use crate::route::Route;

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
    /// When it was sent, if it was.
    pub sent_at: Option<Timestamp>,
}

/// Credits held for one call. Ends once: by [`Hold::end`], or, if it is simply dropped, by rule.
#[derive(Debug)]
pub struct Hold {
    pub(super) accounts: Arc<Accounts>,
    pub(super) call: CallId,
    pub(super) account: ledger::Account,
    pub(super) request_id: String,
    pub(super) reserve: Credits,
    pub(super) day: Date,
    pub(super) zone: TimeZone,
    pub(super) budgets: Budgets,
    pub(super) left: Option<Credits>,
    pub(super) sent: bool,
    pub(super) ended: bool,
}

impl Hold {
    /// What is held.
    #[must_use]
    pub fn reserve(&self) -> Credits {
        self.reserve
    }

    /// What the tightest budget has left with this hold counted; `None` where no budget binds.
    #[must_use]
    pub fn left(&self) -> Option<Credits> {
        self.left
    }

    /// Whether the request may have reached the upstream: what a drop makes of the hold.
    pub fn sent(&mut self, sent: bool) {
        self.sent = sent;
    }

    /// Ends the hold.
    pub fn end(mut self, closing: Closing) {
        self.close(closing);
    }

    fn give_back(&mut self, reason: &'static str) {
        self.close(Closing {
            ending: Ending::Voided { reason },
            outcome: "refused",
            response_id: None,
            usage: Usage::default(),
            sent_at: None,
        });
    }

    fn close(&mut self, closing: Closing) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Closing { ending, outcome, response_id, usage, sent_at } = closing;
        let (spent, final_cost) = match ending {
            Ending::Settled { credits, basis: Basis::Final, .. } => (credits, Some(credits)),
            Ending::Settled { credits, .. } => (credits, None),
            Ending::Voided { .. } => (Credits::ZERO, None),
        };
        // The ledger first: whoever is admitted on what this frees stands behind it there, so that no prefix of the
        // entries, and no crash between two of them, shows more taken than a budget has.
        self.accounts.ledger.end(NewEnding {
            call: self.call,
            account: self.account.clone(),
            request_id: std::mem::take(&mut self.request_id),
            reserve: self.reserve,
            day: self.day,
            at: self.accounts.clock.wall(),
            sent_at,
            outcome,
            response_id,
            usage,
            ending,
        });
        self.accounts.release(self, spent, final_cost);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.sent {
            let ending =
                Ending::Settled { credits: self.reserve, basis: Basis::Estimated, reason: "dropped" };
            let usage = Usage::default();
            self.close(Closing { ending, outcome: "cut", response_id: None, usage, sent_at: None });
        } else {
            self.give_back("never_sent");
        }
    }
}

/// The ending of a hold that a crash left open: booked at its reserve, in doubt.
#[must_use]
pub fn after_crash(open: &OpenHold, at: Timestamp) -> NewEnding {
    NewEnding {
        call: open.call,
        account: ledger::Account {
            team: open.team.as_str().into(),
            key_id: open.key_id.as_str().into(),
            route: Route::named(&open.route).map_or("other", Route::label),
        },
        request_id: open.request_id.clone(),
        reserve: open.reserve,
        day: open.day,
        at,
        sent_at: None,
        outcome: "crashed",
        response_id: None,
        usage: Usage::default(),
        ending: Ending::Settled { credits: open.reserve, basis: Basis::Estimated, reason: "crash" },
    }
}
