//! Bringing the schema up to date: by an operator's command, never by a gateway that starts.

use tokio_postgres::{Client, Error};

use super::blocking::Blocking;
use super::connect::{Server, Session};
use super::version::{VERSION, fits, version};
use crate::ledger::error::LedgerError;

/// What brings a schema from each version to the next; the first makes it. A released step is never changed.
const MIGRATIONS: [&str; 2] = [include_str!("schema_1.sql"), include_str!("schema_2.sql")];
const _: () = assert!(VERSION.unsigned_abs() == MIGRATIONS.len() as u64, "one step per version");

/// Whoever comes second waits here, however long the first takes, and so may a step. The first number is this program's.
const ALONE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
     SELECT pg_advisory_xact_lock(1299597175, 1)";
/// What a step has to lock, turns may want too: behind a step that waits all of them would wait.
const PATIENCE: &str = "SET LOCAL lock_timeout = 3000";

/// Brings the schema up to date, and makes it where there is none. Returns the versions that it has come through; none
/// where it was up to date.
///
/// # Errors
/// In words for the operator. What has been taken stays; a step that failed has changed nothing.
pub(super) fn migrate(server: &Server) -> Result<Vec<i64>, LedgerError> {
    let session = Blocking::of_any_version(server, Session::Reports)?;
    let mut taken = Vec::new();
    while let Some(step) = session.within(ALONE, async |change| step(change, server.schema()).await)? {
        taken.push(step);
    }
    let has = session.ask(version)?;
    fits(has, server.place())?;
    Ok(taken)
}

/// Takes the next step, if there is one.
async fn step(change: &Client, schema: &str) -> Result<Option<i64>, Error> {
    change.batch_execute(PATIENCE).await?;
    let done = version(change).await?;
    let Some(step) = usize::try_from(done).ok().and_then(|done| MIGRATIONS.get(done)) else {
        return Ok(None);
    };
    if done == 0 {
        make_room(change, schema).await?;
    } else {
        // Between two turns: what a turn locks, it locks behind this.
        change.batch_execute("LOCK TABLE gate IN ACCESS EXCLUSIVE MODE").await?;
    }
    change.batch_execute(step).await?;
    change.execute("INSERT INTO schema_version (version) VALUES ($1)", &[&(done + 1)]).await?;
    Ok(Some(done + 1))
}

/// The schema, and the table of its versions.
async fn make_room(change: &Client, schema: &str) -> Result<(), Error> {
    // Looked for first: who may not make schemas is refused also where it is there.
    let look = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
    let is_there: bool = change.query_one(look, &[&schema]).await?.try_get(0)?;
    if !is_there {
        change.batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await?;
    }
    let table = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now())";
    change.batch_execute(table).await
}
