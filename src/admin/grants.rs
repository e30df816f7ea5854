//! Grants: what raises budgets, for whom, until when and why; and whether all budgets together are more than there is.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::board::Board;
use crate::credits::Credits;
use crate::credits::period::Period;
use crate::ledger::EnteredGrant;

/// What raises budgets.
#[derive(Serialize)]
pub(super) struct Grants {
    at: Timestamp,
    /// Those that end today or later, in the order in which they were given.
    list: Vec<Granted>,
    /// What the teams may spend in a month by their budgets, in the days of one that has thirty, grants left out.
    budgets_a_month: Credits,
    /// What there is in a month: the organisation's own budget, or what Mavera includes; nothing if neither is known.
    there_is: Option<Credits>,
}

#[derive(Serialize)]
struct Granted {
    number: i64,
    /// The team, or `organisation`.
    team: String,
    credits: Credits,
    from: Date,
    until: Date,
    /// It was taken back on that day.
    taken_back: bool,
    why: String,
}

/// Puts it together.
pub(super) fn of(board: &Board, entered: Vec<EnteredGrant>) -> Grants {
    let snapshot = board.live.current();
    let a_month = |credits: Credits, period: Period| {
        // Thirtieths of a month: 30 days, or four weeks and two days.
        let (times, of) = match period {
            Period::Day => (30, 1),
            Period::Week => (30, 7),
            Period::Month => (1, 1),
        };
        Credits::from_millionths(credits.millionths().saturating_mul(times) / of)
    };
    let budgets = snapshot.directory.teams().iter().filter_map(|team| team.budget);
    let budgets = budgets.fold(Credits::ZERO, |sum, budget| sum + a_month(budget.credits, budget.period));
    let own = snapshot.config.credits.budget.map(|budget| a_month(budget.credits, budget.period));
    let theirs = board.bill.latest().map(|reading| reading.comparison.theirs.included);
    Grants {
        at: board.now(),
        list: entered
            .into_iter()
            .map(|EnteredGrant { number, grant, why }| Granted {
                number,
                team: grant.team,
                credits: grant.credits,
                from: grant.from,
                until: grant.until,
                taken_back: grant.taken_back,
                why,
            })
            .collect(),
        budgets_a_month: budgets,
        there_is: own.or(theirs),
    }
}
