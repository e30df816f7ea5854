//! Turns, taken in PostgreSQL: one transaction each, in two flights of statements that are sent together. The row `gate` is the
//! lock. What is read behind it is what is committed, because each statement sees for itself (`READ COMMITTED`): the same in one
//! statement would see a moment before the lock was had.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use super::connect::{Server, Session};
use super::failure::failure;
use super::looked::{look, micros, seen, turn};
use super::merge::Sorted;
use super::opening::opening;
use super::statements::{Open, Statements};
use super::{sums, version};
use crate::config::Postgres;
use crate::ledger::error::LedgerError;
use crate::ledger::facts::{Booked, CallId};
use crate::ledger::opening::{LookBack, Opening};
use crate::ledger::turns::{FORM, Kept, Look, NewTurn, Said, Standbys, Turns};

const JOIN: &str = "INSERT INTO replicas (name, version, form, started_at, lease_until)
    SELECT $1, $2, $3, at, at + $4 FROM (SELECT wall_clock() AS at) now
    RETURNING id";
const BATCH: &str = "UPDATE replicas SET last_batch = greatest(last_batch, $2), last_turn = greatest(last_turn, $3) WHERE id = $1";
const RENEW: &str = "UPDATE replicas SET lease_until = $1 WHERE gone_at IS NULL AND lease_until > 0";
/// Of what this user may not see nothing is told.
const STANDBYS: &str = "SELECT count(*) FILTER (WHERE sync_state = 'sync'), count(*) FILTER (WHERE sync_state = 'quorum'),
    count(*) FILTER (WHERE sync_state = 'potential'), count(*) FILTER (WHERE sync_state = 'async'),
    count(*) FILTER (WHERE sync_state IS NULL), extract(epoch FROM max(replay_lag))::FLOAT8 FROM pg_stat_replication";
const KEEP: &str = "INSERT INTO desks (turn, body) VALUES ($1, $2) ON CONFLICT (turn) DO NOTHING";
const LEAVE: &str = "UPDATE replicas SET gone_at = wall_clock()
    WHERE id = $1 AND gone_at IS NULL";
/// Turns that are kept behind the desk that was written down last, for gateways that were away.
const TURNS_KEPT: i64 = 4096;
/// How long one flight may take.
const FLIGHT: Duration = Duration::from_secs(5);

/// Turns of a gateway, at a server.
#[derive(Debug)]
pub(super) struct PostgresTurns {
    server: Server,
    id: i32,
    open: Option<Open>,
    /// What was seen of the server and its clock, under the lock that is had.
    seen: Option<(String, i64)>,
    /// A transaction may be open: whoever drops a question in its middle leaves it so.
    is_busy: bool,
}

/// Turns at the database that the settings name.
///
/// # Errors
/// In words for the operator.
pub fn turns(settings: &Postgres) -> Result<Box<dyn Turns>, LedgerError> {
    Ok(Box::new(PostgresTurns {
        server: Server::of(settings)?,
        id: 0,
        open: None,
        seen: None,
        is_busy: false,
    }))
}

impl PostgresTurns {
    async fn opened(&mut self) -> Result<&Open, LedgerError> {
        if self.open.as_ref().is_none_or(|open| open.client.is_closed()) {
            self.open = None;
            let (client, wire) = Box::pin(self.server.connect(Session::Turns)).await?;
            let driver = tokio::spawn(async move {
                // Why it ended is told to whoever asks next.
                let _ = wire.await;
            });
            version::check(&client, self.server.place()).await?;
            let statements =
                Box::pin(Statements::prepare(&client)).await.map_err(|error| self.failed(&error))?;
            self.open = Some(Open { client, driver, statements });
        }
        self.open.as_ref().ok_or_else(|| self.closed())
    }

    /// The session that holds the lock.
    fn at_work(&self) -> Result<&Open, LedgerError> {
        self.open.as_ref().ok_or_else(|| self.closed())
    }

    fn failed(&self, error: &Error) -> LedgerError {
        failure(self.server.place(), error)
    }

    fn closed(&self) -> LedgerError {
        LedgerError::Database {
            place: self.server.place().to_string(),
            what: "the connection is closed".into(),
        }
    }

