//! Who waits is told when it is time: by whoever frees something, and by one alarm that rings while anybody waits.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::local::LocalDesk;
use super::queue_counts::Waited;
use super::state::{State, Told};
use crate::desk::{Moment, No, Outcome, Refused, TICK, Ticket};

impl LocalDesk {
    /// Tells those whose turn it is, and sets the alarm for the others. To be called whenever something that calls wait for
    /// may have come.
    pub(super) fn turn(&self, state: &mut State) {
        if !state.desk.has_waiting() {
            return;
        }
        let now = state.roll();
        // The wall's clock may have been set meanwhile.
        state.desk.roll(state.desk.today(), state.days.end());
        for Outcome { ticket, joined, verdict } in state.desk.turn(now) {
            let waited = now.saturating_sub(joined);
            let told = match verdict {
                Ok(granted) => {
                    self.counts.waited(&granted.ask.team, Waited::Granted, waited);
                    Ok(state.give(granted))
                }
                Err(refused) => {
                    let Refused { ask, no } = *refused;
                    let how = match no {
                        No::Short { .. } => Waited::Unfunded,
                        No::Upstream { .. } => Waited::Dismissed,
                        _ => Waited::Expired,
                    };
                    self.counts.waited(&ask.team, how, waited);
                    Err(state.refusal(no, &ask, waited, now))
                }
            };
            if let Some(caller) = state.callers.remove(&ticket) {
                // Its guard is here as long as it is among the callers.
                let _ = caller.send(told);
            }
        }
        let next = state.desk.next(now);
        if let (Some(alarm), Some(next)) = (&mut state.alarm, next)
            && next < *alarm
        {
            *alarm = next;
            self.earlier.notify_one();
        }
    }

    /// A call waits: it is told by what is returned, and an alarm is set for it if there is none.
    pub(super) fn wait(self: &Arc<Self>, state: &mut State, ticket: Ticket) -> oneshot::Receiver<Told> {
        let (caller, told) = oneshot::channel();
        state.callers.insert(ticket, caller);
        if state.alarm.is_none() {
            state.alarm = Some(Moment::MAX);
            let ring = Arc::clone(self).ring();
            match &self.runtime {
                Some(runtime) => runtime.spawn(ring),
                None => tokio::spawn(ring),
            };
        }
        self.turn(state);
        told
    }

    /// Rings whenever the desk is to be asked, until nobody waits.
    async fn ring(self: Arc<Self>) {
        loop {
            let alarm = self.state().alarm.unwrap_or_default();
            let earlier = self.earlier.notified();
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
            if now > alarm + TICK && state.desk.is_due(now) {
                self.counts.idle(now.saturating_sub(alarm));
            }
            // Set here, behind the turn, and by nobody meanwhile.
            state.alarm = None;
            self.turn(&mut state);
            let next = state.desk.next(now);
            state.alarm = next;
            if next.is_none() {
                return;
            }
        }
    }
}
