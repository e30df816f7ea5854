//! Whose things are that were made through the gateway: whoever's team made one first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::ledger::{Ledger, NewThing, Note};
use crate::route::Thing;

/// Things that are remembered: beyond, the oldest are forgotten, and are nobody's then.
pub(super) const MOST: usize = 250_000;

type Key = (Thing, Box<str>);

/// Whose things are.
#[derive(Debug)]
pub struct Owners {
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    owners: HashMap<Key, Arc<str>>,
    by_age: VecDeque<Key>,
}

impl Owners {
    pub(super) fn new(ledger: Arc<dyn Ledger>, clock: Clock) -> Self {
        Self { ledger, clock, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what the ledger knows: kind, id and team of each.
    pub(super) fn take_up(&self, things: impl IntoIterator<Item = (String, String, String)>) {
        let mut known = self.known();
        for (kind, id, team) in things {
            // What this program does not know is nobody's here.
            if let Some(thing) = Thing::named(&kind) {
                known.insert(thing, &id, &team.into());
            }
        }
    }

    /// Takes up what another gateway has told of.
    pub(super) fn take_up_told(&self, thing: Thing, id: &str, team: &Arc<str>) {
        self.known().insert(thing, id, team);
    }

    /// Whether a thing was made by this team.
    #[must_use]
    pub fn belongs(&self, thing: Thing, id: &str, team: &str) -> bool {
        self.known().owners.get(&(thing, id.into())).is_some_and(|owner| **owner == *team)
    }

    /// A team has made something, unless somebody had before: to go on with another's thread makes it nobody else's.
    pub fn made(&self, thing: Thing, id: &str, team: &Arc<str>) {
        if self.known().insert(thing, id, team) {
            let (id, team, at) = (id.into(), Arc::clone(team), self.clock.wall());
            self.ledger.note(Note::Made(NewThing { thing, id, team, at }));
        }
    }
}

impl Known {
    fn insert(&mut self, thing: Thing, id: &str, team: &Arc<str>) -> bool {
        let key: Key = (thing, id.into());
        if self.owners.contains_key(&key) {
            return false;
        }
        if self.by_age.len() >= MOST
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.owners.remove(&oldest);
        }
        self.by_age.push_back(key.clone());
        self.owners.insert(key, Arc::clone(team));
        true
    }
}
