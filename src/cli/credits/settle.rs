//! `credits settle`: what one call in doubt has cost, by an operator's word; and which calls are in doubt.

use std::path::PathBuf;

use crate::cli::failure::{Failure, count, read_config, say};
use crate::clock::Clock;
use crate::credits::Credits;
use crate::ledger::facts::Booked;
use crate::ledger::{Adjustment, home};

/// Calls that are listed.
const LISTED: usize = 1000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SettleArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// Which call, by the id that its caller saw, `x-request-id`. Without it, lists the calls that are in doubt.
    #[arg(long, value_name = "ID", requires_all = ["credits", "why"])]
    request: Option<String>,
    /// What it has cost, as the upstream's list of charges says; 0 where that has nothing of it.
    #[arg(long, value_name = "N", requires = "request")]
    credits: Option<String>,
    /// Why, for whoever reads the ledger later.
    #[arg(long, value_name = "TEXT", requires = "request")]
    why: Option<String>,
}

pub(super) fn run(arguments: &SettleArguments) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let reader = home::reading(&config.ledger)?;
    let Some(request) = &arguments.request else {
        let doubt = reader.doubt(None, LISTED)?;
        for (Booked { day, team, route, request_id, credits, .. }, reason) in &doubt {
            say!("{request_id}  {day}  {team}, {route}: {credits} credits ({})", reason.replace('_', " "))?;
        }
        return say!("{} credits are booked in doubt{}.", reader.in_doubt()?, more(doubt.len()))
            .map_err(Failure::from);
    };
    let text = arguments.credits.as_deref().unwrap_or_default();
    let figure = Credits::from_json_number(text)
        .ok_or_else(|| Failure::Usage(format!("{text:?} is not an amount of credits")))?;
    let mut doubt = reader.doubt(Some(request), 2)?;
    let (booked, _) = match (doubt.pop(), doubt.pop()) {
        (Some(only), None) => only,
        (None, _) => {
            let remedy = "`credits settle` alone lists those that are; what is final is corrected with `credits reconcile`";
            return Err(Failure::Usage(format!("no call {request} is in doubt; {remedy}")));
        }
        // Callers may choose the id.
        (Some(_), Some(_)) => {
            let remedy = "settle them by their response ids, with `credits reconcile --csv … --book`";
            return Err(Failure::Usage(format!("several calls {request} are in doubt; {remedy}")));
        }
    };
    let Booked { day, team, credits, .. } = booked.clone();
    let reason = arguments.why.clone().unwrap_or_default();
    let at = Clock::system().wall();
    home::upkeep(&config.ledger)?.adjust(&[Adjustment { booked, figure, reason, at }])?;
    say!(
        "Call {request} of team {team}, {day}, is settled at {figure} credits, where {credits} were booked in doubt. A running \
         gateway knows within two seconds."
    )?;
    say!("{} credits are booked in doubt.", reader.in_doubt()?)?;
    Ok(())
}

fn more(listed: usize) -> String {
    if listed < LISTED { String::new() } else { format!("; the first {} are listed", count(listed, "call")) }
}
