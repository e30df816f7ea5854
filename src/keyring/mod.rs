//! Caller keys while the gateway runs: the rules of making, replacing and revoking them, the same for the command line, the
//! operators' API and teams themselves; and how a change comes in force.

pub mod watch;
mod change;
mod listed;

use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub use self::change::change;
pub use self::listed::{Listed, State, all, told};
use crate::config::values::DurationText;
use crate::config::{CallerKey, Config, is_team_name};
use crate::digest::sha256;
use crate::key::{NewKey, digest_from_hex, is_key_id};
use crate::ledger::{Hand, KeyRegister, LedgerError, Registered, RegisteredKey};

/// Keys that the ledger keeps alive at the same time.
const MOST: usize = 10_000;
/// How long a key may go on beside its successor at most.
const LONGEST_OVERLAP: Duration = Duration::from_hours(30 * 24);
/// How long a successor works of a key that has an end, where nobody knows for how long that was made.
const USUAL_LIFETIME: Duration = Duration::from_hours(90 * 24);

const ID: &str = "is 8 to 32 of a-z and 0-9, the part of the key behind `mvgw_`";

/// A moment as a register keeps it: to the microsecond.
fn kept(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// What is wanted of a new key.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Its id and digest, where it was made where it is needed; without, it is made here, and shown once.
    pub made: Option<(String, String)>,
    /// When it is to stop working.
    pub expires: Option<Timestamp>,
}

/// A key that is registered.
#[derive(Debug)]
pub struct Made {
    /// As it is registered.
    pub key: RegisteredKey,
    /// The whole key, where it was made here: the only moment that its text exists.
    pub text: Option<Zeroizing<String>>,
    /// Whether it was not there before.
    pub is_new: bool,
}

impl Made {
    /// As it is told to whoever wanted it; its text only now.
    #[must_use]
    pub fn told(&self) -> Value {
        told(&self.key, self.text.as_ref().map(|text| text.as_str()))
    }

    /// As it is told where it has taken the place of another key, which ends then.
    #[must_use]
    pub fn told_in_place_of(&self, id: &str, ends: Option<Timestamp>) -> Value {
        let mut told = self.told();
        told["replaces"] = json!({ "id": id, "expires": ends });
        told
    }

    /// How that is answered over HTTP.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        if self.is_new { StatusCode::CREATED } else { StatusCode::OK }
    }
}

/// Why nothing was done to a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none of that id.
    #[error("there is no key {0:?}")]
    Unknown(String),
    /// There is no such team.
    #[error("there is no team {0:?} in the configuration")]
    NoTeam(String),
    /// Something of what is wanted cannot be.
    #[error("`{0}` {1}")]
    Wrong(&'static str, String),
    /// The id is another key's.
    #[error(
        "the id {0:?} is that of another key, member or operator, or of one that was revoked; make another key"
    )]
    Taken(String),
    /// The key works no longer.
    #[error("key {0} has expired or was revoked, and cannot be replaced; register a new one")]
    Gone(String),
    /// It has been replaced, and both work yet.
    #[error(
        "key {0} and another of its line both work yet, and a third would be too many: revoke one of them first"
    )]
    TooMany(String),
    /// It has a budget that a successor would not have.
    #[error(
        "key {0} has a budget of its own in the configuration, by its id: write a line with another key and that budget there, and take this one out"
    )]
    HasBudget(String),
    /// There are too many in all.
    #[error("there are {MOST} keys that work; revoke some")]
    Full,
    /// The ledger cannot be read or written.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The system has no randomness to give.
    #[error("no key could be made: {0}")]
    System(#[from] getrandom::Error),
}

/// Whoever changes keys: by the rules of a configuration, in a register.
#[derive(Debug)]
pub struct Keyring<'c> {
    config: &'c Config,
    register: Box<dyn KeyRegister>,
    hand: Hand<'c>,
}

impl<'c> Keyring<'c> {
    /// Changes keys on somebody's behalf.
    #[must_use]
    pub fn new(config: &'c Config, register: Box<dyn KeyRegister>, hand: Hand<'c>) -> Self {
        Self { config, register, hand: Hand { at: kept(hand.at), ..hand } }
    }

