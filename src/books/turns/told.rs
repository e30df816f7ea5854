//! What a turn has come to, told to those who wait for it.

use super::batch::{Batch, Result as Outcome};
use super::outbox::take_away;
use super::turner::Turner;
use crate::books::shared::queue::Pending;
use crate::books::step::Step;
use crate::refuse::Refusal;

impl Turner {
    /// Tells what a turn has come to.
    pub(super) fn deliver(&self, batch: Batch) {
        let Batch { said, outcomes, commands, .. } = batch;
        for command in &commands {
            self.counts.wrote(command);
        }
        let mut booked = Vec::new();
        let mut state = self.keeper.state();
        // Of all gateways: each ends calls of others too.
        self.counts.set_open(state.common.open);
        for (pending, result) in said {
            match (pending, result) {
                (Pending::Ask { told, .. }, Outcome::Told(word)) => {
                    if let Err(Ok(given)) = told.send(word) {
                        self.give_back(given);
                    }
                }
                // Nobody waits any more: it has left in the next turn.
                (Pending::Ask { told, .. }, Outcome::Waits(_)) if state.closing => {
                    let _ = told.send(Err(Refusal::Draining));
                }
                (Pending::Ask { told, .. }, Outcome::Waits(ticket)) => {
                    state.callers.insert(ticket, told);
                }
                (Pending::Spare(told), Outcome::Spare(place)) => {
                    if let Err(Some((tick, _))) = told.send(place) {
                        self.shared.say(Step::Unsent { team: "".into(), tick });
                    }
                }
                (Pending::CaughtUp(told), _) => drop(told.send(())),
                (Pending::Booked(path), _) => booked.push(path),
                _ => {}
            }
        }
        for (ticket, told) in outcomes {
            self.tell(&mut state, ticket, told);
        }
        drop(state);
        for path in &booked {
            take_away(path);
        }
    }

    /// A turn was not taken: what was to be said is said in the next.
    pub(super) fn requeue(&self, batch: Batch) {
        self.shared.queue.put_back(batch.said.into_iter().map(|(pending, _)| pending).collect());
    }
}
