//! What follows where another server answers than before: it may have lost turns that were acknowledged. They are brought back by
//! whoever remembers them, and nothing is given until all have looked.

use std::time::Duration;

use super::body::Body;
use super::turner::Turner;
use crate::ledger::{Gateway, Look, Said, Turn};

impl Turner {
    /// Whether the database has another history than this gateway knows: then what it remembers is not brought back.
    pub(super) fn is_forked(&self, look: &Look) -> bool {
        let both = self.known.min(look.last);
        let here = self.recent.iter().find(|turn| turn.turn == both);
        let there = look.turns.iter().find(|turn| turn.turn == both);
        let (Some(here), Some(there)) = (here, there) else { return false };
        (here.gateway, here.batch) != (there.gateway, there.batch)
    }

    /// Turns that this gateway knows of and the database does not, in order; nothing where not all of them are remembered.
    pub(super) fn missing(&self, look: &Look) -> Option<Vec<(Turn, Said)>> {
        if self.known <= look.last {
            return Some(Vec::new());
        }
        let missing: Vec<_> = self.recent.iter().filter(|turn| turn.turn > look.last).cloned().collect();
        let is_whole = missing.first().is_some_and(|first| first.turn == look.last + 1)
            && missing.last().is_some_and(|last| last.turn == self.known);
        if !is_whole {
            return None;
        }
        tracing::warn!(turns = missing.len(), "the database has lost turns, and has them back");
        let said = missing.into_iter().map(|turn| {
            let Body { entries, corrections, .. } = Body::read(&turn.body)?;
            let said =
                Said { turn: turn.turn, batch: turn.batch, body: turn.body.to_vec(), entries, corrections };
            Some((turn, said))
        });
        said.collect()
    }

    /// Until when turns are only brought back, after another server has begun to answer: until every gateway that runs has
    /// looked, or for as long as a lease.
    pub(super) fn settles_until(&self, look: &Look, brings_back: bool, renews: bool) -> Option<Duration> {
        let until = match look.settling_until {
            Some(until) => until,
            None if look.is_another || brings_back => look.now + self.lease,
            None => return None,
        };
        let own = self.shared.id();
        let runs = |other: &&Gateway| other.id != own && (other.lease.is_some() || renews);
        let unseen = look.gateways.iter().filter(runs).any(|other| !other.has_looked);
        (unseen && look.now < until).then_some(until)
    }
}
