//! Places in the window from when they are given to when they leave it.

use std::time::Duration;

use super::state::Desk;
use super::terms::NoPlace;
use super::window::{ARRIVAL, Moment, Ring, Said, Tick};

impl Desk {
    /// Takes up a place that was taken by a request so long ago: a restart is none for the upstream.
    pub fn take_up(&mut self, age: Duration, now: Moment) {
        self.window.advance(now);
        self.window.ring().enter(Tick::leaving(now, ARRIVAL).earlier(age));
    }

    /// Takes a place for a request of our own, if one is free that nobody waits for.
    pub fn spare_place(&mut self, now: Moment) -> Option<Tick> {
        self.window.advance(now);
        (self.turns.in_turn == 0 && self.free(now) > 0).then(|| {
            let tick = Tick::leaving(now, ARRIVAL + self.settings.grace);
            self.window.ring().enter(tick);
            tick
        })
    }

    /// A request that has a place until `tick` is about to be written: its time in the window begins now. A place that has
    /// left meanwhile, while a disk hung, say, is asked for anew.
    ///
    /// # Errors
    /// Why there is none any more.
    pub fn send(&mut self, team: &str, tick: Tick, now: Moment) -> Result<Tick, NoPlace> {
        self.window.advance(now);
        if !self.window.ring().is_taken(tick) && self.free(now) == 0 {
            return Err(self.no_place(1, self.place_from(1, now), now));
        }
        let sent = Tick::sent(now);
        self.move_place(team, tick, sent, now);
        Ok(sent)
    }

    /// A request that had a place until `tick`, which is not over, was written at a moment that is.
    pub fn sent(&mut self, team: &str, tick: Tick, at: Moment, now: Moment) {
        self.window.advance(now);
        self.move_place(team, tick, Tick::sent(at), now);
    }

    /// The upstream has answered a request that has a place until `tick`: it had counted it by then.
    pub fn answered(&mut self, team: &str, tick: Tick, at: Moment, now: Moment) {
        self.window.advance(now);
        let left = Tick::answered(at);
        if left < tick {
            self.move_place(team, tick, left, now);
        }
    }

    fn move_place(&mut self, team: &str, from: Tick, to: Tick, now: Moment) {
        self.in_rings(team, now, |ring| {
            ring.leave(from);
            ring.enter(to);
        });
    }

    /// Does something to the places of all, and to those of a team.
    pub(super) fn in_rings(&mut self, team: &str, now: Moment, mut change: impl FnMut(&mut Ring)) {
        change(self.window.ring());
        if let Some(team) = self.turns.teams.get_mut(team) {
            team.ring.advance(now);
            change(&mut team.ring);
        }
    }

    /// A place is free again: its request was never written.
    pub fn free_place(&mut self, team: &str, tick: Tick, now: Moment) {
        self.window.advance(now);
        self.in_rings(team, now, |ring| ring.leave(tick));
    }

    /// Takes up what an answer of the upstream said about the window.
    pub fn heed(&mut self, said: Said, now: Moment) {
        self.window.advance(now);
        self.window.heed(said, now);
    }
}
