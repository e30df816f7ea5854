//! Calls of several gateways: who waits, who holds what, and which retries are whose. So that one that is lost leaves nothing
//! open, and a call that is made at two of them is made once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::limits::{Limits, Teams};
use crate::credits::{Credits, millionths};
use crate::desk::{Ask, Granted, Moment, Ticket};
use crate::ledger::{Account, CallId, Fate, KnownCall, Retry};
use crate::route::Route;

/// What is booked of a call beside what it asks the desk for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Booking {
    /// The id that the caller sees.
    pub(super) request_id: Box<str>,
    /// What tells its retries from other calls.
    pub(super) retry: Option<Retry>,
    /// For how long that is known.
    pub(super) kept: Duration,
    /// The call of the same key that was found to have come to nothing.
    pub(super) after: Option<CallId>,
    /// What its team is held to; nothing where it counts already, or is held to nothing.
    pub(super) limits: Option<Limits>,
}

/// A call that holds credits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Open {
    /// The gateway that it came to.
    pub(super) owner: u32,
    pub(super) account: Account,
    pub(super) request_id: Box<str>,
    pub(super) day: Date,
    #[serde(with = "millionths")]
    pub(super) reserve: Credits,
    /// It has a place of a route that is capped.
    pub(super) has_permit: bool,
    /// The key that names it and its retries.
    key: Option<[u8; 32]>,
}

/// A key that names a call and its retries.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Key {
    /// The gateway that made it.
    owner: u32,
    fingerprint: [u8; 32],
    /// What its call is booked by; 0 while it waits.
    call: CallId,
    /// What it has come to.
    fate: Option<Fate>,
    until: Moment,
}

/// What is known of a call that another gateway has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The key is another call's.
    Another,
    /// It is under way there.
    UnderWay,
    /// It has come to this.
    Ended(CallId, Fate),
}

/// Whom a call is booked on.
pub(super) fn account_of(ask: &Ask) -> Account {
    let (team, key_id) = (Arc::clone(&ask.team), Arc::clone(&ask.key_id));
    // By number, and of this program's own table.
    Account { team, key_id, route: Route::all().nth(ask.route) }
}

/// A call that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Waiting {
    booking: Booking,
    team: Arc<str>,
    owner: u32,
}

impl Waiting {
    /// It counts among its team's calls.
    fn counts(&self) -> bool {
        self.booking.limits.is_some()
    }
}

/// All of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Calls {
    waiting: BTreeMap<Ticket, Waiting>,
    open: BTreeMap<CallId, Open>,
    keys: HashMap<[u8; 32], Key>,
    pub(super) teams: Teams,
}

impl Calls {
    /// A call is there: it waits until it is told something else, and counts among its team's.
    pub(super) fn come(&mut self, ticket: Ticket, ask: &Ask, booking: Booking, now: Moment) {
        let (team, owner) = (Arc::clone(&ask.team), ask.owner);
        if let Some(Retry { key, fingerprint }) = booking.retry {
            let until = now + booking.kept;
            self.keys.insert(key, Key { owner, fingerprint, call: 0, fate: None, until });
        }
        if let Some(limits) = booking.limits {
            self.teams.come(&team, owner, limits, now);
        }
        self.waiting.insert(ticket, Waiting { booking, team, owner });
    }

    /// One that waited is gone.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        if waiting.counts() {
            self.teams.go(&waiting.team, waiting.owner);
        }
        if let Some(retry) = waiting.booking.retry {
            self.keys.remove(&retry.key);
        }
    }

    /// One was given what it asked for. Returns whether it counts among its team's calls until it is over.
    pub(super) fn give(&mut self, call: CallId, granted: &Granted) -> bool {
        let Granted { ask, ticket, day, .. } = granted;
        let Some(waiting) = self.waiting.remove(ticket) else { return false };
        let counts = waiting.counts();
        let Booking { request_id, retry, .. } = waiting.booking;
        if !ask.costs {
            return counts;
        }
        if let Some(key) = retry.and_then(|retry| self.keys.get_mut(&retry.key)) {
            key.call = call;
        }
        self.open.insert(
            call,
            Open {
                owner: ask.owner,
                account: account_of(ask),
                request_id,
                day: *day,
                reserve: ask.reserve,
                has_permit: ask.cap.is_some(),
                key: retry.map(|retry| retry.key),
            },
        );
        counts
    }

    /// What is booked of a call that waits.
    pub(super) fn booking(&self, ticket: Ticket) -> Option<&Booking> {
        self.waiting.get(&ticket).map(|waiting| &waiting.booking)
    }

    /// Whether a call is open.
    pub(super) fn is_open(&self, call: CallId) -> bool {
        self.open.contains_key(&call)
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// How many are open of a gateway.
    pub(super) fn open_of(&self, gateway: u32) -> usize {
        self.open.values().filter(|open| open.owner == gateway).count()
    }

    /// A call gives its place of a route that is capped back before it ends. `false` if it has none any more: with its ending
    /// it gives it back too.
    pub(super) fn free(&mut self, call: CallId) -> bool {
        self.open.get_mut(&call).is_some_and(|open| std::mem::take(&mut open.has_permit))
    }

    /// Gateways that have something open.
    pub(super) fn owners(&self) -> BTreeSet<u32> {
        self.open.values().map(|open| open.owner).collect()
    }

    /// A call has ended. Nothing if it is not open: its gateway was given up as lost.
    pub(super) fn end(&mut self, call: CallId, fate: Fate) -> Option<Open> {
        let open = self.open.remove(&call)?;
        self.comes_to(&open, fate);
        Some(open)
    }

    fn comes_to(&mut self, open: &Open, fate: Fate) {
        let Some(name) = open.key else { return };
        if fate == Fate::Free {
            self.keys.remove(&name);
        } else if let Some(key) = self.keys.get_mut(&name) {
            key.fate = Some(fate);
        }
    }

    /// A gateway is lost. Returns what it had open.
    pub(super) fn lose(&mut self, gateway: u32) -> Vec<(CallId, Open)> {
        self.teams.lose(gateway);
        let lost: Vec<_> = self.open.extract_if(.., |_, open| open.owner == gateway).collect();
        for (_, open) in &lost {
            self.comes_to(open, Fate::Unknown);
        }
        lost
    }

    /// What is known of a call that another gateway than this has made, by its key.
    pub(super) fn elsewhere(&self, retry: &Retry, own: u32) -> Option<Elsewhere> {
        let Key { fingerprint, call, fate, .. } = self.keys.get(&retry.key).filter(|key| key.owner != own)?;
        Some(match fate {
            _ if *fingerprint != retry.fingerprint => Elsewhere::Another,
            None => Elsewhere::UnderWay,
            Some(fate) => Elsewhere::Ended(*call, *fate),
        })
    }

    /// Takes up what the ledger knows, of a call that ended so long ago.
    pub(super) fn take_up(&mut self, call: &KnownCall, until: Moment) {
        if call.fate != Fate::Free {
            let (fingerprint, fate) = (call.retry.fingerprint, Some(call.fate));
            self.keys.insert(call.retry.key, Key { owner: 0, fingerprint, call: call.call, fate, until });
        }
    }

    /// Forgets keys that are past their time.
    pub(super) fn sweep(&mut self, now: Moment) {
        self.teams.sweep(now);
        self.keys.retain(|_, key| key.fate.is_none() || now < key.until);
    }
}
