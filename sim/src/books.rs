//! The simulator's books: every request it received, every credit it charged, the window and the
//! pool. Tests hold the gateway's records against them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// One request as it was received.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// Order of arrival, from 0.
    pub index: usize,
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Fields in the order of the wire, names in lower case.
    pub headers: Vec<(String, String)>,
    /// SHA-256 of the body, in hexadecimal.
    pub body_sha256: String,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Which of the configured keys was used.
    pub key: Option<usize>,
    /// When the head had arrived.
    pub began: Timestamp,
    /// When the answer had been handed to the socket, or given up.
    pub ended: Option<Timestamp>,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// The client went away before the end of the answer.
    pub hung_up: bool,
    /// Id of the response, or of what was created, if it had one.
    pub response_id: Option<String>,
    /// What it was charged. A job's price comes here when the job ends.
    pub charged: u64,
}

/// Everything the simulator remembers.
#[derive(Debug, Default, Serialize)]
pub struct Books {
    /// Requests in the order of arrival.
    pub received: Vec<Received>,
    /// Credits charged by key, dashboard users not counted.
    pub charged: BTreeMap<usize, u64>,
    /// Requests being served now, by route.
    pub in_flight: BTreeMap<String, usize>,
    /// The most there were.
    pub peak: BTreeMap<String, usize>,
    /// Credits bought by auto-recharge.
    pub recharged: u64,
    /// The most requests that any sliding 60 seconds of a key held.
    pub busiest_window: usize,
    /// Requests that were over the window.
    pub over_window: usize,
    /// The most jobs that were unfinished at once, by the path of their creates.
    pub jobs_peak: BTreeMap<String, usize>,
    /// Calls refused because a cap on concurrency was reached, by path.
    pub over_cap: BTreeMap<String, usize>,
}

impl Books {
    /// Credits charged over all keys.
    #[must_use]
    pub fn total_charged(&self) -> u64 {
        self.charged.values().sum()
    }

    /// Chats about videos received.
    pub fn chats(&self) -> impl Iterator<Item = &Received> {
        self.received.iter().filter(|received| {
            received.target.contains("/video-analyses/") && received.target.ends_with("/chat")
        })
    }

    pub(super) fn began(&mut self, route: &str) {
        let now = self.in_flight.entry(route.to_owned()).or_default();
        *now += 1;
        let peak = self.peak.entry(route.to_owned()).or_default();
        *peak = (*peak).max(*now);
    }

    /// That many jobs are unfinished now.
    pub(super) fn jobs_at_once(&mut self, path: &str, unfinished: usize) {
        let peak = self.jobs_peak.entry(path.to_owned()).or_default();
        *peak = (*peak).max(unfinished);
    }

    pub(super) fn was_over_cap(&mut self, path: &str) {
        *self.over_cap.entry(path.to_owned()).or_default() += 1;
    }

    pub(super) fn ended(&mut self, route: &str) {
        if let Some(now) = self.in_flight.get_mut(route) {
            *now = now.saturating_sub(1);
        }
    }
}

/// The documented sliding window, exactly: the times of the last 60 seconds.
#[derive(Debug, Default)]
pub(super) struct SlidingWindow(VecDeque<Timestamp>);

/// What the window says about one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) allowed: bool,
    pub(super) limit: usize,
    pub(super) remaining: usize,
    /// When the oldest request leaves the window.
    pub(super) reset: Timestamp,
}

impl SlidingWindow {
    const LENGTH: Duration = Duration::from_mins(1);

    pub(super) fn enter(&mut self, now: Timestamp, limit: usize) -> Standing {
        let since = now.saturating_sub(Self::LENGTH).unwrap_or(now);
        while self.0.front().is_some_and(|oldest| *oldest <= since) {
            self.0.pop_front();
        }
        let allowed = self.0.len() < limit;
        if allowed {
            self.0.push_back(now);
        }
        let oldest = self.0.front().copied().unwrap_or(now);
        Standing {
            allowed,
            limit,
            remaining: limit.saturating_sub(self.0.len()),
            reset: oldest.saturating_add(Self::LENGTH).unwrap_or(now),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The subscription's pool of credits.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) included: u64,
    pub(super) used: u64,
    /// Spent by dashboard users, part of `used`.
    pub(super) dashboard: u64,
    pub(super) recharge: Option<Recharge>,
}

/// Auto-recharge: what an empty pool does instead of stopping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recharge {
    pub(super) threshold: u64,
    pub(super) amount: u64,
}

impl Pool {
    pub(super) fn remaining(&self) -> u64 {
        self.included.saturating_sub(self.used)
    }

    /// Spends, and buys more if that is switched on and needed. Returns what was bought.
    pub(super) fn spend(&mut self, credits: u64) -> u64 {
        self.used += credits;
        match self.recharge {
            Some(Recharge { threshold, amount }) if self.remaining() < threshold && amount > 0 => {
                self.included += amount;
                amount
            }
            _ => 0,
        }
    }
}
