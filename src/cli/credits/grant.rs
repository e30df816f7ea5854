//! `credits grant`: a budget raised for a time, once; and `credits revoke-grant`, which takes that back.

use std::path::PathBuf;

use jiff::civil::Date;

use crate::cli::failure::{Failure, read_config, say};
use crate::clock::Clock;
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::credits::period::day_of;
use crate::ledger::{EnteredGrant, home};

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

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RevokeArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// Which, as `credits grant` has said. Without it, lists those in force or to come.
    #[arg(value_name = "NUMBER")]
    number: Option<i64>,
    /// Why, for whoever reads the ledger later.
    #[arg(long, value_name = "TEXT", requires = "number")]
    why: Option<String>,
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
    let grant = Grant { team: team.clone(), credits: amount, from, until: *until, taken_back: false };
    let number = home::upkeep(&config.ledger)?.grant(&grant, why, now)?;
    say!(
        "{team} may spend {amount} credits more, once in all, until {until}. A running gateway knows within two seconds.\n\
         This is grant {number}: `credits revoke-grant {number} --why …` takes back what of it is not spent."
    )?;
    Ok(())
}

/// Takes one back, or lists those that could be.
pub(super) fn revoke(arguments: &RevokeArguments) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let now = Clock::system().wall();
    let today = day_of(now, &config.credits.zone);
    let given = home::reading(&config.ledger)?.grants(today)?;
    let Some(number) = arguments.number else { return list(&given) };
    let Some(EnteredGrant { grant: Grant { team, credits, until, .. }, .. }) =
        given.iter().find(|entered| entered.number == number)
    else {
        return Err(Failure::Usage(format!(
            "there is no grant {number} in force or to come; `credits revoke-grant` alone lists those there are"
        )));
    };
    let why = arguments.why.as_deref().unwrap_or_default();
    if !home::upkeep(&config.ledger)?.revoke_grant(number, why, (now, today))? {
        return Err(Failure::Usage(format!("grant {number} was taken back already")));
    }
    say!(
        "Grant {number}, of {credits} credits for {team} until {until}, is taken back: what of it was spent stays spent, and no \
         more can be. A running gateway knows within two seconds."
    )?;
    Ok(())
}

fn list(given: &[EnteredGrant]) -> Result<(), Failure> {
    if given.is_empty() {
        say!("No grant is in force or to come.")?;
    }
    for EnteredGrant { number, grant: Grant { team, credits, from, until, .. }, why } in given {
        say!("grant {number}: {team}, {credits} credits from {from} until {until} ({why})")?;
    }
    Ok(())
}