    /// Nothing of a transaction that failed is left: its session ends, and its lock with it.
    fn end<T>(
        &mut self,
        done: Result<Result<T, Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, LedgerError> {
        let error = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => self.failed(&error),
            Err(_) => LedgerError::Database {
                place: self.server.place().to_string(),
                what: format!("no answer within {} seconds", FLIGHT.as_secs()),
            },
        };
        self.open = None;
        self.seen = None;
        Err(error)
    }
}

#[async_trait]
impl Turns for PostgresTurns {
    async fn join(&mut self, name: &str, lease: Duration) -> Result<u32, LedgerError> {
        // What a look has locked is free.
        (self.open, self.seen, self.is_busy) = (None, None, false);
        let open = self.opened().await?;
        let (version, form) = (env!("CARGO_PKG_VERSION"), FORM.cast_signed());
        let types = [Type::TEXT, Type::TEXT, Type::INT4, Type::INT8];
        let joined = async {
            let join = open.client.prepare_typed(JOIN, &types).await?;
            let row = open.client.query_one(&join, &[&name, &version, &form, &micros(lease)]).await?;
            row.try_get::<_, i32>(0)
        };
        let joined = tokio::time::timeout(FLIGHT, joined).await;
        self.id = self.end(joined)?;
        Ok(self.id.cast_unsigned())
    }

    async fn look(&mut self, known: i64, changes: i64) -> Result<Look, LedgerError> {
        if self.is_busy {
            // The transaction before was given up.
            self.open = None;
        }
        (self.seen, self.is_busy) = (None, true);
        let id = self.id;
        let open = self.opened().await?;
        let looked = async {
            let rows = look(open, id, known, changes).await?;
            seen(&rows, id)
        };
        let looked = tokio::time::timeout(FLIGHT, looked).await;
        let (look, server, wall) = self.end(looked)?;
        self.seen = Some((server, wall));
        Ok(look)
    }

    async fn kept(&mut self) -> Result<Kept, LedgerError> {
        let open = self.at_work()?;
        let kept = async {
            let client = &open.client;
            let desk =
                client.query_opt("SELECT turn, body FROM desks ORDER BY turn DESC LIMIT 1", &[]).await?;
            let desk = desk.map(|row| Ok::<_, Error>((row.try_get(0)?, row.try_get(1)?))).transpose()?;
            let known = desk.as_ref().map_or(0, |(turn, _): &(i64, Vec<u8>)| *turn);
            let turns = client.query(&open.statements.turns, &[&known]).await?;
            Ok(Kept { desk, turns: turns.iter().map(turn).collect::<Result<_, _>>()? })
        };
        let kept = tokio::time::timeout(FLIGHT, kept).await;
        self.end(kept)
    }

    async fn opening(&mut self, back: &LookBack) -> Result<Opening, LedgerError> {
        // Months of sums may take longer than a turn may.
        let open = self.opened().await?;
        let opened = async {
            open.client.batch_execute("SET statement_timeout = '60s'").await?;
            let opening = opening(&open.client, back).await?;
            open.client.batch_execute("RESET statement_timeout").await?;
            Ok(opening)
        };
        let opened = tokio::time::timeout(12 * FLIGHT, opened).await;
        self.end(opened)
    }

    async fn booked(&mut self, calls: &[CallId]) -> Result<Vec<Booked>, LedgerError> {
        let open = self.at_work()?;
        let booked = tokio::time::timeout(FLIGHT, sums::booked_of(&open.client, calls)).await;
        self.end(booked)
    }

    async fn take(&mut self, new: NewTurn) -> Result<(), LedgerError> {
        let (server, wall) = self.seen.take().ok_or_else(|| self.closed())?;
        let open = self.at_work()?;
        let taken = write(open, self.id, &new, &server, wall);
        let taken = tokio::time::timeout(FLIGHT, taken).await;
        self.end(taken)?;
        self.is_busy = false;
        Ok(())
    }

    async fn standbys(&mut self) -> Result<Option<Standbys>, LedgerError> {
        if self.is_busy {
            return Ok(None);
        }
        let open = self.opened().await?;
        let asked = async {
            let row = open.client.query_one(STANDBYS, &[]).await?;
            let hidden: i64 = row.try_get(4)?;
            let by_state = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
            let lag: Option<f64> = row.try_get(5)?;
            let lag = lag.and_then(|lag| Duration::try_from_secs_f64(lag.max(0.0)).ok());
            Ok((hidden == 0).then_some(Standbys { by_state, lag }))
        };
        let asked = tokio::time::timeout(FLIGHT, asked).await;
        self.end(asked)
    }

