//! `credits backup`: a copy of the ledger that can be put in its place.

use std::path::PathBuf;

use crate::cli::failure::{Failure, read_config, say};
use crate::config::Config;
use crate::ledger;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BackupArguments {
    /// The file to write. It must not be there yet. "-" is standard output, for images without a shell.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: &BackupArguments) -> Result<(), Failure> {
    let BackupArguments { file, config } = arguments;
    let config = read_config(config)?;
    if file.as_os_str() == "-" {
        return to_standard_output(&config);
    }
    if file.exists() {
        return Err(Failure::Usage(format!("{} is there already; name a new file", file.display())));
    }
    // Under another name until it is known to be good.
    let mut partial = file.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let entries = ledger::home::backup(&config.ledger, &partial).inspect_err(|_| {
        // Of a copy that failed nothing is left.
        let _ = std::fs::remove_file(&partial);
    })?;
    std::fs::rename(&partial, file)?;
    say!("{}: written, and verified, up to entry {entries}.", file.display())?;
    Ok(())
}

/// By way of a file beside the ledger, where there is room for one: a copy is verified before any of it is written out.
fn to_standard_output(config: &Config) -> Result<(), Failure> {
    let beside = config.ledger.file().map(|file| file.path.clone()).unwrap_or_default();
    let mut name = beside.into_os_string();
    name.push(format!(".backup-{}", std::process::id()));
    let copy = PathBuf::from(name);
    let done = ledger::home::backup(&config.ledger, &copy).map_err(Failure::from).and_then(|entries| {
        std::io::copy(&mut std::fs::File::open(&copy)?, &mut std::io::stdout().lock())?;
        Ok(entries)
    });
    let _ = std::fs::remove_file(&copy);
    eprintln!("written, and verified, up to entry {}.", done?);
    Ok(())
}
