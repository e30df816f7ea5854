//! The stage that holds a team to its requests per minute.

use crate::arrival::Refused;
use crate::identify::Identified;
use crate::refuse::Refusal;
use crate::stage::Check;

/// The stage that holds a team to its requests per minute.
#[derive(Clone, Copy, Debug)]
pub struct Rate;

impl<B> Check<Identified<B>> for Rate {
    type Out = Identified<B>;

    fn check(&self, mut identified: Identified<B>) -> Result<Identified<B>, Refused> {
        let team = &identified.caller.team;
        let taken = team.rate.take();
        identified.routed.arrival.exchange.rate(team.rate.standing());
        match taken {
            Ok(()) => Ok(identified),
            Err(retry_after) => {
                let refusal = Refusal::RateLimited {
                    team: team.name.to_string(),
                    per_minute: team.limits.requests_per_minute.get(),
                    burst: team.limits.burst.get(),
                    of: "requests",
                    retry_after,
                };
                Err(Refused::new(identified.routed.arrival.exchange, refusal))
            }
        }
    }
}
