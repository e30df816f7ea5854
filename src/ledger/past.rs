//! What was asked of a gateway in a span of time: each call that was held, and how many others asked by the minute. From it
//! follows what another configuration would have made of them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::CallId;
use crate::credits::Credits;
use crate::route::Route;

/// For how long it is known how many asked that were refused, or paid nothing.
pub const KEPT_MINUTES: i64 = 90 * 24 * 60;

/// The minute of the epoch that a moment is in.
#[must_use]
pub fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// All of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Calls that cost, in the order in which they were held.
    pub calls: Vec<PastCall>,
    /// The others, by minute.
    pub asks: Vec<PastAsks>,
}

/// A call that was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// Its number.
    pub call: CallId,
    /// When it was held.
    pub held: Timestamp,
    /// How long it had waited for that.
    pub queued: Duration,
    /// Whose.
    pub team: Arc<str>,
    /// By which key, or member.
    pub key_id: Arc<str>,
    /// On which route, if it is one that this program knows.
    pub route: Option<Route>,
    /// What was held.
    pub reserve: Credits,
    /// When it ended; nothing if it has not.
    pub ended: Option<Timestamp>,
    /// What is booked, corrections included.
    pub credits: Credits,
    /// The job that it began.
    pub job: Option<PastJob>,
}

/// A job, as long as it went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastJob {
    /// When something was last written of it.
    pub seen: Timestamp,
    /// Whether it is over.
    pub is_over: bool,
}

/// Calls of one minute that were not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAsks {
    /// In minutes since the epoch.
    pub minute: i64,
    /// Whose.
    pub team: Arc<str>,
    /// On which route, if it is one that this program knows.
    pub route: Option<Route>,
    /// Why they were refused; empty if they were served, and cost nothing.
    pub code: Arc<str>,
    /// How many they were.
    pub count: u32,
    /// In which seconds of the minute they came, a bit each.
    pub seconds: u64,
}

impl PastCall {
    /// When it came.
    #[must_use]
    pub fn came(&self) -> Timestamp {
        self.held.checked_sub(self.queued).unwrap_or(self.held)
    }
}

impl Past {
    /// From rows, which have the same names over and over.
    pub(super) fn interned() -> impl FnMut(&str) -> Arc<str> {
        let mut names = std::collections::HashMap::<Box<str>, Arc<str>>::new();
        move |name| {
            if let Some(known) = names.get(name) {
                return Arc::clone(known);
            }
            let known: Arc<str> = name.into();
            names.insert(name.into(), Arc::clone(&known));
            known
        }
    }
}
