//! The desk: a place in the organisation's window and the credits that a call may cost are given in one step, or neither is.
//! Who waits for credits that other calls hold has no place meanwhile that others could use.

use std::sync::Arc;

use super::body::Judged;
use crate::arrival::Refused;
use crate::books::accounts::{Accounts, Asked};
use crate::ledger;
use crate::limit::window::{Slot, Window};
use crate::refuse::Refusal;
use crate::stage::Wait;

/// A request that may be sent.
pub struct Admitted {
    /// What came before.
    pub judged: Judged,
    /// Its place in the window.
    pub slot: Slot,
}

/// The stage that holds all teams together to the organisation's window, and each to its budgets.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The organisation's window.
    pub window: Arc<Window>,
    /// Who may spend how much.
    pub accounts: Arc<Accounts>,
}

impl Wait<Judged> for Desk {
    type Out = Admitted;

    async fn wait(&self, judged: Judged) -> Result<Admitted, Refused> {
        self.admit(judged).await
    }
}

impl Desk {
    /// Cancel-safe: see [`Accounts::hold_with`].
    async fn admit(&self, mut judged: Judged) -> Result<Admitted, Refused> {
        let limit = judged.snapshot.config.upstream.requests_per_minute.get();
        let place = || self.window.take(limit).map_err(Refusal::from);
        if !judged.target.route.row().costs() {
            return match place() {
                Ok(slot) => Ok(Admitted { judged, slot }),
                Err(refusal) => Err(Refused::new(judged.exchange, refusal)),
            };
        }
        let asked = Asked {
            account: ledger::Account {
                team: Arc::clone(&judged.caller.who.team),
                key_id: Arc::clone(&judged.caller.who.key_id),
                route: Some(judged.target.route),
            },
            request_id: judged.exchange.id().to_string(),
            budgets: judged.caller.budgets.clone(),
        };
        let began = judged.exchange.clock().now();
        let outcome = self.accounts.hold_with(asked, &judged.snapshot.config.credits, place).await;
        judged.exchange.stage("hold credits", began);
        match outcome {
            Ok((slot, hold)) => {
                judged.exchange.hold(hold);
                Ok(Admitted { judged, slot })
            }
            Err(refusal) => Err(Refused::new(judged.exchange, refusal)),
        }
    }
}
