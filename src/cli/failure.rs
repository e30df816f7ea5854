//! What commands have in common: how they fail, and the argument that names a configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::problem::Problems;
use crate::config::{self, Config};
use crate::ledger::LedgerError;
use crate::server::StartError;

#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgument {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    pub(super) config: PathBuf,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(#[from] Problems),
    /// An argument cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The ledger cannot be used.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The server did not start.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The answer to what was asked, which is no.
    #[error("{0}")]
    Answer(String),
    /// Something the system refused.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl Failure {
    /// Whether it is that whoever read the output has stopped, as `head` does: that is no failure of the command.
    pub(super) fn is_of_a_reader_that_left(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    pub(super) fn code(&self) -> ExitCode {
        match self {
            _ if self.is_of_a_reader_that_left() => ExitCode::SUCCESS,
            Self::Config(_) | Self::Usage(_) | Self::Ledger(LedgerError::Missing { .. }) => {
                ExitCode::from(64)
            }
            Self::Answer(_) | Self::Ledger(_) | Self::Start(_) | Self::System(_) => ExitCode::FAILURE,
        }
    }
}

/// Prints a line on standard output. Whoever reads that may stop; it is for the command to end then.
macro_rules! say {
    ($($text:tt)*) => {
        std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(super) use say;

/// So many of something, in words.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The configuration alone: reports need neither the key nor the certificates.
pub(super) fn read_config(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("{}: cannot be read: {error}", path.display())))?;
    Ok(config::parse(path, &text)?)
}
