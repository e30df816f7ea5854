//! How fast credits are spent, and when they run out if it goes on like this.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::credits::Credits;
use crate::credits::period::Period;

/// Calendar days that are looked back on, today among them: a whole week, so that weekends count as they should.
const DAYS: i32 = 7;
/// Less time than this tells nothing: the first call after midnight is no trend.
const LEAST: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Credits per day, over the last seven calendar days or since the first of them on which any were spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// In 24 hours.
    pub per_day: Credits,
}

impl Pace {
    /// From what was spent by day. Nothing if nothing was.
    pub(super) fn of(
        spent: impl Iterator<Item = (Date, Credits)>,
        today: Date,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Option<Self> {
        let since = today.checked_sub((DAYS - 1).days()).unwrap_or(today);
        let recent = spent.filter(|(day, credits)| (since..=today).contains(day) && *credits > Credits::ZERO);
        let (first, sum) = recent.fold((None, Credits::ZERO), |(first, sum), (day, credits)| {
            (Some(first.map_or(day, |first: Date| first.min(day))), sum + credits)
        });
        let began = Period::Day.resets(first?.yesterday().ok()?, zone);
        let elapsed = now.duration_since(began).max(LEAST);
        let per_day = u128::from(sum.millionths()) * seconds(DAY) / seconds(elapsed);
        Some(Self { per_day: Credits::from_millionths(u64::try_from(per_day).unwrap_or(u64::MAX)) })
    }

    /// When `left` is spent at this pace, if that is before `end`. At once if nothing is left.
    #[must_use]
    pub fn runs_out(self, left: Credits, now: Timestamp, end: Timestamp) -> Option<Timestamp> {
        let per_day = u128::from(self.per_day.millionths());
        let lasts = (u128::from(left.millionths()) * seconds(DAY)).checked_div(per_day)?;
        let lasts = SignedDuration::from_secs(i64::try_from(lasts).ok()?);
        now.checked_add(lasts).ok().filter(|at| *at < end)
    }
}

fn seconds(time: SignedDuration) -> u128 {
    u128::try_from(time.as_secs()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn pace(spent: &[(Date, u64)], now: &str) -> Option<u64> {
        let now: Timestamp = now.parse().unwrap();
        let today = now.to_zoned(TimeZone::UTC).date();
        let spent = spent.iter().map(|(day, credits)| (*day, Credits::whole(*credits)));
        Pace::of(spent, today, now, &TimeZone::UTC).map(|pace| pace.per_day.millionths() / 1_000_000)
    }

    #[test]
    fn the_pace_is_what_a_week_spent_by_the_time_that_passed() {
        let monday = date(2026, 11, 23);
        let week: Vec<_> = (0..7).map(|back| (monday - back.days(), 70)).collect();
        assert_eq!(pace(&week, "2026-11-23T23:59:59Z"), Some(70));
        // Half of today is gone, so the same sum took six days and a half.
        assert_eq!(pace(&week, "2026-11-23T12:00:00Z"), Some(75));
        assert_eq!(pace(&[(monday, 12)], "2026-11-23T12:00:00Z"), Some(24));
        assert_eq!(pace(&[(monday - 8.days(), 500)], "2026-11-23T12:00:00Z"), None, "too long ago");
        assert_eq!(pace(&[(monday, 0)], "2026-11-23T12:00:00Z"), None);
    }

    #[test]
    fn the_first_minutes_of_a_day_are_no_trend() {
        assert_eq!(pace(&[(date(2026, 11, 23), 3)], "2026-11-23T00:00:10Z"), Some(72));
    }

    #[test]
    fn what_lasts_beyond_the_period_does_not_run_out() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let end: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        let pace = Pace { per_day: Credits::whole(100) };
        let at = pace.runs_out(Credits::whole(250), now, end);
        assert_eq!(at, Some("2026-11-25T12:00:00Z".parse().unwrap()));
        assert_eq!(pace.runs_out(Credits::whole(800), now, end), None);
        assert_eq!(pace.runs_out(Credits::ZERO, now, end), Some(now));
        assert_eq!(Pace { per_day: Credits::ZERO }.runs_out(Credits::whole(1), now, end), None);
    }
}
