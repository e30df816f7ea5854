//! What is told of a call that has ended, assembled once: the ledger's ending, the log line, the counts and the spans all
//! read it from here.

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use jiff::Timestamp;
use tokio::time::Instant;

use super::course::Repeat;
use super::outcome::Outcome;
use super::series::Who;
use crate::books::hold::Closing;
use crate::books::job::Told;
use crate::credits::Credits;
use crate::ledger::{Basis, Ending};
use crate::meter::Reading;
use crate::refuse::Code;
use crate::route::{Route, Target};

/// A call that has ended.
#[derive(Debug)]
pub struct Ended<'r> {
    /// When it did.
    pub at: Timestamp,
    /// The id of the request, ours or the caller's.
    pub request_id: &'r str,
    /// Who was on the other end.
    pub peer: &'r str,
    /// Who called, where a trusted proxy was on the other end.
    pub caller: Option<IpAddr>,
    /// As it was asked.
    pub method: &'r Method,
    /// The protocol's.
    pub version: Version,
    /// What was asked for, if it was something.
    pub target: Option<&'r Target>,
    /// Who asked, if that was found out.
    pub who: Option<&'r Who>,
    /// How it ended.
    pub outcome: Outcome,
    /// The refusal it ended with.
    pub code: Option<Code>,
    /// What the caller was answered; nothing if it left before.
    pub status: Option<StatusCode>,
    /// What the upstream answered.
    pub answered: Option<StatusCode>,
    /// Whether the answer was an event stream.
    pub stream: bool,
    /// Bytes of the answer's body that went by.
    pub bytes: u64,
    /// What the answer said of itself.
    pub reading: &'r Reading,
    /// How it stood to others that are the same.
    pub repeats: Option<&'r Repeat>,
    /// What was held for it.
    pub reserved: Option<Credits>,
    /// What is booked for it.
    pub ending: Option<Ending>,
    /// Whose time was spent.
    pub times: Times,
}

/// Whose time was spent.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the request's head had arrived.
    pub began: Instant,
    /// When the request was handed to an upstream connection.
    pub sent: Option<Instant>,
    /// When the head of the upstream's answer was there, its own or the one that it was given a copy of.
    pub answered: Option<Instant>,
    /// When it was over.
    pub ended: Instant,
    /// Spent waiting for the caller's body.
    pub upload: Duration,
    /// Spent waiting for a turn, and for credits that others held.
    pub queued: Duration,
    /// Spent waiting for connections to the upstream.
    pub connecting: Duration,
    /// Spent waiting for the answer of another call that is the same.
    pub followed: Duration,
}

/// What the wall's clock was at `moment`, if it is `at` now.
pub(super) fn wall_of(moment: Instant, now: Instant, at: Timestamp) -> Timestamp {
    at.saturating_sub(now.saturating_duration_since(moment)).unwrap_or(at)
}

impl Times {
    /// From the request's head to the end.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }

    /// Until the head of the answer.
    #[must_use]
    pub fn head(&self) -> Duration {
        self.answered.unwrap_or(self.ended).saturating_duration_since(self.began)
    }

    /// From sending to the head of the upstream's answer.
    #[must_use]
    pub fn upstream(&self) -> Option<Duration> {
        let until = self.answered.unwrap_or(self.ended);
        self.sent.map(|sent| until.saturating_duration_since(sent))
    }

    /// Spent waiting for others: for a turn, for credits, for connections, for the answer of the same call.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.queued + self.connecting + self.followed
    }

    /// What is left of the time to the head: the gateway's own.
    #[must_use]
    pub fn ours(&self) -> Duration {
        self.head().saturating_sub(self.upload + self.waited() + self.upstream().unwrap_or_default())
    }
}

impl Ended<'_> {
    /// The route, if it was one.
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        self.target.map(|target| target.route)
    }

    /// The protocol's version as it is written.
    #[must_use]
    pub fn http_version(&self) -> &'static str {
        match self.version {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        }
    }

    /// What is booked: nothing where nothing was held.
    #[must_use]
    pub fn booked(&self) -> Option<Credits> {
        self.ending.map(|ending| match ending {
            Ending::Settled { credits, .. } => credits,
            Ending::Voided { .. } => Credits::ZERO,
        })
    }

    /// What that rests on, where anything was spent.
    #[must_use]
    pub fn basis(&self) -> Option<Basis> {
        match self.ending? {
            Ending::Settled { basis, .. } => Some(basis),
            Ending::Voided { .. } => None,
        }
    }

    /// When it was sent upstream, by the wall's clock.
    #[must_use]
    pub fn sent_at(&self) -> Option<Timestamp> {
        Some(wall_of(self.times.sent?, self.times.ended, self.at))
    }

    /// For the ledger; `copies` were given the same answer.
    #[must_use]
    pub fn closing(&self, ending: Ending, copies: u32) -> Closing {
        Closing {
            ending,
            outcome: self.outcome.as_str(),
            response_id: self.reading.response_id.clone(),
            usage: self.reading.usage,
            at: self.at,
            sent_at: self.sent_at(),
            copies,
            job: Told { status: self.reading.status, ..Told::default() },
        }
    }
}
