//! What the upstream says was spent, beside what the ledger says: `GET /usage`, the one machine-readable
//! balance there is (source: `get-usage-statistics` in Mavera's API reference).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::StatusCode;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use prometheus::{Gauge, GaugeVec};
use serde::Deserialize;

use crate::books::keeper::Keeper;
use crate::credits::Credits;
use crate::credits::period::{Period, day_of};
use crate::inject;
use crate::ledger::{LedgerError, Reading, Reads, Span, Spend};
use crate::live::{Live, Snapshot};
use crate::metrics::{self, Metrics};
use crate::outbound::ask::{AskError, Bounds, ask};
use crate::outbound::connect::Connect;

/// What one reading may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), bytes: 1 << 20 };

/// The upstream's account of the running billing period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamUsage {
    /// First moment of the billing period.
    pub start: Timestamp,
    /// Last moment of it.
    pub end: Timestamp,
    /// Credits of the plan, with what was bought.
    pub included: Credits,
    /// Spent by everybody, dashboard users too.
    pub used: Credits,
    /// What is left of the pool.
    pub remaining: Credits,
    /// Spent by API calls alone.
    pub api_used: Credits,
    /// Whether more is bought when nothing is left.
    pub recharges: bool,
}

/// The ledger beside it, for the same days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The upstream's account.
    pub theirs: UpstreamUsage,
    /// Settled here at the upstream's figures.
    pub settled: Credits,
    /// Booked here by estimate.
    pub in_doubt: Credits,
}

/// A comparison, and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamReading {
    /// When the upstream was asked.
    pub at: Timestamp,
    /// What it said, beside the ledger.
    pub comparison: Comparison,
}

impl Comparison {
    /// Whether settled ≤ billed ≤ settled + in doubt.
    #[must_use]
    pub fn agrees(&self) -> bool {
        (self.settled..=self.settled + self.in_doubt).contains(&self.theirs.api_used)
    }

