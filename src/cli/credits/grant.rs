//! `credits grant`: a budget raised for a time.

use std::path::PathBuf;

use jiff::civil::Date;

use crate::cli::failure::{Failure, read_config, say};
use crate::clock::Clock;
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::credits::period::day_of;
use crate::ledger::file;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct GrantArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// The team, or `organisation`.
    #[arg(long, value_name = "NAME")]
    team: String,
    /// By how many credits.
    #[arg(long, value_name = "N")]
    credits: String,
    /// The last day of the grant, like 2026-12-31.
    #[arg(long, value_name = "DAY")]
    until: Date,
    /// Why, for whoever reads the ledger later.
    #[arg(long, value_name = "TEXT")]
    why: String,
}

pub(super) fn run(arguments: &GrantArguments) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let GrantArguments { team, credits, until, why, .. } = arguments;
    let amount = Credits::from_json_number(credits).filter(|amount| *amount > Credits::ZERO);
    let amount =
        amount.ok_or_else(|| Failure::Usage(format!("{credits:?} is not an amount of credits above 0")))?;
    let budget = if team == "organisation" {
        config.credits.budget
    } else {
        let found = config.teams.iter().find(|known| known.name == *team);
        found.ok_or_else(|| Failure::Usage(format!("there is no team {team:?} in the configuration")))?.budget
    };
    if budget.is_none() {
        return Err(Failure::Usage(format!("{team} has no budget that could be raised")));
    }
    let now = Clock::system().wall();
    let from = day_of(now, &config.credits.zone);
    if *until < from {
        return Err(Failure::Usage(format!("{until} is past; today is {from} in the ledger's zone")));
    }
    let grant = Grant { team: team.clone(), credits: amount, from, until: *until };
    file::upkeep(&config.ledger)?.grant(&grant, why, now)?;
    say!(
        "{team} may spend {amount} credits more until {until}. A running gateway knows within two seconds."
    )?;
    Ok(())
}
