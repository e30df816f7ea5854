//! `credits reconcile`: the ledger beside the upstream's usage, or beside its list of charges.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::cli::failure::{Failure, count, read_config, say};
use crate::clock::Clock;
use crate::credits::Credits;
use crate::ledger::{Adjustment, file};
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
    file::catch_up(&snapshot.config.ledger)?;
    let reads = file::reads(&snapshot.config.ledger);
    let compared = event_loop()?.block_on(compare_with(&Tcp, &snapshot, &reads));
    let comparison = compared.map_err(|error| Failure::System(std::io::Error::other(error.to_string())))?;
    let Comparison { theirs, settled, in_doubt } = comparison;
    say!("billing period       {:.0} to {:.0}", theirs.start, theirs.end)?;
    say!("upstream, everybody  {} of {}, {} left", theirs.used, theirs.included, theirs.remaining)?;
    say!("upstream, the API    {}", theirs.api_used)?;
    say!("ledger, settled      {settled}")?;
    say!("ledger, in doubt     {in_doubt}")?;
    if comparison.agrees() {
        say!("They agree: the API's bill is between what is settled and that with what is in doubt.")?;
        return Ok(());
    }
    say!("They differ by {} credits that nothing in doubt explains.", comparison.drift())?;
    Err(disagreement())
}

/// Call by call.
fn by_list(arguments: &ReconcileArguments, csv: &Path) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let theirs = read_csv(csv)?;
    let reader = file::reading(&config.ledger)?;
    let ours = reader.booked_by_response()?;
    let (mut matched, mut missing) = (0, 0);
    let (mut differing, mut lines) = (Vec::new(), Vec::new());
    for (id, credits) in &theirs {
        match ours.get(id) {
            Some(booked) if booked.credits == *credits => {
                matched += 1;
                if booked.in_doubt {
                    differing.push((booked, *credits));
                }
            }
            Some(booked) => {
                lines.push(format!(
                    "differs  {id}: upstream {credits}, ledger {} ({}, {})",
                    booked.credits, booked.day, booked.team
                ));
                differing.push((booked, *credits));
            }
            None => {
                missing += 1;
                lines.push(format!("missing  {id}: upstream {credits}, not in the ledger"));
            }
        }
    }
    let unknown =
        ours.iter().filter(|(id, booked)| !theirs.contains_key(*id) && booked.credits > Credits::ZERO);
    let before = lines.len();
    lines.extend(unknown.map(|(id, booked)| {
        format!("extra    {id}: ledger {}, not upstream ({}, {})", booked.credits, booked.day, booked.team)
    }));
    let extra = lines.len() - before;
    let differ = differing.iter().filter(|(booked, figure)| booked.credits != *figure).count();
    let mut adjustments = Vec::new();
    // Before anything is told: whoever reads may stop reading, and what was asked for is done all the same.
    if arguments.book {
        let (at, reason) = (Clock::system().wall(), format!("reconciled with {}", csv.display()));
        adjustments.extend(differing.into_iter().map(|(booked, figure)| Adjustment {
            booked: booked.clone(),
            figure,
            reason: reason.clone(),
            at,
        }));
        file::upkeep(&config.ledger)?.adjust(&adjustments)?;
    }
    for line in lines {
        say!("{line}")?;
    }
    say!("{matched} match, {differ} differ, {missing} are missing here, {extra} are missing upstream.")?;
    if arguments.book {
        say!("{} booked at the upstream's figures now.", calls_are(adjustments.len()))?;
    }
    say!("{} credits are booked in doubt.", reader.in_doubt()?)?;
    if missing + extra == 0 && (differ == 0 || arguments.book) { Ok(()) } else { Err(disagreement()) }
}

fn calls_are(number: usize) -> String {
    format!("{} {}", count(number, "call"), if number == 1 { "is" } else { "are" })
}

fn disagreement() -> Failure {
    Failure::System(std::io::Error::other("the ledger and the upstream do not agree"))
}

/// The charges of a list, added up by id. A first line whose second cell is no number is its headings.
fn read_csv(path: &Path) -> Result<BTreeMap<String, Credits>, Failure> {
    let shown = path.display();
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|error| Failure::Usage(format!("{shown}: cannot be read: {error}")))?;
    let mut lines =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(&*bytes);
    let mut charges = BTreeMap::new();
    for (index, line) in lines.records().enumerate() {
        let line = line.map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
        let cell = |at| line.get(at).unwrap_or_default();
        match Credits::from_json_number(cell(1)) {
            Some(credits) => *charges.entry(cell(0).to_owned()).or_insert(Credits::ZERO) += credits,
            None if index == 0 => {}
            None => {
                let at = line.position().map_or(0, csv::Position::line);
                let found = line.iter().collect::<Vec<_>>().join(",");
                return Err(Failure::Usage(format!(
                    "{shown}:{at}: expected \"response id,credits\", found {found:?}"
                )));
            }
        }
    }
    Ok(charges)
}
