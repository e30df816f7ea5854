//! Budget periods: calendar days, weeks and months in the configured zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often a budget begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// At midnight.
    Day,
    /// On Monday at midnight (ISO 8601).
    Week,
    /// On the first at midnight.
    Month,
}

impl Period {
    /// The first day of the period that `day` is in.
    #[must_use]
    pub fn first(self, day: Date) -> Date {
        match self {
            Self::Day => day,
            Self::Week => {
                let since_monday = i32::from(day.weekday().to_monday_zero_offset());
                day.checked_sub(since_monday.days()).unwrap_or(day)
            }
            Self::Month => day.first_of_month(),
        }
    }

    /// The first day after the period that `day` is in.
    #[must_use]
    pub fn next(self, day: Date) -> Date {
        let length = match self {
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
        };
        self.first(day).checked_add(length).unwrap_or(Date::MAX)
    }

    /// When the period that `day` is in ends: midnight where there is one, else the moment the clock
    /// resumes after the gap.
    #[must_use]
    pub fn resets(self, day: Date, zone: &TimeZone) -> Timestamp {
        zone.to_ambiguous_zoned(self.next(day).at(0, 0, 0, 0))
            .compatible()
            .map_or(Timestamp::MAX, |midnight| midnight.timestamp())
    }

    /// In words: "this month".
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// The calendar day of a moment in a zone.
#[must_use]
pub fn day_of(at: Timestamp, zone: &TimeZone) -> Date {
    at.to_zoned(zone.clone()).date()
}

/// A moment as callers and operators read it: in a zone, to the second, with its offset; `Z` where there is none, as everywhere else.
#[must_use]
pub fn written(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    let format = if at.offset().is_zero() { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    at.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn periods_begin_and_end_where_the_calendar_says() {
        for (period, day, first, next) in [
            (Period::Day, date(2028, 2, 28), date(2028, 2, 28), date(2028, 2, 29)),
            (Period::Week, date(2026, 1, 1), date(2025, 12, 29), date(2026, 1, 5)),
            (Period::Week, date(2026, 1, 4), date(2025, 12, 29), date(2026, 1, 5)),
            (Period::Month, date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
            (Period::Month, date(2026, 12, 31), date(2026, 12, 1), date(2027, 1, 1)),
        ] {
            assert_eq!((period.first(day), period.next(day)), (first, next), "{period:?} {day}");
        }
    }

    #[test]
    fn days_change_at_the_zones_midnight_on_both_days_of_the_year_that_are_not_24_hours() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        // 29 March 2026 has 23 hours, 25 October 2026 has 25.
        for (day, length) in [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)] {
            let begins = Period::Day.resets(day.yesterday().unwrap(), &zone);
            let ends = Period::Day.resets(day, &zone);
            assert_eq!(ends.duration_since(begins).as_hours(), length, "{day}");
            assert_eq!(day_of(begins, &zone), day);
            assert_eq!(day_of(ends - 1.nanosecond(), &zone), day);
            assert_eq!(day_of(ends, &zone), day.tomorrow().unwrap());
        }
        // A zone whose midnight itself is skipped: the day begins at one o'clock.
        let zone = TimeZone::get("America/Asuncion").unwrap();
        let begins = Period::Day.resets(date(2023, 9, 30), &zone);
        assert_eq!(day_of(begins, &zone), date(2023, 10, 1));
    }

    #[test]
    fn a_moment_is_written_with_its_offset_and_z_where_there_is_none() {
        let at = "2026-07-01T12:00:00Z".parse().unwrap();
        assert_eq!(written(at, &TimeZone::UTC), "2026-07-01T12:00:00Z");
        assert_eq!(written(at, &TimeZone::get("Europe/Berlin").unwrap()), "2026-07-01T14:00:00+02:00");
    }
}
