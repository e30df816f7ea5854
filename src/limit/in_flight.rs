//! Calls in flight: a permit that lives until the last byte of the answer, streams and exchanges that are read on after
//! their caller has left included.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many calls of a team are in flight. Outlives a reload, so that a changed limit holds for the
/// calls that are there already.
#[derive(Debug, Default)]
pub struct InFlight {
    count: AtomicUsize,
    /// How often something that the team may read has become, or may have become, another.
    changes: AtomicU64,
}

impl InFlight {
    /// Takes a permit, unless `limit` are out.
    #[must_use]
    pub fn take(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        self.count
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| (now < limit).then_some(now + 1))
            .ok()
            .map(|_| Permit { of: Arc::clone(self), writes: false, carried: None })
    }

    /// Permits that are out.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Another number than before, if what the team has read may be another by now.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

/// One call's permit. Given back when dropped.
#[derive(Debug)]
pub struct Permit {
    of: Arc<InFlight>,
    writes: bool,
    /// What is given back with it.
    carried: Option<Box<dyn Any + Send + Sync>>,
}

impl Permit {
    /// The call is no read: what the team has read before it, or before its end, is not what it would read behind it.
    #[must_use]
    pub fn to_write(mut self) -> Self {
        self.writes = true;
        self.wrote();
        self
    }

    /// Something else is given back when this is.
    pub fn carry(&mut self, what: impl Any + Send + Sync) {
        self.carried = Some(Box::new(what));
    }

    /// What the call may have written can be read from now on.
    pub fn wrote(&self) {
        if self.writes {
            self.of.changes.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.wrote();
        self.of.count.fetch_sub(1, Ordering::AcqRel);
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

    #[test]
    fn what_is_read_may_be_another_when_a_write_begins_when_it_is_answered_and_when_it_ends() {
        let in_flight = Arc::new(InFlight::default());
        let read = in_flight.take(9).unwrap();
        read.wrote();
        drop(read);
        assert_eq!(in_flight.changes(), 0, "a read changes nothing");
        let write = in_flight.take(9).unwrap().to_write();
        assert_eq!(in_flight.changes(), 1);
        write.wrote();
        assert_eq!(in_flight.changes(), 2);
        drop(write);
        assert_eq!((in_flight.changes(), in_flight.count()), (3, 0));
    }
}
