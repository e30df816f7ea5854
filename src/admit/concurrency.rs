//! The stage that holds a team to its calls in flight.

use crate::arrival::Refused;
use crate::books::place::RoutePermit;
use crate::identify::Identified;
use crate::limit::in_flight::Permit;
use crate::refuse::Refusal;
use crate::stage::Check;

/// A request within its team's limits.
pub struct Permitted<B> {
    /// What came before.
    pub identified: Identified<B>,
    /// Held until the answer is over.
    pub permits: Permits,
}

/// What a call holds for as long as it is in flight.
#[derive(Debug)]
pub struct Permits {
    _team: Permit,
    /// Where the route is capped: given at the desk.
    pub(super) route: Option<RoutePermit>,
}

impl Permits {
    /// One of a team alone.
    pub(crate) fn of_team(permit: Permit) -> Self {
        Self { _team: permit, route: None }
    }
}

/// The stage that holds a team to its calls in flight.
#[derive(Clone, Copy, Debug)]
pub struct Concurrency;

impl<B> Check<Identified<B>> for Concurrency {
    type Out = Permitted<B>;

    fn check(&self, identified: Identified<B>) -> Result<Permitted<B>, Refused> {
        let team = &identified.caller.team;
        let limit = team.limits.concurrency;
        if let Some(permit) = team.in_flight.take(limit) {
            return Ok(Permitted { identified, permits: Permits::of_team(permit) });
        }
        let refusal = Refusal::ConcurrencyLimited { team: team.name.to_string(), limit, of: "calls" };
        Err(Refused::new(identified.routed.arrival.exchange, refusal))
    }
}
