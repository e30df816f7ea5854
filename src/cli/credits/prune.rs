//! `credits prune`: old detail written to a file and removed; every sum and balance stays.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use jiff::civil::Date;

use crate::cli::failure::{Failure, read_config, say};
use crate::clock::Clock;
use crate::credits::period::day_of;
use crate::ledger::file;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PruneArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// Entries of calls held before this day are removed, like 2026-01-01.
    #[arg(long, value_name = "DAY")]
    before: Date,
    /// Where they are written first, as CSV. Must not exist yet.
    #[arg(long, value_name = "FILE")]
    export: PathBuf,
}

pub(super) fn run(arguments: &PruneArguments) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let shown = arguments.export.display();
    let today = day_of(Clock::system().wall(), &config.credits.zone);
    if arguments.before > today {
        return Err(Failure::Usage(format!(
            "{} is in the future; today is {today} in the ledger's zone",
            arguments.before
        )));
    }
    let mut store = file::upkeep(&config.ledger)?;
    let export = File::create_new(&arguments.export)
        .map_err(|error| Failure::Usage(format!("{shown}: cannot be made: {error}")))?;
    let mut out = BufWriter::new(export);
    let written = store.export(arguments.before, &mut out)?;
    out.flush()?;
    // On disk before anything is removed.
    out.get_ref().sync_all()?;
    let removed = store.prune(arguments.before)?;
    say!(
        "{written} entries are in {shown}, and {removed} were removed from the ledger. No sum has changed."
    )?;
    Ok(())
}
