//! What is looked at from time to time, and how it moves.

use std::fmt;
use std::net::SocketAddr;

use crate::support::process::get;
use crate::support::rig::sample;

/// One look at the gateway. All of it is in a scrape: the kernel's figures come from `/proc`, which the gateway lets
/// no other user read.
#[derive(Clone, Debug)]
pub struct Sample {
    pub resident: f64,
    pub descriptors: f64,
    pub threads: f64,
    in_flight: f64,
    draining: f64,
    connections: f64,
    upstream: f64,
    holds: f64,
    unmerged: f64,
}

impl Sample {
    pub fn take(admin: SocketAddr) -> Self {
        let metrics = get(admin, "/metrics").1;
        let ours = |name: &str| sample(&metrics, &format!("mavera_gateway_{name}"));
        Self {
            resident: sample(&metrics, "process_resident_memory_bytes"),
            descriptors: sample(&metrics, "process_open_fds"),
            threads: sample(&metrics, "process_threads"),
            in_flight: ours("requests_in_flight"),
            draining: ours("exchanges_draining"),
            connections: ours("connections"),
            upstream: ours("upstream_connections"),
            holds: ours("ledger_open_holds"),
            unmerged: ours("ledger_unmerged_bytes"),
        }
    }

    /// No call, no hold, no connection.
    pub fn nothing_is_left(&self) -> bool {
        self.in_flight + self.draining + self.connections + self.upstream + self.holds == 0.0
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:5.1} MiB, {:4} descriptors, {} threads, {:3} in flight, {:2} draining, {:3} and {:3} connections, \
             {:3} holds, {:7} bytes unmerged",
            self.resident / f64::from(1 << 20),
            self.descriptors,
            self.threads,
            self.in_flight,
            self.draining,
            self.connections,
            self.upstream,
            self.holds,
            self.unmerged,
        )
    }
}

/// By how much the line of least squares through the points rises, from the first to the last.
pub fn growth(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    together / spread * (points[points.len() - 1].0 - points[0].0)
}

#[test]
fn growth_is_what_the_line_rises() {
    assert_eq!(growth(&[(1.0, 5.0), (2.0, 7.0), (3.0, 9.0)]), 4.0);
    assert_eq!(growth(&[(0.0, 5.0), (1.0, 9.0), (2.0, 5.0)]), 0.0);
}
