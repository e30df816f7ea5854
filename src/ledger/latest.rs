//! The latest calls, as every home of a ledger looks at them: how far back, and what becomes of what is found there.

use jiff::{SignedDuration, Timestamp};

use super::facts::CallId;
use super::rows::{Call, Found, Search};
use crate::credits::Credits;
use crate::route::Route;

/// Calls that one search looks at: far more than a page of them, and milliseconds to read.
pub(super) const LOOKBACK: i64 = 100_000;

/// Calls that are looked at for what they cost: enough to learn from, and less than a megabyte to read.
pub(super) const COSTS: i64 = 4096;

/// More calls than the largest plan allows in a minute, which are 600.
pub(super) const MINUTE: i64 = 2048;

/// Which calls one search looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looked {
    /// All before this one.
    pub(super) before: CallId,
    /// From this one on.
    pub(super) floor: CallId,
    oldest: CallId,
}

/// The number of the first call that was held at `at` or later; one more than the last where there is none. Calls are held in the
/// order of their numbers, so that a search by halves finds it, whatever else was asked of them.
pub(super) fn first_held(at: Timestamp) -> String {
    let at = at.as_microsecond();
    let is_earlier =
        format!("(SELECT held_at FROM bookings WHERE call >= (low + high) / 2 ORDER BY call LIMIT 1) < {at}");
    format!(
        "WITH RECURSIVE halves (low, high) AS (
           SELECT coalesce(min(call), 1), coalesce(max(call), 0) + 1 FROM bookings
           UNION ALL
           SELECT CASE WHEN {is_earlier} THEN (low + high) / 2 + 1 ELSE low END,
                  CASE WHEN {is_earlier} THEN high ELSE (low + high) / 2 END
           FROM halves WHERE low < high)
         SELECT low FROM halves WHERE low >= high LIMIT 1"
    )
}

/// Where a search by time looks for calls: gateways that write one ledger may differ by their clocks.
pub(super) fn around([since, until]: [Timestamp; 2]) -> [Timestamp; 2] {
    let skew = SignedDuration::from_mins(1);
    [since.saturating_sub(skew).unwrap_or(since), until.saturating_add(skew).unwrap_or(until)]
}

impl Looked {
    /// In a ledger that has these calls.
    pub(super) fn of(search: &Search, newest: CallId, oldest: CallId) -> Self {
        let before = search.before.unwrap_or(CallId::MAX).min(newest + 1).max(oldest);
        Self { before, floor: before.saturating_sub(LOOKBACK).max(oldest), oldest }
    }

    /// With what it found, the newest first.
    pub(super) fn found(self, search: &Search, requests: Vec<Call>) -> Found {
        let Self { before, floor, oldest } = self;
        let full = requests.len() == search.limit;
        let last = requests.last().map(|call| call.call);
        Found {
            searched: before - last.filter(|_| full).unwrap_or(floor),
            complete: full || floor <= oldest,
            next: if full { last } else { (floor > oldest).then_some(floor) },
            requests,
        }
    }
}

/// What calls cost, by route, so many of each at most: the latest of `costs`, which has the oldest first.
pub(super) fn by_route(
    costs: impl IntoIterator<Item = (String, Credits)>,
    count: usize,
) -> Vec<(Route, Vec<Credits>)> {
    let mut by_route: Vec<_> = Route::all().map(|route| (route, Vec::new())).collect();
    for (name, cost) in costs {
        if let Some(route) = Route::named(&name) {
            by_route[route.index()].1.push(cost);
        }
    }
    for (_, of_route) in &mut by_route {
        of_route.drain(..of_route.len().saturating_sub(count));
    }
    by_route.retain(|(_, of_route)| !of_route.is_empty());
    by_route
}
