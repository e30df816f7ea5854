//! Who calls: teams, and the directory that finds a caller by a key.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::members::{Found, Members};
use crate::clock::Clock;
use crate::config::identity::Member;
use crate::config::{self, Analyses, Config};
use crate::credits::budget::{Budget, Budgets, Whose};
use crate::identity::proven::Proven;
use crate::key::key_id;
use crate::ledger::RegisteredKey;
use crate::limit::in_flight::InFlight;
use crate::limit::rate::TeamRate;
use crate::record::series::{TeamCounts, Who};
use crate::route::{Route, Routes};

/// A team at work: its limits as configured, and the state that survives a reload.
#[derive(Debug)]
pub struct Team {
    /// Name in metrics, logs and refusals.
    pub name: Arc<str>,
    /// Limits as configured now.
    pub limits: config::Limits,
    /// Its claim to the organisation's window beside the others'.
    pub weight: NonZeroU32,
    /// How long its calls wait for their turn at most.
    pub max_wait: Duration,
    /// Whether it may replace its keys itself.
    pub self_service_keys: bool,
    /// Routes it may use.
    pub routes: Routes,
    /// What is special about some of them.
    pub of_routes: Vec<config::OfRoute>,
    /// Analyses it may ask about.
    pub analyses: Analyses,
    /// What it may spend.
    pub budget: Option<Budget>,
    /// Requests per minute.
    pub(crate) rate: TeamRate,
    /// Calls in flight; shared with the team's earlier configurations.
    pub(crate) in_flight: Arc<InFlight>,
    /// Questions to the gateway itself; shared with the team's earlier configurations.
    pub(crate) questions: Arc<Questions>,
    /// The team's series.
    pub(crate) counts: Arc<TeamCounts>,
}

/// Questions of one team to the gateway itself, which cost the team nothing of what they tell of.
#[derive(Debug)]
pub(crate) struct Questions {
    /// That are being read and answered.
    pub(crate) in_flight: Arc<InFlight>,
    /// How often it may ask.
    pub(crate) rate: TeamRate,
}

/// Questions that a team may ask a minute.
pub(crate) const QUESTIONS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(120).unwrap();
/// And at once.
pub(crate) const QUESTIONS_AT_ONCE: NonZeroU32 = NonZeroU32::new(30).unwrap();

impl Questions {
    fn new(clock: Clock) -> Self {
        let rate = TeamRate::new(QUESTIONS_PER_MINUTE, QUESTIONS_AT_ONCE, None, clock);
        Self { in_flight: Arc::default(), rate }
    }
}

impl Team {
    /// What is special about the team's calls of a route.
    #[must_use]
    pub fn of_route(&self, route: Route) -> Option<&config::OfRoute> {
        self.of_routes.iter().find(|of_route| of_route.route == route)
    }

    /// Calls of the team that are in flight now.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.in_flight.count()
    }
}

/// A caller that was identified: the team and which of its keys was used.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The team that the key belongs to.
    pub team: Arc<Team>,
    /// What records say of it.
    pub who: Arc<Who>,
    /// Every budget that binds calls with this key, the widest first.
    pub budgets: Budgets,
    /// The same for calls of routes that have a budget of their own.
    of_routes: Arc<[(Route, Budgets)]>,
}

impl Caller {
    /// A caller of a team, with whatever binds its calls.
    fn new(
        team: &Arc<Team>,
        id: &str,
        budget: Option<Budget>,
        config: &Config,
        previous: Option<&Directory>,
    ) -> Self {
        let key_id: Arc<str> = id.into();
        let budgets = [
            (Whose::Organisation, config.credits.budget),
            (Whose::Team(Arc::clone(&team.name)), team.budget),
            (Whose::Key(Arc::clone(&key_id)), budget),
        ];
        let budgets = budgets.into_iter().filter_map(|(whose, budget)| Some((whose, budget?)));
        let budgets: Vec<_> = budgets.collect();
        let of_routes = team.of_routes.iter().filter_map(|of_route| {
            let (route, own) = (of_route.route, of_route.budget?);
            let (number, label) = (route.index(), route.label());
            let whose = Whose::Route { team: Arc::clone(&team.name), number, label };
            Some((route, Budgets(budgets.iter().cloned().chain([(whose, own)]).collect())))
        });
        let of_routes = of_routes.collect();
        let before = previous.and_then(|previous| previous.called(id));
        let last_used = before.map(|before| Arc::clone(&before.who.last_used)).unwrap_or_default();
        let who = Who { team: Arc::clone(&team.name), key_id, counts: Arc::clone(&team.counts), last_used };
        Self { team: Arc::clone(team), who: Arc::new(who), budgets: Budgets(budgets.into()), of_routes }
    }

    /// Every budget that binds calls of a route.
    #[must_use]
    pub fn budgets_of(&self, route: Route) -> &Budgets {
        let own = self.of_routes.iter().find(|(of, _)| *of == route);
        own.map_or(&self.budgets, |(_, budgets)| budgets)
    }
}

/// The earlier of two ends, of which there may be none.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[derive(Debug)]
struct Entry {
    digest: [u8; 32],
    expires: Option<Timestamp>,
    caller: Caller,
}

