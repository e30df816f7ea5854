//! Every metric the gateway exports, named and described here and nowhere else.
//!
//! Labels come from closed sets: routes and statuses listed here, refusal codes, and the teams of
//! the configuration. Whatever a stranger sends ends up under `other`, so the number of series is
//! known when the configuration is. Series of a team exist from the moment the team does.

use std::time::Duration;

use prometheus::core::{Collector, GenericCounterVec};
use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, Opts, Registry, TextEncoder, process_collector::ProcessCollector,
};

use crate::credits::Credits;
use crate::credits::budget::Standing;
use crate::ledger::{Basis, Command, Ending, Spend};
use crate::refuse::Code;
use crate::route::Route;
use crate::usage::{Comparison, UpstreamReading};

/// The label of what belongs to no configured team, route or status.
pub(crate) const OTHER: &str = "other";

/// Statuses that are told apart. The rest is `other`.
const STATUSES: [u16; 24] = [
    200, 204, 400, 401, 402, 403, 404, 405, 408, 409, 413, 414, 415, 421, 422, 429, 431, 500, 501, 502, 503,
    504, 508, 0,
];

/// Every route, and none.
fn routes() -> impl Iterator<Item = Option<Route>> {
    Route::all().map(Some).chain([None])
}

/// Of tokens.
const DIRECTIONS: [&str; 2] = ["input", "output"];

/// Seconds, for whole requests: from a refusal to a long stream.
const REQUEST_BUCKETS: [f64; 15] =
    [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 90.0, 180.0, 600.0];
/// Seconds, for our own share of a request.
const OVERHEAD_BUCKETS: [f64; 12] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.025, 0.1, 1.0];

/// Seconds, for a commit of the ledger.
const COMMIT_BUCKETS: [f64; 10] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1.0];
/// Reserved as a multiple of actual.
const RATIO_BUCKETS: [f64; 9] = [0.5, 0.75, 0.999, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0];

/// Counts something in a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(IntGauge);

impl Counted {
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How the stream of a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOutcome {
    /// With its terminal frame.
    Completed,
    /// Without it.
    Truncated,
    /// The caller left first.
    ClientGone,
}

/// All metrics of one gateway, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    by_team: ByTeam,
    held: GaugeVec,
    /// What a call holds at present.
    pub(crate) credits_reserve: Gauge,
    budget: GaugeVec,
    budget_used: GaugeVec,
    budget_threshold: GaugeVec,
    budget_reset: GaugeVec,
    reserve_ratio: Histogram,
    upstream_pool: GaugeVec,
    upstream_drift: Gauge,
    upstream_usage_timestamp: Gauge,
    upstream_pool_reset: Gauge,
    durations: Vec<[Histogram; 2]>,
    first_bytes: Vec<[Histogram; 2]>,
    overheads: Vec<Histogram>,
    upstream_responses: Vec<IntCounter>,
    /// Calls that are neither refused nor over.
    pub(crate) in_flight: IntGauge,
    /// Exchanges whose caller has left, being read on to their usage.
    pub(crate) draining: IntGauge,
    /// How long the ledger's transactions take.
    pub(crate) ledger_commit: Histogram,
    /// 1 while the ledger cannot be written.
    pub(crate) ledger_closed: IntGauge,
    /// What only the journal has.
    pub(crate) ledger_unmerged: IntGauge,
    /// Holds without an ending.
    pub(crate) ledger_open_holds: IntGauge,
    /// Callers' connections.
    pub(crate) connections: IntGauge,
    /// Open connections to the upstream, busy or idle.
    pub(crate) upstream_connections: IntGauge,
    /// Requests that count against the upstream's sliding 60 seconds.
    pub(crate) upstream_window_used: IntGauge,
    /// The window in force.
    pub(crate) upstream_window_limit: IntGauge,
    /// 1 if the last reload took.
    pub(crate) reload_success: IntGauge,
    /// When the last one did.
    pub(crate) reload_timestamp: Gauge,
    /// Log lines for which there was no room.
    pub(crate) log_lines_dropped: IntCounter,
    /// Series of callers that belong to no team.
    pub(crate) strangers: TeamMetrics,
}

/// The families that have a series per team.
#[derive(Debug)]
struct ByTeam {
    requests: IntCounterVec,
    refusals: IntCounterVec,
    streams: IntCounterVec,
    credits: CounterVec,
    overruns: CounterVec,
    unmetered: IntCounterVec,
    tokens: IntCounterVec,
}

/// The series of one team, resolved once.
#[derive(Debug)]
pub struct TeamMetrics {
    requests: Vec<Vec<IntCounter>>,
    refusals: Vec<IntCounter>,
    streams: [IntCounter; 3],
    unmetered: Vec<IntCounter>,
}

