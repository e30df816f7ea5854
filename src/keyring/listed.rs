//! All keys there are, of the configuration and of the ledger.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{CallerKey, Config, Expiry};
use crate::ledger::RegisteredKey;

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

/// A key of the configuration as the ledger would have it.
fn of_file(team: &str, key: &CallerKey) -> RegisteredKey {
    RegisteredKey {
        id: key.id.clone(),
        team: team.to_owned(),
        digest: key.digest,
        lineage: key.id.clone(),
        // Nobody knows.
        added: Timestamp::UNIX_EPOCH,
        expires: key.expires,
        revoked: None,
    }
}

fn in_file(config: &Config) -> impl Iterator<Item = (&str, &CallerKey)> {
    config.teams.iter().flat_map(|team| team.keys.iter().map(|key| (team.name.as_str(), key)))
}

/// A key by its id, the ledger's word first.
pub(super) fn find(config: &Config, registered: Vec<RegisteredKey>, id: &str) -> Option<RegisteredKey> {
    let known = registered.into_iter().find(|key| key.id == id);
    known.or_else(|| in_file(config).find(|(_, key)| key.id == id).map(|(team, key)| of_file(team, key)))
}

/// All of them: by team in the order of the configuration, then those of teams that it has not.
#[must_use]
pub fn all(config: &Config, registered: &[RegisteredKey], now: Timestamp) -> Vec<Listed> {
    let known: HashMap<&str, &RegisteredKey> = registered.iter().map(|key| (key.id.as_str(), key)).collect();
    let only_in_file = in_file(config)
        .filter(|(_, key)| !known.contains_key(key.id.as_str()))
        .map(|(team, key)| (of_file(team, key), "configuration"));
    let mut all: Vec<_> = registered
        .iter()
        .map(|key| (key.clone(), "ledger"))
        .chain(only_in_file)
        .map(|(key, source)| {
            let successor = registered
                .iter()
                .any(|other| other.lineage == key.lineage && other.added > key.added && other.is_alive(now));
            listed(config, key, (source, successor), now)
        })
        .collect();
    let place = |team: &str| config.teams.iter().position(|known| known.name == team).unwrap_or(usize::MAX);
    all.sort_by(|a, b| (place(&a.team), &a.team, &a.id).cmp(&(place(&b.team), &b.team, &b.id)));
    all
}

fn listed(
    config: &Config,
    key: RegisteredKey,
    (source, has_successor): (&'static str, bool),
    now: Timestamp,
) -> Listed {
    let state = match Expiry::of(key.expires, now) {
        _ if key.revoked.is_some() => State::Revoked,
        _ if !config.teams.iter().any(|team| team.name == key.team) => State::Orphaned,
        Some(Expiry::Past) => State::Expired,
        Some(Expiry::Soon) if has_successor => State::Replaced,
        Some(Expiry::Soon) => State::Expiring,
        None => State::Valid,
    };
    let RegisteredKey { id, team, lineage, added, expires, revoked, .. } = key;
    let added = Some(added).filter(|at| *at != Timestamp::UNIX_EPOCH);
    Listed { id, team, state, source, lineage, added, expires, revoked }
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
