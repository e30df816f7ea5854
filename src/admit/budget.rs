//! Credits: a call that costs holds its reserve in every budget that binds, durably, before it may go on.

use std::sync::Arc;

use super::window::Admitted;
use crate::arrival::Refused;
use crate::books::accounts::{Accounts, Asked};
use crate::ledger;
use crate::stage::Wait;

/// The stage that holds credits.
#[derive(Clone, Debug)]
pub struct HoldCredits(pub Arc<Accounts>);

impl Wait<Admitted> for HoldCredits {
    type Out = Admitted;

    async fn wait(&self, admitted: Admitted) -> Result<Admitted, Refused> {
        hold(&self.0, admitted).await
    }
}

/// Cancel-safe: see [`Accounts::hold`].
async fn hold(accounts: &Arc<Accounts>, mut admitted: Admitted) -> Result<Admitted, Refused> {
    let judged = &mut admitted.judged;
    if !judged.target.route.row().costs() {
        return Ok(admitted);
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
    let outcome = accounts.hold(asked, &judged.snapshot.config.credits).await;
    judged.exchange.stage("hold credits", began);
    match outcome {
        Ok(hold) => {
            judged.exchange.hold(hold);
            Ok(admitted)
        }
        Err(refusal) => Err(Refused::new(admitted.judged.exchange, refusal)),
    }
}
