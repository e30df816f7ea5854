//! Who calls: teams, and the directory that finds a caller by a key.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::HashMap;
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::in_force;
use super::members::{Found, Members};
use crate::books::keeper::Keeper;
use crate::clock::Clock;
use crate::config::identity::Member;
use crate::config::{self, Analyses, Config};
use crate::credits::budget::{Budget, Budgets};
use crate::digest::sha256;
use crate::identity::proven::{Proven, ProvenTokens};
use crate::key::key_id;
use crate::ledger::RegisteredKey;
use crate::limit::in_flight::InFlight;
use crate::limit::rate::{Standing, TeamRate};
use crate::record::series::{CallerState, TeamCounts, Who};
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
    /// How often it may replace a key.
    pub(crate) rotations: TeamRate,
}

/// Questions that a team may ask a minute.
pub(crate) const QUESTIONS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(120).unwrap();
/// And at once.
pub(crate) const QUESTIONS_AT_ONCE: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// Keys that a team may replace a minute. Each is kept, and changes what is in force.
pub(crate) const ROTATIONS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// And at once.
pub(crate) const ROTATIONS_AT_ONCE: NonZeroU32 = NonZeroU32::new(10).unwrap();

impl Questions {
    fn new(clock: Clock) -> Self {
        let rate = TeamRate::new(QUESTIONS_PER_MINUTE, QUESTIONS_AT_ONCE, None, clock);
        let rotations = TeamRate::new(ROTATIONS_PER_MINUTE, ROTATIONS_AT_ONCE, None, clock);
        Self { in_flight: Arc::default(), rate, rotations }
    }
}

impl Team {
    /// What is special about the team's calls of a route.
    #[must_use]
    pub fn of_route(&self, route: Route) -> Option<&config::OfRoute> {
        self.of_routes.iter().find(|of_route| of_route.route == route)
    }

