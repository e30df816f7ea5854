//! How the gateways of a ledger do, as this one sees them: for metrics and the page.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntGauge};
use serde::Serialize;

use crate::ledger::{Gateway, Look, Standbys};
use crate::metrics::Metrics;

/// Seconds that turns take: from a database beside to one that is far away and busy.
const TURNS: [f64; 12] = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Things that are said in one.
const CALLS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 512.0];

/// What is counted, and what was seen last.
#[derive(Debug)]
pub struct Health {
    up: IntGauge,
    pub(in crate::books) turns: Histogram,
    calls: Histogram,
    lease: Gauge,
    replicas: IntGauge,
    brought_back: IntCounter,
    fenced: IntCounter,
    differences: IntCounter,
    late: IntCounter,
    offset: Gauge,
    settling: IntGauge,
    standbys: GaugeVec,
    lag: GaugeVec,
    is_settling: AtomicBool,
    seen: Mutex<Vec<Replica>>,
}

/// A gateway of the ledger's, as the page shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Replica {
    /// Its number.
    pub id: u32,
    /// As it calls itself.
    pub name: String,
    /// Its release.
    pub version: String,
    /// When it began.
    pub started: Timestamp,
    /// How long it counts as running, without another word of it.
    pub lease_seconds: f64,
    /// Calls under way that cost.
    pub in_flight: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// It is the one that tells this.
    pub own: bool,
}

impl Health {
    /// Declares the series.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let gauge = |name, help| metrics.gauge(name, help);
        Self {
            up: metrics.level("ledger_up", "Whether the ledger's database answers: 1, or 0."),
            turns: metrics.histogram("ledger_turn_seconds", "How long turns at the ledger take.", &TURNS),
            calls: metrics.histogram(
                "ledger_turn_calls",
                "Things that are said in one turn at the ledger.",
                &CALLS,
            ),
            lease: gauge(
                "ledger_lease_remaining_seconds",
                "Seconds that this gateway counts as running, without another turn of it.",
            ),
            replicas: metrics.level("replicas", "Gateways of this ledger that run."),
            brought_back: metrics.counter(
                "ledger_replayed_batches_total",
                "Turns that a database had lost, as in a failover, and that this gateway has brought back.",
            ),
            fenced: metrics.counter(
                "ledger_fenced_total",
                "How often this gateway was given up as lost, or put out, and began anew.",
            ),
            differences: metrics.counter(
                "ledger_differences_total",
                "Turns behind which two gateways had not the same desk, though they had heard the same. It stays 0.",
            ),
            late: metrics.counter(
                "ledger_late_endings_total",
                "Calls that had been given up as lost, and ended after all: corrections.",
            ),
            offset: gauge(
                "ledger_clock_offset_seconds",
                "Seconds that this machine's wall clock is ahead of the database's. It decides nothing.",
            ),
            settling: metrics.level(
                "ledger_settling",
                "Whether another server answers, and it is waited until all gateways have looked: 1, or 0.",
            ),
            standbys: metrics.gauges(
                "ledger_standbys",
                "Servers that follow the ledger's, by `sync_state`; absent where that may not be seen.",
                &["state"],
            ),
            lag: metrics.gauges(
                "ledger_standby_lag_seconds",
                "Seconds that the last of the servers that follow is behind; absent where none is.",
                &[],
            ),
            is_settling: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }

    pub(in crate::books) fn up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// What a look has seen, when this machine's clock said `wall`.
    pub(in crate::books) fn saw(&self, look: &Look, own: u32, wall: Timestamp) {
        let running = look.gateways.iter().filter(|gateway| gateway.lease.is_some());
        let replicas: Vec<_> = running.map(|gateway| replica(gateway, own)).collect();
        self.replicas.set(i64::try_from(replicas.len()).unwrap_or(i64::MAX));
        self.offset.set(wall.duration_since(look.wall).as_secs_f64());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = replicas;
    }

    pub(in crate::books) fn says(&self, things: usize) {
        self.calls.observe(f64::from(u32::try_from(things).unwrap_or(u32::MAX)));
    }

    pub(in crate::books) fn brings_back(&self, turns: usize) {
        self.brought_back.inc_by(turns as u64);
    }

    pub(in crate::books) fn fenced(&self) {
        self.fenced.inc();
    }

    pub(in crate::books) fn differs(&self) {
        self.differences.inc();
    }

    pub(in crate::books) fn corrected(&self) {
        self.late.inc();
    }

    /// How servers do that follow the ledger's.
    #[expect(clippy::cast_precision_loss, reason = "a handful of servers")]
    pub(in crate::books) fn follow(&self, standbys: &Standbys) {
        for (state, count) in Standbys::STATES.iter().zip(standbys.by_state) {
            self.standbys.with_label_values(&[state]).set(count as f64);
        }
        if let Some(lag) = standbys.lag {
            self.lag.with_label_values::<&str>(&[]).set(lag.as_secs_f64());
        }
    }

    /// How long the gateway counts as running from now on.
    pub(in crate::books) fn set_lease(&self, left: Duration) {
        self.lease.set(left.as_secs_f64());
    }

    pub(in crate::books) fn set_settling(&self, settling: bool) {
        self.is_settling.store(settling, Ordering::Relaxed);
        self.settling.set(i64::from(settling));
    }

    pub(in crate::books) fn is_settling(&self) -> bool {
        self.is_settling.load(Ordering::Relaxed)
    }

    /// Whether this gateway is the first of those that run: what one of them has to do is its.
    #[must_use]
    pub(crate) fn is_first(&self, own: u32) -> bool {
        self.replicas().iter().map(|replica| replica.id).min().is_none_or(|first| first == own)
    }

    /// Gateways that run, in the order of their numbers.
    #[must_use]
    pub fn replicas(&self) -> Vec<Replica> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn replica(gateway: &Gateway, own: u32) -> Replica {
    let Gateway { id, name, version, started, lease, in_flight, waiting, .. } = gateway;
    Replica {
        id: *id,
        name: name.clone(),
        version: version.clone(),
        started: *started,
        lease_seconds: lease.unwrap_or_default().as_secs_f64(),
        in_flight: *in_flight,
        waiting: *waiting,
        own: *id == own,
    }
}