    /// Registers a key of a team.
    ///
    /// # Errors
    /// Why it is not.
    pub fn add(&mut self, team: &str, wanted: &Wanted) -> Result<Made, KeyError> {
        self.has_team(team)?;
        let (mut key, text) = self.make(team, wanted)?;
        // Before anything that may have changed since the first time.
        if let Some(made) = self.known(&key, wanted)? {
            return Ok(made);
        }
        self.ends(&mut key, self.end(wanted.expires)?);
        self.has_room()?;
        match self.register.add(&key, self.hand)? {
            Registered::New => Ok(Made { key, text, is_new: true }),
            // Somebody has just done the same.
            _ => self.known(&key, wanted)?.ok_or(KeyError::Taken(key.id)),
        }
    }

    /// The same key, if it was registered before.
    fn known(&self, key: &RegisteredKey, wanted: &Wanted) -> Result<Option<Made>, KeyError> {
        let Ok(known) = self.find(&key.id) else { return Ok(None) };
        if (&known.digest, &known.team, known.revoked) != (&key.digest, &key.team, None) {
            return Err(KeyError::Taken(key.id.clone()));
        }
        if wanted.expires.is_some_and(|at| known.expires != Some(kept(at))) {
            let reason = "cannot be changed of a key that is registered: replace it".into();
            return Err(KeyError::Wrong("expires", reason));
        }
        Ok(Some(Made { key: known, text: None, is_new: false }))
    }

    /// Registers a key in place of another, which goes on for a while. Returns the new one, and when the old one ends.
    ///
    /// # Errors
    /// Why it is not.
    pub fn replace(
        &mut self,
        id: &str,
        wanted: &Wanted,
        overlap: Option<Duration>,
    ) -> Result<(Made, Option<Timestamp>), KeyError> {
        let overlap = overlap.unwrap_or(self.config.keys.overlap);
        if overlap > LONGEST_OVERLAP {
            let reason = format!("is {} at most", DurationText(LONGEST_OVERLAP));
            return Err(KeyError::Wrong("overlap", reason));
        }
        let old = self.find(id)?;
        self.has_team(&old.team)?;
        if self.in_file(id).is_some_and(|key| key.budget.is_some()) {
            return Err(KeyError::HasBudget(old.id));
        }
        let (mut new, text) = self.make(&old.team, wanted)?;
        let expires = match wanted.expires {
            None => self.policy(&old)?,
            given => self.end(given)?,
        };
        self.ends(&mut new, expires);
        self.has_room()?;
        let ends = self
            .hand
            .at
            .checked_add(overlap)
            .map_err(|_| KeyError::Wrong("overlap", "is beyond the calendar".into()))?;
        let is_new = match self.register.replace(&old, &new, ends, self.hand)? {
            Registered::New => true,
            Registered::Known => false,
            Registered::Taken => return Err(KeyError::Taken(new.id)),
            Registered::Gone => return Err(KeyError::Gone(old.id)),
            Registered::TooMany => return Err(KeyError::TooMany(old.id)),
        };
        // As they stand by now: done twice, it was done the first time.
        Ok((Made { key: self.find(&new.id)?, text, is_new }, self.find(id)?.expires))
    }

    /// Revokes a key, for good. `false` if it was revoked before.
    ///
    /// # Errors
    /// Why it is not.
    pub fn revoke(&mut self, id: &str, why: &str) -> Result<(RegisteredKey, bool), KeyError> {
        // It is shown on terminals and in pages, a line each.
        if why.len() > 200 || why.chars().any(char::is_control) {
            return Err(KeyError::Wrong("why", "is one line of 200 bytes at most".into()));
        }
        let old = self.find(id)?;
        let done = self.register.revoke(&old, why, self.hand)?;
        Ok((self.find(id)?, done))
    }

    /// How a key stands.
    ///
    /// # Errors
    /// That there is none of that id, or that the ledger cannot be read.
    pub fn find(&self, id: &str) -> Result<RegisteredKey, KeyError> {
        if !is_key_id(id) {
            // Not quoted: somebody may have sent the key itself.
            return Err(KeyError::Wrong("id", ID.into()));
        }
        let (_, registered) = self.register.keys()?;
        listed::find(self.config, &registered, id).ok_or_else(|| KeyError::Unknown(id.to_owned()))
    }

