//! Which schema a database has, and whether this program can work with it.

use tokio_postgres::{Client, Error};

use super::failure::failure;
use crate::ledger::error::LedgerError;

/// The schema this program reads and writes.
pub(super) const VERSION: i64 = 2;

/// The version of the schema; 0 where there is none yet.
pub(super) async fn version(client: &Client) -> Result<i64, Error> {
    let look = "SELECT to_regclass('schema_version') IS NOT NULL";
    let is_there: bool = client.query_one(look, &[]).await?.try_get(0)?;
    if !is_there {
        return Ok(0);
    }
    client.query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await?.try_get(0)
}

/// The version, if this program can work with it: its own, or the next, which keeps to what this one needs, so that the
/// database is migrated first and gateways follow one by one.
///
/// # Errors
/// That it is another, or none; and what the server says.
pub(super) async fn check(client: &Client, place: &str) -> Result<i64, LedgerError> {
    let has = version(client).await.map_err(|error| failure(place, &error))?;
    fits(has, place)
}

/// The same of a version that is known.
pub(super) fn fits(has: i64, place: &str) -> Result<i64, LedgerError> {
    let place = || place.to_owned();
    match has {
        0 => Err(LedgerError::DatabaseEmpty { place: place() }),
        has if has < VERSION => Err(LedgerError::DatabaseOlder { place: place(), has, needs: VERSION }),
        has if has > VERSION + 1 => Err(LedgerError::DatabaseNewer { place: place(), has, knows: VERSION }),
        has => Ok(has),
    }
}
