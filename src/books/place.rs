//! One call's place in the organisation's window, and its permit of a route that is capped.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::local::LocalDesk;
use super::state::refusal_of;
use crate::desk::{Moment, Said, Seen, Tick, Ticket};
use crate::refuse::Refusal;

/// One call's place in the window. Dropped before the request is written, it is free again; after that it is kept for the
/// whole window, whatever becomes of the request.
#[derive(Debug)]
pub struct Place {
    pub(super) desk: Arc<LocalDesk>,
    pub(super) team: Arc<str>,
    /// The tick in which it becomes free by itself.
    pub(super) tick: Tick,
    pub(super) sent: bool,
    /// When its request was written, or, before that, the place was given.
    pub(super) sent_at: Moment,
    /// Where the call stood, if it can be put back there.
    pub(super) came: Option<Came>,
}

/// Where a call stood in the order of turns.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    pub(super) ticket: Ticket,
    pub(super) joined: Instant,
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
        let now = self.desk.clock.since_origin();
        let mut state = self.desk.state();
        match state.desk.send(&self.team, self.tick, now) {
            Ok(tick) => {
                (self.tick, self.sent, self.sent_at) = (tick, true, now);
                Ok(())
            }
            Err(no_place) => Err(refusal_of(no_place, Duration::ZERO, Duration::ZERO, now)),
        }
    }

    /// The request turned out not to have been written after all.
    pub fn unsent(&mut self) {
        self.sent = false;
    }

    /// The upstream has answered: it had counted the request by now, said this of the window, and showed this of itself.
    pub fn answered(self, said: Said, seen: Option<Seen>) {
        let now = self.desk.clock.since_origin();
        let mut state = self.desk.state();
        state.desk.answered(&self.team, self.tick, now);
        state.desk.heed(said, now);
        if let Some(seen) = seen {
            state.see(seen, self.sent_at, now);
        }
        // The place leaves earlier than it would have.
        self.desk.turn(&mut state);
    }

    /// The desk that gave it.
    #[must_use]
    pub fn desk(&self) -> &Arc<LocalDesk> {
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
            let now = self.desk.clock.since_origin();
            let mut state = self.desk.state();
            state.desk.free_place(&self.team, self.tick, now);
            self.desk.turn(&mut state);
        }
    }
}

/// One call's permit of a route that is capped. Given back when dropped.
#[derive(Debug)]
pub struct RoutePermit {
    pub(super) desk: Arc<LocalDesk>,
    pub(super) team: Arc<str>,
    pub(super) route: usize,
}

impl Drop for RoutePermit {
    fn drop(&mut self) {
        let now = self.desk.clock.since_origin();
        let mut state = self.desk.state();
        state.desk.free_route(self.route, &self.team, now);
        self.desk.turn(&mut state);
    }
}
