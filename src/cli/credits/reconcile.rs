//! `credits reconcile --csv FILE`: the ledger beside the upstream's own list of charges.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{open_reader, read_config, read_failed};
use crate::cli::Failure;
use crate::credits::Credits;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReconcileArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// Lines of "upstream response id,credits". A first line that holds no number is taken for headings.
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
}

pub(super) fn run(arguments: &ReconcileArguments) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let theirs = read_csv(&arguments.csv)?;
    let reader = open_reader(&config)?;
    let ours = reader.settled_by_response().map_err(|error| read_failed(&config.ledger.path, &error))?;
    let (mut matched, mut differ, mut missing) = (0, 0, 0);
    for (id, credits) in &theirs {
        match ours.get(id) {
            Some(booked) if booked == credits => matched += 1,
            Some(booked) => {
                differ += 1;
                println!("differs  {id}: upstream {credits}, ledger {booked}");
            }
            None => {
                missing += 1;
                println!("missing  {id}: upstream {credits}, not in the ledger");
            }
        }
    }
    let extra = ours.iter().filter(|(id, booked)| !theirs.contains_key(*id) && **booked > Credits::ZERO);
    let extra =
        extra.inspect(|(id, booked)| println!("extra    {id}: ledger {booked}, not upstream")).count();
    println!("{matched} match, {differ} differ, {missing} are missing here, {extra} are missing upstream.");
    let doubt = reader.in_doubt().map_err(|error| read_failed(&config.ledger.path, &error))?;
    println!("{doubt} credits are booked in doubt, for calls whose figure the upstream never told.");
    if differ + missing + extra == 0 {
        return Ok(());
    }
    Err(Failure::System(std::io::Error::other("the ledger and the upstream's list do not agree")))
}

fn read_csv(path: &PathBuf) -> Result<BTreeMap<String, Credits>, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("{}: cannot be read: {error}", path.display())))?;
    let mut charges = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (id, credits) = line.split_once(',').unwrap_or((line, ""));
        let unquoted = |cell: &str| cell.trim().trim_matches('"').to_owned();
        match Credits::from_json_number(&unquoted(credits)) {
            Some(credits) => {
                let sum = charges.entry(unquoted(id)).or_insert(Credits::ZERO);
                *sum += credits;
            }
            None if index == 0 => {}
            None => {
                let place = format!("{}:{}", path.display(), index + 1);
                return Err(Failure::Usage(format!(
                    "{place}: expected \"response id,credits\", found {line:?}"
                )));
            }
        }
    }
    Ok(charges)
}
