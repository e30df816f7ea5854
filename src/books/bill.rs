//! What follows from the upstream's bill for a job that does not say what it cost: if between two readings everything else is
//! final, and one job alone began and ended, the rest of the difference is its.

use jiff::Timestamp;

use crate::credits::Credits;

/// How the books stand at a moment, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Calls that hold credits, and jobs that go on: the bill moves with them.
    pub(super) open: usize,
    /// All that was ever settled at a figure, since the process began.
    pub(super) settled: Credits,
    /// How many calls, which were no jobs, ended without one.
    pub(super) doubts: u64,
    /// How many jobs have begun.
    pub(super) begun: u64,
    /// How many were given up.
    pub(super) given_up: u64,
}

/// A reading of the bill, while the books stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Still {
    marks: Marks,
    /// The billing period.
    start: Timestamp,
    billed: Credits,
}

/// The readings so far.
#[derive(Debug, Default)]
pub(super) struct Bills {
    last: Option<Still>,
    /// The last one that was the same twice: nothing was on its way to the bill.
    stable: Option<Still>,
    /// The one before that, and how often it was gone back to.
    before: Option<Still>,
    waited: u32,
}

/// How many stable readings the bill may be late by: then a job that is not in it has cost nothing.
const LATEST: u32 = 12;

/// Two readings between which one job may have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Between {
    /// Jobs that began, by number: behind the first, up to the second.
    pub(super) begun: (u64, u64),
    /// What the bill has grown by that is no other call's.
    pub(super) rest: Credits,
}

impl Bills {
    /// Takes up a reading: `before` is how the books stood when it was asked for, `now` how they stand. Returns what lies between
    /// it and the last stable one, if it is stable itself.
    pub(super) fn read(
        &mut self,
        before: Marks,
        now: Marks,
        start: Timestamp,
        billed: Credits,
    ) -> Option<Between> {
        let still = Still { marks: now, start, billed };
        if before != now || now.open > 0 {
            self.last = None;
            return None;
        }
        if self.last.replace(still) != Some(still) {
            return None;
        }
        self.before = self.stable.replace(still);
        let from = self.before.filter(|from| from.start == start)?;
        let same = from.marks.doubts == now.doubts && from.marks.given_up == now.given_up;
        let grown = billed.checked_sub(from.billed)?;
        let rest = grown.checked_sub(now.settled.checked_sub(from.marks.settled)?)?;
        (same && from.marks.begun < now.begun)
            .then_some(Between { begun: (from.marks.begun, now.begun), rest })
    }

    /// What lies between the last two stable readings is less than the jobs that lie there cost: the bill is late, and the next
    /// reading is compared with the earlier one.
    pub(super) fn wait(&mut self) {
        self.waited += 1;
        if self.waited < LATEST {
            self.stable = self.before;
        } else {
            self.waited = 0;
        }
    }

    /// What was derived from it is settled, and in the bill already.
    pub(super) fn derived(&mut self, credits: Credits) {
        self.waited = 0;
        for still in [&mut self.last, &mut self.stable].into_iter().flatten() {
            still.marks.settled += credits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn marks(settled: u64, begun: u64) -> Marks {
        Marks { settled: Credits::whole(settled), begun, ..Marks::default() }
    }

    fn read(bills: &mut Bills, marks: Marks, billed: u64) -> Option<Between> {
        bills.read(marks, marks, START, Credits::whole(billed))
    }

    #[test]
    fn what_is_left_between_two_stable_readings_is_told() {
        let mut bills = Bills::default();
        assert_eq!(read(&mut bills, marks(10, 0), 100), None);
        assert_eq!(read(&mut bills, marks(10, 0), 100), None, "nothing lies before the first that is stable");
        // The bill comes late: a reading that is another than the last tells nothing.
        assert_eq!(read(&mut bills, marks(15, 1), 105), None);
        assert_eq!(read(&mut bills, marks(15, 1), 255), None);
        let between = Between { begun: (0, 1), rest: Credits::whole(150) };
        assert_eq!(read(&mut bills, marks(15, 1), 255), Some(between));
        bills.derived(Credits::whole(150));
        assert_eq!(read(&mut bills, marks(165, 1), 255), None, "it is told once");
    }

    #[test]
    fn a_bill_that_is_late_is_waited_for_and_not_for_ever() {
        let stable = || {
            let mut bills = Bills::default();
            read(&mut bills, marks(0, 0), 0);
            read(&mut bills, marks(0, 0), 0);
            read(&mut bills, marks(0, 1), 0);
            bills
        };
        let nothing = Some(Between { begun: (0, 1), rest: Credits::ZERO });
        let mut bills = stable();
        for _ in 1..LATEST {
            assert_eq!(read(&mut bills, marks(0, 1), 0), nothing);
            bills.wait();
        }
        // Another begins: what comes on the bill is of both, if the first is not known to have cost nothing.
        assert_eq!(read(&mut bills, marks(0, 2), 150), None);
        let both = Between { begun: (0, 2), rest: Credits::whole(150) };
        assert_eq!(read(&mut bills, marks(0, 2), 150), Some(both));
        let mut bills = stable();
        for _ in 0..LATEST {
            assert_eq!(read(&mut bills, marks(0, 1), 0), nothing);
            bills.wait();
        }
        assert_eq!(read(&mut bills, marks(0, 2), 150), None);
        let second = Between { begun: (1, 2), rest: Credits::whole(150) };
        assert_eq!(read(&mut bills, marks(0, 2), 150), Some(second));
    }

    #[test]
    fn a_reading_in_the_midst_of_something_or_beside_doubt_tells_nothing() {
        let stable = || {
            let mut bills = Bills::default();
            read(&mut bills, marks(0, 0), 0);
            read(&mut bills, marks(0, 0), 0);
            bills
        };
        let twice = |bills: &mut Bills, marks, billed| {
            read(bills, marks, billed);
            read(bills, marks, billed)
        };
        assert!(twice(&mut stable(), marks(0, 1), 150).is_some());
        for (what, wrong) in [
            ("a call is open", Marks { open: 1, ..marks(0, 1) }),
            ("another call is in doubt", Marks { doubts: 1, ..marks(0, 1) }),
            ("a job was given up", Marks { given_up: 1, ..marks(0, 1) }),
            ("more was settled than billed", marks(200, 1)),
            ("no job began", marks(0, 0)),
        ] {
            assert_eq!(twice(&mut stable(), wrong, 150), None, "{what}");
        }
        let mut bills = stable();
        assert_eq!(
            bills.read(marks(0, 0), marks(0, 1), START, Credits::whole(150)),
            None,
            "it moved meanwhile"
        );
        let another = Timestamp::from_second(1).unwrap();
        for _ in 0..2 {
            let read = bills.read(marks(0, 1), marks(0, 1), another, Credits::whole(150));
            assert_eq!(read, None, "another period");
        }
    }
}
