//! How each team's budget stands by the ledger alone: what a desk would say that has nothing in flight.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use crate::books::keeper::desk_with;
use crate::config::Config;
use crate::credits::Credits;
use crate::credits::budget::Whose;
use crate::credits::period::day_of;
use crate::desk::{GRANT_DAYS, Moment};
use crate::ledger::{LedgerError, Reading, Span};

/// A budget in the period that runs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Stands {
    /// As configured.
    pub(super) credits: Credits,
    /// `day`, `week` or `month`.
    pub(super) period: &'static str,
    /// On top.
    pub(super) granted: Credits,
    /// Of both together.
    pub(super) left: Credits,
}

/// Teams that have one, in the order of the configuration.
pub(super) fn standing(
    config: &Config,
    reading: &dyn Reading,
    now: Timestamp,
) -> Result<Vec<(String, Stands)>, LedgerError> {
    let today = day_of(now, &config.credits.zone);
    let since = today.checked_sub(GRANT_DAYS.days()).unwrap_or(today);
    let spent = reading.spends(Span { since, until: Span::ALL.until })?;
    let mut desk = desk_with(config, Duration::ZERO, &spent, (Moment::ZERO, today, Moment::MAX));
    desk.set_grants(reading.changes(since, i64::MAX)?.grants);
    let stands = config.teams.iter().filter_map(|team| {
        let budget = team.budget?;
        let tally = desk.tally(&Whose::Team(team.name.as_str().into()), budget);
        let (credits, period) = (budget.credits, budget.period.noun());
        let stands = Stands { credits, period, granted: tally.granted, left: tally.left() };
        Some((team.name.clone(), stands))
    });
    Ok(stands.collect())
}
