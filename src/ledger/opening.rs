//! What a gateway takes up from its ledger when it starts.

use jiff::Timestamp;
use jiff::civil::Date;

use super::facts::{Account, CallId, Retry};
use super::fate::Fate;
use super::rows::Spend;
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::route::Route;

/// All of it, from one moment.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The last call ever held.
    pub last_call: CallId,
    /// All that was ever counted.
    pub totals: Vec<Total>,
    /// What was spent on the days that are looked back on.
    pub spent: Vec<Spend>,
    /// Grants in force now or later, and those before with which earlier periods were paid.
    pub grants: Vec<Grant>,
    /// The latest final costs of each route that costs, the oldest first.
    pub costs: Vec<(Route, Vec<Credits>)>,
    /// When calls that are booked were sent upstream, within the last minute.
    pub sent: Vec<Timestamp>,
    /// The number of the last correction that `spent` has in it.
    pub last_change: i64,
    /// Calls that have a key, the oldest first: what becomes of their retries.
    pub known: Vec<KnownCall>,
    /// What retries have saved each team since ever.
    pub saved: Vec<(String, Credits)>,
    /// Jobs whose cost is not known, the oldest first.
    pub jobs: Vec<KnownJob>,
    /// Things that were made through the gateway, the oldest first: what each is, its id, and whose.
    pub things: Vec<(String, String, String)>,
}

/// A job that goes on, or whose cost is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownJob {
    /// The call that began it.
    pub call: CallId,
    /// Whom that is booked on.
    pub account: Account,
    /// As the upstream knows it, if that was told.
    pub upstream_id: Option<Box<str>>,
    /// The day it is booked on.
    pub day: Date,
    /// What is booked.
    pub reserve: Credits,
    /// When it began.
    pub began: Timestamp,
    /// How far it had come.
    pub stage: KnownStage,
    /// Whether its cost is known.
    pub is_settled: bool,
}

/// How far a job had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownStage {
    /// It went on, as far as anybody knows.
    GoesOn,
    /// Its end was seen.
    Over,
    /// Nobody had seen its end in time.
    GivenUp,
}

/// A call that has a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCall {
    /// The call.
    pub call: CallId,
    /// When it was held.
    pub at: Timestamp,
    /// Its key, and what was asked.
    pub retry: Retry,
    /// What it came to, as its ending says.
    pub fate: Fate,
}

/// How far a start looks back.
#[derive(Clone, Copy, Debug)]
pub struct LookBack {
    /// When it is.
    pub now: Timestamp,
    /// Today, in the configured zone.
    pub today: Date,
    /// The first day whose sums are wanted.
    pub since: Date,
    /// The first day whose grants are wanted, and whose sums where one that began then is in force.
    pub grants: Date,
    /// Costs per route.
    pub costs: usize,
    /// Calls sent since then.
    pub sent_since: Timestamp,
    /// Calls with a key that were held since then.
    pub known_since: Timestamp,
    /// The latest jobs, and the latest things: so many of each.
    pub jobs: usize,
    /// See there.
    pub things: usize,
}

/// All that was ever counted of a team on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Whose.
    pub team: String,
    /// On which route.
    pub route: String,
    /// Final, estimated and derived as they were before corrections by hand: what counters have counted. What a job may cost is
    /// not in it before that is known, or given up.
    pub counted: [Credits; 3],
    /// Tokens in.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
}
