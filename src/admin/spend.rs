//! What was spent over time: by team, by the keys and members of one, or by the routes of one of those. From the ledger, so that it
//! goes on over a restart.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use super::answers::Denied;
use crate::credits::Credits;
use crate::credits::period::Period;
use crate::ledger::{By, Slice, Span, Sum};

/// Bars that a chart has at most: more than one of them to a pixel of a narrow page says nothing.
const BARS: usize = 400;

/// Calendar days, weeks or months in a row.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    per: Period,
    span: Span,
    /// The first day of each.
    starts: Vec<Date>,
}

impl Buckets {
    /// Of the days of a span; as long as they are asked to be, or as is read well.
    pub(super) fn of(span: Span, per: Option<Period>) -> Result<Self, Denied> {
        let days = (span.until - span.since).get_days() + 1;
        let per = per.unwrap_or(match days {
            ..=45 => Period::Day,
            46..=200 => Period::Week,
            _ => Period::Month,
        });
        let mut starts = vec![per.first(span.since)];
        while let Some(next) = starts.last().map(|last| per.next(*last)).filter(|next| *next <= span.until) {
            starts.push(next);
            if starts.len() > BARS {
                let words = "are more bars than a chart has; ask for longer ones (`per=week`, `per=month`).";
                return Err(Denied::Parameter(format!("{days} days one by one {words}")));
            }
        }
        Ok(Self { per, span, starts })
    }
}

/// The running period of a budget, and the one before.
pub(super) fn periods(budget: Period, today: Date) -> [Span; 2] {
    let first = budget.first(today);
    let before = |day: Date| day.yesterday().unwrap_or(day);
    let (running, until) = (Span { since: first, until: before(budget.next(today)) }, before(first));
    [running, Span { since: budget.first(until), until }]
}

/// Spend by bucket and name.
#[derive(Serialize)]
pub(super) struct Spend {
    /// The first and the last day.
    since: Date,
    until: Date,
    /// Which bucket has today in it.
    running: Option<usize>,
    per: Period,
    /// What the names are of.
    pub(super) by: &'static str,
    pub(super) buckets: Vec<Date>,
    /// Those with the largest sum first.
    pub(super) series: Vec<Series>,
}

#[derive(Serialize)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) calls: Vec<u64>,
    pub(super) credits: Vec<Credits>,
    pub(super) in_doubt: Vec<Credits>,
}

/// What was booked in a period.
#[derive(Serialize)]
pub(super) struct OfPeriod {
    since: Date,
    until: Date,
    pub(super) credits: Credits,
    in_doubt: Credits,
}

impl OfPeriod {
    pub(super) const fn of(Span { since, until }: Span, Sum { credits, in_doubt }: Sum) -> Self {
        Self { since, until, credits, in_doubt }
    }
}

