//! Credits: a call that costs holds its reserve in every budget that binds, durably, before it may go on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::account::{Accounts, Asked};
use crate::ledger;
use crate::stage::{Admitted, Refused};

/// The layer of [`HoldCredits`].
#[derive(Clone, Debug)]
pub struct HoldCreditsLayer(pub Arc<Accounts>);

impl<S> Layer<S> for HoldCreditsLayer {
    type Service = HoldCredits<S>;

    fn layer(&self, inner: S) -> HoldCredits<S> {
        HoldCredits { inner, accounts: Arc::clone(&self.0) }
    }
}

/// The stage that holds credits.
#[derive(Clone, Debug)]
pub struct HoldCredits<S> {
    inner: S,
    accounts: Arc<Accounts>,
}

impl<S> Service<Admitted> for HoldCredits<S>
where
    S: Service<Admitted, Error = Refused> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Refused>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        // The service that is ready goes with the call; its clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let accounts = Arc::clone(&self.accounts);
        Box::pin(async move { inner.call(hold(&accounts, admitted).await?).await })
    }
}

/// Cancel-safe: see [`Accounts::hold`].
async fn hold(accounts: &Arc<Accounts>, mut admitted: Admitted) -> Result<Admitted, Refused> {
    let judged = &mut admitted.judged;
    if !judged.target.route.costs() {
        return Ok(admitted);
    }
    let asked = Asked {
        account: ledger::Account {
            team: Arc::clone(&judged.caller.team.name),
            key_id: Arc::clone(&judged.caller.key_id),
            route: judged.target.route.label(),
        },
        request_id: judged.exchange.id().to_string(),
        budgets: judged.caller.budgets.clone(),
    };
    match accounts.hold(asked, &judged.snapshot.config.credits).await {
        Ok(hold) => {
            judged.exchange.hold(hold);
            Ok(admitted)
        }
        Err(refusal) => Err(Refused::new(admitted.judged.exchange, refusal)),
    }
}
