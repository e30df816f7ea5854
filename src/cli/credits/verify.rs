//! `credits verify`: the ledger against itself.

use std::path::Path;

use crate::cli::failure::{Failure, read_config, say};
use crate::ledger::home;

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let config = read_config(config)?;
    let ledger = &config.ledger;
    let wrong = home::reading(ledger)?.verify()?;
    if wrong.is_empty() {
        say!(
            "The ledger {ledger}: fine. The sums of every day, team and key are what their entries say, and every hold has at most one ending."
        )?;
        return Ok(());
    }
    for sentence in &wrong {
        say!("The ledger {ledger}: {sentence}")?;
    }
    Err(Failure::System(std::io::Error::other(format!(
        "{} things are wrong in the ledger {ledger}",
        wrong.len()
    ))))
}