    fn make(
        &self,
        team: &str,
        wanted: &Wanted,
    ) -> Result<(RegisteredKey, Option<Zeroizing<String>>), KeyError> {
        let (id, digest, text) = if let Some((id, sha256)) = &wanted.made {
            if !is_key_id(id) {
                return Err(KeyError::Wrong("id", ID.into()));
            }
            // Not quoted: somebody may have sent the key itself.
            let digest = digest_from_hex(sha256).ok_or_else(|| {
                KeyError::Wrong("sha256", "is 64 hexadecimal digits: the SHA-256 of the whole key".into())
            })?;
            (id.clone(), digest, None)
        } else {
            let NewKey { text, id, .. } = NewKey::generate()?;
            let digest = sha256(text.as_bytes());
            (id, digest, Some(text))
        };
        // The ledger knows its own; the configuration's are looked for here.
        let config = self.config;
        let members = config.teams.iter().flat_map(|team| &team.members).chain(&config.admin.operators);
        if self.in_file(&id).is_some() || members.into_iter().any(|member| member.id == id) {
            return Err(KeyError::Taken(id));
        }
        let (lineage, added, team) = (id.clone(), self.hand.at, team.to_owned());
        let (in_file, made_for, expires, revoked) = (false, None, None, None);
        Ok((RegisteredKey { id, team, digest, in_file, lineage, added, made_for, expires, revoked }, text))
    }

    /// Says when a new key ends, and with that for how long it was made.
    fn ends(&self, key: &mut RegisteredKey, expires: Option<Timestamp>) {
        key.expires = expires;
        key.made_for = expires.map(|expires| expires.duration_since(self.hand.at));
    }

    /// The key of that id that the configuration lists.
    fn in_file(&self, id: &str) -> Option<&'c CallerKey> {
        self.config.teams.iter().flat_map(|team| &team.keys).find(|key| key.id == id)
    }

    fn has_team(&self, name: &str) -> Result<(), KeyError> {
        let is_there = self.config.teams.iter().any(|team| team.name == name);
        // What cannot be a team's name is not quoted: it may be a key in the wrong place.
        let shown = if is_team_name(name) && !name.starts_with("mvgw_") { name } else { "of that name" };
        is_there.then_some(()).ok_or_else(|| KeyError::NoTeam(shown.to_owned()))
    }

    fn has_room(&self) -> Result<(), KeyError> {
        let alive = self.register.keys()?.1.iter().filter(|key| key.is_alive(self.hand.at)).count();
        if alive < MOST { Ok(()) } else { Err(KeyError::Full) }
    }

    /// When a key ends that is to end then, or need not end at all.
    fn end(&self, wanted: Option<Timestamp>) -> Result<Option<Timestamp>, KeyError> {
        let last = self
            .config
            .keys
            .max_lifetime
            .map(|lifetime| self.hand.at.saturating_add(lifetime).unwrap_or(Timestamp::MAX));
        match (wanted, last) {
            (Some(at), _) if at <= self.hand.at => {
                Err(KeyError::Wrong("expires", "is a time to come".into()))
            }
            (Some(at), Some(last)) if at > last => {
                Err(KeyError::Wrong("expires", format!("is {last:.0} at most, by `keys.max_lifetime`")))
            }
            (wanted, last) => Ok(wanted.or(last).map(kept)),
        }
    }

    /// When the successor of a key ends that says nothing of it: it works for as long as that was made for.
    fn policy(&self, old: &RegisteredKey) -> Result<Option<Timestamp>, KeyError> {
        let usual = SignedDuration::try_from(USUAL_LIFETIME).unwrap_or(SignedDuration::MAX);
        let made_for = match self.in_file(&old.id).filter(|_| old.in_file) {
            // Nobody knows when that was made.
            Some(key) => key.expires.map(|_| usual),
            None => old.made_for,
        };
        let Some(made_for) = made_for else { return self.end(None) };
        let bound = self.config.keys.max_lifetime.and_then(|bound| SignedDuration::try_from(bound).ok());
        let lifetime = bound.map_or(made_for, |bound| made_for.min(bound));
        self.end(Some(self.hand.at.saturating_add(lifetime).unwrap_or(Timestamp::MAX)))
    }
}
