//! What new limits would have made of the last day, in one line of the log: told when they come in force, so that whoever has
//! changed them sees what that does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{Timestamp, ToSpan};

use super::outcome::{Fares, OfTeam, Plan};
use super::replay::plan;
use super::traffic::Traffic;
use crate::config::Config;
use crate::credits::period::day_of;
use crate::ledger::{LedgerError, Reading, Reads};

/// Tells of changes of limits.
#[derive(Debug)]
pub struct Teller {
    reads: Reads,
    /// A replay is under way: whoever changes limits faster than that is told of the first change alone.
    busy: Arc<AtomicBool>,
}

impl Teller {
    /// Over a ledger that a gateway of this process writes.
    #[must_use]
    pub fn new(reads: Reads) -> Self {
        Self { reads, busy: Arc::default() }
    }

    /// Another configuration is in force. Returns at once: the replay is a thread's of its own, that nobody waits for.
    pub fn changed(&self, before: &Config, after: &Config, now: Timestamp) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if limits(before) == limits(after) || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let (reads, busy) = (self.reads.clone(), Arc::clone(&self.busy));
        let (before, after) = (before.clone(), after.clone());
        runtime.spawn(async move {
            let told = reads.look(move |reading| tell(reading, &before, &after, now)).await;
            if let Err(error) = told {
                tracing::warn!(%error, "what the new limits would have made of the last day cannot be told");
            }
            busy.store(false, Ordering::Release);
        });
    }
}

/// All that a replay goes by, as text.
fn limits(config: &Config) -> String {
    let of_team = |team: &crate::config::Team| {
        let own = team.keys.iter().map(|key| (&key.id, key.budget));
        let own: Vec<_> = own.chain(team.members.iter().map(|member| (&member.id, member.budget))).collect();
        let routes = (team.routes, &team.of_routes);
        format!("{:?}", (&team.name, team.limits, team.weight, team.max_wait, routes, team.budget, own))
    };
    let teams: Vec<_> = config.teams.iter().map(of_team).collect();
    format!("{:?}", (config.upstream.requests_per_minute, &config.queue, &config.credits, teams))
}

fn tell(reading: &dyn Reading, before: &Config, after: &Config, now: Timestamp) -> Result<(), LedgerError> {
    let zone = &after.credits.zone;
    let first = day_of(now.saturating_sub(24.hours()).unwrap_or(now), zone);
    let traffic = Traffic::read(reading, first, now, zone)?;
    let plan = plan(after, &traffic, 1.0).held_against(&plan(before, &traffic, 1.0));
    if plan.asked == 0 {
        return Ok(());
    }
    let Plan { since, asked, .. } = plan;
    let sum = |of: fn(&OfTeam) -> u64| plan.teams.iter().map(of).sum::<u64>();
    let named = |fares: Fares| {
        let names = plan.teams.iter().filter(|team| team.fares() == fares).map(|team| team.team.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let (served, would_be_served) = (sum(|team| team.was.served), sum(|team| team.would.served));
    tracing::info!(
        %since, asked, served, would_be_served, better = named(Fares::Better), worse = named(Fares::Worse),
        "limits have changed: what they would have made of the last day's calls"
    );
    Ok(())
}
