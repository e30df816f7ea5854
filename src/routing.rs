//! The first stage: whether a request is one we serve, and which row of the table it is for.

use crate::arrival::{Arrival, Refused};
use crate::head;
use crate::route::Target;
use crate::stage::Check;

/// A request for something we serve.
pub struct Routed<B> {
    /// What came before.
    pub arrival: Arrival<B>,
    /// What is asked for.
    pub target: Target,
}

/// The stage that decides whether a request is one we serve.
#[derive(Clone, Copy, Debug)]
pub struct Routing;

impl<B> Check<Arrival<B>> for Routing {
    type Out = Routed<B>;

    fn check(&self, mut arrival: Arrival<B>) -> Result<Routed<B>, Refused> {
        match head::judge(&arrival.head) {
            Ok(target) => {
                arrival.exchange.routed(target.clone());
                Ok(Routed { arrival, target })
            }
            Err(refusal) => Err(Refused::new(arrival.exchange, refusal)),
        }
    }
}
