//! The desk, as a stage: everything that a call takes from others, its turn, a place in the organisation's window, what the
//! upstream takes of its route at once and the credits it may cost, is given here in one step, or nothing is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::body::Judged;
use super::credits_max::within_max;
use super::patience::patience;
use crate::arrival::Refused;
use crate::books::admission::{Admission, Asked, Denied};
use crate::books::keeper::Keeper;
use crate::books::place::{Came, Place};
use crate::credits::budget::Budgets;
use crate::desk::{Ask, Cap};
use crate::head::received::Received;
use crate::live::Snapshot;
use crate::live::directory::Caller;
use crate::refuse::Refusal;
use crate::route::Route;

/// A request that may be sent.
pub struct Admitted {
    /// What came before.
    pub judged: Box<Judged>,
    /// Its place in the window.
    pub place: Place,
}

/// What becomes of a request that may be sent and is not answered.
pub enum Declined {
    /// It is refused.
    Refused(Refused),
    /// The upstream had no place for it: it was refused before any work, and waits for another turn where it stood.
    PutBack(Box<Judged>, Came),
}

impl From<Refused> for Declined {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The layer of the desk.
#[derive(Clone, Debug)]
pub struct DeskLayer(pub Arc<Keeper>);

impl<S> Layer<S> for DeskLayer {
    type Service = AtDesk<S>;

    fn layer(&self, inner: S) -> AtDesk<S> {
        AtDesk { desk: Arc::clone(&self.0), inner }
    }
}

/// A service behind the desk. Cloned for every request.
#[derive(Clone, Debug)]
pub struct AtDesk<S> {
    desk: Arc<Keeper>,
    inner: S,
}

impl<S> Service<Box<Judged>> for AtDesk<S>
where
    S: Service<Admitted, Error = Declined, Future: Send, Response: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Refused>> + Send>>;

    /// What is behind it is always ready, also a second time.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, judged: Box<Judged>) -> Self::Future {
        let (desk, mut inner) = (Arc::clone(&self.desk), self.inner.clone());
        Box::pin(async move {
            let (mut judged, mut again) = (judged, None);
            loop {
                let admitted = admit(&desk, judged, again).await?;
                match inner.call(admitted).await {
                    Ok(response) => return Ok(response),
                    Err(Declined::Refused(refused)) => return Err(refused),
                    // Once: who was put back has a place that does not say where it stood.
                    Err(Declined::PutBack(back, came)) => (judged, again) = (back, Some(came)),
                }
            }
        })
    }
}

/// Cancel-safe: see [`Keeper::admit`].
async fn admit(
    desk: &Arc<Keeper>,
    mut judged: Box<Judged>,
    again: Option<Came>,
) -> Result<Admitted, Refused> {
    let route = judged.target.route;
    let head = &judged.head;
    let asked = ask(desk, &judged.snapshot, &judged.caller, route, head);
    let ask = match asked.and_then(|ask| within_max(head, &ask).map(|()| ask)) {
        Ok(ask) => ask,
        Err(refusal) => return Err(Refused::new(judged.exchange, refusal)),
    };
    judged.exchange.queues();
    let (request_id, retry) = (judged.exchange.id().as_str(), judged.exchange.retry());
    let limits = Some(judged.caller.team.limits.into());
    let admitted = desk.admit(Asked { ask, request_id, retry, limits }, again).await;
    if desk.shared().is_some() {
        judged.exchange.rate(judged.caller.team.standing(desk).0);
    }
    match admitted {
        Ok(Admission { place, hold, presence, queued }) => {
            judged.exchange.queued(queued);
            if let Some(presence) = presence {
                judged.permit.carry(presence);
            }
            if let Some(hold) = hold {
                judged.exchange.hold(hold);
            }
            Ok(Admitted { judged, place })
        }
        Err(Denied { refusal, queued }) => {
            judged.exchange.queued(queued);
            Err(Refused::new(judged.exchange, refusal))
        }
    }
}

/// What a caller's call of a route asks the desk for.
pub(crate) fn ask(
    desk: &Keeper,
    snapshot: &Snapshot,
    caller: &Caller,
    route: Route,
    head: &Received,
) -> Result<Ask, Refusal> {
    let row = route.row();
    let special = caller.team.of_route(route);
    let reserve = special.and_then(|of_route| of_route.reserve);
    Ok(Ask {
        owner: 0,
        team: Arc::clone(&caller.who.team),
        weight: caller.team.weight,
        key_id: Arc::clone(&caller.who.key_id),
        route: route.index(),
        costs: row.costs(),
        reserve: reserve.unwrap_or_else(|| desk.reserve(&snapshot.config.credits, route)),
        budgets: if row.costs() { caller.budgets_of(route).clone() } else { Budgets::default() },
        cap: row.cap.map(|calls| Cap { calls, team: special.and_then(|of_route| of_route.jobs) }),
        patience: patience(&snapshot.config, &caller.team, head)?,
    })
}
