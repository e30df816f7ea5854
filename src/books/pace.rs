//! How fast credits are spent, and when they run out if it goes on like this.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::credits::Credits;
use crate::credits::period::Period;

/// Calendar days that are looked back on, today among them: a whole week, so that weekends count as they should.
const DAYS: i32 = 7;
/// The part of what may come that the range is of: 8 in 10 of days that are as those were.
const SPREAD: f64 = 1.28;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Credits per day, over the last seven calendar days or since the first of them on which any were spent. Of less than a day
/// there is none: the first call after midnight is no trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// In 24 hours.
    pub per_day: Credits,
    /// How much one whole day is off another: the standard deviation, none where there are fewer than two.
    spread: Credits,
}

/// What a period comes to if it goes on like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Forecast {
    /// Most likely.
    pub likely: Credits,
    /// In 8 of 10 cases not less.
    pub low: Credits,
    /// Nor more.
    pub high: Credits,
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
        let recent: Vec<_> = spent
            .filter(|(day, credits)| (since..=today).contains(day) && *credits > Credits::ZERO)
            .collect();
        let first = recent.iter().map(|(day, _)| *day).min()?;
        let sum = recent.iter().fold(Credits::ZERO, |sum, (_, credits)| sum + *credits);
        let began = Period::Day.resets(first.yesterday().ok()?, zone);
        let elapsed = now.duration_since(began);
        if elapsed < DAY {
            return None;
        }
        let per_day = u128::from(sum.millionths()) * seconds(DAY) / seconds(elapsed);
        let per_day = Credits::from_millionths(u64::try_from(per_day).unwrap_or(u64::MAX));
        let whole = first.until(today).map_or(0, |span| span.get_days());
        let of_day = |back: i32| {
            let day = today.checked_sub(back.days()).unwrap_or(today);
            recent.iter().find(|(other, _)| *other == day).map_or(0.0, |(_, credits)| credits.as_f64())
        };
        let days: Vec<f64> = (1..=whole).map(of_day).collect();
        Some(Self { per_day, spread: Credits::from_f64(deviation(&days)) })
    }

    /// What a period comes to that ends at `end`, of which `used` is spent.
    #[must_use]
    pub fn forecast(self, used: Credits, now: Timestamp, end: Timestamp) -> Forecast {
        let left = end.duration_since(now).as_secs_f64().max(0.0) / DAY.as_secs_f64();
        let comes = self.per_day.as_f64() * left;
        let off = SPREAD * self.spread.as_f64() * left.sqrt();
        let of = |more: f64| used + Credits::from_f64(more.max(0.0));
        Forecast { likely: of(comes), low: of(comes - off), high: of(comes + off) }
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

/// Of single days, around their mean.
#[expect(clippy::cast_precision_loss, reason = "a week has seven")]
fn deviation(days: &[f64]) -> f64 {
    if days.len() < 2 {
        return 0.0;
    }
    let mean = days.iter().sum::<f64>() / days.len() as f64;
    let squares: f64 = days.iter().map(|day| (day - mean).powi(2)).sum();
    (squares / (days.len() - 1) as f64).sqrt()
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
        assert_eq!(pace(&[(monday - 1.day(), 12)], "2026-11-23T12:00:00Z"), Some(8));
        assert_eq!(pace(&[(monday - 8.days(), 500)], "2026-11-23T12:00:00Z"), None, "too long ago");
        assert_eq!(pace(&[(monday, 0)], "2026-11-23T12:00:00Z"), None);
    }

    #[test]
    fn less_than_a_day_is_no_trend() {
        assert_eq!(pace(&[(date(2026, 11, 23), 3)], "2026-11-23T23:59:59Z"), None);
        assert_eq!(pace(&[(date(2026, 11, 22), 3)], "2026-11-23T00:00:00Z"), Some(3));
    }

    #[test]
    fn a_forecast_has_the_range_that_single_days_had() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let end: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
        let spent = |amounts: [u64; 4]| {
            let days = amounts.into_iter().enumerate();
            days.map(|(at, credits)| {
                (date(2026, 11, 19) + i32::try_from(at).unwrap().days(), Credits::whole(credits))
            })
        };
        let of = |amounts| {
            let pace = Pace::of(spent(amounts), date(2026, 11, 23), now, &TimeZone::UTC).unwrap();
            let Forecast { likely, low, high } = pace.forecast(Credits::whole(100), now, end);
            [low, likely, high].map(|credits| credits.millionths() / 1_000_000)
        };
        assert_eq!(of([10, 10, 10, 10]), [140, 140, 140]);
        // A deviation of 10 a day over four days: 1.28 times twenty to either side.
        assert_eq!(of([20, 40, 20, 40]), [190, 220, 249]);
        assert_eq!(of([1, 0, 0, 79]), [100, 180, 280], "never less than is spent");
    }

    #[test]
    fn what_lasts_beyond_the_period_does_not_run_out() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let end: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        let pace = Pace { per_day: Credits::whole(100), spread: Credits::ZERO };
        let at = pace.runs_out(Credits::whole(250), now, end);
        assert_eq!(at, Some("2026-11-25T12:00:00Z".parse().unwrap()));
        assert_eq!(pace.runs_out(Credits::whole(800), now, end), None);
        assert_eq!(pace.runs_out(Credits::ZERO, now, end), Some(now));
        assert_eq!(
            Pace { per_day: Credits::ZERO, spread: Credits::ZERO }.runs_out(Credits::whole(1), now, end),
            None
        );
    }
}
