//! The series of each team.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use prometheus::{IntCounter, IntCounterVec};
use tokio_util::sync::CancellationToken;

use super::course::Repeat;
use crate::metrics::{Metrics, OTHER};
use crate::refuse::Code;
use crate::route::{Route, Routes};

/// Statuses that are told apart. The rest is `other`; the last of the list stands for it.
pub(super) const STATUSES: [u16; 26] = [
    200, 201, 202, 204, 400, 401, 402, 403, 404, 405, 408, 409, 413, 414, 415, 421, 422, 429, 431, 500, 501,
    502, 503, 504, 508, 0,
];

/// How streams end, in metrics.
pub(super) const OUTCOMES: [&str; 3] = ["completed", "truncated", "client_gone"];

/// The families that have a series per team. Clones are one.
#[derive(Clone, Debug)]
pub(super) struct Families {
    requests: IntCounterVec,
    refusals: IntCounterVec,
    streams: IntCounterVec,
    unmetered: IntCounterVec,
    retries: IntCounterVec,
}

/// The series of one team. Those whose absence would mislead are there from the start, the others from their first use:
/// most teams see few statuses on few routes.
#[derive(Debug)]
pub struct TeamCounts {
    team: Box<str>,
    families: Families,
    /// By route, and by status.
    requests: Vec<Vec<OnceLock<IntCounter>>>,
    refusals: Vec<IntCounter>,
    streams: [IntCounter; OUTCOMES.len()],
    unmetered: Vec<OnceLock<IntCounter>>,
    retries: [IntCounter; Repeat::LABELS.len()],
    /// The team is gone, and its series with it: what its last calls come to is counted nowhere.
    gone: AtomicBool,
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
    /// What of it goes on from one configuration to the next.
    pub state: Arc<CallerState>,
}

/// What is known of a caller in this process, by its id, whatever the configuration.
#[derive(Debug, Default)]
pub struct CallerState {
    /// A second of the epoch; 0 for never.
    last_used: AtomicI64,
    /// Told when it may not call any more.
    pub gone: CancellationToken,
}

impl CallerState {
    /// It calls at this moment.
    pub fn calls(&self, now: Timestamp) {
        self.last_used.store(now.as_second(), Ordering::Relaxed);
    }

    /// When it has called last, if ever.
    #[must_use]
    pub fn last_used(&self) -> Option<Timestamp> {
        Some(self.last_used.load(Ordering::Relaxed))
            .filter(|at| *at > 0)
            .and_then(|at| Timestamp::from_second(at).ok())
    }
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
                "Answers of the upstream that should have told a cost and told none, by team and route; jobs, which tell it later if ever, are not among them.",
                &["team", "route"],
            ),
            retries: metrics.counters(
                "retries_total",
                "Calls that had an Idempotency-Key or were a retry, and reads that were given the answer of one made a moment before, by team and what became of them.",
                &["team", "result"],
            ),
        }
    }

    /// The series of a team.
    pub(super) fn team(&self, team: &str) -> TeamCounts {
        let Self { refusals, streams, retries, .. } = self;
        let counts = TeamCounts {
            team: team.into(),
            families: self.clone(),
            requests: labels().map(|_| STATUSES.iter().map(|_| OnceLock::new()).collect()).collect(),
            refusals: Code::ALL
                .iter()
                .map(|code| refusals.with_label_values(&[team, code.as_str()]))
                .collect(),
            streams: OUTCOMES.map(|outcome| streams.with_label_values(&[team, outcome])),
            unmetered: labels().map(|_| OnceLock::new()).collect(),
            retries: Repeat::LABELS.map(|result| retries.with_label_values(&[team, result])),
            gone: AtomicBool::new(false),
        };
        // Of the routes that every team has unless it says otherwise; most use few of the others.
        let usual = Routes::usual();
        for (at, route) in Route::all().enumerate().filter(|(_, route)| usual.allow(*route)) {
            let of_money: &[u16] = if route.row().costs() { &[402, 500, 502, 503, 504] } else { &[] };
            for status in [200, 400, 404, 429].iter().chain(of_money).filter(|_| route.row().is_upstream()) {
                counts.series(at, status_index(*status));
            }
            if route.row().costs() {
                counts.unmetered_series(at);
            }
        }
        counts
    }

    /// The series of callers that belong to no team: all of them, so that strangers add none.
    pub(super) fn strangers(&self) -> TeamCounts {
        let counts = self.team(OTHER);
        for route in 0..=Route::COUNT {
            for status in 0..STATUSES.len() {
                counts.series(route, status);
            }
        }
        counts
    }
}

impl TeamCounts {
    pub(super) fn request(&self, route: usize, status: usize) {
        // Checked first: a series that is made after they were taken away would stay.
        if self.gone.load(Ordering::Acquire) {
            return;
        }
        self.series(route, status).inc();
    }

    fn series(&self, route: usize, status: usize) -> &IntCounter {
        self.requests[route][status].get_or_init(|| {
            let label = labels().nth(route).unwrap_or(OTHER);
            let status = status_label(STATUSES[status]);
            self.families.requests.with_label_values(&[&*self.team, label, &status])
        })
    }

    pub(super) fn refusal(&self, code: Code) {
        self.refusals[code as usize].inc();
    }

    pub(super) fn stream(&self, outcome: usize) {
        self.streams[outcome].inc();
    }

    pub(super) fn unmetered(&self, route: usize) {
        if !self.gone.load(Ordering::Acquire) {
            self.unmetered_series(route).inc();
        }
    }

    fn unmetered_series(&self, route: usize) -> &IntCounter {
        let label = labels().nth(route).unwrap_or(OTHER);
        self.unmetered[route].get_or_init(|| self.families.unmetered.with_label_values(&[&*self.team, label]))
    }

    pub(super) fn retry(&self, repeat: &Repeat) {
        self.retries[repeat.index()].inc();
    }

    /// Takes the series away.
    pub(crate) fn forget(&self) {
        self.gone.store(true, Ordering::Release);
        let Families { requests, refusals, streams, unmetered, retries } = &self.families;
        let team = &*self.team;
        // One that is not there needs no taking away.
        for route in labels() {
            for status in STATUSES {
                let _ = requests.remove_label_values(&[team, route, &status_label(status)]);
            }
            let _ = unmetered.remove_label_values(&[team, route]);
        }
        for code in Code::ALL {
            let _ = refusals.remove_label_values(&[team, code.as_str()]);
        }
        for result in Repeat::LABELS {
            let _ = retries.remove_label_values(&[team, result]);
        }
        for outcome in OUTCOMES {
            let _ = streams.remove_label_values(&[team, outcome]);
        }
    }

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
