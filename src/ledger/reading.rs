//! What can be read of a ledger, also while a gateway writes it: sums, charges, calls, grants, changes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use super::error::LedgerError;
use super::facts::{Adjustment, Basis, Booked, CallId};
use super::keys::{CallerUse, RegisteredKey};
use super::past::Past;
use super::statement::Stated;
use super::view::{View, Viewed};
use crate::credits::Credits;
use crate::credits::budget::Grant;
use crate::desk::GRANT_DAYS;

/// Reads a ledger. Every question is answered from one moment.
pub trait Reading: Debug + Send {
    /// The sums by day of a span.
    ///
    /// # Errors
    /// When the ledger cannot be read; so everywhere here.
    fn spends(&self, span: Span) -> Result<Vec<Spend>, LedgerError>;

    /// What was booked of calls that were held between two moments, the second not included: settled, and in doubt.
    /// Corrections included. Looks at each call, so it is for parts of days.
    ///
    /// # Errors
    /// As everywhere here.
    fn booked_between(&self, since: Timestamp, until: Timestamp) -> Result<(Credits, Credits), LedgerError>;

    /// All that the credits page shows of the ledger.
    ///
    /// # Errors
    /// As everywhere here.
    fn view(&self, view: &View) -> Result<Viewed, LedgerError>;

    /// What copies would have cost, by day, team, key and route, of a span.
    ///
    /// # Errors
    /// As everywhere here.
    fn savings(&self, span: Span) -> Result<Vec<Saving>, LedgerError>;

    /// The latest charges of a team, the newest first.
    ///
    /// # Errors
    /// As everywhere here.
    fn recent_charges(&self, team: &str, count: usize) -> Result<Vec<Charge>, LedgerError>;

    /// The latest calls that match. Looks at a bounded number of entries, and says so if that was not all.
    ///
    /// # Errors
    /// As everywhere here.
    fn calls(&self, search: &Search) -> Result<Found, LedgerError>;

    /// What is booked, corrections included, by the upstream's id of the response.
    ///
    /// # Errors
    /// As everywhere here.
    fn booked_by_response(&self) -> Result<BTreeMap<String, Booked>, LedgerError>;

    /// Calls that are booked by estimate and were not corrected since, the oldest first, with the reason for it: all, or those of an
    /// id that their callers saw; so many at most.
    ///
    /// # Errors
    /// As everywhere here.
    fn doubt(&self, request_id: Option<&str>, count: usize) -> Result<Vec<(Booked, String)>, LedgerError>;

    /// What is booked by estimate, over all time.
    ///
    /// # Errors
    /// As everywhere here.
    fn in_doubt(&self) -> Result<Credits, LedgerError>;

    /// What others have written since: grants in force on `day` or later, and corrections behind number `seq`, in order.
    ///
    /// # Errors
    /// As everywhere here.
    fn changes(&self, day: Date, seq: i64) -> Result<Changes, LedgerError>;

    /// Grants that end on `day` or later and were not taken back, in the order in which they were given.
    ///
    /// # Errors
    /// As everywhere here.
    fn grants(&self, day: Date) -> Result<Vec<EnteredGrant>, LedgerError> {
        let mut grants = self.grants_of_all(day)?;
        grants.retain(|entered| !entered.grant.taken_back);
        Ok(grants)
    }

    /// The same with those that were taken back.
    ///
    /// # Errors
    /// As everywhere here.
    fn grants_of_all(&self, day: Date) -> Result<Vec<EnteredGrant>, LedgerError>;

    /// Caller keys that the ledger has a say on, in the order of their ids.
    ///
    /// # Errors
    /// As everywhere here.
    fn keys(&self) -> Result<Vec<RegisteredKey>, LedgerError>;

    /// What callers have done, with what they have spent on the days of a span.
    ///
    /// # Errors
    /// As everywhere here.
    fn uses(&self, span: Span) -> Result<Vec<CallerUse>, LedgerError>;

    /// Every call of a team that is booked on a day of the span, and every correction of one.
    ///
    /// # Errors
    /// As everywhere here.
    fn stated(&self, team: &str, span: Span) -> Result<Stated, LedgerError>;

    /// What was asked between two moments, the second not included.
    ///
    /// # Errors
    /// As everywhere here.
    fn past(&self, since: Timestamp, until: Timestamp) -> Result<Past, LedgerError>;

    /// Another number whenever another connection has written.
    ///
    /// # Errors
    /// As everywhere here.
    fn version(&self) -> Result<i64, LedgerError>;

    /// Recomputes every sum from the entries and checks the invariants. Returns what is wrong.
    ///
    /// # Errors
    /// As everywhere here.
    fn verify(&self) -> Result<Vec<String>, LedgerError>;
}

/// What operators write into a ledger, and take out of it.
pub trait Upkeep: Debug {
    /// Writes a grant, with the reason for it. Returns its number.
    ///
    /// # Errors
    /// When the ledger cannot be written; so everywhere here.
    fn grant(&mut self, grant: &Grant, why: &str, at: Timestamp) -> Result<i64, LedgerError>;

    /// Takes a grant back at a moment, which is on this day: what of it is not spent can be spent no longer. `false` if that
    /// was done already, or there is none of that number.
    ///
    /// # Errors
    /// As everywhere here.
    fn revoke_grant(&mut self, number: i64, why: &str, at: (Timestamp, Date)) -> Result<bool, LedgerError>;

    /// Writes corrections, all of them or none. What was in doubt is final then.
    ///
    /// # Errors
    /// As everywhere here; nothing has been written then.
    fn adjust(&mut self, adjustments: &[Adjustment]) -> Result<(), LedgerError>;

    /// Settles which calls are to go, and writes them as CSV with headings, a line each: those before a day, but for calls that
    /// have a key and were held since `known_since`. Returns how many they are.
    ///
    /// # Errors
    /// What the ledger or the output says.
    fn export(
        &mut self,
        before: Date,
        known_since: Timestamp,
        out: &mut dyn Write,
    ) -> Result<usize, LedgerError>;

    /// Removes the calls that [`Upkeep::export`] has written, a few at a time, so that a running gateway need not wait.
    /// No sum changes. Returns how many they were.
    ///
    /// # Errors
    /// As everywhere here; what is left can be exported and pruned again.
    fn prune(&mut self, before: Date) -> Result<usize, LedgerError>;
}

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
