//! `credits prune`: old detail written to a file and removed; every sum and balance stays.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use jiff::civil::Date;

use crate::cli::failure::{Failure, read_config, say};
use crate::clock::Clock;
use crate::credits::period::day_of;
use crate::ledger::home;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PruneArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// Calls held before this day are removed, like 2026-01-01, but for those whose `Idempotency-Key` still names
    /// them.
    #[arg(long, value_name = "DAY")]
    before: Date,
    /// Where they are written first, as CSV, a line each: amounts in credits, times in UTC. Must not exist yet; "-" is standard
    /// output, for images without a shell.
    #[arg(long, value_name = "FILE")]
    export: PathBuf,
}

pub(super) fn run(arguments: &PruneArguments) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let shown = arguments.export.display();
    let now = Clock::system().wall();
    let today = day_of(now, &config.credits.zone);
    // What a start has to know of calls with a key stays for as long as the key names them.
    let known_since = now.saturating_sub(config.retries.keep).unwrap_or(now);
    if arguments.before > today {
        return Err(Failure::Usage(format!(
            "{} is in the future; today is {today} in the ledger's zone",
            arguments.before
        )));
    }
    let mut store = home::upkeep(&config.ledger)?;
    let cannot = |error: std::io::Error| Failure::Usage(format!("{shown}: cannot be made: {error}"));
    if arguments.export.as_os_str() == "-" {
        let mut out = std::io::stdout().lock();
        let written = store.export(arguments.before, known_since, &mut out)?;
        out.flush()?;
        drop(out);
        let removed = store.prune(arguments.before)?;
        eprintln!(
            "{written} calls were written out, and {removed} removed from the ledger. No sum has changed."
        );
        return Ok(());
    }
    if arguments.export.exists() {
        return Err(Failure::Usage(format!("{shown} is there already; name a file that is not")));
    }
    // Under another name until all of it is on the disk, so that half an export is in nobody's way.
    let mut half = arguments.export.clone().into_os_string();
    half.push(".part");
    let half = PathBuf::from(half);
    let mut export = || -> Result<usize, Failure> {
        let mut out = BufWriter::new(File::create(&half).map_err(cannot)?);
        let written = store.export(arguments.before, known_since, &mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        // Never over another; a disk that knows no links takes the name as it is.
        match std::fs::hard_link(&half, &arguments.export) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                std::fs::rename(&half, &arguments.export).map_err(cannot)?;
            }
            linked => linked.map_err(cannot)?,
        }
        Ok(written)
    };
    let written = export();
    let _ = std::fs::remove_file(&half);
    let written = written?;
    let removed = store.prune(arguments.before)?;
    say!("{written} calls are in {shown}, and {removed} were removed from the ledger. No sum has changed.")?;
    Ok(())
}
