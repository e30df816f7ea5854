//! Calls in flight: a permit that lives until the last byte of the answer, streams and exchanges that are read on after
//! their caller has left included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
