//! Names of teams, and ids of callers.

use std::collections::HashSet;

/// Names that metrics use for something else.
const RESERVED_TEAMS: [&str; 2] = ["organisation", "other"];
/// What one process can keep apart in metrics and directories without a second thought.
pub(super) const MAX_CALLERS: usize = 10_000;

/// Ids that callers have: of keys and members alike, each once.
#[derive(Default)]
pub(super) struct CallerIds(HashSet<String>);

impl CallerIds {
    /// Whether it is the first of that name.
    pub(super) fn add(&mut self, id: &str) -> bool {
        id.is_empty() || self.0.insert(id.to_owned())
    }

    /// Whether there are more than can be kept apart.
    pub(super) fn are_too_many(&self) -> bool {
        self.0.len() > MAX_CALLERS
    }
}

/// Whether metrics use `name` for something else.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED_TEAMS.contains(&name)
}

/// Whether `name` can be a team's.
#[must_use]
pub fn is_team_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && !is_reserved(name)
}
