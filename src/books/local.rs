//! The home of a gateway that is alone on its ledger: what is said at the desk is taken up at once, in memory, and written to the
//! journal by the call that it is for, before that call goes on. The ledger is what it is rebuilt from.
//!
//! Who waits is told when it is time: by whoever frees something, and by one alarm that rings while anybody waits.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::home::{Alarm, Home};
use super::job::tell_if_given_up;
use super::keeper::Keeper;
use super::queue_counts::Waited;
use super::state::{State, Told, tell_of};
use super::step::Step;
use crate::desk::{Moment, Outcome, Refused, TICK, Ticket};
use crate::ledger::Note;

impl Keeper {
    /// Takes up a step at once.
    pub(super) fn take(self: &Arc<Self>, state: &mut State, step: Step) {
        let now = self.look_at(state);
        let taken = state.common.take(step, now);
        for turn in &taken.jobs {
            tell_if_given_up(turn);
            for note in turn.notes(self.clock.wall()) {
                self.ledger.note(Note::Job(note));
            }
        }
        taken.change.into_iter().for_each(tell_of);
        self.turn(state);
    }

    /// Tells those whose turn it is, and sets the alarm for the others. To be called whenever something that calls wait for
    /// may have come.
    pub(super) fn turn(&self, state: &mut State) {
        if !state.common.desk.has_waiting() {
            return;
        }
        let now = self.look_at(state);
        // The wall's clock may have been set meanwhile.
        let (today, ends) = (state.common.desk.today(), state.days.end());
        state.common.desk.roll(today, ends);
        for Outcome { ticket, joined, verdict } in state.common.desk.turn(now) {
            let waited = now.saturating_sub(joined);
            let told = match verdict {
                Ok(granted) => {
                    self.counts.waited(&granted.ask.team, Waited::Granted, waited);
                    Ok(state.common.give(granted))
                }
                Err(refused) => {
                    self.counts.waited(&refused.ask.team, Waited::of(&refused.no), waited);
                    let Refused { ask, no } = *refused;
                    Err(state.refusal(no, &ask, waited, now))
                }
            };
            if let Some(caller) = state.callers.remove(&ticket) {
                // Its guard is here as long as it is among the callers.
                let _ = caller.send(told);
            }
        }
        let next = state.common.desk.next(now);
        if let (Some(alarm), Some(next), Home::Local(Alarm { earlier, .. })) =
            (&mut state.alarm, next, &self.home)
            && next < *alarm
        {
            *alarm = next;
            earlier.notify_one();
        }
    }

    /// A call waits: it is told by what is returned, and an alarm is set for it if there is none.
    pub(super) fn wait(self: &Arc<Self>, state: &mut State, ticket: Ticket) -> oneshot::Receiver<Told> {
        let (caller, told) = oneshot::channel();
        state.callers.insert(ticket, caller);
        if state.alarm.is_none() {
            state.alarm = Some(Moment::MAX);
            let ring = Arc::clone(self).ring();
            match &self.home {
                Home::Local(Alarm { runtime: Some(runtime), .. }) => runtime.spawn(ring),
                _ => tokio::spawn(ring),
            };
        }
        self.turn(state);
        told
    }

    /// Rings whenever the desk is to be asked, until nobody waits.
    async fn ring(self: Arc<Self>) {
        loop {
            let alarm = self.state().alarm.unwrap_or_default();
            let Home::Local(Alarm { earlier, .. }) = &self.home else { return };
            let earlier = earlier.notified();
            if alarm == Moment::MAX {
                earlier.await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(self.clock.after_origin(alarm)) => {}
                () = earlier => continue,
            }
            let mut state = self.state();
            let now = self.clock.since_origin();
            if now > alarm + TICK && state.common.desk.is_due(now) {
                self.counts.idle(now.saturating_sub(alarm));
            }
            // Set here, behind the turn, and by nobody meanwhile.
            state.alarm = None;
            self.turn(&mut state);
            let next = state.common.desk.next(now);
            state.alarm = next;
            if next.is_none() {
                return;
            }
        }
    }
}
