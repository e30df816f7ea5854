//! `check`: the start-up path, as far as it goes without listening, writing or sending.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::failure::{ConfigArgument, Failure, count, say};
use crate::clock::Clock;
use crate::config::{Config, Oddity, in_environment};
use crate::keyring::{self, Listed, State};
use crate::ledger::{LedgerError, home};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::server::listen;

/// What to do about an address that cannot be had.
const REMEDY: &str = "name one of this machine's addresses, and a port that this user may have";

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// The configuration file, as with `--config`.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgument,
}

impl CheckArguments {
    /// The file that is meant.
    pub(super) fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(&self.config.config)
    }
}

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let live = Live::load(config, &Metrics::new(), Clock::system())?;
    let snapshot = live.current();
    let keys: usize = snapshot.config.teams.iter().map(|team| team.keys.len()).sum();
    let tried = home::try_out(&snapshot.config.ledger);
    let (key, not_yet) = match snapshot.config.ledger.file() {
        Some(_) => ("ledger.path", ", which is not there yet"),
        None => ("ledger.postgres", ". It has no tables yet: `mavera-gateway ledger migrate` makes them"),
    };
    let is_there = tried.map_err(|error| Failure::Usage(format!("{key}: {error}")))?;
    say!(
        "{}: fine. {} with {}, upstream {}, listening on {} and {}.",
        config.display(),
        count(snapshot.config.teams.len(), "team"),
        count(keys, "key"),
        snapshot.config.upstream.base_url,
        snapshot.config.server.listen,
        snapshot.config.admin.listen,
    )?;
    say!("The ledger is {}{}.", snapshot.config.ledger, if is_there { "" } else { not_yet })?;
    for Oddity { key, message } in snapshot.config.oddities(in_environment) {
        say!("Warning: {key}: {message}.")?;
    }
    for Listed { id, team, state, source, expires, .. } in &listed(&snapshot.config)? {
        let expires = expires.map(|at| format!("{at:.0}")).unwrap_or_default();
        match (state, *source) {
            (State::Expired, "configuration") => {
                say!("Key {id} of team {team} expired at {expires}, and is refused.")
            }
            (State::Expiring, "configuration") => {
                say!("Key {id} of team {team} expires at {expires}: `key new --team {team}` makes another.")
            }
            (State::Expiring, _) => {
                say!("Key {id} of team {team} expires at {expires}: `key rotate {id}` replaces it.")
            }
            (State::Expired, _) => {
                say!("Key {id} of team {team}, of the ledger, expired at {expires}, and is refused.")
            }
            (State::Revoked, _) if is_in_file(&snapshot.config, id) => {
                say!("Key {id} of team {team} was revoked in the ledger, and is refused: take its line out.")
            }
            (State::Orphaned, _) => {
                say!(
                    "Key {id} stands in the ledger for team {team}, which is not in the configuration, and is refused."
                )
            }
            _ => Ok(()),
        }?;
    }
    if any_in_use(&snapshot.config)? {
        say!("Those are in use now: by this gateway, if it runs, and else by another program.")?;
    }
    say!("Not tried: whether the upstream takes the key.").map_err(Failure::from)
}

fn is_in_file(config: &Config, id: &str) -> bool {
    config.teams.iter().any(|team| team.keys.iter().any(|key| key.id == *id))
}

/// All keys, those of the ledger among them if there is one that can be read as it is.
fn listed(config: &Config) -> Result<Vec<Listed>, Failure> {
    let registered = match home::registered_keys(&config.ledger) {
        Ok(keys) => keys,
        Err(LedgerError::Missing { .. } | LedgerError::Older { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(keyring::all(config, &registered, Clock::system().wall()))
}

/// Tries the addresses as a start does, and tells of those in use; what no start could have is a failure.
fn any_in_use(config: &Config) -> Result<bool, Failure> {
    let mut any = false;
    for (key, address) in [("server.listen", config.server.listen), ("admin.listen", config.admin.listen)] {
        match listen::look(address) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                say!("{key} = \"{address}\" is in use.")?;
                any = true;
            }
            Err(error) => {
                return Err(Failure::Usage(format!("{key}: cannot listen on {address}: {error}; {REMEDY}")));
            }
        }
    }
    Ok(any)
}
