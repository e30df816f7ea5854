//! The stage that holds a team to its calls in flight.

use crate::arrival::Refused;
use crate::books::limits::Limits;
use crate::identify::Identified;
use crate::limit::in_flight::Permit;
use crate::stage::Check;

/// A request within its team's limits.
pub struct Permitted<B> {
    /// What came before.
    pub identified: Identified<B>,
    /// Held until the answer is over.
    pub permit: Permit,
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
            let is_read = identified.routed.target.route.row().is_read();
            let permit = if is_read { permit } else { permit.to_write() };
            return Ok(Permitted { identified, permit });
        }
        let refusal = Limits::from(team.limits).concurrency_limited(&team.name);
        Err(Refused::new(identified.routed.arrival.exchange, refusal))
    }
}
