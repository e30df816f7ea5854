//! `check`: the start-up path, as far as it goes without listening, writing or sending.

use std::path::Path;

use super::failure::{Failure, count, say};
use crate::clock::Clock;
use crate::ledger::file;
use crate::live::Live;
use crate::metrics::Metrics;

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let live = Live::load(config, &Metrics::new(), Clock::system())?;
    let snapshot = live.current();
    let keys: usize = snapshot.config.teams.iter().map(|team| team.keys.len()).sum();
    let tried = file::try_out(&snapshot.config.ledger);
    let is_there = tried.map_err(|error| Failure::Usage(format!("ledger.path: {error}")))?;
    say!(
        "{}: fine. {} with {}, upstream {}, listening on {} and {}.",
        config.display(),
        count(snapshot.config.teams.len(), "team"),
        count(keys, "key"),
        snapshot.config.upstream.base_url,
        snapshot.config.server.listen,
        snapshot.config.admin.listen,
    )?;
    let ledger = std::path::absolute(&snapshot.config.ledger.path)?;
    say!("The ledger is {}{}.", ledger.display(), if is_there { "" } else { ", which is not there yet" })?;
    say!("Not tried: whether the addresses are free, and whether the upstream takes the key.")
        .map_err(Failure::from)
}
