//! `credits backup`: a copy of the ledger that can be put in its place.

use std::path::PathBuf;

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
    open_reader(&config)?.copy_to(file).map_err(|error| read_failed(&config.ledger.path, &error))?;
    let copy = Reader::open(file).map_err(|error| read_failed(file, &error))?;
    let wrong = copy.verify().map_err(|error| read_failed(file, &error))?;
    if let Some(first) = wrong.first() {
        let why = format!("{}: the copy is not sound: {first}", file.display());
        return Err(Failure::System(std::io::Error::other(why)));
    }
    let entries = copy.last_entry().map_err(|error| read_failed(file, &error))?;
    println!("{}: written, and verified, up to entry {entries}.", file.display());
    Ok(())
}
