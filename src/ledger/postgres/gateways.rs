//! The ledger's server and its gateways as an operator sees them, and how a gateway is put out.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio_postgres::{Client, Error, Row};

use super::blocking::Blocking;
use super::columns::moment;
use super::connect::{Server, Session};
use super::version::{VERSION, fits, version};
use crate::config::Postgres;
use crate::ledger::error::LedgerError;

/// Of those that have gone, those of the last day.
const GATEWAYS: &str = "
    SELECT id, name, version, started_at, in_flight, waiting,
           CASE WHEN gone_at IS NOT NULL THEN CASE WHEN is_lost THEN 'lost' ELSE 'stopped' END
                WHEN lease_until = 0 THEN 'fenced' WHEN lease_until <= at THEN 'silent' ELSE 'running' END,
           CASE WHEN gone_at IS NULL THEN greatest(lease_until - at, 0) ELSE 0 END,
           (SELECT count(*) FROM bookings WHERE replica = replicas.id AND ended_in IS NULL)
    FROM replicas, (SELECT wall_clock() AS at) now
    WHERE gone_at IS NULL OR gone_at > at - 86400000000 ORDER BY id";
const BOOKS: &str = "
    SELECT (SELECT turn FROM gate), (SELECT count(*) FROM turns),
           (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::BIGINT FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'm', 'p'))";
/// What a standby is called is null for whoever may not see it.
const STANDBYS: &str = "
    SELECT current_setting('synchronous_standby_names'), current_setting('server_version'),
           (SELECT coalesce(array_agg(application_name ORDER BY application_name), '{}') FROM pg_stat_replication
            WHERE sync_state IN ('sync', 'quorum') AND application_name IS NOT NULL),
           (SELECT count(*) FROM pg_stat_replication WHERE sync_state IS NULL)";
const FENCE: &str = "
    UPDATE replicas SET lease_until = 0 WHERE id = $1 AND gone_at IS NULL
    RETURNING name, (SELECT count(*) FROM bookings WHERE replica = $1 AND ended_in IS NULL),
      (SELECT count(*) FROM replicas WHERE id <> $1 AND gone_at IS NULL
         AND lease_until > wall_clock())";
const KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM replicas WHERE id = $1)";

/// A ledger in a database, and what is around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Where it is.
    pub place: String,
    /// The server's release.
    pub server: String,
    /// The version of its tables; 0 where there are none.
    pub schema_version: i64,
    /// The version that this program needs.
    pub needs_version: i64,
    /// Why this program cannot work with it, if it cannot.
    pub problem: Option<String>,
    /// Other servers that have what this one has.
    pub standbys: Standbys,
    /// What is in it, where this program knows its tables.
    pub books: Option<Books>,
}

/// Servers that commits wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standbys {
    /// As the server's `synchronous_standby_names` has it; empty for none.
    pub waited_for: String,
    /// Those that are there.
    pub attached: Vec<String>,
    /// How many are there of which this user may not see more.
    pub hidden: i64,
}

/// What is in a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Books {
    /// The last turn that was taken.
    pub last_turn: i64,
    /// Turns that are kept.
    pub turns_kept: i64,
    /// Of all its tables and what belongs to them.
    pub bytes: i64,
    /// Its gateways, without those that went more than a day ago, in the order of their numbers.
    pub gateways: Vec<Listed>,
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its number, for as long as its process lives.
    pub id: i32,
    /// As it calls itself.
    pub name: String,
    /// Its release.
    pub version: String,
    /// "running"; "silent", its lease is over and nobody has noticed yet; "fenced", put out and nobody has noticed yet; "lost",
    /// what it had open is booked in doubt; "stopped".
    pub state: String,
    /// When it began.
    pub started: Timestamp,
    /// How long it counts as running without another word of it.
    pub lease_left: SignedDuration,
    /// Calls under way, as it last said.
    pub in_flight: i32,
    /// Calls that wait, as it last said.
    pub waiting: i32,
    /// Calls of its that are held and not ended.
    pub open: i64,
}

/// What has become of a gateway that was to be put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// The next turn of another one books what it had open.
    Done {
        /// As it calls itself.
        name: String,
        /// Calls that it had open.
        open: i64,
        /// Others that run.
        others: i64,
    },
    /// None ever had the number.
    Unknown,
    /// It has gone, and nothing of it is open.
    GoneAlready,
}

/// How a ledger in a database is, whatever version it has.
///
/// # Errors
/// In words for the operator.
pub fn status(settings: &Postgres) -> Result<Status, LedgerError> {
    let server = Server::of(settings)?;
    let session = Blocking::of_any_version(&server, Session::Reports)?;
    session.ask(async |client| look(client, &server).await)
}

/// Puts a gateway out, between two turns: what it had open is booked in doubt by the next turn of any other, as if it had been
/// silent for longer than its lease.
///
/// # Errors
/// In words for the operator.
pub fn fence(settings: &Postgres, id: i32) -> Result<Fenced, LedgerError> {
    let session = Blocking::open(&Server::of(settings)?, Session::Turns)?;
    session.change(async |change| put_out(change, id).await)
}

async fn look(client: &Client, server: &Server) -> Result<Status, Error> {
    let schema_version = version(client).await?;
    let row = client.query_one(STANDBYS, &[]).await?;
    let standbys =
        Standbys { waited_for: row.try_get(0)?, attached: row.try_get(2)?, hidden: row.try_get(3)? };
    let problem = fits(schema_version, server.place()).err().map(|problem| problem.to_string());
    let is_known = (1..=VERSION + 1).contains(&schema_version);
    Ok(Status {
        place: server.place().to_string(),
        server: row.try_get(1)?,
        schema_version,
        needs_version: VERSION,
        problem,
        standbys,
        books: if is_known { Some(books(client, server.schema()).await?) } else { None },
    })
}

async fn books(client: &Client, schema: &str) -> Result<Books, Error> {
    let gateways = client.query(GATEWAYS, &[]).await?;
    let row = client.query_one(BOOKS, &[&schema]).await?;
    Ok(Books {
        last_turn: row.try_get(0)?,
        turns_kept: row.try_get(1)?,
        bytes: row.try_get(2)?,
        gateways: gateways.iter().map(listed).collect::<Result<_, _>>()?,
    })
}

fn listed(row: &Row) -> Result<Listed, Error> {
    Ok(Listed {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        version: row.try_get(2)?,
        started: moment(row, 3)?,
        in_flight: row.try_get(4)?,
        waiting: row.try_get(5)?,
        state: row.try_get(6)?,
        lease_left: SignedDuration::from_secs(row.try_get::<_, i64>(7)? / 1_000_000),
        open: row.try_get(8)?,
    })
}

async fn put_out(change: &Client, id: i32) -> Result<Fenced, Error> {
    if let Some(row) = change.query_opt(FENCE, &[&id]).await? {
        return Ok(Fenced::Done { name: row.try_get(0)?, open: row.try_get(1)?, others: row.try_get(2)? });
    }
    let is_known: bool = change.query_one(KNOWN, &[&id]).await?.try_get(0)?;
    Ok(if is_known { Fenced::GoneAlready } else { Fenced::Unknown })
}
