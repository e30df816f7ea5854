//! What is read of a ledger: sums, charges, calls, grants, changes.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use super::facts::{Basis, CallId};
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::desk::GRANT_DAYS;

/// A grant as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnteredGrant {
    /// By which it can be taken back.
    pub number: i64,
    /// What was granted.
    pub grant: Grant,
    /// Why.
    pub why: String,
}

/// Days, both included.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first day.
    pub since: Date,
    /// The last day.
    pub until: Date,
}

impl Span {
    /// All days there are.
    pub const ALL: Self = Self { since: Date::MIN, until: Date::MAX };
}

/// One row of the sums by day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// The day the calls were held on.
    pub day: Date,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// How the calls ended.
    pub outcome: String,
    /// How many there were.
    pub calls: u64,
    /// Settled at the upstream's figures.
    pub settled: Credits,
    /// Settled at the reserve, in doubt.
    pub estimated: Credits,
    /// Tokens in.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
}

impl Span {
    /// As it is told.
    #[must_use]
    pub fn in_words(self) -> String {
        if self.since == self.until {
            self.since.to_string()
        } else {
            format!("{} until {}", self.since, self.until)
        }
    }
}

impl Spend {
    /// What counts against budgets.
    #[must_use]
    pub fn credits(&self) -> Credits {
        self.settled + self.estimated
    }
}

/// What others have written.
#[derive(Clone, Debug)]
pub struct Changes {
    /// All grants that are in force.
    pub grants: Vec<Grant>,
    /// New corrections.
    pub adjusted: Vec<Adjusted>,
}

impl Changes {
    /// From which day on grants are looked for: also those that have ended, with which earlier periods were paid; what of them is
    /// in force is decided at each call.
    #[must_use]
    pub fn since(now: Timestamp) -> Date {
        let today = now.to_zoned(TimeZone::UTC).date();
        today.checked_sub(GRANT_DAYS.days()).unwrap_or(today)
    }
}

/// What copies of calls would have cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saving {
    /// The day of the copies.
    pub day: Date,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// How many there were.
    pub copies: u64,
    /// What they would have cost together.
    pub credits: Credits,
}

/// A correction that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjusted {
    /// Its number among the changes.
    pub seq: i64,
    /// The call that was corrected.
    pub call: CallId,
    /// The day whose sums it changed.
    pub day: Date,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// The difference, in millionths of a credit; negative where the call was cheaper.
    pub millionths: i64,
}

/// One charge, as a caller may see it.
#[derive(Clone, Debug, Serialize)]
pub struct Charge {
    /// The id that the caller saw.
    pub request_id: String,
    /// The upstream's id of the response.
    pub response_id: Option<String>,
    /// When the call was held, RFC 3339.
    pub at: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// What is booked, corrections included.
    pub credits: Credits,
    /// `final`, `estimated` or `derived`; null where nothing was booked.
    pub basis: Option<String>,
    /// Why it was estimated or given back.
    pub reason: Option<String>,
}

/// Which calls are asked for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Of this team.
    pub team: Option<String>,
    /// That ended like this.
    pub outcome: Option<String>,
    /// Whose price rests on this.
    pub basis: Option<Basis>,
    /// Of this key or member.
    pub caller: Option<String>,
    /// Held from the first of these moments on, and before the second.
    pub held: Option<[Timestamp; 2]>,
    /// With this request, response or key id.
    pub id: Option<String>,
    /// Older than this call.
    pub before: Option<i64>,
    /// No more than this many.
    pub limit: usize,
}

/// What a search found, the newest first.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Calls that were looked at.
    pub searched: i64,
    /// Nothing older could match, or there is a full page.
    pub complete: bool,
    /// Where an older page begins.
    pub next: Option<i64>,
    /// The calls.
    pub requests: Vec<Call>,
}

/// A call as it is booked, its corrections included.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// The call.
    pub call: CallId,
    /// When it was held: calls are in this order.
    pub at: Timestamp,
    /// Whose.
    pub team: String,
    /// By which key.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// The caller's id of the call.
    pub request_id: String,
    /// The upstream's id of the response.
    pub response_id: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// What was held for it.
    pub reserved: Credits,
    /// What is booked.
    pub credits: Credits,
    /// `final` or `estimated`; null where nothing was booked.
    pub basis: Option<String>,
    /// Why it was estimated or given back.
    pub reason: Option<String>,
    /// Tokens in.
    pub input_tokens: Option<u64>,
    /// Tokens out.
    pub output_tokens: Option<u64>,
}
