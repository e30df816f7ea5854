//! Teams: their names, keys, limits, and what they may ask for.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use globset::{GlobBuilder, GlobSetBuilder};

use super::names::{CallerIds, MAX_CALLERS, is_reserved, is_team_name};
use super::sections::LONGEST_WAIT;
use super::validator::Validator;
use crate::config::file;
use crate::config::identity::Identity;
use crate::config::team::{Analyses, CallerKey, Limits, Team};
use crate::config::values::Leaf;
use crate::key;

/// What one process can keep apart in metrics and directories without a second thought.
const MAX_TEAMS: usize = 500;

impl Validator<'_, '_> {
    pub(super) fn limits(&mut self, key: &str, limits: &file::Limits, defaults: Option<Limits>) -> Limits {
        let defaults = defaults.unwrap_or(Limits {
            requests_per_minute: NonZeroU32::new(60).expect("60 is not zero"),
            burst: NonZeroU32::new(10).expect("10 is not zero"),
            concurrency: 16,
            max_body: 1 << 20,
        });
        let file::Limits { requests_per_minute, burst, concurrency, max_body } = limits.clone();
        let at = |name: &str| format!("{key}.{name}");
        let concurrent = u32::try_from(defaults.concurrency).unwrap_or(u32::MAX);
        Limits {
            requests_per_minute: self.positive(
                &at("requests_per_minute"),
                requests_per_minute,
                defaults.requests_per_minute.get(),
            ),
            burst: self.positive(&at("burst"), burst, defaults.burst.get()),
            concurrency: self.number(&at("concurrency"), concurrency, concurrent, 1..=1_000_000) as usize,
            max_body: self.size(&at("max_body"), max_body, defaults.max_body, 1..=(256 << 20)),
        }
    }

    pub(super) fn teams(
        &mut self,
        teams: Vec<file::Team>,
        defaults: Limits,
        identities: &[Identity],
        ids: &mut CallerIds,
    ) -> Vec<Team> {
        if teams.len() > MAX_TEAMS {
            self.problems.add(
                "team",
                format!("{} teams are more than {MAX_TEAMS}", teams.len()),
                "merge some",
            );
        }
        let mut names = HashSet::new();
        let mut digests = HashSet::new();
        let mut valid = Vec::with_capacity(teams.len());
        for (index, team) in teams.into_iter().enumerate() {
            let at = format!("team[{index}]");
            let name = self.team_name(&format!("{at}.name"), team.name);
            if !name.is_empty() && !names.insert(name.clone()) {
                self.problems.add(
                    &format!("{at}.name"),
                    format!("there is another team {name:?}"),
                    "give each team its own name",
                );
            }
            let mut keys = Vec::with_capacity(team.keys.len());
            for (index, key) in team.keys.into_iter().enumerate() {
                let at = format!("{at}.keys[{index}]");
                let key = self.caller_key(&at, key);
                if !ids.add(&key.id) {
                    self.problems.add(
                        &format!("{at}.id"),
                        format!("key id {:?} is used twice", key.id),
                        "remove one, or make a new key with `mavera-gateway key new`",
                    );
                }
                if key.digest != [0; 32] && !digests.insert(key.digest) {
                    self.problems.add(&format!("{at}.sha256"), "this key is listed twice", "remove one");
                }
                keys.push(key);
            }
            let members = self.members(&format!("{at}.members"), team.members, identities, ids);
            let self_service_keys =
                self.value(&format!("{at}.self_service_keys"), team.self_service_keys, false, "");
            let own = file::Limits {
                requests_per_minute: team.requests_per_minute,
                burst: team.burst,
                concurrency: team.concurrency,
                max_body: team.max_body,
            };
            let limits = self.limits(&at, &own, Some(defaults));
            let weight = self.number(&format!("{at}.weight"), team.weight, 1, 1..=1000);
            let weight = NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN);
            let max_wait = match team.max_wait.0 {
                None => Duration::MAX,
                given => self.duration(&format!("{at}.max_wait"), Leaf(given), 0, 0..=LONGEST_WAIT),
            };
            let analyses = self.analyses(&format!("{at}.analyses"), team.analyses);
            let (routes, of_routes) = self.routes(&format!("{at}.routes"), team.routes);
            let budget = self.budget(&format!("{at}.budget"), team.budget);
            valid.push(Team {
                name,
                keys,
                members,
                self_service_keys,
                limits,
                weight,
                max_wait,
                routes,
                of_routes,
                analyses,
                budget,
            });
        }
        if ids.are_too_many() {
            let message = format!("more than {MAX_CALLERS} keys and members in all");
            self.problems.add("team", message, "remove expired keys");
        }
        valid
    }

    pub(super) fn team_name(&mut self, key: &str, leaf: Leaf<String>) -> String {
        let remedy = "use 1 to 64 of a-z, 0-9, \"-\" and \"_\", a letter first";
        let name = self.required(key, leaf, remedy);
        if is_reserved(&name) {
            self.problems.add(
                key,
                format!("{name:?} means something else in metrics"),
                "choose another name",
            );
        } else if !name.is_empty() && !is_team_name(&name) {
            self.problems.add(key, format!("{name:?} is not a team name"), remedy);
        }
        name
    }

    pub(super) fn caller_key(&mut self, at: &str, key: file::CallerKey) -> CallerKey {
        let remedy = "make a key with `mavera-gateway key new` and paste the line it prints";
        let id_at = format!("{at}.id");
        let id = self.required(&id_at, key.id, remedy);
        if !id.is_empty() && !key::is_key_id(&id) {
            self.problems.add(&id_at, format!("{id:?} is not 8 to 32 of a-z and 0-9"), remedy);
        }
        let digest_at = format!("{at}.sha256");
        let text = self.required(&digest_at, key.sha256, remedy);
        let digest = key::digest_from_hex(&text).unwrap_or_else(|| {
            if !text.is_empty() {
                // The text is not quoted: people paste the key itself here.
                self.problems.add(&digest_at, "is not 64 hexadecimal digits", remedy);
            }
            [0; 32]
        });
        let expires = self.moment(&format!("{at}.expires"), key.expires);
        let budget = self.budget(&format!("{at}.budget"), key.budget);
        CallerKey { id, digest, expires, budget }
    }

    pub(super) fn analyses(&mut self, key: &str, leaf: Leaf<Vec<String>>) -> Analyses {
        let globs = self.value(key, leaf, vec!["*".to_owned()], "write [\"*\"] or a list of globs");
        if globs.iter().any(|glob| glob == "*") {
            return Analyses::All;
        }
        let mut set = GlobSetBuilder::new();
        for text in &globs {
            match GlobBuilder::new(text).literal_separator(true).build() {
                Ok(glob) => {
                    set.add(glob);
                }
                Err(error) => {
                    self.problems.add(key, format!("{error}"), "write globs like \"clx*\" or whole ids");
                }
            }
        }
        set.build().map_or_else(
            |error| {
                self.problems.add(key, format!("{error}"), "use fewer or simpler globs");
                Analyses::Matching(globset::GlobSet::empty())
            },
            Analyses::Matching,
        )
    }
}
