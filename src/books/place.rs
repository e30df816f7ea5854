//! One call's place in the organisation's window, and its permit of a route that is capped.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::home::Home;
use super::keeper::Keeper;
use super::state::refusal_of;
use super::step::{Sight, Step};
use crate::desk::{Moment, NoPlace, Said, Seen, Tick, Ticket};
use crate::ledger::CallId;
use crate::refuse::Refusal;
use crate::route::Route;

/// One call's place in the window. Dropped before the request is written, it is free again; after that it is kept for the
/// whole window, whatever becomes of the request.
#[derive(Debug)]
pub struct Place {
    pub(super) desk: Arc<Keeper>,
    pub(super) team: Arc<str>,
    /// The tick in which it becomes free by itself.
    pub(super) tick: Tick,
    pub(super) sent: bool,
    /// Until when it may be used, where that is bounded.
    pub(super) good_until: Option<Instant>,
    /// When its request was written, or, before that, the place was given.
    pub(super) sent_at: Moment,
    /// Where the call stood, if it can be put back there.
    pub(super) came: Option<Came>,
}

/// Where a call stood in the order of turns.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    pub(super) ticket: Ticket,
    pub(super) joined_at: Moment,
    /// Until when it can wait for its turn.
    pub(super) until: Instant,
}

impl Place {
    /// The request is about to be written: its time in the window begins now. A place that has left meanwhile, while a
    /// disk hung, say, is asked for anew.
    ///
    /// # Errors
    /// Why there is none any more.
    pub fn sent(&mut self) -> Result<(), Refusal> {
        let now = self.desk.moment();
        let tick = match &self.desk.home {
            Home::Local(_) => self.desk.state().common.desk.send(&self.team, self.tick, now),
            Home::Shared(_) => self.sent_soon(now),
        };
        match tick {
            Ok(tick) => {
                (self.tick, self.sent, self.sent_at) = (tick, true, now);
                Ok(())
            }
            Err(no_place) => Err(refusal_of(no_place, Duration::ZERO, Duration::ZERO, now)),
        }
    }

    /// Where several gateways share the window, a place is given for so long as it takes to use it: it is told later that it
    /// was, and whoever hangs meanwhile uses it no more.
    fn sent_soon(&self, now: Moment) -> Result<Tick, NoPlace> {
        if self.is_stale() {
            return Err(self.desk.state().common.desk.no_place_now(now));
        }
        self.desk.say(Step::Sent { team: Arc::clone(&self.team), tick: self.tick, at: now });
        Ok(Tick::sent(now))
    }

    /// Where the call stood, if the time is over for which its place was given: it is given back, and asked for again. Once: who
    /// was put back has a place that does not say where it stood.
    #[must_use]
    pub fn too_late(&self) -> Option<Came> {
        self.came(Duration::ZERO).filter(|_| self.is_stale())
    }

    fn is_stale(&self) -> bool {
        self.good_until.is_some_and(|until| self.desk.clock.now() > until)
    }

    /// The request turned out not to have been written after all.
    pub fn unsent(&mut self) {
        self.sent = false;
    }

    /// The upstream has answered: it had counted the request by now, said this of the window, and showed this of itself.
    pub fn answered(self, said: Said, seen: Option<Seen>) {
        let (team, tick, at) = (Arc::clone(&self.team), self.tick, self.desk.moment());
        let seen = seen.map(|seen| Sight { seen, sent: self.sent_at });
        // The place leaves earlier than it would have.
        self.desk.say(Step::Answered { team, tick, at, said, seen });
    }

    /// The desk that gave it.
    #[must_use]
    pub fn desk(&self) -> &Arc<Keeper> {
        &self.desk
    }

    /// Where the call stood, if it can be put back there and be let through in time once the upstream, which has just
    /// refused it for `closed_for`, takes calls again.
    #[must_use]
    pub fn came(&self, closed_for: Duration) -> Option<Came> {
        self.came.filter(|came| self.desk.clock.now() + closed_for < came.until)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.sent {
            self.desk.say(Step::Unsent { team: Arc::clone(&self.team), tick: self.tick });
        }
    }
}

/// That a call counts among its team's calls at all gateways: until this is dropped.
#[derive(Debug)]
pub struct Presence {
    pub(super) desk: Arc<Keeper>,
    pub(super) team: Arc<str>,
    pub(super) owner: u32,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.desk.say(Step::Over { team: Arc::clone(&self.team), owner: self.owner });
    }
}

/// One call's permit of a route that is capped. Given back when dropped.
#[derive(Debug)]
pub struct RoutePermit {
    pub(super) desk: Arc<Keeper>,
    pub(super) call: CallId,
    pub(super) team: Arc<str>,
    pub(super) route: Route,
}

impl Drop for RoutePermit {
    fn drop(&mut self) {
        let Self { call, route, team, .. } = self;
        self.desk.say(Step::Freed { call: *call, route: *route, team: Arc::clone(team) });
    }
}
