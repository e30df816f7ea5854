//! The series of each team.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec};

use crate::metrics::{Metrics, OTHER};
use crate::refuse::Code;
use crate::route::Route;

/// Statuses that are told apart. The rest is `other`; the last of the list stands for it.
pub(super) const STATUSES: [u16; 24] = [
    200, 204, 400, 401, 402, 403, 404, 405, 408, 409, 413, 414, 415, 421, 422, 429, 431, 500, 501, 502, 503,
    504, 508, 0,
];

/// The families that have a series per team.
#[derive(Debug)]
pub(super) struct Families {
    requests: IntCounterVec,
    refusals: IntCounterVec,
    streams: IntCounterVec,
    unmetered: IntCounterVec,
}

/// The series of one team, resolved once.
#[derive(Debug)]
pub struct TeamCounts {
    pub(super) requests: Vec<Vec<IntCounter>>,
    pub(super) refusals: Vec<IntCounter>,
    pub(super) streams: [IntCounter; 3],
    pub(super) unmetered: Vec<IntCounter>,
}

/// Who a call is told of: its caller, as far as records go.
#[derive(Debug)]
pub struct Who {
    /// The team's name.
    pub team: Arc<str>,
    /// Public id of the key.
    pub key_id: Arc<str>,
    /// The team's series.
    pub counts: Arc<TeamCounts>,
}

impl Families {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counters(
                "requests_total",
                "Requests that ended, by team, route and status.",
                &["team", "route", "status"],
            ),
            refusals: metrics.counters(
                "refusals_total",
                "Requests the gateway itself refused or failed, by team and reason.",
                &["team", "code"],
            ),
            streams: metrics.counters(
                "streams_total",
                "Streamed answers that ended, by team and how.",
                &["team", "outcome"],
            ),
            unmetered: metrics.counters(
                "unmetered_total",
                "Answers of the upstream to chats that told no cost, by team and route.",
                &["team", "route"],
            ),
        }
    }

    /// The series of a team, made to exist.
    pub(super) fn team(&self, team: &str) -> TeamCounts {
        let Self { requests, refusals, streams, unmetered } = self;
        TeamCounts {
            requests: labels()
                .map(|route| {
                    STATUSES
                        .iter()
                        .map(|&status| requests.with_label_values(&[team, route, &status_label(status)]))
                        .collect()
                })
                .collect(),
            refusals: Code::ALL
                .iter()
                .map(|code| refusals.with_label_values(&[team, code.as_str()]))
                .collect(),
            streams: ["completed", "truncated", "client_gone"]
                .map(|outcome| streams.with_label_values(&[team, outcome])),
            unmetered: labels().map(|route| unmetered.with_label_values(&[team, route])).collect(),
        }
    }
}

impl TeamCounts {
    /// Refusals of the team since the process began, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.iter().zip(&self.refusals).map(|(code, count)| (*code, count.get()))
    }
}

/// Every route's label, and that of none.
pub(super) fn labels() -> impl Iterator<Item = &'static str> {
    Route::all().map(Route::label).chain([OTHER])
}

pub(super) fn status_index(status: u16) -> usize {
    STATUSES.iter().position(|&known| known == status).unwrap_or(STATUSES.len() - 1)
}

pub(super) fn status_label(status: u16) -> String {
    if status == 0 { OTHER.to_owned() } else { status.to_string() }
}