impl Metrics {
    /// Builds and registers everything.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        // Memory, processor time, descriptors and threads, under the names that every exporter uses.
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("its names have a prefix of their own");
        let r = &registry;
        let requests = counters(
            r,
            "requests_total",
            "Requests that ended, by team, route and status.",
            &["team", "route", "status"],
        );
        let refusals = counters(
            r,
            "refusals_total",
            "Requests the gateway itself refused or failed, by team and reason.",
            &["team", "code"],
        );
        let streams = counters(
            r,
            "streams_total",
            "Streamed answers that ended, by team and how.",
            &["team", "outcome"],
        );
        let tokens = counters(
            r,
            "tokens_total",
            "Tokens the upstream reported, by team, route and direction.",
            &["team", "route", "direction"],
        );
        let unmetered = counters(
            r,
            "unmetered_total",
            "Answers of the upstream to chats that told no cost, by team and route.",
            &["team", "route"],
        );
        let credits = register(
            r,
            CounterVec::new(
                opts(
                    "credits_used_total",
                    "Credits booked, by team and route; basis is final for the upstream's own figure, estimated for a reserve that stays booked in doubt. Continues from the ledger over a restart.",
                ),
                &["team", "route", "basis"],
            ),
        );
        let overruns = register(
            r,
            CounterVec::new(
                opts(
                    "credits_overrun_total",
                    "Credits that answers cost beyond what was held for them, by team.",
                ),
                &["team"],
            ),
        );
        let by_team = |name, help| register(r, GaugeVec::new(opts(name, help), &["team"]));
        let by_route_and_stream = |name, help| {
            let vec = register(
                r,
                HistogramVec::new(histogram_opts(name, help, &REQUEST_BUCKETS), &["route", "stream"]),
            );
            routes()
                .map(|route| {
                    ["false", "true"].map(|stream| vec.with_label_values(&[route_label(route), stream]))
                })
                .collect()
        };
        let overhead = register(
            r,
            HistogramVec::new(
                histogram_opts(
                    "overhead_seconds",
                    "The gateway's own share of a request: its duration less the caller's upload and the upstream's time to its first byte.",
                    &OVERHEAD_BUCKETS,
                ),
                &["route"],
            ),
        );
        let upstream_responses =
            counters(r, "upstream_responses_total", "Answers of the upstream, by status.", &["status"]);
        let build_info = counters_gauge(r, "build_info", "Always 1; the label tells the version.");
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let families = ByTeam { requests, refusals, streams, credits, overruns, unmetered, tokens };
        let strangers = TeamMetrics::new(OTHER, &families);
        Self {
            durations: by_route_and_stream(
                "request_duration_seconds",
                "From the request head to the last byte of the answer.",
            ),
            first_bytes: by_route_and_stream(
                "time_to_first_byte_seconds",
                "From the request head to the head of the answer.",
            ),
            overheads: routes().map(|route| overhead.with_label_values(&[route_label(route)])).collect(),
            upstream_responses: STATUSES
                .iter()
                .map(|&status| upstream_responses.with_label_values(&[&status_label(status)]))
                .collect(),
            held: by_team("credits_held", "Credits held for calls in flight, by team; organisation for all."),
            credits_reserve: register(
                r,
                Gauge::with_opts(opts(
                    "credits_reserve",
                    "Credits that a call holds until its cost is known; with less left in a budget it is refused.",
                )),
            ),
            budget: by_team(
                "budget_credits",
                "Budget of the running period with its grants, by team; organisation for the whole.",
            ),
            budget_threshold: by_team(
                "budget_threshold_percent",
                "The highest of 50, 75, 90 and 100 percent that is spent of the running period's budget, by team; 0 below all.",
            ),
            budget_used: by_team(
                "budget_used_credits",
                "Credits booked against the budget in the running period.",
            ),
            budget_reset: by_team(
                "budget_reset_timestamp_seconds",
                "When the running period of the budget ends, in seconds since the epoch.",
            ),
            reserve_ratio: register(
                r,
                Histogram::with_opts(histogram_opts(
                    "reserve_to_actual_ratio",
                    "What was held for a call as a multiple of what it cost: 1 is exact, less is an overrun.",
                    &RATIO_BUCKETS,
                )),
            ),
            upstream_pool: register(
                r,
                GaugeVec::new(
                    opts(
                        "upstream_pool_credits",
                        "The upstream's pool in its billing period: included in the plan, used by everybody, remaining, used by the API alone; and ours, booked here for the same days.",
                    ),
                    &["kind"],
                ),
            ),
            upstream_drift: register(
                r,
                Gauge::with_opts(opts(
                    "upstream_drift_credits",
                    "Credits of the upstream's API bill that the ledger cannot explain, in-doubt ones taken into account; negative where the bill is lower.",
                )),
            ),
            upstream_usage_timestamp: register(
                r,
                Gauge::with_opts(opts(
                    "upstream_usage_timestamp_seconds",
                    "When the upstream's usage was last read, in seconds since the epoch; 0 for never.",
                )),
            ),
            upstream_pool_reset: register(
                r,
                Gauge::with_opts(opts(
                    "upstream_pool_reset_timestamp_seconds",
                    "When the upstream's billing period ends, in seconds since the epoch; 0 before its usage was read.",
                )),
            ),
            ledger_commit: register(
                r,
                Histogram::with_opts(histogram_opts(
                    "ledger_commit_seconds",
                    "How long the ledger took to write one group of entries at its durability.",
                    &COMMIT_BUCKETS,
                )),
            ),
            ledger_closed: gauge(
                r,
                "ledger_closed",
                "1 while the ledger cannot be written and nothing that costs is forwarded.",
            ),
            ledger_unmerged: gauge(
                r,
                "ledger_unmerged_bytes",
                "Entries in the ledger's journal that the database does not have yet.",
            ),
            ledger_open_holds: gauge(r, "ledger_open_holds", "Holds that have no ending yet."),
            in_flight: gauge(r, "requests_in_flight", "Requests that have begun and not ended."),
            draining: gauge(
                r,
                "exchanges_draining",
                "Exchanges whose caller has left, read on to learn their cost.",
            ),
            connections: gauge(r, "connections", "Open connections of callers."),
            upstream_connections: gauge(
                r,
                "upstream_connections",
                "Open connections to the upstream, busy or idle.",
            ),
            upstream_window_used: gauge(
                r,
                "upstream_window_used",
                "Requests that count against the upstream's sliding 60 seconds now.",
            ),
            upstream_window_limit: gauge(
                r,
                "upstream_window_limit",
                "Requests the upstream's sliding 60 seconds allow.",
            ),
            reload_success: gauge(
                r,
                "config_reload_success",
                "1 if the last load of the configuration succeeded, 0 if it failed and the one before is in force.",
            ),
            reload_timestamp: register(
                r,
                Gauge::with_opts(opts(
                    "config_last_reload_success_timestamp_seconds",
                    "When the configuration in force was loaded, in seconds since the epoch.",
                )),
            ),
            log_lines_dropped: register(
                r,
                IntCounter::with_opts(opts(
                    "log_lines_dropped_total",
                    "Log lines dropped because the output was too slow.",
                )),
            ),
            strangers,
            by_team: families,
            registry,
        }
    }

    /// The series of a team, made to exist.
    pub(crate) fn team(&self, name: &str) -> TeamMetrics {
        TeamMetrics::new(name, &self.by_team)
    }

    pub(crate) fn upstream_answered(&self, status: u16) {
        self.upstream_responses[status_index(status)].inc();
    }

    pub(crate) fn request_took(&self, route: Option<Route>, stream: bool, whole: Duration) {
        self.durations[route_index(route)][usize::from(stream)].observe(whole.as_secs_f64());
    }

    pub(crate) fn first_byte_took(&self, route: Option<Route>, stream: bool, time: Duration) {
        self.first_bytes[route_index(route)][usize::from(stream)].observe(time.as_secs_f64());
    }

    pub(crate) fn overhead_was(&self, route: Option<Route>, time: Duration) {
        self.overheads[route_index(route)].observe(time.as_secs_f64());
    }

    /// What the upstream says was spent, beside the ledger.
    pub(crate) fn upstream_usage_is(&self, reading: &UpstreamReading) {
        let UpstreamReading { at, comparison } = *reading;
        let Comparison { theirs, settled, in_doubt } = comparison;
        for (kind, amount) in [
            ("included", theirs.included),
            ("used", theirs.used),
            ("remaining", theirs.remaining),
            ("api_used", theirs.api_used),
            ("ours", settled + in_doubt),
        ] {
            self.upstream_pool.with_label_values(&[kind]).set(amount.as_f64());
        }
        self.upstream_drift.set(comparison.drift());
        for (gauge, time) in [(&self.upstream_usage_timestamp, at), (&self.upstream_pool_reset, theirs.end)] {
            #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit a float")]
            gauge.set(time.as_second() as f64);
        }
    }

    /// Takes up the counts of earlier runs, as the ledger has them.
    pub(crate) fn continue_from(&self, spend: &Spend) {
        let (team, route) = (spend.team.as_str(), route_label(Route::named(&spend.route)));
        for (basis, credits) in [Basis::Final, Basis::Estimated].into_iter().zip(spend.counted) {
            self.count_credits(team, route, basis, credits);
        }
        self.count_tokens(team, route, [spend.input_tokens, spend.output_tokens]);
    }

    fn count_credits(&self, team: &str, route: &str, basis: Basis, credits: Credits) {
        self.by_team.credits.with_label_values(&[team, route, basis.as_str()]).inc_by(credits.as_f64());
    }

    fn count_tokens(&self, team: &str, route: &str, counts: [u64; 2]) {
        for (direction, count) in DIRECTIONS.into_iter().zip(counts) {
            self.by_team.tokens.with_label_values(&[team, route, direction]).inc_by(count);
        }
    }

    /// The ledger has written this: what it books is counted now.
    pub fn ledger_wrote(&self, command: &Command) {
        let Command::End(ending) = command else { return self.ledger_open_holds.inc() };
        self.ledger_open_holds.dec();
        let (team, route) = (&*ending.account.team, ending.account.route_label());
        self.count_tokens(
            team,
            route,
            [ending.usage.input_tokens, ending.usage.output_tokens].map(Option::unwrap_or_default),
        );
        if let Ending::Settled { credits, basis, .. } = ending.ending {
            self.count_credits(team, route, basis, credits);
            let overrun = credits.saturating_sub(ending.reserve).as_f64();
            self.by_team.overruns.with_label_values(&[team]).inc_by(overrun);
            if basis == Basis::Final && credits > Credits::ZERO {
                self.reserve_ratio.observe(ending.reserve.as_f64() / credits.as_f64());
            }
        }
    }

    /// Before all that stand now are told: what is not among them is gone.
    pub(crate) fn forget_standings(&self) {
        for gauges in
            [&self.held, &self.budget, &self.budget_threshold, &self.budget_used, &self.budget_reset]
        {
            gauges.reset();
        }
    }

    /// What a team, or the organisation, holds now.
    pub(crate) fn holds(&self, name: &str, held: Credits) {
        self.held.with_label_values(&[name]).set(held.as_f64());
    }

    /// How a team's budget, or the organisation's, stands now.
    pub(crate) fn budget_stands(&self, name: &str, standing: &Standing) {
        self.budget.with_label_values(&[name]).set((standing.budget.credits + standing.granted).as_f64());
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
        self.budget_threshold.with_label_values(&[name]).set(standing.threshold() as f64);
        self.budget_used.with_label_values(&[name]).set(standing.used.as_f64());
        #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit a float")]
        self.budget_reset.with_label_values(&[name]).set(standing.resets.as_second() as f64);
    }

    /// Everything in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> (String, Vec<u8>) {
        let encoder = TextEncoder::new();
        let mut text = Vec::new();
        // Writing to memory cannot fail, and every family here has a metric.
        let _ = encoder.encode(&self.registry.gather(), &mut text);
        (encoder.format_type().to_owned(), text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl TeamMetrics {
    fn new(team: &str, families: &ByTeam) -> Self {
        let ByTeam { requests, refusals, streams, credits, overruns, unmetered, tokens } = families;
        let routes = || routes().map(route_label);
        // Made to exist; counted where the ledger writes.
        overruns.with_label_values(&[team]);
        for route in routes() {
            for basis in [Basis::Final, Basis::Estimated] {
                credits.with_label_values(&[team, route, basis.as_str()]);
            }
            for direction in DIRECTIONS {
                tokens.with_label_values(&[team, route, direction]);
            }
        }
        Self {
            requests: routes()
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
            unmetered: routes().map(|route| unmetered.with_label_values(&[team, route])).collect(),
        }
    }

    pub(crate) fn request_ended(&self, route: Option<Route>, status: u16) {
        self.requests[route_index(route)][status_index(status)].inc();
    }

    pub(crate) fn refused(&self, code: Code) {
        self.refusals[code as usize].inc();
    }

    /// Refusals of the team since the process began, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.iter().zip(&self.refusals).map(|(code, count)| (*code, count.get()))
    }

    pub(crate) fn stream_ended(&self, outcome: StreamOutcome) {
        self.streams[outcome as usize].inc();
    }

    pub(crate) fn unmetered(&self, route: Option<Route>) {
        self.unmetered[route_index(route)].inc();
    }
}

fn route_index(route: Option<Route>) -> usize {
    route.map_or(Route::COUNT, Route::index)
}

fn route_label(route: Option<Route>) -> &'static str {
    route.map_or(OTHER, Route::label)
}

fn status_index(status: u16) -> usize {
    STATUSES.iter().position(|&known| known == status).unwrap_or(STATUSES.len() - 1)
}

fn status_label(status: u16) -> String {
    if status == 0 { OTHER.to_owned() } else { status.to_string() }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("mavera_gateway_{name}"), help)
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec())
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("metric names and labels are literals of this file");
    registry.register(Box::new(metric.clone())).expect("every name stands once in this file");
    metric
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, GenericCounterVec::new(opts(name, help), labels))
}

fn counters_gauge(registry: &Registry, name: &str, help: &str) -> prometheus::IntGaugeVec {
    register(registry, prometheus::IntGaugeVec::new(opts(name, help), &["version"]))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::with_opts(opts(name, help)))
}
