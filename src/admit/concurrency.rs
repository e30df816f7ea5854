//! The stage that holds a team to its calls in flight.

use crate::refuse::Refusal;
use crate::stage::{Check, Identified, Permitted, Refused};

/// The stage that holds a team to its calls in flight.
#[derive(Clone, Copy, Debug)]
pub struct Concurrency;

impl<B> Check<Identified<B>> for Concurrency {
    type Out = Permitted<B>;

    fn check(&self, identified: Identified<B>) -> Result<Permitted<B>, Refused> {
        let team = &identified.caller.team;
        let limit = team.limits.concurrency;
        if let Some(permit) = team.in_flight.take(limit) {
            Ok(Permitted { identified, permit })
        } else {
            let refusal = Refusal::ConcurrencyLimited { team: team.name.to_string(), limit };
            Err(Refused::new(identified.routed.arrival.exchange, refusal))
        }
    }
}