/// Puts days into buckets.
pub(super) fn of(buckets: &Buckets, (by, slices): (By, Vec<Slice>), today: Date) -> Spend {
    let Buckets { per, span, starts } = buckets;
    let mut series = BTreeMap::<String, Series>::new();
    for Slice { day, name, calls, sum } in slices {
        let Ok(at) = starts.binary_search(&per.first(day)) else { continue };
        let none = || vec![Credits::ZERO; starts.len()];
        let of_name = series.entry(name).or_insert_with_key(|name| Series {
            name: name.clone(),
            calls: vec![0; starts.len()],
            credits: none(),
            in_doubt: none(),
        });
        of_name.calls[at] += calls;
        of_name.credits[at] += sum.credits;
        of_name.in_doubt[at] += sum.in_doubt;
    }
    let mut series: Vec<_> = series.into_values().collect();
    let sum = |series: &Series| series.credits.iter().fold(Credits::ZERO, |sum, credits| sum + *credits);
    series.sort_by_key(|series| std::cmp::Reverse(sum(series)));
    Spend {
        since: span.since,
        until: span.until,
        running: (span.since..=span.until)
            .contains(&today)
            .then(|| starts.binary_search(&per.first(today)).ok())
            .flatten(),
        per: *per,
        by: by.as_str(),
        buckets: starts.clone(),
        series,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const fn span(since: Date, until: Date) -> Span {
        Span { since, until }
    }

    #[test]
    fn buckets_are_calendar_days_weeks_and_months_as_long_as_is_read_well() {
        let of = |since, per| {
            let buckets = Buckets::of(span(since, date(2026, 3, 31)), per).unwrap();
            (buckets.per, buckets.starts.len(), buckets.starts[0], *buckets.starts.last().unwrap())
        };
        let today = date(2026, 3, 31);
        assert_eq!(of(date(2026, 3, 2), None), (Period::Day, 30, date(2026, 3, 2), today));
        let weeks = (Period::Week, 13, date(2025, 12, 29), date(2026, 3, 30));
        assert_eq!(of(date(2026, 1, 1), None), (weeks.0, 14, weeks.2, weeks.3));
        assert_eq!(of(date(2025, 4, 1), None), (Period::Month, 12, date(2025, 4, 1), date(2026, 3, 1)));
        assert_eq!(of(date(2026, 3, 2), Some(Period::Month)).1, 1);
        assert_eq!(of(today, Some(Period::Week)), (Period::Week, 1, date(2026, 3, 30), date(2026, 3, 30)));
    }

    #[test]
    fn more_bars_than_a_chart_has_are_refused_with_what_to_ask_for() {
        let ten_years = span(date(2016, 4, 1), date(2026, 3, 31));
        let denied = Buckets::of(ten_years, Some(Period::Day)).unwrap_err();
        assert!(matches!(&denied, Denied::Parameter(why) if why.contains("per=month")), "{denied:?}");
        assert_eq!(Buckets::of(ten_years, None).unwrap().starts.len(), 120);
    }

    #[test]
    fn a_budgets_periods_are_the_running_one_and_the_whole_one_before() {
        let of = |budget| periods(budget, date(2026, 3, 31)).map(|Span { since, until }| (since, until));
        let day = |day| (day, day);
        assert_eq!(of(Period::Day), [day(date(2026, 3, 31)), day(date(2026, 3, 30))]);
        assert_eq!(
            of(Period::Week),
            [(date(2026, 3, 30), date(2026, 4, 5)), (date(2026, 3, 23), date(2026, 3, 29))]
        );
        assert_eq!(
            of(Period::Month),
            [(date(2026, 3, 1), date(2026, 3, 31)), (date(2026, 2, 1), date(2026, 2, 28))]
        );
    }

    #[test]
    fn days_go_into_the_bucket_they_are_of_and_the_largest_sum_comes_first() {
        let on = |day, name: &str, credits, in_doubt| Slice {
            day,
            name: name.to_owned(),
            calls: 2,
            sum: Sum { credits: Credits::whole(credits), in_doubt: Credits::whole(in_doubt) },
        };
        let buckets = Buckets::of(span(date(2026, 1, 1), date(2026, 2, 28)), Some(Period::Month)).unwrap();
        let slices = vec![
            on(date(2026, 1, 31), "a", 1, 0),
            on(date(2026, 2, 1), "a", 20, 5),
            on(date(2026, 2, 28), "b", 300, 0),
            on(date(2026, 2, 28), "a", 4, 0),
        ];
        let spend = of(&buckets, (By::Team, slices), date(2026, 3, 31));
        assert_eq!(spend.running, None);
        let [b, a] = &spend.series[..] else { panic!("two") };
        assert_eq!((&*a.name, &*b.name), ("a", "b"));
        assert_eq!(
            (&a.credits[..], &a.calls[..]),
            (&[Credits::whole(1), Credits::whole(24)][..], &[2, 4][..])
        );
        assert_eq!(a.in_doubt, [Credits::ZERO, Credits::whole(5)]);
        assert_eq!(b.credits, [Credits::ZERO, Credits::whole(300)]);
        // A month is looked at as a whole: the running day is not its last.
        let buckets = Buckets::of(span(date(2026, 2, 1), date(2026, 2, 28)), None).unwrap();
        assert_eq!(of(&buckets, (By::Team, Vec::new()), date(2026, 2, 3)).running, Some(2));
    }
}
