//! `schema`: the JSON Schema of the configuration.

use std::io::Write;

use super::failure::Failure;
use crate::config;

pub(super) fn run() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:#}", config::schema())?;
    Ok(())
}
