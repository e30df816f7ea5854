//! Which keys there are, by configuration and ledger together. The one place where the two meet.
//!
//! What the ledger says of a key is in force whatever the configuration says, with one bound: a key of the configuration that was
//! replaced in the ledger goes on only for as long as the configuration lists it too, so that taking its line out still ends it.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::config::{CallerKey, Config};
use crate::credits::budget::Budget;
use crate::ledger::RegisteredKey;

/// A key, as it stands.
#[derive(Clone, Debug)]
pub struct StandingKey<'k> {
    /// The public part.
    pub id: &'k str,
    /// Whose; perhaps of a team that the configuration has not.
    pub team: &'k str,
    /// SHA-256 of the whole key.
    pub digest: [u8; 32],
    /// When it stops working.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// What it may spend.
    pub budget: Option<Budget>,
    /// What the ledger knows of it.
    pub row: Option<&'k RegisteredKey>,
}

/// Every key of the configuration, in its order, and then the ledger's own, by their ids.
pub fn keys<'k>(config: &'k Config, registered: &'k [RegisteredKey]) -> Vec<StandingKey<'k>> {
    let rows: HashMap<&str, &RegisteredKey> = registered.iter().map(|row| (row.id.as_str(), row)).collect();
    let in_file =
        config.teams.iter().flat_map(|team| team.keys.iter().map(move |key| (team.name.as_str(), key)));
    let in_file = in_file.filter_map(|(team, key)| of_file(team, key, rows.get(key.id.as_str()).copied()));
    let own = registered.iter().filter(|row| !row.in_file).map(|row| StandingKey {
        id: &row.id,
        team: &row.team,
        digest: row.digest,
        expires: row.expires,
        revoked: row.revoked,
        budget: None,
        row: Some(row),
    });
    in_file.chain(own).collect()
}

fn of_file<'k>(team: &'k str, key: &'k CallerKey, row: Option<&'k RegisteredKey>) -> Option<StandingKey<'k>> {
    let CallerKey { id, digest, expires, budget } = key;
    let (digest, expires, budget) = (*digest, *expires, *budget);
    let alone = StandingKey { id, team, digest, expires, revoked: None, budget, row: None };
    match row {
        // A key of the ledger's own has this id, and stands by itself.
        Some(row) if !row.in_file => None,
        // It says so of the id, whatever key has it now.
        Some(row) if row.revoked.is_some() => {
            Some(StandingKey { revoked: row.revoked, row: Some(row), ..alone })
        }
        Some(row) if row.digest == digest && row.team == team => {
            let expires = row.expires.into_iter().chain(expires).min();
            Some(StandingKey { expires, row: Some(row), ..alone })
        }
        // The ledger says nothing of it, or of another key that had the id before.
        _ => Some(alone),
    }
}

/// Ids that stand for two callers, in words. None should.
pub fn collisions(config: &Config, registered: &[RegisteredKey]) -> Vec<String> {
    let own: HashMap<&str, &RegisteredKey> =
        registered.iter().filter(|row| !row.in_file).map(|row| (row.id.as_str(), row)).collect();
    let keys = config.teams.iter().flat_map(|team| team.keys.iter().map(|key| ("key", key.id.as_str())));
    let members =
        config.teams.iter().flat_map(|team| team.members.iter().map(|of| ("member", of.id.as_str())));
    let both = keys.chain(members).filter_map(|(kind, id)| {
        let row = own.get(id)?;
        Some(format!(
            "the id of {kind} {id} is also that of a key of team {}, which stands in the ledger; give it another",
            row.team
        ))
    });
    both.collect()
}
