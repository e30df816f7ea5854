//! Opening the ledger in a database: for whoever reads it, and for operators' commands.

use std::sync::Arc;

use super::answers::Table;
use super::blocking::Blocking;
use super::connect::{Server, Session};
use super::keys::Register;
use super::read::Reader;
use super::upkeep::Keeper;
use crate::config::Postgres;
use crate::ledger::answers::Answers;
use crate::ledger::error::LedgerError;
use crate::ledger::keys::{KeyRegister, RegisteredKey};
use crate::ledger::reading::{Reading, Upkeep};
use crate::ledger::reads::Reads;

/// Opens the ledger for reading.
///
/// # Errors
/// In words for the operator.
pub fn reading(settings: &Postgres) -> Result<Box<dyn Reading>, LedgerError> {
    Ok(Box::new(Reader::open(&Server::of(settings)?)?))
}

/// Whether a gateway could work with the ledger; `false` where the database is there, and the ledger is not yet.
///
/// # Errors
/// In words for the operator.
pub fn try_out(settings: &Postgres) -> Result<bool, LedgerError> {
    match Blocking::open(&Server::of(settings)?, Session::Turns) {
        Ok(_) => Ok(true),
        Err(LedgerError::DatabaseEmpty { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads the ledger away from event loops. Each session that is opened reads the URL anew, which may have another password
/// by then.
#[must_use]
pub fn reads(settings: &Postgres) -> Reads {
    let settings = settings.clone();
    Reads::new(move || reading(&settings))
}

/// Answers that are kept in the ledger.
#[must_use]
pub fn answers(settings: &Postgres) -> Arc<dyn Answers> {
    Arc::new(Table::of(settings.clone()))
}

/// Opens the ledger for what operators write, also beside gateways.
///
/// # Errors
/// In words for the operator.
pub fn upkeep(settings: &Postgres) -> Result<Box<dyn Upkeep>, LedgerError> {
    Ok(Box::new(Keeper::open(&Server::of(settings)?)?))
}

/// Opens the ledger for what is done to caller keys, also beside gateways.
///
/// # Errors
/// In words for the operator.
pub fn keys(settings: &Postgres) -> Result<Box<dyn KeyRegister>, LedgerError> {
    Ok(Box::new(Register::open(&Server::of(settings)?)?))
}

/// The caller keys that the ledger has a say on.
///
/// # Errors
/// In words for the operator.
pub fn registered_keys(settings: &Postgres) -> Result<Vec<RegisteredKey>, LedgerError> {
    Reader::open(&Server::of(settings)?)?.keys()
}

/// Brings the ledger's schema up to date, and makes it where there is none. Returns the versions that it has come through.
///
/// # Errors
/// In words for the operator.
pub fn migrate(settings: &Postgres) -> Result<Vec<i64>, LedgerError> {
    super::migrate::migrate(&Server::of(settings)?)
}
