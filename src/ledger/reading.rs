//! What can be asked of a ledger, also while a gateway writes it, and what operators do to it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;

use jiff::Timestamp;
use jiff::civil::Date;

use super::error::LedgerError;
use super::facts::{Adjustment, Booked};
use super::keys::{CallerUse, RegisteredKey};
use super::past::Past;
use super::rows::{Changes, Charge, EnteredGrant, Found, Saving, Search, Span, Spend};
use super::statement::Stated;
use super::view::{View, Viewed};
use crate::credits::Credits;
use crate::credits::budget::Grant;

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
