//! An entry as it is written: the one form that the journal holds and the database is filled from.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Basis, CallId, Command, Ending, NewEnding, NewHold};
use crate::credits::Credits;

/// A hold or an ending, borrowed from where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// Credits are held for a call.
    #[serde(borrow)]
    Hold(HoldEntry<'a>),
    /// They are spent or free.
    End(EndEntry<'a>),
}

/// A hold. Amounts are millionths of a credit, times microseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `bookings`")]
pub struct HoldEntry<'a> {
    pub call: CallId,
    pub at: i64,
    /// Year, month, day.
    pub day: (i16, i8, i8),
    pub team: &'a str,
    pub key_id: &'a str,
    pub route: &'a str,
    pub request_id: &'a str,
    pub reserve: i64,
}

/// An ending: what its hold does not say already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `bookings`")]
pub struct EndEntry<'a> {
    pub call: CallId,
    pub at: i64,
    pub kind: Kind,
    pub credits: i64,
    pub reason: Option<&'a str>,
    pub outcome: &'a str,
    pub response_id: Option<&'a str>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub sent_at: Option<i64>,
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Spent, as the upstream says.
    Final,
    /// Spent, as far as anybody knows.
    Estimated,
    /// Free.
    Voided,
}

impl<'a> From<&'a Command> for Entry<'a> {
    fn from(command: &'a Command) -> Self {
        match command {
            Command::Hold(hold) => Self::Hold(hold.into()),
            Command::End(ending) => Self::End(ending.into()),
        }
    }
}

impl<'a> From<&'a NewHold> for HoldEntry<'a> {
    fn from(hold: &'a NewHold) -> Self {
        Self {
            call: hold.call,
            at: hold.at.as_microsecond(),
            day: (hold.day.year(), hold.day.month(), hold.day.day()),
            team: &hold.account.team,
            key_id: &hold.account.key_id,
            route: hold.account.route_label(),
            request_id: &hold.request_id,
            reserve: signed(hold.reserve),
        }
    }
}

impl<'a> From<&'a NewEnding> for EndEntry<'a> {
    fn from(ending: &'a NewEnding) -> Self {
        let (kind, credits, reason) = match ending.ending {
            Ending::Settled { credits, basis: Basis::Final, .. } => (Kind::Final, signed(credits), None),
            Ending::Settled { credits, reason, .. } => (Kind::Estimated, signed(credits), Some(reason)),
            Ending::Voided { reason } => (Kind::Voided, 0, Some(reason)),
        };
        Self {
            call: ending.call,
            at: ending.at.as_microsecond(),
            kind,
            credits,
            reason,
            outcome: ending.outcome,
            response_id: ending.response_id.as_deref(),
            input_tokens: tokens(ending.usage.input_tokens),
            output_tokens: tokens(ending.usage.output_tokens),
            sent_at: ending.sent_at.map(Timestamp::as_microsecond),
        }
    }
}

impl HoldEntry<'_> {
    /// The day it is booked on, as the database writes it.
    pub(super) fn day(&self) -> Date {
        let (year, month, day) = self.day;
        Date::new(year, month, day).unwrap_or(Date::MIN)
    }
}

pub(super) fn signed(credits: Credits) -> i64 {
    i64::try_from(credits.millionths()).unwrap_or(i64::MAX)
}

fn tokens(count: Option<u64>) -> Option<i64> {
    count.and_then(|count| i64::try_from(count).ok())
}
