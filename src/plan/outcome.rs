//! What a replay tells.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::tally::Served;
use crate::credits::Credits;

/// What would have been.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// From when on.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How much of the traffic there was; 2 is twice as much.
    pub rate: f64,
    /// All that asked.
    pub asked: u64,
    /// Of them, those that were refused for a limit when they came, and are known by the second alone.
    pub rests_on: u64,
    /// Of those, how many would have been served: what is least sure of it all.
    pub rests_on_served: u64,
    /// Of all that asked, how many at the least the configuration that is said to have been in force, replayed, serves or refuses
    /// otherwise than they were.
    pub in_force_differs: u64,
    /// In the order of their names.
    pub teams: Vec<OfTeam>,
}

/// What would have become of a team's calls, beside what did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfTeam {
    /// Its name.
    pub team: String,
    /// What was.
    pub was: Served,
    /// What would have been.
    pub would: Served,
    /// Its own budget, in the new configuration.
    pub budget: Option<Course>,
}

/// How a budget goes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Course {
    /// What there is to spend in a period, grants of the last included.
    pub credits: Credits,
    /// `day`, `week` or `month`.
    pub period: &'static str,
    /// Spent in the running period, at the end of each day.
    pub days: Vec<(Date, Credits)>,
    /// When a call was refused for it first.
    pub short_from: Option<Timestamp>,
}

/// How a team fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fares {
    /// As before.
    Same,
    /// More of its calls are served, or as many sooner.
    Better,
    /// Fewer are, or as many later.
    Worse,
}

/// A difference in waiting that nobody notices.
const UNNOTICED: f64 = 0.5;

impl OfTeam {
    /// Whether it gains or loses.
    #[must_use]
    pub fn fares(&self) -> Fares {
        let [was, would] = [&self.was, &self.would].map(|served| served.waits.p95.as_secs_f64());
        match would - was {
            _ if self.would.served > self.was.served => Fares::Better,
            _ if self.would.served < self.was.served => Fares::Worse,
            difference if difference > UNNOTICED => Fares::Worse,
            difference if difference < -UNNOTICED => Fares::Better,
            _ => Fares::Same,
        }
    }
}

impl Plan {
    /// The same, held against a replay of the configuration that was in force: what that does not get right, this does not get
    /// right either, and only what differs between the two is told. With the same configuration it is exactly what was.
    #[must_use]
    pub fn held_against(mut self, in_force: &Self) -> Self {
        for team in &mut self.teams {
            if let Some(before) = in_force.teams.iter().find(|before| before.team == team.team) {
                self.in_force_differs += before.was.served.abs_diff(before.would.served);
                team.would = team.was.changed(&before.would, &team.would);
            }
        }
        self
    }

    /// Whether what is said to have been in force cannot have been so all the time.
    #[must_use]
    pub fn is_held_against_another(&self) -> bool {
        // One in fifty, and more than two: what timing alone makes different is less.
        self.in_force_differs > (self.asked / 50).max(2)
    }
}
