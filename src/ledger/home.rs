//! What a configuration names as the ledger's home, asked for what every home has.

use std::path::Path;
use std::sync::Arc;

use super::answers::Answers;
use super::error::LedgerError;
use super::keys::{KeyRegister, RegisteredKey};
use super::reading::{Reading, Upkeep};
use super::reads::Reads;
use super::{file, postgres};
use crate::config::Ledger;

/// Opens a ledger for reading, with all that was written to it until now.
///
/// # Errors
/// In words for the operator; so everywhere here.
pub fn reading(ledger: &Ledger) -> Result<Box<dyn Reading>, LedgerError> {
    match ledger {
        Ledger::File(file) => file::reading(file),
        Ledger::Postgres(settings) => postgres::reading(settings),
    }
}

/// Brings everything that was written until now to where it can be read.
///
/// # Errors
/// As everywhere here.
pub fn catch_up(ledger: &Ledger) -> Result<(), LedgerError> {
    match ledger {
        Ledger::File(file) => file::catch_up(file),
        // It is nowhere else.
        Ledger::Postgres(_) => Ok(()),
    }
}

/// Whether a gateway could open the ledger, as far as can be told without writing anything; and whether there is one yet.
///
/// # Errors
/// As everywhere here.
pub fn try_out(ledger: &Ledger) -> Result<bool, LedgerError> {
    match ledger {
        Ledger::File(file) => file::try_out(file),
        Ledger::Postgres(settings) => postgres::try_out(settings),
    }
}

/// Reads a ledger that a gateway of this process writes.
#[must_use]
pub fn reads(ledger: &Ledger) -> Reads {
    match ledger {
        Ledger::File(file) => file::reads(file),
        Ledger::Postgres(settings) => postgres::reads(settings),
    }
}

/// Answers that are kept beside a ledger which a gateway of this process writes.
#[must_use]
pub fn answers(ledger: &Ledger) -> Arc<dyn Answers> {
    match ledger {
        Ledger::File(file) => file::answers(file),
        Ledger::Postgres(settings) => postgres::answers(settings),
    }
}

/// Opens a ledger for what operators write, also beside gateways.
///
/// # Errors
/// As everywhere here.
pub fn upkeep(ledger: &Ledger) -> Result<Box<dyn Upkeep>, LedgerError> {
    match ledger {
        Ledger::File(file) => file::upkeep(file),
        Ledger::Postgres(settings) => postgres::upkeep(settings),
    }
}

/// Opens a ledger for what is done to caller keys, also beside gateways.
///
/// # Errors
/// As everywhere here.
pub fn keys(ledger: &Ledger) -> Result<Box<dyn KeyRegister>, LedgerError> {
    match ledger {
        Ledger::File(file) => file::keys(file),
        Ledger::Postgres(settings) => postgres::keys(settings),
    }
}

/// The caller keys that a ledger has a say on; nothing is written for that.
///
/// # Errors
/// As everywhere here.
pub fn registered_keys(ledger: &Ledger) -> Result<Vec<RegisteredKey>, LedgerError> {
    match ledger {
        Ledger::File(file) => file::registered_keys(file),
        Ledger::Postgres(settings) => postgres::registered_keys(settings),
    }
}

/// Writes a copy of the whole ledger to a file that is not there yet. Returns the number of its last entry.
///
/// # Errors
/// As everywhere here; of a copy that failed a part may lie there.
pub fn backup(ledger: &Ledger, to: &Path) -> Result<i64, LedgerError> {
    match ledger {
        Ledger::File(file) => file::backup(file, to),
        Ledger::Postgres(settings) => Err(LedgerError::NotInAFile { schema: settings.schema.clone() }),
    }
}
