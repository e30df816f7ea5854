//! What operators are told of, and how long it has to go on for that.

use std::time::Duration;

/// A kind of what goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A budget is spent to 75, 90 or 100 percent.
    BudgetThreshold,
    /// The organisation's pool ends before it is filled again, as it goes now.
    PoolRunsOut,
    /// The upstream serves no calls, or not all.
    UpstreamState,
    /// The upstream refuses the organisation's key.
    KeyRefused,
    /// A caller key expires soon, or has expired.
    CallerKeyExpires,
    /// The upstream's bill is not what the ledger has.
    BooksDisagree,
    /// The ledger takes no holds: calls that cost are refused.
    LedgerClosed,
}

impl Kind {
    /// As it is sent.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::BudgetThreshold => "budget_threshold",
            Self::PoolRunsOut => "pool_runs_out",
            Self::UpstreamState => "upstream_state",
            Self::KeyRefused => "key_refused",
            Self::CallerKeyExpires => "caller_key_expires",
            Self::BooksDisagree => "books_disagree",
            Self::LedgerClosed => "ledger_closed",
        }
    }

    /// How long it goes on before it is told: what passes by itself is nobody's to mend.
    pub(super) const fn begins_after(self) -> Duration {
        match self {
            Self::BudgetThreshold | Self::KeyRefused | Self::CallerKeyExpires => Duration::ZERO,
            Self::LedgerClosed => Duration::from_secs(10),
            Self::UpstreamState => Duration::from_secs(30),
            Self::PoolRunsOut => Duration::from_mins(10),
            // Calls that have ended a moment ago may be in one and not yet in the other: six readings.
            Self::BooksDisagree => Duration::from_mins(30),
        }
    }

    /// How long it is over before that is told: what comes back is one thing, and not two.
    pub(super) const fn ends_after(self) -> Duration {
        match self {
            Self::PoolRunsOut => Duration::from_hours(1),
            Self::BudgetThreshold | Self::CallerKeyExpires => Duration::ZERO,
            Self::UpstreamState | Self::KeyRefused | Self::BooksDisagree | Self::LedgerClosed => {
                Duration::from_mins(1)
            }
        }
    }
}

/// What goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: Kind,
    /// Of what: "team growth", "organisation", the id of a key.
    pub(super) subject: String,
    /// Told again when it rises.
    pub(super) level: u64,
    /// Calls are refused for it.
    pub(super) is_critical: bool,
    /// In a sentence or two, with the numbers in it and what to do.
    pub(super) message: String,
}
