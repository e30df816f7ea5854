//! The query of a request for data: which days, whose, told by what, and which calls.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::answers::Denied;
use super::spend;
use crate::credits::period::Period;
use crate::ledger::{Basis, By, Search, Span, View};

/// Calls of one page, unless asked for otherwise, and at most.
pub(super) const CALLS: usize = 50;
pub(super) const MAX_CALLS: usize = 200;

/// The days that are looked at, unless asked for otherwise, and at most: ten years.
const DAYS: i32 = 30;
const MAX_DAYS: i32 = 3_660;

/// The query of a request for data.
pub(super) struct Query<'q>(pub(super) &'q str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        pairs.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.into_owned())
    }

    /// What is looked at, where today is this day of this zone. `periods` are the organisation's, the running one first.
    /// `calls`: so many are listed unless it says otherwise.
    pub(super) fn view(
        &self,
        today: Date,
        zone: &TimeZone,
        (periods, calls): ([Span; 2], usize),
    ) -> Result<View, Denied> {
        let asked = self.get("range").map(|range| days(&range, today)).transpose()?;
        let span = asked.unwrap_or_else(|| last(DAYS, today));
        let mut search = self.search(calls)?;
        let by = match (&search.team, &search.caller) {
            (_, Some(_)) => By::Route,
            (Some(_), None) => By::Caller,
            (None, None) => By::Team,
        };
        // An id names its call, whenever that was.
        if search.id.is_none() {
            search.held = asked.map(|span| {
                let begins = |day: Date| day.to_zoned(zone.clone()).map(|day| day.timestamp());
                [begins(span.since), begins(after(span.until))].map(|at| at.unwrap_or(jiff::Timestamp::MAX))
            });
        }
        Ok(View { span, by, periods, grants: today, search })
    }

    /// How long the bars are of a chart.
    pub(super) fn per(&self) -> Result<Option<Period>, Denied> {
        match self.get("per").as_deref() {
            None => Ok(None),
            Some("day") => Ok(Some(Period::Day)),
            Some("week") => Ok(Some(Period::Week)),
            Some("month") => Ok(Some(Period::Month)),
            Some(_) => Err(Denied::Parameter("`per` is day, week or month.".into())),
        }
    }

    fn search(&self, calls: usize) -> Result<Search, Denied> {
        let limit = self.number("limit")?.map_or(calls, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if !(1..=MAX_CALLS).contains(&limit) {
            return Err(Denied::Parameter(format!("`limit` is 1 to {MAX_CALLS}.")));
        }
        Ok(Search {
            team: self.get("team"),
            caller: self.get("caller"),
            outcome: self.get("outcome"),
            basis: self.basis()?,
            id: self.get("id"),
            before: self.number("before")?,
            held: None,
            limit,
        })
    }

    fn basis(&self) -> Result<Option<Basis>, Denied> {
        let Some(text) = self.get("basis") else { return Ok(None) };
        let basis = Basis::ALL.into_iter().find(|basis| basis.as_str() == text);
        basis.map(Some).ok_or_else(|| Denied::Parameter("`basis` is final, estimated or derived.".into()))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Denied> {
        self.get(name)
            .map(|text| {
                let number = text.parse().ok().filter(|number| *number >= 0);
                number.ok_or_else(|| Denied::Parameter(format!("`{name}` is a whole number.")))
            })
            .transpose()
    }
}

fn after(day: Date) -> Date {
    day.tomorrow().unwrap_or(day)
}

/// So many days, today the last of them.
fn last(count: i32, today: Date) -> Span {
    Span { since: today.checked_sub((count - 1).days()).unwrap_or(today), until: today }
}

/// The days that a range names.
fn days(range: &str, today: Date) -> Result<Span, Denied> {
    let [month, last_month] = spend::periods(Period::Month, today);
    let days = match range {
        "month" => Some(month),
        "last-month" => Some(last_month),
        _ => match range.split_once("..") {
            Some((since, until)) => match (since.parse(), until.parse()) {
                (Ok(since), Ok(until)) => Some(Span { since, until }),
                _ => None,
            },
            None => range
                .strip_suffix('d')
                .and_then(|count| count.parse().ok())
                .filter(|count| (1..=MAX_DAYS).contains(count))
                .map(|count| last(count, today)),
        },
    };
    let fits = |span: &Span| span.since <= span.until && (span.until - span.since).get_days() < MAX_DAYS;
    days.filter(fits).ok_or_else(|| {
        Denied::Parameter(format!(
            "`range` is the last days (`30d`, up to {MAX_DAYS}), `month`, `last-month`, or a first and a last day (`2026-10-01..2026-10-31`)."
        ))
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const TODAY: Date = date(2026, 3, 31);

    fn view(query: &str) -> Result<View, Denied> {
        let none = Span { since: TODAY, until: TODAY };
        Query(query).view(TODAY, &TimeZone::UTC, ([none, none], CALLS))
    }

    #[test]
    fn a_range_is_days_of_the_calendar_and_says_what_it_may_be() {
        let of = |range: &str| {
            let span = view(&format!("range={range}")).unwrap().span;
            (span.since, span.until)
        };
        assert_eq!(of("1d"), (TODAY, TODAY));
        assert_eq!(of("30d"), (date(2026, 3, 2), TODAY));
        assert_eq!(of("month"), (date(2026, 3, 1), TODAY));
        assert_eq!(of("last-month"), (date(2026, 2, 1), date(2026, 2, 28)));
        assert_eq!(of("2026-01-05..2026-01-05"), (date(2026, 1, 5), date(2026, 1, 5)));
        for wrong in
            ["0d", "-1d", "4000d", "week", "2026-01-05", "2026-02-01..2026-01-01", "2010-01-01..2026-01-01"]
        {
            let denied = view(&format!("range={wrong}")).unwrap_err();
            assert!(
                matches!(&denied, Denied::Parameter(why) if why.contains("`30d`")),
                "{wrong}: {denied:?}"
            );
        }
    }

    #[test]
    fn spend_is_told_by_what_tells_those_apart_that_are_looked_at() {
        let by = |query: &str| view(query).unwrap().by;
        assert_eq!(
            [by(""), by("team=a"), by("team=a&caller=k"), by("caller=k")],
            [By::Team, By::Caller, By::Route, By::Route]
        );
    }

    #[test]
    fn calls_are_those_of_the_range_unless_one_is_named() {
        let held = |query: &str| view(query).unwrap().search.held;
        assert_eq!(held(""), None, "the latest there are");
        let march = held("range=month").unwrap();
        assert_eq!(march.map(|at| at.to_string()), ["2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"]);
        assert_eq!(held("range=month&id=req_1"), None);
    }
}
