//! What was spent over time, by team: `GET /credits/spend`. From the ledger, so that it goes on over a restart.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use super::board::Board;
use crate::credits::Credits;
use crate::credits::period::{Period, day_of};
use crate::ledger::{Span, TeamDay};

/// Calendar days, weeks or months in a row, the running one last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets {
    per: Period,
    today: Date,
}

impl Buckets {
    pub(super) fn until_today(per: Period, board: &Board) -> Self {
        let zone = &board.live.current().config.credits.zone;
        Self { per, today: day_of(board.now(), zone) }
    }

    /// The first day of each.
    fn starts(self) -> Vec<Date> {
        let back = |count: i32| match self.per {
            Period::Day => count.days(),
            Period::Week => count.weeks(),
            Period::Month => count.months(),
        };
        let count = match self.per {
            Period::Day => 30,
            Period::Week => 26,
            Period::Month => 12,
        };
        let last = self.per.first(self.today);
        (0..count).rev().map(|ago| last.checked_sub(back(ago)).unwrap_or(last)).collect()
    }

    /// All their days. A ledger may be ahead of the clock by a day, after a step back or another zone.
    pub(super) fn span(self) -> Span {
        let since = self.starts().first().copied().unwrap_or(self.today);
        Span { since, until: self.per.next(self.today).yesterday().unwrap_or(self.today) }
    }
}

/// Spend by bucket and team.
#[derive(Serialize)]
pub(super) struct Spend {
    at: Timestamp,
    time_zone: String,
    per: Period,
    buckets: Vec<Date>,
    teams: Vec<Team>,
}

#[derive(Serialize)]
struct Team {
    name: String,
    credits: Vec<Credits>,
    in_doubt: Vec<Credits>,
}

/// Puts days into buckets. Teams with the largest sum come first.
pub(super) fn of(board: &Board, buckets: Buckets, days: Vec<TeamDay>) -> Spend {
    let starts = buckets.starts();
    let mut teams = BTreeMap::<String, Team>::new();
    for TeamDay { day, team, credits, in_doubt } in days {
        let first = buckets.per.first(day);
        let Ok(at) = starts.binary_search(&first) else { continue };
        let none = || vec![Credits::ZERO; starts.len()];
        let team = teams.entry(team).or_insert_with_key(|name| Team {
            name: name.clone(),
            credits: none(),
            in_doubt: none(),
        });
        team.credits[at] += credits;
        team.in_doubt[at] += in_doubt;
    }
    let mut teams: Vec<_> = teams.into_values().collect();
    let sum = |team: &Team| team.credits.iter().fold(Credits::ZERO, |sum, credits| sum + *credits);
    teams.sort_by_key(|team| std::cmp::Reverse(sum(team)));
    Spend {
        at: board.now(),
        time_zone: board.live.current().config.credits.zone.iana_name().unwrap_or("UTC").to_owned(),
        per: buckets.per,
        buckets: starts,
        teams,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn buckets_are_whole_periods_of_the_calendar() {
        let starts = |per, today| Buckets { per, today }.starts();
        let days = starts(Period::Day, date(2028, 3, 1));
        assert_eq!(
            (days.len(), days[0], days[28], days[29]),
            (30, date(2028, 2, 1), date(2028, 2, 29), date(2028, 3, 1))
        );
        let weeks = starts(Period::Week, date(2026, 11, 23));
        assert_eq!((weeks.len(), weeks[24], weeks[25]), (26, date(2026, 11, 16), date(2026, 11, 23)));
        let months = starts(Period::Month, date(2026, 3, 31));
        assert_eq!(
            (months.len(), months[0], months[10], months[11]),
            (12, date(2025, 4, 1), date(2026, 2, 1), date(2026, 3, 1))
        );
        let span = Buckets { per: Period::Month, today: date(2026, 3, 31) }.span();
        assert_eq!((span.since, span.until), (date(2025, 4, 1), date(2026, 3, 31)));
    }
}
