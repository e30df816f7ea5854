//! The stage that holds a team to its requests per minute.

use crate::arrival::Refused;
use crate::books::limits::Limits;
use crate::identify::Identified;
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
                let refusal = Limits::from(team.limits).rate_limited(&team.name, retry_after);
                Err(Refused::new(identified.routed.arrival.exchange, refusal))
            }
        }
    }
}