    async fn leave(&mut self) -> Result<(), LedgerError> {
        let id = self.id;
        self.open = None;
        let open = self.opened().await?;
        let left = tokio::time::timeout(FLIGHT, open.client.execute(LEAVE, &[&id])).await;
        self.end(left).map(drop)
    }
}

/// Sends all that a turn writes, and the commit behind it, and waits for the answers.
async fn write(open: &Open, id: i32, new: &NewTurn, server: &str, wall: i64) -> Result<(), Error> {
    let Open { client, statements: s, .. } = open;
    for (turn, said) in &new.brought_back {
        row(open, turn.gateway.cast_signed(), turn.clock, said).await?;
        let booked = Sorted::of(&said.entries);
        s.merge.book(client, said.turn, &booked, &said.corrections).await?;
        client.execute(BATCH, &[&turn.gateway.cast_signed(), &turn.batch, &turn.turn]).await?;
    }
    let last =
        new.said.iter().chain(new.brought_back.iter().map(|(_, said)| said)).map(|said| said.turn).max();
    let own =
        new.brought_back.iter().filter(|(turn, _)| turn.gateway.cast_signed() == id).map(|(_, said)| said);
    let own = new.said.iter().chain(own).max_by_key(|said| said.batch);
    let (own_turn, batch) = own.map_or((0, 0), |said| (said.turn, said.batch));
    let given_up: Vec<i32> = new.lost.iter().map(|lost| lost.cast_signed()).collect();
    let lease = wall + micros(new.lease);
    let load = [new.load.0, new.load.1].map(|count| i32::try_from(count).unwrap_or(i32::MAX));
    let settling = new.settling_until.map(micros);
    let (last, clock) = (last.unwrap_or(0), micros(new.now));
    let of_lost: [&(dyn ToSql + Sync); 2] = [&given_up, &wall];
    let of_own: [&(dyn ToSql + Sync); 7] = [&id, &lease, &own_turn, &batch, &server, &load[0], &load[1]];
    let of_gate: [&(dyn ToSql + Sync); 4] = [&last, &clock, &server, &settling];
    if let Some((turn, desk)) = &new.desk {
        client.execute(KEEP, &[turn, desk]).await?;
        client.execute("DELETE FROM desks WHERE turn < $1", &[turn]).await?;
        client.execute("DELETE FROM turns WHERE turn < $1", &[&(turn - TURNS_KEPT)]).await?;
    }
    if !given_up.is_empty() {
        client.execute(&s.lose, &of_lost).await?;
    }
    if new.renews {
        client.execute(RENEW, &[&lease]).await?;
    }
    let booked = new.said.as_ref().map(|said| (said, Sorted::of(&said.entries)));
    let mut at_once = None;
    if let Some((said, booked)) = &booked {
        if booked.is_sent_at_once(&said.corrections) {
            at_once = Some((said.turn, booked));
        } else {
            // More than one flight: the commit is not sent before all of it has arrived.
            s.merge.book(client, said.turn, booked, &said.corrections).await?;
        }
    }
    tokio::try_join!(
        biased;
        async {
            match &new.said {
                Some(said) => row(open, id, new.now, said).await,
                None => Ok(()),
            }
        },
        async {
            match at_once {
                Some((turn, booked)) => s.merge.book_at_once(client, turn, booked).await,
                None => Ok(()),
            }
        },
        client.execute(&s.own, &of_own),
        client.execute(&s.advance, &of_gate),
        client.batch_execute("COMMIT"),
    )?;
    Ok(())
}

async fn row(open: &Open, gateway: i32, clock: Duration, said: &Said) -> Result<(), Error> {
    let Said { turn, batch, body, .. } = said;
    let clock = micros(clock);
    let of_turn: [&(dyn ToSql + Sync); 5] = [turn, &gateway, batch, &clock, body];
    open.client.execute(&open.statements.take, &of_turn).await.map(drop)
}
