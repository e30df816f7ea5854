//! `check`: the start-up path without listening.

use std::path::Path;

use super::failure::{Failure, count, say};
use crate::clock::Clock;
use crate::live::Live;
use crate::metrics::Metrics;

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let live = Live::load(config, &Metrics::new(), Clock::system())?;
    let snapshot = live.current();
    let keys: usize = snapshot.config.teams.iter().map(|team| team.keys.len()).sum();
    say!(
        "{}: fine. {} with {}, upstream {}, listening on {} and {}.",
        config.display(),
        count(snapshot.config.teams.len(), "team"),
        count(keys, "key"),
        snapshot.config.upstream.base_url,
        snapshot.config.server.listen,
        snapshot.config.admin.listen,
    )?;
    Ok(())
}
