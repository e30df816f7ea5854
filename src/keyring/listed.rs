//! All keys there are, of the configuration and of the ledger.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{Config, Expiry};
use crate::ledger::RegisteredKey;
use crate::live::in_force::{self, StandingKey};

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Valid,
    /// It works, and will not within two weeks.
    Expiring,
    /// It works until its end, beside the one that has taken its place.
    Replaced,
    /// It has come to its end.
    Expired,
    /// It was revoked.
    Revoked,
    /// Its team is not in the configuration.
    Orphaned,
}

impl State {
    /// As it is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Replaced => "replaced",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Orphaned => "orphaned",
        }
    }
}

/// A key, as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The public part.
    pub id: String,
    /// Whose.
    pub team: String,
    /// How it stands.
    pub state: State,
    /// `configuration`, or `ledger` where that has a say on it.
    pub source: &'static str,
    /// The first of those that replaced each other.
    pub lineage: String,
    /// When it was registered; nothing of one that only the configuration has.
    pub added: Option<Timestamp>,
    /// When it stops working.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// A key by its id: as the ledger has it, or would, were it taken up.
pub(super) fn find(config: &Config, registered: &[RegisteredKey], id: &str) -> Option<RegisteredKey> {
    let known = in_force::keys(config, registered).into_iter().find(|key| key.id == id);
    let Some(StandingKey { team, digest, expires, row, .. }) = known else {
        // What the configuration lists no more is there to be revoked.
        return registered.iter().find(|row| row.id == id).cloned();
    };
    let of_file = || RegisteredKey {
        id: id.to_owned(),
        team: team.to_owned(),
        digest,
        in_file: true,
        lineage: id.to_owned(),
        // Nobody knows.
        added: Timestamp::UNIX_EPOCH,
        made_for: None,
        expires,
        revoked: None,
    };
    Some(row.cloned().unwrap_or_else(of_file))
}

/// All of them: by team in the order of the configuration, then those of teams that it has not.
#[must_use]
pub fn all(config: &Config, registered: &[RegisteredKey], now: Timestamp) -> Vec<Listed> {
    let places: HashMap<&str, usize> =
        config.teams.iter().enumerate().map(|(place, team)| (team.name.as_str(), place)).collect();
    // When the youngest of each line was made that works.
    let mut youngest: HashMap<&str, Timestamp> = HashMap::new();
    for row in registered.iter().filter(|row| row.is_alive(now)) {
        let added = youngest.entry(&row.lineage).or_insert(row.added);
        *added = row.added.max(*added);
    }
    let listed = |key: StandingKey<'_>| {
        let StandingKey { id, team, expires, revoked, row, .. } = key;
        let lineage = row.map_or(id, |row| &row.lineage);
        let added = row.map(|row| row.added).filter(|at| *at != Timestamp::UNIX_EPOCH);
        let has_successor = youngest.get(lineage).is_some_and(|at| added.is_none_or(|added| *at > added));
        let state = match Expiry::of(expires, now) {
            _ if revoked.is_some() => State::Revoked,
            _ if !places.contains_key(team) => State::Orphaned,
            Some(Expiry::Past) => State::Expired,
            _ if has_successor && row.is_some() => State::Replaced,
            Some(Expiry::Soon) => State::Expiring,
            None => State::Valid,
        };
        let source = if row.is_some() { "ledger" } else { "configuration" };
        let [id, team, lineage] = [id, team, lineage].map(str::to_owned);
        Listed { id, team, state, source, lineage, added, expires, revoked }
    };
    let mut all: Vec<_> = in_force::keys(config, registered).into_iter().map(listed).collect();
    let place = |team: &str| places.get(team).copied().unwrap_or(usize::MAX);
    all.sort_by(|a, b| (place(&a.team), &a.team, &a.id).cmp(&(place(&b.team), &b.team, &b.id)));
    all
}

/// A key as it is told: its text only to whoever had it made here, and only now.
#[must_use]
pub fn told(key: &RegisteredKey, text: Option<&str>) -> Value {
    let RegisteredKey { id, team, lineage, added, expires, revoked, .. } = key;
    let mut told = json!({
        "id": id, "team": team, "lineage": lineage, "added": added, "expires": expires, "revoked": revoked,
    });
    if let Some(text) = text {
        told["key"] = text.into();
    }
    told
}
