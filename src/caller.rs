//! Who calls: caller keys, the teams they belong to, and the directory that finds one by the other.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::admit::concurrency::InFlight;
use crate::admit::rate::TeamRate;
use crate::clock::Clock;
use crate::config::{self, Analyses, Config};
use crate::credits::budget::{Budget, Budgets, Whose};
use crate::metrics::{Metrics, TeamMetrics};

const PREFIX: &str = "mvgw_";
const KEY_ID: std::ops::RangeInclusive<usize> = 8..=32;
const SECRET: std::ops::RangeInclusive<usize> = 43..=256;

/// Whether `text` can be the public id of a caller key.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    KEY_ID.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// SHA-256 digest from its hexadecimal form.
#[must_use]
pub fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok().map(|()| digest)
}

/// A caller key that was just made: the only moment its text exists here.
pub struct NewKey {
    /// The whole key, for its owner.
    pub text: Zeroizing<String>,
    /// The public part.
    pub id: String,
    /// SHA-256 of the text, in hexadecimal, for the configuration.
    pub sha256: String,
}

impl NewKey {
    /// Makes a key from the system's randomness.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut random = Zeroizing::new([0u8; 40]);
        getrandom::fill(random.as_mut())?;
        let (id, secret) = random.split_at(8);
        let id: String = id.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret));
        let text = Zeroizing::new(format!("{PREFIX}{id}_{}", *secret));
        let sha256 = hex::encode(Sha256::digest(text.as_bytes()));
        Ok(Self { text, id, sha256 })
    }
}

/// The public id inside a key as presented, if it has the shape of one.
fn key_id(presented: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(presented).ok()?.strip_prefix(PREFIX)?;
    let (id, secret) = text.split_once('_')?;
    let shaped = SECRET.contains(&secret.len())
        && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (is_key_id(id) && shaped).then_some(id)
}

/// A team at work: its limits as configured, and the state that survives a reload.
#[derive(Debug)]
pub struct Team {
    /// Name in metrics, logs and refusals.
    pub name: Arc<str>,
    /// Limits as configured now.
    pub limits: config::Limits,
    /// Analyses it may ask about.
    pub analyses: Analyses,
    /// What it may spend.
    pub budget: Option<Budget>,
    /// Requests per minute.
    pub(crate) rate: TeamRate,
    /// Calls in flight; shared with the team's earlier configurations.
    pub(crate) in_flight: Arc<InFlight>,
    /// The team's series.
    pub(crate) metrics: Arc<TeamMetrics>,
}

impl Team {
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
    /// Public id of the key.
    pub key_id: Arc<str>,
    /// Every budget that binds calls with this key, the widest first.
    pub budgets: Budgets,
}

#[derive(Debug)]
struct Entry {
    digest: [u8; 32],
    expires: Option<Timestamp>,
    caller: Caller,
}

/// All callers of one configuration, found by the public id of their key.
#[derive(Debug, Default)]
pub struct Directory {
    keys: HashMap<Box<str>, Entry>,
    teams: Vec<Arc<Team>>,
}

impl Directory {
    /// Builds the directory of a configuration. Teams that were in `previous` keep what they have
    /// accrued: calls in flight, and how much of their rate is used.
    pub(crate) fn new(config: &Config, previous: Option<&Self>, metrics: &Metrics, clock: Clock) -> Self {
        let mut directory = Self::default();
        for settings in &config.teams {
            let before = previous.and_then(|p| p.teams.iter().find(|team| *team.name == *settings.name));
            let team = Arc::new(Team {
                name: settings.name.as_str().into(),
                limits: settings.limits,
                analyses: settings.analyses.clone(),
                budget: settings.budget,
                rate: TeamRate::new(&settings.limits, before.map(|team| &team.rate), clock),
                in_flight: before.map_or_else(Arc::default, |team| Arc::clone(&team.in_flight)),
                metrics: before
                    .map_or_else(|| Arc::new(metrics.team(&settings.name)), |team| Arc::clone(&team.metrics)),
            });
            for key in &settings.keys {
                let key_id: Arc<str> = key.id.as_str().into();
                let budgets = [
                    (Whose::Organisation, config.credits.budget),
                    (Whose::Team(Arc::clone(&team.name)), settings.budget),
                    (Whose::Key(Arc::clone(&key_id)), key.budget),
                ];
                let budgets = budgets.into_iter().filter_map(|(whose, budget)| Some((whose, budget?)));
                let budgets = Budgets(budgets.collect());
                let caller = Caller { team: Arc::clone(&team), key_id, budgets };
                let entry = Entry { digest: key.digest, expires: key.expires, caller };
                directory.keys.insert(key.id.as_str().into(), entry);
            }
            directory.teams.push(team);
        }
        directory
    }

    /// Finds the caller that a presented key belongs to. Unknown, wrong and expired keys are one
    /// case, and cost the same: a digest and a comparison in constant time.
    #[must_use]
    pub fn find(&self, presented: &[u8], now: Timestamp) -> Option<&Caller> {
        let entry = key_id(presented).and_then(|id| self.keys.get(id));
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let expected = entry.map_or(&[0; 32], |entry| &entry.digest);
        let same: bool = digest.ct_eq(expected).into();
        entry
            .filter(|entry| same && entry.expires.is_none_or(|expires| now < expires))
            .map(|entry| &entry.caller)
    }

    /// The teams, in the order of the file.
    #[must_use]
    pub fn teams(&self) -> &[Arc<Team>] {
        &self.teams
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_documented_shape_and_digest() {
        let key = NewKey::generate().unwrap();
        assert_eq!(key_id(key.text.as_bytes()), Some(key.id.as_str()));
        let digest: [u8; 32] = Sha256::digest(key.text.as_bytes()).into();
        assert_eq!(digest_from_hex(&key.sha256), Some(digest));
        assert_ne!(*NewKey::generate().unwrap().text, *key.text);
    }

    #[test]
    fn what_is_not_shaped_like_a_key_has_no_id() {
        let secret = "s".repeat(43);
        assert_eq!(key_id(format!("mvgw_abcd2345_{secret}").as_bytes()), Some("abcd2345"));
        for text in [
            format!("mvgw_abc_{secret}"),
            format!("mvgw_ABCD2345_{secret}"),
            format!("mvra_live_abcd2345_{secret}"),
            format!("mvgw_abcd2345_{}", &secret[1..]),
            format!("mvgw_abcd2345_{secret}!"),
            format!("mvgw_abcd2345{secret}"),
        ] {
            assert_eq!(key_id(text.as_bytes()), None, "{text}");
        }
    }
}
