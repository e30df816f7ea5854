//! The calendar beside the desk: which day is booked on, and when it is over. Asked when a day ends, not at each call.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::credits::period::{Period, day_of};
use crate::desk::{Desk, Moment};

/// A leap of the wall clock against the monotonic one that is worth a word.
const LEAP: Duration = Duration::from_mins(5);

/// A clock that is more days than this behind the day that is booked on is followed back, and a ledger that is more days
/// than this ahead of the clock was written by one that was wrong.
pub(super) const FOLLOWED_BACK: i32 = 2;

/// The day that is booked on.
#[derive(Debug)]
pub(super) struct Days {
    clock: Clock,
    zone: TimeZone,
    /// When it is over by the wall's clock.
    ends: Timestamp,
    /// Before this moment it is so far ahead of the wall's clock that it was wrong.
    wrong_before: Timestamp,
    /// Wall and monotonic time at the last look, to notice leaps.
    looked: (Timestamp, Instant),
}

/// When a day is over, and before when it is too far ahead to be right.
fn bounds(day: Date, zone: &TimeZone) -> (Timestamp, Timestamp) {
    let ahead = day.checked_sub((FOLLOWED_BACK + 1).days()).unwrap_or(day);
    (Period::Day.resets(day, zone), Period::Day.resets(ahead, zone))
}

impl Days {
    /// Days of a zone, beginning with `today`: the clock's, or a later one that was booked on already.
    pub(super) fn new(clock: Clock, zone: &TimeZone, today: Date) -> Self {
        let zone = zone.clone();
        let (ends, wrong_before) = bounds(today, &zone);
        Self { clock, zone, ends, wrong_before, looked: (clock.wall(), clock.now()) }
    }

    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Other days from now on, by another zone. One that was booked on is not opened again.
    pub(super) fn set_zone(&mut self, zone: &TimeZone, today: Date) {
        if *zone != self.zone {
            self.zone = zone.clone();
            (self.ends, self.wrong_before) = bounds(today, zone);
        }
    }

    /// Another day is booked on.
    pub(super) fn follow(&mut self, today: Date) {
        (self.ends, self.wrong_before) = bounds(today, &self.zone);
    }

    /// How long today lasts yet, when it is `wall`; a little more, so that the day is over by the wall's clock too.
    pub(super) fn left(&self, wall: Timestamp) -> Duration {
        let left = self.ends.duration_since(wall);
        Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1)
    }

    /// When today is over, as a desk knows time that goes by this clock.
    pub(super) fn end(&self) -> Moment {
        self.clock.since_origin() + self.left(self.clock.wall())
    }

    /// Moves a desk on to the clock's day. Returns the time as the desk knows it.
    pub(super) fn roll(&mut self, desk: &mut Desk) -> Moment {
        let (wall, now) = (self.clock.wall(), self.clock.now());
        if let Some(today) = self.next((wall, now), desk.today()) {
            desk.roll(today, self.end());
        }
        self.clock.since_origin_of(now)
    }

    /// The day to book on from now on, if it is another: the wall's. Back only where the wall is more than two days behind: then
    /// it was wrong before, and a start would follow it too.
    pub(super) fn next(&mut self, (wall, now): (Timestamp, Instant), booked_on: Date) -> Option<Date> {
        let passed = now.saturating_duration_since(self.looked.1);
        let by_the_wall = wall.as_microsecond() - self.looked.0.as_microsecond();
        let leap = by_the_wall.saturating_sub_unsigned(u64::try_from(passed.as_micros()).unwrap_or(u64::MAX));
        let looked = std::mem::replace(&mut self.looked, (wall, now)).0;
        if Duration::from_micros(leap.unsigned_abs()) > LEAP {
            let expected = looked.saturating_add(passed).unwrap_or(wall);
            tracing::warn!(%wall, %expected, "the wall clock has leapt; budget periods follow it forwards, and back by more than two days");
        }
        let was_wrong = wall < self.wrong_before;
        if wall < self.ends && !was_wrong {
            return None;
        }
        let day = day_of(wall, &self.zone);
        let today = if was_wrong { day } else { day.max(booked_on) };
        if was_wrong {
            tracing::warn!(%booked_on, %today, "the day that was booked on is not yet to come: the clock was wrong, and is followed back");
        }
        self.follow(today);
        Some(today)
    }
}
