//! Budgets: so many credits per period, whose they are, how they stand, and what raises them.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Credits;
use super::millionths;
use super::period::Period;

/// So many credits per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// How many.
    #[serde(with = "millionths")]
    pub credits: Credits,
    /// How often they begin anew.
    pub period: Period,
}

/// Whose budget it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Whose {
    /// Everybody's together.
    Organisation,
    /// One team's.
    Team(Arc<str>),
    /// One caller key's.
    Key(Arc<str>),
    /// One team's, of one route alone.
    Route {
        /// Whose.
        team: Arc<str>,
        /// The route, by number.
        number: usize,
        /// And by name.
        label: Cow<'static, str>,
    },
}

/// The budgets that bind one call. Cheap to clone: every call has some.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Budgets(pub Arc<[(Whose, Budget)]>);

/// How a budget stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub whose: Whose,
    /// What is configured.
    pub budget: Budget,
    /// What has become of it in the running period.
    pub tally: Tally,
    /// When the period ends.
    pub resets: Timestamp,
}

/// What has become of a budget in the running period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What there is to spend: what is configured, and what was granted.
    pub whole: Credits,
    /// What was granted on top and is in force.
    pub granted: Credits,
    /// Settled.
    pub used: Credits,
    /// Held for calls in flight.
    pub held: Credits,
}

/// Percentages of a budget that are worth a word when they are spent.
const THRESHOLDS: [u64; 4] = [100, 90, 75, 50];

impl Tally {
    /// The highest threshold that is spent, in percent; 0 below all.
    #[must_use]
    pub fn threshold(&self) -> u64 {
        let whole = u128::from(self.whole.millionths());
        let spent = u128::from(self.used.millionths()) * 100;
        let passed = |threshold: &&u64| whole > 0 && spent >= whole * u128::from(**threshold);
        THRESHOLDS.iter().find(passed).copied().unwrap_or(0)
    }

    /// Whether `reserve` would fit if the calls in flight came to nothing: whether waiting for them may help.
    #[must_use]
    pub fn would_fit_without_holds(&self, reserve: Credits) -> bool {
        self.held > Credits::ZERO && self.whole.saturating_sub(self.used) >= reserve
    }

    /// What is free.
    #[must_use]
    pub fn left(&self) -> Credits {
        self.whole.saturating_sub(self.used + self.held)
    }
}

/// A raised budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The team, or `organisation`.
    pub team: String,
    /// By how much.
    #[serde(with = "millionths")]
    pub credits: Credits,
    /// From this day on.
    pub from: Date,
    /// To this day.
    pub until: Date,
    /// It was taken back on the last of them: what it had paid for stays paid, and nothing more is.
    pub taken_back: bool,
}
