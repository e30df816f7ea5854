//! `credits backup`: a copy of the ledger that can be put in its place.

use std::path::{Path, PathBuf};

use super::{open_reader, read_config, read_failed};
use crate::cli::Failure;
use crate::ledger::Reader;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BackupArguments {
    /// The file to write. It must not be there yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: &BackupArguments) -> Result<(), Failure> {
    let BackupArguments { file, config } = arguments;
    let config = read_config(config)?;
    if file.exists() {
        return Err(Failure::Usage(format!("{} is there already; name a new file", file.display())));
    }
    let reader = open_reader(&config)?;
    // Under another name until it is known to be good.
    let mut partial = file.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let entries = copy(&reader, &partial).inspect_err(|_| {
        // Of a copy that failed nothing is left.
        let _ = std::fs::remove_file(&partial);
    })?;
    std::fs::rename(&partial, file)?;
    println!("{}: written, and verified, up to entry {entries}.", file.display());
    Ok(())
}

/// Writes the copy and holds it against itself. Returns its last entry.
fn copy(reader: &Reader, partial: &Path) -> Result<i64, Failure> {
    let failed = |error| read_failed(partial, &error);
    reader.copy_to(partial).map_err(failed)?;
    let copy = Reader::open(partial).map_err(failed)?;
    if let Some(first) = copy.verify().map_err(failed)?.first() {
        let why = format!("the copy is not sound: {first}");
        return Err(Failure::System(std::io::Error::other(why)));
    }
    copy.last_entry().map_err(failed)
}
