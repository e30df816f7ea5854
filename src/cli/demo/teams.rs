//! The teams of the demo: each shows something else of what a budget and a queue do.

use std::time::Duration;

/// A team.
pub(super) struct DemoTeam {
    /// Its name.
    pub(super) name: &'static str,
    /// How often it asks with `--traffic`.
    pub(super) every: Duration,
    /// Calls of a working day, in its history.
    pub(super) a_day: u64,
    /// What of its budget is spent in this month, in percent; nothing where the budget is wide.
    pub(super) spent: Option<u64>,
}

const fn team(name: &'static str, every: u64, a_day: u64, spent: Option<u64>) -> DemoTeam {
    DemoTeam { name, every: Duration::from_millis(every), a_day, spent }
}

/// All of them. The first is the one whose key is shown.
pub(super) const TEAMS: [DemoTeam; 5] = [
    team("growth", 900, 46, None),
    team("research", 2_300, 24, None),
    team("support", 4_100, 13, None),
    team("design", 11_000, 9, Some(93)),
    team("data", 17_000, 7, Some(100)),
];

/// The least budget of a team, what a chat holds, and that of one whose budget is wide, a month.
pub(super) const BUDGETS: [u64; 2] = [5, 15_000];