/// All callers of one configuration: found by the public id of their key, or by what an identity says of them.
#[derive(Debug, Default)]
pub struct Directory {
    keys: HashMap<Box<str>, Entry>,
    teams: Vec<Arc<Team>>,
    /// Callers without a key.
    pub members: Members<Caller>,
    /// What tokens and certificates were found to be, of callers.
    pub proven: Proven<Found<Caller>>,
    /// Who may change keys, by tokens.
    pub operators: Members<Arc<str>>,
    /// What their tokens were found to be.
    pub proven_operators: Proven<Found<Arc<str>>>,
}

impl Directory {
    /// Builds the directory of a configuration. Teams that were in `previous` keep what they have
    /// accrued: calls in flight, and how much of their rate is used. `series` makes those of a new team.
    pub(crate) fn new(
        config: &Config,
        registered: &[RegisteredKey],
        previous: Option<&Self>,
        clock: Clock,
        series: impl Fn(&str) -> Arc<TeamCounts>,
    ) -> Self {
        let mut directory = Self::default();
        let by_id: HashMap<&str, &RegisteredKey> =
            registered.iter().map(|key| (key.id.as_str(), key)).collect();
        for settings in &config.teams {
            let before = previous.and_then(|p| p.teams.iter().find(|team| *team.name == *settings.name));
            let team = Arc::new(Team {
                name: settings.name.as_str().into(),
                limits: settings.limits,
                weight: settings.weight,
                max_wait: settings.max_wait,
                self_service_keys: settings.self_service_keys,
                routes: settings.routes,
                of_routes: settings.of_routes.clone(),
                analyses: settings.analyses.clone(),
                budget: settings.budget,
                rate: TeamRate::new(
                    settings.limits.requests_per_minute,
                    settings.limits.burst,
                    before.map(|team| &team.rate),
                    clock,
                ),
                in_flight: before.map_or_else(Arc::default, |team| Arc::clone(&team.in_flight)),
                questions: before
                    .map_or_else(|| Arc::new(Questions::new(clock)), |team| Arc::clone(&team.questions)),
                counts: before.map_or_else(|| series(&settings.name), |team| Arc::clone(&team.counts)),
            });
            for key in &settings.keys {
                // What the ledger says of a key is in force, whatever the configuration says.
                let entry = match by_id.get(key.id.as_str()) {
                    None => (key.digest, key.expires),
                    Some(known) if known.revoked.is_some() || known.team != settings.name => continue,
                    Some(known) => (known.digest, earlier(known.expires, key.expires)),
                };
                directory.add(&team, &key.id, entry, key.budget, (config, previous));
            }
            let is_ours = |key: &&RegisteredKey| key.team == settings.name && key.revoked.is_none();
            for key in registered.iter().filter(is_ours) {
                if !settings.keys.iter().any(|of_file| of_file.id == key.id) {
                    directory.add(&team, &key.id, (key.digest, key.expires), None, (config, previous));
                }
            }
            for Member { id, identity, proof, budget } in &settings.members {
                let caller = Caller::new(&team, id, *budget, config, previous);
                directory.members.add(*identity, proof.clone(), caller);
            }
            directory.teams.push(team);
        }
        for Member { id, identity, proof, .. } in &config.admin.operators {
            directory.operators.add(*identity, proof.clone(), id.as_str().into());
        }
        directory
    }

    fn add(
        &mut self,
        team: &Arc<Team>,
        id: &str,
        (digest, expires): ([u8; 32], Option<Timestamp>),
        budget: Option<Budget>,
        (config, previous): (&Config, Option<&Self>),
    ) {
        let caller = Caller::new(team, id, budget, config, previous);
        self.keys.insert(id.into(), Entry { digest, expires, caller });
    }

    /// Whether that is the id of a key, and not of a member.
    #[must_use]
    pub fn has_key(&self, id: &str) -> bool {
        self.keys.contains_key(id)
    }

    /// Who has called under an id, in whatever way.
    #[must_use]
    pub fn called(&self, id: &str) -> Option<&Caller> {
        let by_key = self.keys.get(id).map(|entry| &entry.caller);
        by_key.or_else(|| self.members.all().find(|caller| *caller.who.key_id == *id))
    }

    /// Finds the caller that a presented key belongs to. Unknown, wrong and expired keys are one case to their callers, and
    /// cost the same: a digest and a comparison in constant time.
    ///
    /// # Errors
    /// Who sent a key that has expired: whoever has that key is known.
    pub fn find(&self, presented: &[u8], now: Timestamp) -> Result<&Caller, Option<&Caller>> {
        let entry = key_id(presented).and_then(|id| self.keys.get(id));
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let expected = entry.map_or(&[0; 32], |entry| &entry.digest);
        let same: bool = digest.ct_eq(expected).into();
        let Some(Entry { expires, caller, .. }) = entry.filter(|_| same) else { return Err(None) };
        if expires.is_none_or(|expires| now < expires) { Ok(caller) } else { Err(Some(caller)) }
    }

    /// The teams, in the order of the file.
    #[must_use]
    pub fn teams(&self) -> &[Arc<Team>] {
        &self.teams
    }
}
