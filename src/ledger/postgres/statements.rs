//! What is asked in each turn, prepared once on a connection.

use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Statement};

use super::merge::Merge;

const GATE: &str = "SELECT turn, began_at, clock, server, settling_until FROM gate FOR UPDATE";
/// Behind the lock: how long it was waited for is no time of the desk's.
const TIME: &str = "SELECT wall_clock(),
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::BIGINT::TEXT";
const GATEWAYS: &str =
    "SELECT id, name, version, started_at, lease_until, looked_at, in_flight, waiting, last_batch, gone_at
    FROM replicas WHERE gone_at IS NULL OR id = $1 ORDER BY id";
const TURNS: &str = "SELECT turn, replica, batch, clock, body FROM turns
    WHERE turn > $1 OR turn = (SELECT least($1, turn) FROM gate) ORDER BY turn";
const LAST_CHANGE: &str = "SELECT coalesce(max(seq), 0) FROM changes";
const TAKE: &str = "INSERT INTO turns (turn, replica, batch, clock, body) VALUES ($1, $2, $3, $4, $5)";
const LOSE: &str = "UPDATE replicas SET gone_at = $2, is_lost = true WHERE id = ANY($1) AND gone_at IS NULL";
const OWN: &str = "UPDATE replicas SET lease_until = $2, last_turn = greatest(last_turn, $3), last_batch = greatest(last_batch, $4),
    looked_at = $5, in_flight = $6, waiting = $7 WHERE id = $1 AND gone_at IS NULL AND lease_until > 0";
const MOVE: &str = "UPDATE gate SET turn = greatest(turn, $1), clock = greatest(clock, $2), server = $3, settling_until = $4";

#[derive(Debug)]
pub(super) struct Open {
    pub(super) client: Client,
    /// Drives the connection.
    pub(super) driver: JoinHandle<()>,
    pub(super) statements: Statements,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[derive(Debug)]
pub(super) struct Statements {
    pub(super) gate: Statement,
    pub(super) time: Statement,
    pub(super) gateways: Statement,
    pub(super) turns: Statement,
    pub(super) last_change: Statement,
    pub(super) take: Statement,
    pub(super) lose: Statement,
    pub(super) own: Statement,
    pub(super) advance: Statement,
    pub(super) merge: Merge,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        const B: Type = Type::INT8;
        let own = [Type::INT4, B, B, B, Type::TEXT, Type::INT4, Type::INT4];
        let (gate, time, gateways, turns, last_change, take, lose, own, advance, merge) = tokio::try_join!(
            client.prepare(GATE),
            client.prepare(TIME),
            client.prepare(GATEWAYS),
            client.prepare(TURNS),
            client.prepare(LAST_CHANGE),
            client.prepare(TAKE),
            client.prepare(LOSE),
            client.prepare_typed(OWN, &own),
            client.prepare_typed(MOVE, &[B, B, Type::TEXT, B]),
            Merge::prepare(client),
        )?;
        Ok(Self { gate, time, gateways, turns, last_change, take, lose, own, advance, merge })
    }
}
