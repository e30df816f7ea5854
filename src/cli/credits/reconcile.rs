//! `credits reconcile`: the ledger beside the upstream's usage, or beside its list of charges.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{fs, io};

use super::{open_reader, read_config, read_failed};
use crate::books::open::OpenError;
use crate::cli::Failure;
use crate::clock::Clock;
use crate::credits::Credits;
use crate::ledger::{Adjustment, Store};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::outbound::connect::Tcp;
use crate::server::event_loop;
use crate::usage::{Comparison, compare_with};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReconcileArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// Lines of "upstream response id,credits"; "-" reads them from standard input. A first line that holds no number is taken for headings.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Book the upstream's figure for every call of the list that differs. What was in doubt is final then.
    #[arg(long, requires = "csv")]
    book: bool,
}

pub(super) fn run(arguments: &ReconcileArguments) -> Result<(), Failure> {
    match &arguments.csv {
        Some(csv) => by_list(arguments, csv),
        None => by_usage(&arguments.config),
    }
}

/// The sums of the running billing period.
fn by_usage(path: &Path) -> Result<(), Failure> {
    let live = Live::load(path, &Metrics::new(), Clock::system())?;
    let snapshot = live.current();
    let reader = Mutex::new(open_reader(&snapshot.config)?);
    let compared = event_loop()?.block_on(compare_with(&Tcp, &snapshot, &reader));
    let comparison = compared.map_err(|error| Failure::System(std::io::Error::other(error.to_string())))?;
    let Comparison { theirs, settled, in_doubt } = comparison;
    println!("billing period       {:.0} to {:.0}", theirs.start, theirs.end);
    println!("upstream, everybody  {} of {}, {} left", theirs.used, theirs.included, theirs.remaining);
    println!("upstream, the API    {}", theirs.api_used);
    println!("ledger, settled      {settled}");
    println!("ledger, in doubt     {in_doubt}");
    if comparison.agrees() {
        println!("They agree: the API's bill is between what is settled and that with what is in doubt.");
        return Ok(());
    }
    println!("They differ by {} credits that nothing in doubt explains.", comparison.drift());
    Err(disagreement())
}

/// Call by call.
fn by_list(arguments: &ReconcileArguments, csv: &Path) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let failed = |error| read_failed(&config.ledger.path, &error);
    let theirs = read_csv(csv)?;
    let reader = open_reader(&config)?;
    let ours = reader.booked_by_response().map_err(failed)?;
    let (mut matched, mut missing) = (0, 0);
    let mut differing = Vec::new();
    for (id, credits) in &theirs {
        match ours.get(id) {
            Some(booked) if booked.credits == *credits => {
                matched += 1;
                if booked.in_doubt {
                    differing.push((booked, *credits));
                }
            }
            Some(booked) => {
                println!("differs  {id}: upstream {credits}, ledger {}", booked.credits);
                differing.push((booked, *credits));
            }
            None => {
                missing += 1;
                println!("missing  {id}: upstream {credits}, not in the ledger");
            }
        }
    }
    let extra =
        ours.iter().filter(|(id, booked)| !theirs.contains_key(*id) && booked.credits > Credits::ZERO);
    let extra = extra
        .inspect(|(id, booked)| println!("extra    {id}: ledger {}, not upstream", booked.credits))
        .count();
    let differ = differing.iter().filter(|(booked, figure)| booked.credits != *figure).count();
    println!("{matched} match, {differ} differ, {missing} are missing here, {extra} are missing upstream.");
    if arguments.book {
        let (at, reason) = (Clock::system().wall(), format!("reconciled with {}", csv.display()));
        let adjustments: Vec<_> = differing
            .into_iter()
            .map(|(booked, figure)| Adjustment { booked: booked.clone(), figure, reason: reason.clone(), at })
            .collect();
        let mut store =
            Store::open(&config.ledger.path, config.ledger.durability).map_err(OpenError::from)?;
        store.adjust(&adjustments).map_err(OpenError::from)?;
        println!("{} calls are booked at the upstream's figures now.", adjustments.len());
    }
    println!("{} credits are booked in doubt.", reader.in_doubt().map_err(failed)?);
    if missing + extra == 0 && (differ == 0 || arguments.book) { Ok(()) } else { Err(disagreement()) }
}

fn disagreement() -> Failure {
    Failure::System(std::io::Error::other("the ledger and the upstream do not agree"))
}

fn read_csv(path: &Path) -> Result<BTreeMap<String, Credits>, Failure> {
    let text =
        if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text =
        text.map_err(|error| Failure::Usage(format!("{}: cannot be read: {error}", path.display())))?;
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