    /// How far the bill is outside of what the ledger can explain; positive where it is dearer.
    #[must_use]
    pub fn drift(&self) -> f64 {
        let most = self.settled + self.in_doubt;
        let over = self.theirs.api_used.saturating_sub(most).as_f64();
        over - self.settled.saturating_sub(self.theirs.api_used).as_f64()
    }
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// No answer.
    #[error("the upstream gave no usage: {0}")]
    Ask(#[from] AskError),
    /// An answer that is no usage.
    #[error("the upstream answered its usage with {0}")]
    Status(StatusCode),
    /// A document of another shape.
    #[error("the upstream's usage cannot be read: {0}")]
    Shape(#[from] serde_json::Error),
    /// The ledger cannot be read.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

#[derive(Deserialize)]
struct Document {
    billing_period: Billing,
    credits: Pooled,
    api_requests: Api,
    #[serde(default)]
    auto_recharge: Option<Recharge>,
}

#[derive(Deserialize)]
struct Recharge {
    #[serde(default)]
    enabled: bool,
}

#[derive(Deserialize)]
struct Billing {
    start: Timestamp,
    end: Timestamp,
}

#[derive(Deserialize)]
struct Pooled {
    used: serde_json::Number,
    included: serde_json::Number,
    remaining: serde_json::Number,
}

#[derive(Deserialize)]
struct Api {
    credits_used: serde_json::Number,
}

impl UpstreamUsage {
    /// Whether the pool has credits, or gets some by itself. One that is told to have none at all is none to go by.
    #[must_use]
    pub fn has_credits(&self) -> bool {
        self.recharges || self.remaining > Credits::ZERO || self.included == Credits::ZERO
    }

    fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let Document { billing_period, credits, api_requests, auto_recharge } = serde_json::from_slice(body)?;
        // What cannot be booked, a negative balance say, is none.
        let amount =
            |number: serde_json::Number| Credits::from_json_number(&number.to_string()).unwrap_or_default();
        Ok(Self {
            start: billing_period.start,
            end: billing_period.end,
            included: amount(credits.included),
            used: amount(credits.used),
            remaining: amount(credits.remaining),
            api_used: amount(api_requests.credits_used),
            recharges: auto_recharge.is_some_and(|recharge| recharge.enabled),
        })
    }
}

/// Asks the upstream, and adds up the ledger over the same days of the configured zone.
///
/// # Errors
/// When either has no answer.
pub async fn compare_with<C: Connect>(
    connect: &C,
    snapshot: &Snapshot,
    reads: &Reads,
) -> Result<Comparison, UsageError> {
    let request = inject::own_request(snapshot, "/usage").unwrap_or_default();
    let answer = ask(connect, &snapshot.origin, request, BOUNDS).await?;
    if answer.status() != StatusCode::OK {
        return Err(UsageError::Status(answer.status()));
    }
    let theirs = UpstreamUsage::parse(answer.body())?;
    let zone = snapshot.config.credits.zone.clone();
    let (settled, in_doubt) =
        reads.look(move |reading| booked_in(reading, theirs.start, theirs.end, &zone)).await?;
    Ok(Comparison { theirs, settled, in_doubt })
}

/// What is booked of a billing period, which begins and ends at some moment of a day: whole days by their sums, and of the
/// two others the calls on the right side of the moment.
fn booked_in(
    reading: &dyn Reading,
    start: Timestamp,
    end: Timestamp,
    zone: &TimeZone,
) -> Result<(Credits, Credits), LedgerError> {
    let (first, last) = (day_of(start, zone), day_of(end, zone));
    let begins = |day: Date| Period::Day.resets(day.yesterday().unwrap_or(day), zone);
    // The period has its last moment in it: what the upstream calls the end may be the last millisecond of a day.
    let end = end.saturating_add(SignedDuration::from_millis(1)).unwrap_or(end);
    let days = reading.spends(Span { since: first, until: last })?;
    let sum = |amount: fn(&Spend) -> Credits| days.iter().map(amount).fold(Credits::ZERO, |a, b| a + b);
    let before = reading.booked_between(begins(first), start)?;
    let after = reading.booked_between(end, begins(last.tomorrow().unwrap_or(last)))?;
    let without =
        |sum: Credits, before: Credits, after: Credits| sum.saturating_sub(before).saturating_sub(after);
    Ok((
        without(sum(|spend| spend.settled), before.0, after.0),
        without(sum(|spend| spend.estimated), before.1, after.1),
    ))
}

/// What the upstream said last, and what is exported of it.
#[derive(Debug)]
pub struct Bill {
    latest: ArcSwapOption<UpstreamReading>,
    pool: GaugeVec,
    drift: Gauge,
    read_at: Gauge,
    resets: Gauge,
}

impl Bill {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            latest: ArcSwapOption::empty(),
            pool: metrics.gauges(
                "upstream_pool_credits",
                "The upstream's pool in its billing period: included in the plan, used by everybody, remaining, used by the API alone; and ours, booked here for the same days.",
                &["kind"],
            ),
            drift: metrics.gauge(
                "upstream_drift_credits",
                "Credits of the upstream's API bill that the ledger cannot explain, in-doubt ones taken into account; negative where the bill is lower.",
            ),
            read_at: metrics.gauge(
                "upstream_usage_timestamp_seconds",
                "When the upstream's usage was last read, in seconds since the epoch; 0 for never.",
            ),
            resets: metrics.gauge(
                "upstream_pool_reset_timestamp_seconds",
                "When the upstream's billing period ends, in seconds since the epoch; 0 before its usage was read.",
            ),
        }
    }

