//! Credits held for one call, and their one ending.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::accounts::{Accounts, Asked, Taken};
use crate::config::Credits as Settings;
use crate::credits::Credits;
use crate::ledger::{Basis, Ending, NewEnding, NewHold};
use crate::meter::Usage;
use crate::refuse::Refusal;

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
}

/// Credits held for one call. Ends once: by [`Hold::end`], or, if it is simply dropped, by rule.
#[derive(Debug)]
pub struct Hold {
    accounts: Arc<Accounts>,
    taken: Taken,
    /// How long the call waited for what others held.
    waited: Duration,
    sent: bool,
    ended: bool,
}

impl Accounts {
    /// Holds credits for a call, as [`Accounts::hold_with`] that needs nothing else.
    ///
    /// # Errors
    /// As there.
    pub async fn hold(self: &Arc<Self>, asked: Asked, settings: &Settings) -> Result<Hold, Refusal> {
        self.hold_with(asked, settings, || Ok(())).await.map(|((), hold)| hold)
    }

    /// Holds credits for a call, in all budgets or in none, durably in the ledger before it returns, together with whatever
    /// else it needs, which `other` takes: both in one step, or neither. Where only the holds of other calls are in the way,
    /// or the period is about to end, waits for that up to `settings.wait`; and who waits has nothing that others could use.
    ///
    /// Cancel-safe: dropped while it waits, it holds nothing; dropped while the ledger writes, what it held
    /// is given back.
    ///
    /// # Errors
    /// Whose budget is spent or held, why there is nothing else, or that the ledger cannot write.
    pub async fn hold_with<T>(
        self: &Arc<Self>,
        asked: Asked,
        settings: &Settings,
        other: impl Fn() -> Result<T, Refusal>,
    ) -> Result<(T, Hold), Refusal> {
        let reserve = asked.account.route.map_or(Credits::ZERO, |route| self.reserve(settings, route));
        let began = self.clock.now();
        let deadline = began + settings.wait;
        let (other, taken) = loop {
            // Before the look: what is freed behind it is not missed.
            let freed = self.freed.notified();
            let standing = match self.try_take(&asked, reserve, &settings.zone) {
                // Credits first: who is woken in vain does not even touch the rest.
                Ok(credits) => match other() {
                    Ok(other) => break (other, credits),
                    Err(refusal) => {
                        self.release(&credits, Credits::ZERO, None);
                        return Err(refusal);
                    }
                },
                Err(standing) => standing,
            };
            let refusal = || Refusal::of_budget(&standing, reserve, &settings.zone);
            let now = self.clock.now();
            let begins_anew = now + self.until(standing.resets);
            if now >= deadline
                || !(standing.tally.would_fit_without_holds(reserve) || begins_anew <= deadline)
            {
                return Err(refusal());
            }
            let _ = tokio::time::timeout_at(deadline.min(begins_anew), freed).await;
        };
        let waited = self.clock.now().saturating_duration_since(began);
        let mut hold = Hold { accounts: Arc::clone(self), taken, waited, sent: false, ended: false };
        let written = self.ledger.hold(NewHold {
            call: hold.taken.call,
            account: hold.taken.account.clone(),
            request_id: asked.request_id,
            reserve,
            at: self.clock.wall(),
            day: hold.taken.day,
        });
        if written.await.is_ok() {
            return Ok((other, hold));
        }
        // It is not there, so there is nothing to end but what is held in memory.
        hold.ended = true;
        self.release(&hold.taken, Credits::ZERO, None);
        Err(Refusal::LedgerUnavailable)
    }
}

impl Accounts {
    /// How long until that moment by the wall clock, and a little more.
    fn until(&self, at: Timestamp) -> Duration {
        let left = Duration::try_from(at.duration_since(self.clock.wall())).unwrap_or_default();
        left + Duration::from_millis(1)
    }
}

impl Hold {
    /// What is held.
    #[must_use]
    pub fn reserve(&self) -> Credits {
        self.taken.reserve
    }

    /// What the tightest budget has left with this hold counted; `None` where no budget binds.
    #[must_use]
    pub fn left(&self) -> Option<Credits> {
        self.taken.left
    }

    /// How long the call waited for what other calls held.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether the request may have reached the upstream: what a drop makes of the hold.
    pub fn sent(&mut self, sent: bool) {
        self.sent = sent;
    }

    /// Ends the hold.
    pub fn end(mut self, closing: Closing) {
        self.close(closing);
    }

    fn close(&mut self, closing: Closing) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Closing { ending, outcome, response_id, usage, at, sent_at } = closing;
        let (spent, final_cost) = match ending {
            Ending::Settled { credits, basis: Basis::Final, .. } => (credits, Some(credits)),
            Ending::Settled { credits, .. } => (credits, None),
            Ending::Voided { .. } => (Credits::ZERO, None),
        };
        let Taken { call, account, reserve, .. } = &self.taken;
        // The ledger first: whoever is admitted on what this frees stands behind it there, so that no prefix of the
        // entries, and no crash between two of them, shows more taken than a budget has.
        self.accounts.ledger.end(NewEnding {
            call: *call,
            account: account.clone(),
            reserve: *reserve,
            at,
            sent_at,
            outcome,
            response_id,
            usage,
            ending,
        });
        self.accounts.release(&self.taken, spent, final_cost);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (ending, outcome) = if self.sent {
            let reason = "dropped";
            (Ending::Settled { credits: self.taken.reserve, basis: Basis::Estimated, reason }, "cut")
        } else {
            (Ending::Voided { reason: "never_sent" }, "refused")
        };
        let (usage, at) = (Usage::default(), self.accounts.clock.wall());
        self.close(Closing { ending, outcome, response_id: None, usage, at, sent_at: None });
    }
}