    /// What the team has left of its rate, and its calls in flight: see [`Keeper::of_team`].
    #[must_use]
    pub fn standing(&self, desk: &Keeper) -> (Standing, usize) {
        desk.of_team(&self.name, self.limits.into(), (self.rate.standing(), self.in_flight.count()))
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
    /// It has shown a key, and no token or certificate alone.
    pub by_key: bool,
    /// The budgets of calls of routes that have one of their own.
    of_routes: Arc<[(Route, Budgets)]>,
}

impl Caller {
    /// Every budget that binds calls of a route.
    #[must_use]
    pub fn budgets_of(&self, route: Route) -> &Budgets {
        let own = self.of_routes.iter().find(|(of, _)| *of == route);
        own.map_or(&self.budgets, |(_, budgets)| budgets)
    }
}

#[derive(Debug)]
struct Entry {
    digest: [u8; 32],
    /// What the key is told again by, once it was shown.
    proven: OnceLock<u128>,
    expires: Option<Timestamp>,
    caller: Caller,
}

/// What is known of callers, by their ids.
type States = HashMap<Arc<str>, Arc<CallerState>>;

/// All callers of one configuration: found by the public id of their key, or by what an identity says of them.
#[derive(Debug, Default)]
pub struct Directory {
    keys: HashMap<Box<str>, Entry>,
    teams: Vec<Arc<Team>>,
    states: States,
    /// Callers without a key.
    pub members: Members<Caller>,
    /// What tokens of callers were found to be.
    pub proven_tokens: ProvenTokens<Found<Caller>>,
    /// What their certificates were found to be, by SHA-256.
    pub proven_certificates: Proven<[u8; 32], Found<Caller>>,
    /// Who may change keys, by tokens.
    pub operators: Members<Arc<str>>,
    /// What their tokens were found to be.
    pub proven_operators: ProvenTokens<Found<Arc<str>>>,
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
            directory.teams.push(team);
        }
        directory.fill(config, registered, previous);
        directory
    }

    /// The same teams as they are, with other keys of the ledger.
    pub(crate) fn with_keys(&self, config: &Config, registered: &[RegisteredKey]) -> Self {
        let mut directory = Self { teams: self.teams.clone(), ..Self::default() };
        directory.fill(config, registered, Some(self));
        directory
    }

    /// Puts in whoever may call for the teams that are there.
    fn fill(&mut self, config: &Config, registered: &[RegisteredKey], previous: Option<&Self>) {
        let teams: HashMap<_, _> =
            self.teams.iter().map(|team| (Arc::clone(&team.name), Arc::clone(team))).collect();
        let before = previous.map(|previous| &previous.states);
        for key in in_force::keys(config, registered) {
            let Some(team) = teams.get(key.team).filter(|_| key.revoked.is_none()) else { continue };
            let caller = self.caller(team, key.id, key.budget, true, (config, before));
            let entry = Entry { digest: key.digest, proven: OnceLock::new(), expires: key.expires, caller };
            self.keys.insert(key.id.into(), entry);
        }
        for (settings, team) in config.teams.iter().zip(self.teams.clone()) {
            for Member { id, identity, proof, budget } in &settings.members {
                let caller = self.caller(&team, id, *budget, false, (config, before));
                self.members.add(*identity, proof.clone(), caller);
            }
        }
        for Member { id, identity, proof, .. } in &config.admin.operators {
            self.operators.add(*identity, proof.clone(), id.as_str().into());
        }
    }

    /// A caller of a team, with whatever binds its calls.
    fn caller(
        &mut self,
        team: &Arc<Team>,
        id: &str,
        budget: Option<Budget>,
        by_key: bool,
        (config, before): (&Config, Option<&States>),
    ) -> Caller {
        let key_id: Arc<str> = id.into();
        let state = before.and_then(|before| before.get(id)).cloned().unwrap_or_default();
        self.states.insert(Arc::clone(&key_id), Arc::clone(&state));
        let of_team = (&team.name, team.budget, &*team.of_routes);
        let (budgets, of_routes) = config::budgets(config.credits.budget, of_team, (&key_id, budget));
        let who = Who { team: Arc::clone(&team.name), key_id, counts: Arc::clone(&team.counts), state };
        let (team, who) = (Arc::clone(team), Arc::new(who));
        Caller { team, who, budgets, by_key, of_routes: of_routes.into() }
    }

    /// When whoever has this id has called last, as far as this process knows.
    #[must_use]
    pub fn last_used(&self, id: &str) -> Option<Timestamp> {
        self.states.get(id)?.last_used()
    }

    /// Another directory is in force: whoever may not call by that is told.
    pub(crate) fn succeeded_by(&self, other: &Self) {
        for (id, state) in &self.states {
            if !other.states.contains_key(id) {
                state.gone.cancel();
            }
        }
    }

    /// Finds the caller that a presented key belongs to. Unknown and wrong keys are one case to their callers, and cost the
    /// same: a digest and a comparison in constant time. One that was found to be right is told again as tokens are, by a
    /// keyed digest.
    ///
    /// # Errors
    /// Who sent a key that has expired: whoever has that key is known.
    pub fn find(&self, presented: &[u8], clock: Clock) -> Result<&Caller, Option<&Caller>> {
        let entry = key_id(presented).and_then(|id| self.keys.get(id));
        let keyed = self.proven_tokens.digest(presented);
        let proven =
            entry.and_then(|entry| entry.proven.get()).is_some_and(|proven| proven.ct_eq(&keyed).into());
        if !proven {
            let expected = entry.map_or(&[0; 32], |entry| &entry.digest);
            let same: bool = sha256(presented).ct_eq(expected).into();
            let entry = entry.filter(|_| same).ok_or(None)?;
            // Whoever was first has put the same.
            let _ = entry.proven.set(keyed);
        }
        let Some(Entry { expires, caller, .. }) = entry else { return Err(None) };
        if expires.is_none_or(|expires| clock.wall() < expires) { Ok(caller) } else { Err(Some(caller)) }
    }

    /// The teams, in the order of the file.
    #[must_use]
    pub fn teams(&self) -> &[Arc<Team>] {
        &self.teams
    }
}