    /// The last reading, if there was one.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<UpstreamReading>> {
        self.latest.load_full()
    }

    fn read(&self, reading: UpstreamReading) {
        let UpstreamReading { at, comparison } = reading;
        let Comparison { theirs, settled, in_doubt } = comparison;
        for (kind, amount) in [
            ("included", theirs.included),
            ("used", theirs.used),
            ("remaining", theirs.remaining),
            ("api_used", theirs.api_used),
            ("ours", settled + in_doubt),
        ] {
            self.pool.with_label_values(&[kind]).set(amount.as_f64());
        }
        self.drift.set(comparison.drift());
        self.read_at.set(metrics::seconds(at));
        self.resets.set(metrics::seconds(theirs.end));
        self.latest.store(Some(Arc::new(reading)));
    }
}

/// Asks again and again, as often as configured, and tells `bill` what it finds. Never returns.
pub async fn watch<C: Connect>(
    connect: C,
    live: Arc<Live>,
    reads: Reads,
    bill: Arc<Bill>,
    desk: Arc<Keeper>,
) {
    loop {
        let snapshot = live.current();
        let every = snapshot.config.upstream.usage_interval;
        if every.is_zero() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        // It counts against the window like any call; callers come first.
        let place = desk.spare_place().await;
        if place.is_some_and(|mut place| place.sent().is_ok()) {
            let marks = desk.marks();
            match compare_with(&connect, &snapshot, &reads).await {
                Ok(comparison) => {
                    let theirs = comparison.theirs;
                    desk.pool(theirs.has_credits(), theirs.end);
                    desk.billed(marks, theirs.start, theirs.api_used);
                    bill.read(UpstreamReading { at: live.clock().wall(), comparison });
                }
                Err(error) => tracing::warn!(%error, "cannot compare the ledger with the upstream's usage"),
            }
        }
        drop(snapshot);
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_body_is_read() {
        let body = br#"{"object":"usage","billing_period":{"start":"2024-03-01T00:00:00.000Z","end":"2024-03-31T23:59:59.999Z"},
            "credits":{"used":2500,"included":5000,"remaining":2500,"percentage_used":50},
            "api_requests":{"total_requests":1250,"credits_used":2400.5},"rate_limit":{"requests_per_minute":120}}"#;
        let usage = UpstreamUsage::parse(body).unwrap();
        assert_eq!((usage.used, usage.included), (Credits::whole(2500), Credits::whole(5000)));
        assert_eq!(usage.api_used.to_string(), "2400.5");
    }

    #[test]
    fn a_pool_is_empty_when_nothing_is_left_of_something_and_nothing_is_bought() {
        for (included, remaining, recharges, has_credits) in
            [(5000, 1, false, true), (5000, 0, false, false), (5000, 0, true, true), (0, 0, false, true)]
        {
            let body = format!(
                r#"{{"billing_period":{{"start":"2024-03-01T00:00:00Z","end":"2024-03-31T23:59:59Z"}},
                    "credits":{{"used":1,"included":{included},"remaining":{remaining}}},
                    "api_requests":{{"credits_used":1}},"auto_recharge":{{"enabled":{recharges}}}}}"#
            );
            let usage = UpstreamUsage::parse(body.as_bytes()).unwrap();
            assert_eq!(usage.has_credits(), has_credits, "{body}");
        }
    }

    #[test]
    fn drift_is_what_doubt_cannot_explain() {
        let theirs = |api| UpstreamUsage {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            included: Credits::ZERO,
            used: Credits::ZERO,
            remaining: Credits::ZERO,
            api_used: Credits::whole(api),
            recharges: false,
        };
        for (api, drift) in [(100, 0.0), (105, 0.0), (110, 0.0), (112, 2.0), (97, -3.0)] {
            let comparison = Comparison {
                theirs: theirs(api),
                settled: Credits::whole(100),
                in_doubt: Credits::whole(10),
            };
            assert!((comparison.drift() - drift).abs() < 1e-9, "{api}");
            assert_eq!(comparison.agrees(), drift == 0.0, "{api}");
        }
    }
}
