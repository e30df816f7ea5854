//! What a reload has changed, in a few words for the log: which tables of the file, and which teams.

use std::fmt::Debug;

use super::snapshot::Snapshot;
use crate::config::{Config, Team};

/// What is another in `after`; nothing if nothing is. No value is told, only where it stands.
pub(super) fn changes(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let (old, new) = (&before.config, &after.config);
    let tables: [(&str, [&dyn Debug; 2]); 12] = [
        ("server", [&old.server, &new.server]),
        ("admin", [&old.admin, &new.admin]),
        ("upstream", [&old.upstream, &new.upstream]),
        ("ledger", [&old.ledger, &new.ledger]),
        ("credits", [&old.credits, &new.credits]),
        ("queue", [&old.queue, &new.queue]),
        ("retries", [&old.retries, &new.retries]),
        ("keys", [&old.keys, &new.keys]),
        ("notify", [&old.notify, &new.notify]),
        ("identity", [&old.identities, &new.identities]),
        ("log", [&old.log_level, &new.log_level]),
        ("tracing", [&old.tracing, &new.tracing]),
    ];
    let differ = |one: &dyn Debug, other: &dyn Debug| format!("{one:?}") != format!("{other:?}");
    let tables =
        tables.iter().filter(|(_, [old, new])| differ(*old, *new)).map(|(name, _)| (*name).to_owned());
    let find = |config: &'_ Config, name: &str| config.teams.iter().position(|team| team.name == name);
    let told = |what: &str, team: &Team| format!("{what}team {}", team.name);
    let gone = old.teams.iter().filter(|team| find(new, &team.name).is_none()).map(|team| told("-", team));
    let others = new.teams.iter().filter_map(|team| match find(old, &team.name) {
        None => Some(told("+", team)),
        Some(at) => differ(&old.teams[at], team).then(|| told("", team)),
    });
    // What a file holds that a table names.
    let key = (!before.key.is(&after.key)).then(|| "the organisation's key".to_owned());
    tables.chain(key).chain(gone).chain(others).collect()
}
