//! Sealed answers in the database, in a session of their own: no turn waits for them.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio_postgres::{Client, Error};

use super::blocking::Blocking;
use super::connect::{Server, Session};
use crate::config::Postgres;
use crate::ledger::answers::Answers;
use crate::ledger::error::LedgerError;
use crate::ledger::facts::CallId;

/// Several gateways keep answers, one at a time, so that all of them together keep to the bound. What is lost of them with a
/// server is no credit: nobody waits for its disk. The first number is this program's.
const ALONE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off;
     SELECT pg_advisory_xact_lock(1299597175, 3)";
/// Takes out what is past its time, and what a call has already.
const PAST: &str = "DELETE FROM answers WHERE kept_until <= $1 OR call = $2";
/// Takes out the oldest, as far as what is newer and one of this length leave no room for them.
const OLDEST: &str = "DELETE FROM answers WHERE call IN (
       SELECT call FROM (SELECT call, sum(length(sealed)) OVER (ORDER BY kept_until DESC, call DESC) AS bytes FROM answers) kept
       WHERE bytes + $1::BIGINT > $2::BIGINT)";

/// The table of answers, opened when it is first needed.
#[derive(Debug)]
pub(super) struct Table {
    settings: Postgres,
    open: Mutex<Option<Blocking>>,
}

impl Table {
    pub(super) fn of(settings: Postgres) -> Self {
        Self { settings, open: Mutex::new(None) }
    }

    fn with<T>(&self, ask: impl FnOnce(&Blocking) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match open.take() {
            Some(session) => session,
            None => Blocking::open(&Server::of(&self.settings)?, Session::Turns)?,
        };
        // One that failed is not kept: the URL may be another by now.
        let answer = ask(&session)?;
        *open = Some(session);
        Ok(answer)
    }
}

impl Answers for Table {
    fn keep(
        &self,
        call: CallId,
        sealed: &[u8],
        from_until: (Timestamp, Timestamp),
        total: usize,
    ) -> Result<(), LedgerError> {
        self.with(|session| {
            session.within(ALONE, async |change| keep(change, call, sealed, from_until, total).await)
        })
    }

    fn expire(&self, now: Timestamp) -> Result<(), LedgerError> {
        // No call has this number.
        self.with(|session| session.within(ALONE, async |change| take_out_past(change, now, 0).await))
    }

    fn find(&self, call: CallId, now: Timestamp) -> Result<Option<Vec<u8>>, LedgerError> {
        self.with(|session| session.ask(async |client| find(client, call, now).await))
    }
}

async fn keep(
    change: &Client,
    call: CallId,
    sealed: &[u8],
    (now, until): (Timestamp, Timestamp),
    total: usize,
) -> Result<(), Error> {
    let [total, length] = [total, sealed.len()].map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    // A ledger that was restored from a backup gives numbers once more, of calls that it does not know.
    take_out_past(change, now, call).await?;
    change.execute(OLDEST, &[&length, &total]).await?;
    let sql = "INSERT INTO answers (call, kept_until, sealed) VALUES ($1, $2, $3)";
    change.execute(sql, &[&call, &until.as_microsecond(), &sealed]).await.map(drop)
}

async fn take_out_past(change: &Client, now: Timestamp, call: CallId) -> Result<(), Error> {
    change.execute(PAST, &[&now.as_microsecond(), &call]).await.map(drop)
}

async fn find(client: &Client, call: CallId, now: Timestamp) -> Result<Option<Vec<u8>>, Error> {
    let sql = "SELECT sealed FROM answers WHERE call = $1 AND kept_until > $2";
    let found = client.query_opt(sql, &[&call, &now.as_microsecond()]).await?;
    found.map(|row| row.try_get(0)).transpose()
}
