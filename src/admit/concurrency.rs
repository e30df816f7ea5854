//! Calls in flight of a team: a permit that lives until the last byte of the answer, streams and
//! exchanges that are read on after their caller has left included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::refuse::Refusal;
use crate::stage::{Check, Identified, Permitted, Refused};

/// How many calls of a team are in flight. Outlives a reload, so that a changed limit holds for the
/// calls that are there already.
#[derive(Debug, Default)]
pub struct InFlight(AtomicUsize);

impl InFlight {
    /// Takes a permit, unless `limit` are out.
    #[must_use]
    pub fn take(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| (now < limit).then_some(now + 1))
            .ok()
            .map(|_| Permit(Arc::clone(self)))
    }

    /// Permits that are out.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// One call's permit. Given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<InFlight>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
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
            Ok(Permitted { identified, permit })
        } else {
            let refusal = Refusal::ConcurrencyLimited { team: team.name.to_string(), limit };
            Err(Refused::new(identified.routed.arrival.exchange, refusal))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_and_come_back() {
        let in_flight = Arc::new(InFlight::default());
        let first = in_flight.take(2).unwrap();
        let _second = in_flight.take(2).unwrap();
        assert!(in_flight.take(2).is_none());
        assert!(in_flight.take(3).is_some(), "a raised limit holds at once");
        drop(first);
        assert_eq!(in_flight.count(), 1);
        assert!(in_flight.take(2).is_some());
    }
}
