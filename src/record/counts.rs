//! What is counted of every call, and the series it is counted in.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::ended::Ended;
use super::outcome::Outcome;
use super::series::{Families, STATUSES, TeamCounts, labels, status_index, status_label};
use crate::metrics::Metrics;
use crate::route::{Cost, Route};

/// Seconds, for whole requests: from a refusal to a long stream.
const REQUEST_BUCKETS: [f64; 15] =
    [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 90.0, 180.0, 600.0];
/// Seconds, for our own share of a request.
const OVERHEAD_BUCKETS: [f64; 12] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.025, 0.1, 1.0];

/// The series of all calls.
#[derive(Debug)]
pub struct Counts {
    families: Families,
    durations: Vec<[Histogram; 2]>,
    first_bytes: Vec<[Histogram; 2]>,
    overheads: Vec<Histogram>,
    upstream_responses: Vec<IntCounter>,
    /// Calls that are neither refused nor over.
    in_flight: IntGauge,
    /// Series of callers that belong to no team.
    strangers: Arc<TeamCounts>,
}

impl Counts {
    /// Declares them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let families = Families::new(metrics);
        let by_route_and_stream = |name, help| {
            let family = metrics.histograms(name, help, &REQUEST_BUCKETS, &["route", "stream"]);
            labels()
                .map(|route| ["false", "true"].map(|stream| family.with_label_values(&[route, stream])))
                .collect()
        };
        let overheads = metrics.histograms(
            "overhead_seconds",
            "The gateway's own share of a request: its duration up to the head of the answer, less the caller's upload, the waits for credits and for a connection, and the upstream's time to its first byte.",
            &OVERHEAD_BUCKETS,
            &["route"],
        );
        let responses =
            metrics.counters("upstream_responses_total", "Answers of the upstream, by status.", &["status"]);
        Self {
            strangers: Arc::new(families.strangers()),
            families,
            durations: by_route_and_stream(
                "request_duration_seconds",
                "From the request head to the last byte of the answer.",
            ),
            first_bytes: by_route_and_stream(
                "time_to_first_byte_seconds",
                "From the request head to the head of the answer.",
            ),
            overheads: labels().map(|route| overheads.with_label_values(&[route])).collect(),
            upstream_responses: STATUSES
                .iter()
                .map(|&status| responses.with_label_values(&[&status_label(status)]))
                .collect(),
            in_flight: metrics.level("requests_in_flight", "Requests that have begun and not ended."),
        }
    }

    /// The series of a team, made to exist.
    pub(crate) fn team(&self, name: &str) -> TeamCounts {
        self.families.team(name)
    }

    /// The series of callers that belong to no team.
    #[must_use]
    pub fn strangers(&self) -> &Arc<TeamCounts> {
        &self.strangers
    }

    /// Calls that have begun and not ended.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    pub(super) fn began(&self) {
        self.in_flight.inc();
    }

    pub(super) fn upstream_answered(&self, status: u16) {
        self.upstream_responses[status_index(status)].inc();
    }

    /// Counts a call that has ended.
    pub(super) fn ended(&self, ended: &Ended<'_>) {
        let team = ended.who.map_or(&self.strangers, |who| &who.counts);
        let at = ended.route().map_or(Route::COUNT, Route::index);
        let stream = usize::from(ended.stream);
        // A caller that left before any status was sent gets nginx's 499, which is `other` here.
        let status = ended.status.map_or(0, |status| status.as_u16());
        team.request(at, status_index(status));
        if let Some(code) = ended.code {
            team.refusal(code);
        }
        let times = &ended.times;
        self.durations[at][stream].observe(times.total().as_secs_f64());
        self.first_bytes[at][stream].observe(times.head().as_secs_f64());
        self.overheads[at].observe(times.ours().as_secs_f64());
        let answered_well =
            ended.answered.is_some() && ended.status.is_some_and(|status| status.is_success());
        let tells = ended.route().is_some_and(|route| route.row().cost == Cost::InAnswer);
        if answered_well && tells && ended.reading.usage.credits.is_none() {
            team.unmetered(at);
        }
        if ended.stream {
            let how = match ended.outcome {
                Outcome::Completed => 0,
                Outcome::ClientGone => 2,
                _ => 1,
            };
            team.stream(how);
        }
        self.in_flight.dec();
    }
}
