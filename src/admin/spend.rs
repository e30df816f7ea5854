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
    /// Of the organisation's budget; a month where there is none, as it is billed.
    budget: Period,
    today: Date,
}

impl Buckets {
    pub(super) fn until_today(per: Period, board: &Board) -> Self {
        let snapshot = board.live.current();
        let credits = &snapshot.config.credits;
        let budget = credits.budget.map_or(Period::Month, |budget| budget.period);
        Self { per, budget, today: day_of(board.now(), &credits.zone) }
    }

    /// The whole period of the budget before the running one.
    fn last_period(self) -> Span {
        let until = self.budget.first(self.today).yesterday().unwrap_or(self.today);
        Span { since: self.budget.first(until), until }
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

    /// All their days, and those of the last period. A ledger may be ahead of the clock by a day, after a step back or another zone.
    pub(super) fn span(self) -> Span {
        let since = self.starts().first().copied().unwrap_or(self.today).min(self.last_period().since);
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
    last_period: LastPeriod,
}

/// What all teams have spent in the period of the budget before the running one.
#[derive(Serialize)]
struct LastPeriod {
    since: Date,
    until: Date,
    credits: Credits,
    in_doubt: Credits,
}

#[derive(Serialize)]
struct Team {
    name: String,
    credits: Vec<Credits>,
    in_doubt: Vec<Credits>,
}

impl LastPeriod {
    fn of(Span { since, until }: Span, days: &[TeamDay]) -> Self {
        let none = Self { since, until, credits: Credits::ZERO, in_doubt: Credits::ZERO };
        days.iter().filter(|of| (since..=until).contains(&of.day)).fold(none, |sum, of| Self {
            credits: sum.credits + of.credits,
            in_doubt: sum.in_doubt + of.in_doubt,
            ..sum
        })
    }
}

/// Puts days into buckets. Teams with the largest sum come first.
pub(super) fn of(board: &Board, buckets: Buckets, days: Vec<TeamDay>) -> Spend {
    let starts = buckets.starts();
    let mut teams = BTreeMap::<String, Team>::new();
    let last_period = LastPeriod::of(buckets.last_period(), &days);
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
        last_period,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn buckets_are_whole_periods_of_the_calendar() {
        let starts = |per, today| Buckets { per, budget: Period::Month, today }.starts();
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
        let of = |per, budget| Buckets { per, budget, today: date(2026, 3, 31) };
        let span = of(Period::Month, Period::Month).span();
        assert_eq!((span.since, span.until), (date(2025, 4, 1), date(2026, 3, 31)));
        // Thirty days are less than the last month and what has gone of this.
        let span = of(Period::Day, Period::Month).span();
        assert_eq!((span.since, span.until), (date(2026, 2, 1), date(2026, 3, 31)));
        let last = |budget| {
            let Span { since, until } = of(Period::Day, budget).last_period();
            (since, until)
        };
        assert_eq!(last(Period::Day), (date(2026, 3, 30), date(2026, 3, 30)));
        assert_eq!(last(Period::Week), (date(2026, 3, 23), date(2026, 3, 29)));
        assert_eq!(last(Period::Month), (date(2026, 2, 1), date(2026, 2, 28)));
    }

    #[test]
    fn the_last_period_is_all_teams_in_its_days_and_no_others() {
        let on = |day, team: &str, credits, in_doubt| TeamDay {
            day,
            team: team.to_owned(),
            credits: Credits::whole(credits),
            in_doubt: Credits::whole(in_doubt),
        };
        let days = [
            on(date(2026, 1, 31), "a", 1, 0),
            on(date(2026, 2, 1), "a", 20, 5),
            on(date(2026, 2, 28), "b", 300, 0),
            on(date(2026, 3, 1), "b", 4000, 0),
        ];
        let of = |days: &[TeamDay]| {
            let span = Span { since: date(2026, 2, 1), until: date(2026, 2, 28) };
            let LastPeriod { credits, in_doubt, .. } = LastPeriod::of(span, days);
            (credits, in_doubt)
        };
        assert_eq!(of(&days), (Credits::whole(320), Credits::whole(5)));
        assert_eq!(of(&days[3..]), (Credits::ZERO, Credits::ZERO));
    }
}
