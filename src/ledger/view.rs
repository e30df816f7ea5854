//! What the credits page asks a ledger for. All of it is answered from one moment, so that figures which stand side by side agree.

use jiff::civil::Date;

use super::keys::CallerUse;
use super::rows::{EnteredGrant, Found, Search, Span};
use crate::credits::Credits;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct View {
    /// The days.
    pub span: Span,
    /// What spend is told by.
    pub by: By,
    /// The running period of the organisation's budget, and the one before.
    pub periods: [Span; 2],
    /// Grants that end on this day or later.
    pub grants: Date,
    /// Which calls are listed; of its team and caller, where it has them, is spend told too.
    pub search: Search,
}

/// What spend is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By team.
    Team,
    /// By key or member.
    Caller,
    /// By route.
    Route,
}

impl By {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Caller => "caller",
            Self::Route => "route",
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Viewed {
    /// Spend of the days and of those that were asked for, in the order of days and names.
    pub spent: Vec<Slice>,
    /// What was booked in the running period and in the one before, of all.
    pub periods: [Sum; 2],
    /// What callers have done, with what they have spent on the days.
    pub uses: Vec<CallerUse>,
    /// Grants, those that were taken back included.
    pub grants: Vec<EnteredGrant>,
    /// Calls.
    pub found: Found,
}

/// What was booked on a day, of a team, caller or route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The day the calls were held on.
    pub day: Date,
    /// Whose, or of which route.
    pub name: String,
    /// How many calls there were.
    pub calls: u64,
    /// What was booked.
    pub sum: Sum,
}

/// What was booked, corrections included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// In all.
    pub credits: Credits,
    /// Of that, by estimate.
    pub in_doubt: Credits,
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.credits += other.credits;
        self.in_doubt += other.in_doubt;
    }
}
