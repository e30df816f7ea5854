//! What has become of a team's calls, as numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::credits::Credits;

/// What has become of a team's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Served {
    /// All that asked.
    pub asked: u64,
    /// Of them, those that were let through.
    pub served: u64,
    /// The others, by why.
    pub refused: BTreeMap<String, u64>,
    /// How long those that cost, and were let through, had waited.
    pub waits: Waits,
    /// What they cost.
    pub credits: Credits,
}

/// How long calls have waited for their turn, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// Half of them no longer than this.
    #[serde(serialize_with = "seconds")]
    pub p50: Duration,
    /// All but one in twenty.
    #[serde(serialize_with = "seconds")]
    pub p95: Duration,
    /// None of them longer.
    #[serde(serialize_with = "seconds")]
    pub worst: Duration,
    /// How many have waited at all.
    pub calls: u64,
}

impl Served {
    /// What was, changed as far as one replay differs from another.
    pub(super) fn changed(&self, from: &Self, to: &Self) -> Self {
        let shift = |was: u64, from: u64, to: u64| (was + to).saturating_sub(from);
        let wait = |was: Duration, from: Duration, to: Duration| (was + to).saturating_sub(from);
        let count = |served: &Self, code: &str| served.refused.get(code).copied().unwrap_or(0);
        let codes: std::collections::BTreeSet<_> =
            [self, from, to].into_iter().flat_map(|served| served.refused.keys()).collect();
        let refused = codes
            .into_iter()
            .map(|code| (code.clone(), shift(count(self, code), count(from, code), count(to, code))));
        let refused: BTreeMap<_, _> = refused.filter(|(_, count)| *count > 0).collect();
        let asked = shift(self.asked, from.asked, to.asked);
        let [was, before, after] = [&self.waits, &from.waits, &to.waits];
        Self {
            asked,
            served: asked.saturating_sub(refused.values().sum()),
            refused,
            waits: Waits {
                p50: wait(was.p50, before.p50, after.p50),
                p95: wait(was.p95, before.p95, after.p95),
                worst: wait(was.worst, before.worst, after.worst),
                calls: shift(was.calls, before.calls, after.calls),
            },
            credits: (self.credits + to.credits).saturating_sub(from.credits),
        }
    }

    /// All that were refused.
    #[must_use]
    pub fn refused_in_all(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The same in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    asked: u64,
    served: u64,
    refused: BTreeMap<&'static str, u64>,
    others: BTreeMap<String, u64>,
    waits: Vec<Duration>,
    credits: Credits,
}

impl Tally {
    /// So many were let through that cost nothing.
    pub(super) fn free(&mut self, count: u64) {
        self.asked += count;
        self.served += count;
    }

    /// One was let through, after it had waited, and has cost so much.
    pub(super) fn served(&mut self, waited: Duration, credits: Credits) {
        self.free(1);
        self.waits.push(waited);
        self.credits += credits;
    }

    /// So many were refused, for a reason that this program knows.
    pub(super) fn refused(&mut self, code: &'static str, count: u64) {
        self.asked += count;
        *self.refused.entry(code).or_default() += count;
    }

    /// So many were refused, as was written down.
    pub(super) fn refused_as(&mut self, code: &str, count: u64) {
        self.asked += count;
        match self.others.get_mut(code) {
            Some(so_far) => *so_far += count,
            None => drop(self.others.insert(code.to_owned(), count)),
        }
    }

    pub(super) fn sum(mut self) -> Served {
        self.waits.sort_unstable();
        let at = |part: usize| {
            let rank = (self.waits.len() * part).div_ceil(100).saturating_sub(1);
            self.waits.get(rank).copied().unwrap_or_default()
        };
        let waits = Waits {
            p50: at(50),
            p95: at(95),
            worst: at(100),
            calls: self.waits.iter().filter(|wait| !wait.is_zero()).count() as u64,
        };
        let mut refused = self.others;
        for (code, count) in self.refused {
            *refused.entry(code.to_owned()).or_default() += count;
        }
        Served { asked: self.asked, served: self.served, refused, waits, credits: self.credits }
    }
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
