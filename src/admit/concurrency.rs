//! The stage that holds a team to its calls in flight, and the organisation to what the upstream takes of a route at once.

use std::sync::Arc;

use crate::arrival::Refused;
use crate::identify::Identified;
use crate::limit::in_flight::{InFlight, Permit};
use crate::refuse::Refusal;
use crate::route::{Route, Row};
use crate::stage::Check;

/// A request within its team's limits.
pub struct Permitted<B> {
    /// What came before.
    pub identified: Identified<B>,
    /// Held until the last byte of the answer.
    pub permits: Permits,
}

/// What a call holds for as long as it is in flight.
#[derive(Debug)]
pub struct Permits {
    _team: Permit,
    _route: Option<Permit>,
}

impl Permits {
    /// One of a team alone.
    #[cfg(test)]
    pub(crate) fn of_team(permit: Permit) -> Self {
        Self { _team: permit, _route: None }
    }
}

/// The stage that holds a team to its calls in flight.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// Calls of each route, over all teams.
    routes: Arc<[Arc<InFlight>]>,
}

impl Concurrency {
    /// No call is in flight.
    #[must_use]
    pub fn new() -> Self {
        Self { routes: Route::all().map(|_| Arc::default()).collect() }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self::new()
    }
}

/// A permit of a route, where it has a cap.
fn of_route(row: &Row, in_flight: &Arc<InFlight>) -> Result<Option<Permit>, Refusal> {
    let Some(cap) = row.cap else { return Ok(None) };
    let full = || Refusal::RouteFull { route: row.label, limit: cap.get() };
    in_flight.take(cap.get()).map(Some).ok_or_else(full)
}

impl<B> Check<Identified<B>> for Concurrency {
    type Out = Permitted<B>;

    fn check(&self, identified: Identified<B>) -> Result<Permitted<B>, Refused> {
        let (team, route) = (&identified.caller.team, identified.routed.target.route);
        let limit = team.limits.concurrency;
        let full = || Refusal::ConcurrencyLimited { team: team.name.to_string(), limit, of: "calls" };
        let permits = team.in_flight.take(limit).ok_or_else(full).and_then(|of_team| {
            let of_route = of_route(route.row(), &self.routes[route.index()])?;
            Ok(Permits { _team: of_team, _route: of_route })
        });
        match permits {
            Ok(permits) => Ok(Permitted { identified, permits }),
            Err(refusal) => Err(Refused::new(identified.routed.arrival.exchange, refusal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_with_a_cap_is_held_to_it_over_all_teams() {
        let row = Route::explained().row();
        let in_flight = Arc::default();
        assert!(of_route(row, &in_flight).unwrap().is_none(), "without a cap there is none");
        let capped = Row { cap: std::num::NonZeroUsize::new(1), method: row.method.clone(), ..*row };
        let first = of_route(&capped, &in_flight).unwrap();
        let refusal = of_route(&capped, &in_flight).unwrap_err();
        assert_eq!((refusal.status().as_u16(), refusal.code().as_str()), (429, "job_limit_reached"));
        drop(first);
        assert!(of_route(&capped, &in_flight).unwrap().is_some());
    }
}
