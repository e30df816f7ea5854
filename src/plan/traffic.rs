//! What was asked, and what was spent before: all that is read of a ledger.

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::credits::budget::Grant;
use crate::credits::period::{Period, day_of};
use crate::desk::{GRANT_DAYS, Moment};
use crate::ledger::{LedgerError, Past, Reading, Span, Spend};

/// What was asked of gateways in a span of time.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// From when on: the beginning of a day.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Calls, and what else asked.
    pub past: Past,
    /// What had been spent before, by day.
    pub spent: Vec<Spend>,
    /// Grants, with those that are over.
    pub grants: Vec<Grant>,
}

impl Traffic {
    /// Reads it, from the beginning of a day on.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn read(
        reading: &dyn Reading,
        first: Date,
        until: Timestamp,
        zone: &TimeZone,
    ) -> Result<Self, LedgerError> {
        let before = first.checked_sub(1.day()).unwrap_or(first);
        let since = Period::Day.resets(before, zone).min(until);
        let back = first.checked_sub(GRANT_DAYS.days()).unwrap_or(first);
        Ok(Self {
            since,
            until,
            past: reading.past(since, until)?,
            spent: reading.spends(Span { since: back, until: before })?,
            grants: reading.changes(back, i64::MAX)?.grants,
        })
    }

    /// A moment of it, counted from its beginning.
    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        Moment::try_from(at.duration_since(self.since)).unwrap_or_default()
    }

    /// The day that it begins with.
    pub(super) fn first_day(&self, zone: &TimeZone) -> Date {
        day_of(self.since, zone)
    }
}
