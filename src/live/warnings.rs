//! What of a configuration in force is told in the log: what is valid and surely not meant, what will soon not work, and what
//! a reload cannot change.

use jiff::Timestamp;

use super::in_force::collisions;
use crate::config::{Config, Expiry, Oddity, in_environment};
use crate::ledger::RegisteredKey;

/// What is valid and surely not meant; and a key that works no longer, or will soon not, before its callers find out.
pub(crate) fn warn_of_oddities(config: &Config, now: Timestamp) {
    for Oddity { key, message } in config.oddities(in_environment) {
        tracing::warn!(key, "{message}");
    }
    for (team, key, expiry) in config.expiring_keys(now) {
        let (key_id, expires) = (&key.id, key.expires.map(|at| format!("{at:.0}")));
        match expiry {
            Expiry::Past => tracing::warn!(team, key_id, expires, "a caller key has expired, and is refused"),
            Expiry::Soon => tracing::warn!(
                team,
                key_id,
                expires,
                "a caller key expires soon; make another with `mavera-gateway key new`"
            ),
        }
    }
}

/// Ids that stand for two callers.
pub(super) fn warn_of_collisions(config: &Config, keys: &[RegisteredKey]) {
    for collision in collisions(config, keys) {
        tracing::warn!("{collision}");
    }
}

/// What is read at start only.
pub(super) fn warn_of_what_needs_a_restart(before: &Config, after: &Config) {
    let changed = [
        ("server.listen", before.server.listen != after.server.listen),
        ("server.tls", before.server.tls.is_some() != after.server.tls.is_some()),
        ("server.max_connections", before.server.max_connections != after.server.max_connections),
        ("server.workers", before.server.workers != after.server.workers),
        ("admin.listen", before.admin.listen != after.admin.listen),
        ("ledger", before.ledger != after.ledger),
        ("log.level", before.log_level != after.log_level),
        ("tracing", before.tracing != after.tracing),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(key, "this setting is read at start only; restart the gateway for it to take effect");
    }
}
