//! A session for threads that may block: each question is one transaction, and the thread that waits for its answer drives
//! the connection.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Client;

use super::connect::{Server, Session, Wire};
use super::failure::Failure;
use super::version;
use crate::ledger::error::LedgerError;

/// Begins what sees one moment of the ledger, however many questions it asks.
const MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Begins what happens between two turns: it waits for the same lock as they, and first, so that none waits for the other
/// in the middle. Numbers that are given behind it are in the order in which others see them.
pub(super) const BETWEEN_TURNS: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT turn FROM gate FOR UPDATE";
/// For a question of a session that others wait for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// A session that is asked by one thread at a time. Never on an event loop.
pub(super) struct Blocking {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    server: Server,
    session: Session,
    needs_schema: bool,
    /// Out while something is asked, and gone after what leaves it in doubt: the next question opens another.
    open: Cell<Option<Open>>,
}

struct Open {
    client: Client,
    wire: Wire,
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Blocking {
    /// Opens a session with a ledger whose schema this program knows.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn open(server: &Server, session: Session) -> Result<Self, LedgerError> {
        Self::begin(server, session, true)
    }

    /// Opens a session, whatever schema is there.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn of_any_version(server: &Server, session: Session) -> Result<Self, LedgerError> {
        Self::begin(server, session, false)
    }

    fn begin(server: &Server, session: Session, needs_schema: bool) -> Result<Self, LedgerError> {
        let runtime = Some(Builder::new_current_thread().enable_all().build()?);
        let blocking = Self { runtime, server: server.clone(), session, needs_schema, open: Cell::new(None) };
        blocking.wait(async {
            blocking.open.set(Some(blocking.connected().await?));
            Ok(())
        })?;
        Ok(blocking)
    }

    /// Where the server is, in words.
    pub(super) fn place(&self) -> &str {
        self.server.place()
    }

    /// Asks, at one moment of the ledger.
    ///
    /// # Errors
    /// What the server says.
    pub(super) fn ask<T, E: Into<Failure>>(
        &self,
        question: impl AsyncFnOnce(&Client) -> Result<T, E>,
    ) -> Result<T, LedgerError> {
        self.within(MOMENT, question)
    }

    /// Changes something between two turns, or nothing.
    ///
    /// # Errors
    /// What the server says. Where the connection ended meanwhile, nobody knows whether it was done.
    pub(super) fn change<T, E: Into<Failure>>(
        &self,
        change: impl AsyncFnOnce(&Client) -> Result<T, E>,
    ) -> Result<T, LedgerError> {
        self.within(BETWEEN_TURNS, change)
    }

    /// Does something in a transaction that begins with these statements.
    ///
    /// # Errors
    /// As [`Blocking::change`].
    pub(super) fn within<T, E: Into<Failure>>(
        &self,
        begin: &str,
        question: impl AsyncFnOnce(&Client) -> Result<T, E>,
    ) -> Result<T, LedgerError> {
        self.wait(async {
            let Open { client, mut wire } = self.connected().await?;
            let asked = async {
                client.batch_execute(begin).await?;
                let answer = question(&client).await.map_err(Into::<Failure>::into)?;
                client.batch_execute("COMMIT").await?;
                Ok::<T, Failure>(answer)
            };
            let answer = carried(&mut wire, asked).await;
            let is_at_rest = match &answer {
                Ok(Ok(_)) => true,
                // What was locked is free at once.
                Ok(Err(_)) => {
                    let back = carried(&mut wire, client.batch_execute("ROLLBACK")).await;
                    back.is_ok_and(|done| done.is_ok())
                }
                Err(_) => false,
            };
            if is_at_rest {
                self.open.set(Some(Open { client, wire }));
            }
            answer.flatten().map_err(|failure| failure.of(self.place()))
        })
    }

    /// The connection, if it is still one, or another.
    async fn connected(&self) -> Result<Open, LedgerError> {
        if let Some(Open { client, mut wire }) = self.open.take() {
            // A server that was started anew since has ended it. Nothing was asked yet: nothing is asked twice.
            let checked = carried(&mut wire, client.check_connection()).await;
            if checked.is_ok_and(|alive| alive.is_ok()) {
                return Ok(Open { client, wire });
            }
        }
        let (client, mut wire) = self.server.connect(self.session).await?;
        if self.needs_schema {
            let checked = carried(&mut wire, version::check(&client, self.place())).await;
            checked.map_err(|failure| failure.of(self.place())).flatten()?;
        }
        Ok(Open { client, wire })
    }

    fn wait<T>(&self, asked: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        let Some(runtime) = &self.runtime else {
            return Err(io::Error::other("asked while it is dropped").into());
        };
        runtime.block_on(async {
            match self.session {
                Session::Turns => tokio::time::timeout(ANSWERED_WITHIN, asked).await.unwrap_or_else(|_| {
                    let what = format!("no answer within {} seconds", ANSWERED_WITHIN.as_secs());
                    Err(LedgerError::Database { place: self.place().to_owned(), what })
                }),
                // The server's own bounds hold for each statement; how many there are nobody knows.
                Session::Reports => asked.await,
            }
        })
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        // One that is merely dropped waits for its threads, which is a panic where an event loop drops it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for an answer, and drives the connection meanwhile.
///
/// # Errors
/// Why the connection ended before there was an answer.
async fn carried<T>(wire: &mut Wire, question: impl Future<Output = T>) -> Result<T, Failure> {
    let mut question = pin!(question);
    let ended = tokio::select! {
        biased;
        answer = &mut question => return Ok(answer),
        ended = wire => ended,
    };
    // What came last may be the answer, or the server's own words for why it went.
    match poll_fn(|cx| Poll::Ready(question.as_mut().poll(cx))).await {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(ended.err().map_or(Failure::Closed, Failure::Database)),
    }
}
