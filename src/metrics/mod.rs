//! The registry of everything that is exported, and the names: each module declares what it counts where it counts it, and
//! holds the handles itself.
//!
//! Labels come from closed sets: routes and statuses, refusal codes, and the teams of the configuration. Whatever a
//! stranger sends ends up under [`OTHER`], so the number of series is known when the configuration is.

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, process_collector::ProcessCollector,
};

/// The label of what belongs to no configured team, route or status.
pub const OTHER: &str = "other";

/// All metrics of one gateway, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// A registry with what the process itself tells.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        // Memory, processor time, descriptors and threads, under the names that every exporter uses.
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("its names have a prefix of their own");
        let metrics = Self { registry };
        let help = "Always 1; the label tells the version.";
        let build_info = metrics.register(IntGaugeVec::new(opts("build_info", help), &["version"]));
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics
    }

    /// A counter of whole things.
    pub(crate) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(opts(name, help)))
    }

    /// A counter of seconds.
    pub(crate) fn seconds_counter(&self, name: &str, help: &str) -> Counter {
        self.register(Counter::with_opts(opts(name, help)))
    }

    /// Counters of whole things, by labels.
    pub(crate) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(opts(name, help), labels))
    }

    /// Counters of amounts, by labels.
    pub(crate) fn amounts(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.register(CounterVec::new(opts(name, help), labels))
    }

    /// A number of whole things that rises and falls.
    pub(crate) fn level(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(opts(name, help)))
    }

    /// A number that rises and falls.
    pub(crate) fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::with_opts(opts(name, help)))
    }

    /// Numbers that rise and fall, by labels.
    pub(crate) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(opts(name, help), labels))
    }

    /// A distribution.
    pub(crate) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(histogram_opts(name, help, buckets)))
    }

    /// Distributions, by labels.
    pub(crate) fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> HistogramVec {
        self.register(HistogramVec::new(histogram_opts(name, help, buckets), labels))
    }

    fn register<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("names and labels are literals");
        self.registry.register(Box::new(metric.clone())).expect("every name is declared once");
        metric
    }

    /// Everything in Prometheus' text format: its media type, and the text.
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

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("mavera_gateway_{name}"), help)
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec())
}

/// A moment as Prometheus has it: seconds since the epoch.
#[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit a float")]
pub(crate) fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_second() as f64
}

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
