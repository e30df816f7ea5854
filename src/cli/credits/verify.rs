//! `credits verify`: the ledger against itself.

use std::path::Path;

use crate::cli::failure::{Failure, read_config, say};
use crate::ledger::file;

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let config = read_config(config)?;
    let path = &config.ledger.path;
    let wrong = file::reading(&config.ledger)?.verify()?;
    if wrong.is_empty() {
        say!(
            "{}: fine. The sums of every day, team and key are what their entries say, and every hold has at most one ending.",
            path.display()
        )?;
        return Ok(());
    }
    for sentence in &wrong {
        say!("{}: {sentence}", path.display())?;
    }
    Err(Failure::System(std::io::Error::other(format!(
        "{} things are wrong in {}",
        wrong.len(),
        path.display()
    ))))
}
