//! Turns: how several gateways write one ledger. One at a time has the lock, sees all that was said before, says its own, and
//! lets go when that is durable; whoever comes next sees it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::LedgerError;
use super::facts::{Booked, CallId};
use super::opening::{LookBack, Opening};
use super::rows::Changes;

/// The form of what turns and desks are written in. Another release writes the form of the oldest gateway that runs, and reads
/// that of the release before.
pub const FORM: u32 = 1;

/// A turn that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number: each has one more than the one before.
    pub turn: i64,
    /// Who took it.
    pub gateway: u32,
    /// Which it was of that gateway's.
    pub batch: i64,
    /// When, since the ledger's beginning.
    pub clock: Duration,
    /// What was said.
    pub body: Arc<[u8]>,
}

/// A gateway of the ledger's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its number, for as long as its process lives.
    pub id: u32,
    /// As it calls itself.
    pub name: String,
    /// Its release.
    pub version: String,
    /// When it began.
    pub started: Timestamp,
    /// How long it counts as running, without another word of it; nothing if that is over.
    pub lease: Option<Duration>,
    /// It has looked since another server answers.
    pub has_looked: bool,
    /// Calls under way.
    pub in_flight: u32,
    /// Calls that wait.
    pub waiting: u32,
}

/// What a gateway sees that has the lock.
#[derive(Debug)]
pub struct Look {
    /// The time, since the ledger's beginning: the database's, and never less than before.
    pub now: Duration,
    /// The same by the database's wall clock.
    pub wall: Timestamp,
    /// The last turn that was taken.
    pub last: i64,
    /// Turns behind the one that was known, as far as they are kept.
    pub turns: Vec<Turn>,
    /// All gateways that have not gone, in the order of their numbers.
    pub gateways: Vec<Gateway>,
    /// The last turn of the one that looks, by its own count.
    pub own_batch: i64,
    /// Its own lease is over, and nobody has given it up: then it was not it alone that was silent.
    pub was_silent: bool,
    /// It was given up as lost, or put out by an operator: what it was given is not its own any more.
    pub is_out: bool,
    /// Another server answers than the one that took the last turn: it may have lost what that had acknowledged.
    pub is_another: bool,
    /// Until when turns are only brought back, and none is taken.
    pub settling_until: Option<Duration>,
    /// What operators have written since, with the number of the last of it.
    pub changes: Option<(i64, Changes)>,
}

/// A correction of a call that was booked in doubt, because its gateway was lost, and has ended after all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The call.
    pub call: CallId,
    /// When it ended, in microseconds since the epoch.
    pub at: i64,
    /// What it cost more than was booked, in millionths; negative where it was cheaper.
    pub difference: i64,
    /// What of it was in doubt.
    pub doubt: i64,
    /// How it ended.
    pub why: String,
}

/// Servers that follow the ledger's.
#[derive(Clone, Debug, PartialEq)]
pub struct Standbys {
    /// How many there are by `sync_state`: sync, quorum, potential, async.
    pub by_state: [i64; 4],
    /// How far the last of them is behind.
    pub lag: Option<Duration>,
}

impl Standbys {
    /// The states, in this order.
    pub const STATES: [&'static str; 4] = ["sync", "quorum", "potential", "async"];
}

/// What is written in a turn.
#[derive(Debug, Default)]
pub struct NewTurn {
    /// The turn itself; nothing where nothing was said.
    pub said: Option<Said>,
    /// Turns that this server has lost, brought back before.
    pub brought_back: Vec<(Turn, Said)>,
    /// Gateways that are lost.
    pub lost: Vec<u32>,
    /// Every gateway counts as running for a lease from now on, whether it was heard of or not.
    pub renews: bool,
    /// The time, as it was seen.
    pub now: Duration,
    /// Until when turns are only brought back.
    pub settling_until: Option<Duration>,
    /// How long the gateway counts as running from now on.
    pub lease: Duration,
    /// Calls under way, and calls that wait.
    pub load: (u32, u32),
    /// The desk behind a turn, for gateways that start.
    pub desk: Option<(i64, Vec<u8>)>,
}

/// What was said in a turn.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The number of the turn.
    pub turn: i64,
    /// Which it is of its gateway's.
    pub batch: i64,
    /// For whoever takes it up.
    pub body: Vec<u8>,
    /// Entries to be booked, one behind the other; see [`super::entry::Entry`].
    pub entries: Vec<u8>,
    /// What late endings have come to.
    pub corrections: Vec<Correction>,
}

/// A desk as it was written down, and the turns since.
#[derive(Debug)]
pub struct Kept {
    /// The last turn that is in it, and its form.
    pub desk: Option<(i64, Vec<u8>)>,
    /// The turns behind it, to the last.
    pub turns: Vec<Turn>,
}

/// Where turns are taken. A gateway has one of these, and one turn at a time.
#[async_trait]
pub trait Turns: Debug + Send + Sync {
    /// A gateway joins: it has a number from now on, for this process or until it is lost.
    ///
    /// # Errors
    /// When the ledger cannot be reached, read or written; so everywhere here. The lock is free then, and what was to be written
    /// is written or not.
    async fn join(&mut self, name: &str, lease: Duration) -> Result<u32, LedgerError>;

    /// Takes the lock, and looks: at the turns behind `known`, and at what operators have written behind `changes`.
    ///
    /// # Errors
    /// As everywhere here.
    async fn look(&mut self, known: i64, changes: i64) -> Result<Look, LedgerError>;

    /// The desk as it was last written down, under the lock that [`Turns::look`] has taken.
    ///
    /// # Errors
    /// As everywhere here.
    async fn kept(&mut self) -> Result<Kept, LedgerError>;

    /// What a start takes up, of the moment that [`Turns::look`] has seen.
    ///
    /// # Errors
    /// As everywhere here.
    async fn opening(&mut self, back: &LookBack) -> Result<Opening, LedgerError>;

    /// How calls are booked, corrections included; under the lock.
    ///
    /// # Errors
    /// As everywhere here.
    async fn booked(&mut self, calls: &[CallId]) -> Result<Vec<Booked>, LedgerError>;

    /// Writes a turn, and frees the lock.
    ///
    /// # Errors
    /// As everywhere here.
    async fn take(&mut self, turn: NewTurn) -> Result<(), LedgerError>;

    /// Servers that follow this one, by how they do, and by how many seconds the last of them is behind; nothing where that may not
    /// be seen. Outside of a turn.
    ///
    /// # Errors
    /// As everywhere here.
    async fn standbys(&mut self) -> Result<Option<Standbys>, LedgerError>;

    /// The gateway goes.
    ///
    /// # Errors
    /// As everywhere here.
    async fn leave(&mut self) -> Result<(), LedgerError>;
}
