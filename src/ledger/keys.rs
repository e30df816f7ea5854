//! Caller keys that the ledger has a say on: made, replaced and revoked while gateways run. By their digests alone.

use std::fmt::Debug;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::error::LedgerError;
use crate::credits::Credits;

/// A caller key, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredKey {
    /// The public part.
    pub id: String,
    /// Whose.
    pub team: String,
    /// SHA-256 of the whole key.
    pub digest: [u8; 32],
    /// It is the configuration's: then it works only for as long as that lists it.
    pub in_file: bool,
    /// The first of those that replaced each other.
    pub lineage: String,
    /// When it was registered.
    pub added: Timestamp,
    /// How long it was made for; nothing for ever, or where nobody knows.
    pub made_for: Option<SignedDuration>,
    /// When it stops working.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl RegisteredKey {
    /// Whether it opens the gateway at a moment.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether a key that is registered is the one that is to be: then that was done before.
    pub(super) fn is_same(&self, new: &Self) -> bool {
        self.digest == new.digest && self.team == new.team && self.revoked.is_none()
    }
}

/// How long a key that has expired by itself is remembered, so that whoever uses it is told apart from a stranger in the log.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Keys of the ledger's own that came to their end before this are forgotten.
pub(super) fn forgotten_before(now: Timestamp) -> Timestamp {
    now.saturating_sub(REMEMBERED).unwrap_or(now)
}

/// What was done to a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyEvent {
    /// Its number.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// To which key.
    pub key_id: String,
    /// Whose.
    pub team: String,
    /// `added`, `replaced` or `revoked`.
    pub kind: String,
    /// By whom.
    pub by: String,
    /// The key that took its place, or why.
    pub detail: Option<String>,
    /// When it stops working from then on.
    pub expires: Option<Timestamp>,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is there now.
    New,
    /// It was there already, the same.
    Known,
    /// Another key has its id, or it was revoked.
    Taken,
    /// The key to be replaced works no longer.
    Gone,
    /// The key to be replaced has been replaced, and both work yet: a third would be too many.
    TooMany,
}

/// Who does something to keys, and when.
#[derive(Clone, Copy, Debug)]
pub struct Hand<'h> {
    /// In words, for the events.
    pub by: &'h str,
    /// When.
    pub at: Timestamp,
}

/// What a caller has done, as far as the ledger knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerUse {
    /// The key's id, or the member's.
    pub key_id: String,
    /// The last day of a call of it.
    pub last_day: Date,
    /// What it has spent since a day.
    pub spent: Credits,
}

/// Where keys are registered. Every change is an event, and durable when it is told.
pub trait KeyRegister: Debug + Send {
    /// The number of the last event: another whenever anything has changed.
    ///
    /// # Errors
    /// When the ledger cannot be read or written; so everywhere here.
    fn last_event(&self) -> Result<i64, LedgerError>;

    /// All keys, in the order of their ids, with the number of the last event that is in them.
    ///
    /// # Errors
    /// As everywhere here.
    fn keys(&self) -> Result<(i64, Vec<RegisteredKey>), LedgerError>;

    /// Events behind a number, the oldest first, so many at most.
    ///
    /// # Errors
    /// As everywhere here.
    fn events_after(&self, seq: i64, count: usize) -> Result<Vec<KeyEvent>, LedgerError>;

    /// Registers a key. Done twice, it is done once.
    ///
    /// # Errors
    /// As everywhere here.
    fn add(&mut self, key: &RegisteredKey, hand: Hand<'_>) -> Result<Registered, LedgerError>;

    /// Registers a key in place of another, which stops working at `ends`, or before if it had an end before. `old` is that as the
    /// configuration has it, for where the ledger has not heard of it. Done twice, it is done once.
    ///
    /// # Errors
    /// As everywhere here.
    fn replace(
        &mut self,
        old: &RegisteredKey,
        new: &RegisteredKey,
        ends: Timestamp,
        hand: Hand<'_>,
    ) -> Result<Registered, LedgerError>;

    /// Revokes a key, of which `old` is what the configuration has. `false` if that was done already.
    ///
    /// # Errors
    /// As everywhere here.
    fn revoke(&mut self, old: &RegisteredKey, why: &str, hand: Hand<'_>) -> Result<bool, LedgerError>;
}
