//! What a team's bill rests on: every call that is booked on some days, and every correction of one.

use jiff::Timestamp;
use jiff::civil::Date;

use super::facts::{CallId, NEVER_SENT};
use crate::credits::Credits;

/// All of it, from one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// Calls, in the order in which they were held.
    pub calls: Vec<StatedCall>,
    /// Corrections of calls, in the order in which they were made.
    pub corrections: Vec<StatedCorrection>,
    /// Before which day entries have been removed, if any were: sums stand without them.
    pub pruned_before: Option<Date>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedCall {
    /// Its number.
    pub call: CallId,
    /// The day it is booked on.
    pub day: Date,
    /// By which key, or member.
    pub key_id: String,
    /// On which route.
    pub route: String,
    /// The id that the caller saw.
    pub request_id: String,
    /// The upstream's id of the response.
    pub response_id: Option<String>,
    /// How it was booked first.
    pub booked: Booking,
    /// At how much; what is held, while it is open.
    pub credits: Credits,
}

/// How a call was booked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booking {
    /// It goes on.
    Open,
    /// Free: it never left for the upstream, and is counted among no calls.
    NeverSent,
    /// Free.
    Voided,
    /// At the upstream's figure, or what follows from its bill.
    Known,
    /// By estimate.
    Estimated,
}

/// A correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedCorrection {
    /// Its number among all changes.
    pub number: i64,
    /// The call that is corrected.
    pub call: CallId,
    /// When it was made.
    pub at: Timestamp,
    /// The difference, in millionths of a credit.
    pub millionths: i64,
    /// Why.
    pub why: String,
}

impl Booking {
    /// As the tables number kinds of endings, and name reasons.
    pub(super) fn of(kind: Option<i64>, reason: Option<&str>) -> Self {
        match kind {
            None => Self::Open,
            Some(_) if reason == Some(NEVER_SENT) => Self::NeverSent,
            Some(0) => Self::Voided,
            Some(2) => Self::Estimated,
            Some(_) => Self::Known,
        }
    }
}
