//! What a gateway says in a turn beside what waits to be said: that a day is over, that another gateway is lost, what operators have
//! written, who has left, and what late endings have come to.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::turner::Turner;
use crate::books::state::State;
use crate::books::step::Step;
use crate::ledger::entry::signed;
use crate::ledger::{Account, Booked, Changes, LedgerError, Look, NewTurn};

impl Turner {
    /// What is said beside what waits to be said.
    pub(super) fn own_steps(
        &self,
        state: &mut State,
        look: &Look,
        new: &mut NewTurn,
        asked: Instant,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let booked_on = state.common.desk.today();
        if let Some(today) = state.days.next((look.wall, asked), booked_on) {
            steps.push(Step::Day { today, ends: look.now + state.days.left(look.wall) });
        }
        let own = self.shared.id();
        for lost in
            look.gateways.iter().filter(|other| other.id != own && other.lease.is_none() && !new.renews)
        {
            tracing::error!(
                gateway = lost.id,
                name = lost.name,
                "a gateway has not been heard of for as long as its lease: what it had open is booked, in doubt"
            );
            new.lost.push(lost.id);
            steps.push(Step::Lost(lost.id));
        }
        // Of one that has gone, or of which a server knows nothing any more, nothing is heard again.
        if !new.renews {
            let there: BTreeSet<_> = look.gateways.iter().map(|gateway| gateway.id).chain([own]).collect();
            for owner in state.common.owners().into_iter().filter(|owner| !there.contains(owner)) {
                steps.push(Step::Lost(owner));
            }
        }
        // Another gateway may have taken them up meanwhile.
        let known = state.common.last_change;
        if let Some((seq, Changes { grants, adjusted })) =
            look.changes.as_ref().filter(|(seq, _)| *seq > known)
        {
            steps.push(Step::Grants(grants.clone()));
            for entry in adjusted.iter().filter(|entry| entry.seq > known) {
                let account = Account::of(&entry.team, &entry.key_id, &entry.route);
                steps.push(Step::Adjusted { day: entry.day, account, millionths: entry.millionths });
                steps.push(Step::Corrected(entry.call));
            }
            steps.push(Step::ChangesUpTo(*seq));
        }
        for (team, ticket) in state.common.desk.waiting_at(own) {
            if state.callers.get(&ticket).is_none_or(oneshot::Sender::is_closed) {
                state.callers.remove(&ticket);
                steps.push(Step::Left { team, ticket });
            }
        }
        steps
    }

    /// What endings have come to whose calls were given up as lost. What is under way stays where it is meanwhile.
    pub(super) async fn look_up_late(&mut self) -> Result<(), LedgerError> {
        let late = self.under_way.as_mut().map(|under_way| std::mem::take(&mut under_way.batch.late));
        let late = late.unwrap_or_default();
        if late.is_empty() {
            return Ok(());
        }
        let calls: Vec<_> = late.iter().map(|ending| ending.call).collect();
        let booked = self.turns.booked(&calls).await?;
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        let mut state = self.keeper.state();
        for ending in late {
            let Some(booked) = booked.iter().find(|booked| booked.call == ending.call) else {
                tracing::error!(call = ending.call, "a call has ended that the ledger knows nothing of");
                continue;
            };
            let Booked { day, team, key_id, route, credits, in_doubt, .. } = booked;
            if !in_doubt || !ending.says_anything() {
                continue;
            }
            let correction = ending.correction(signed(*credits));
            self.shared.health.corrected();
            let of = (*day, Account::of(team, key_id, route));
            under_way.batch.correct(&self.keeper, &self.shared, &mut state, of, correction);
        }
        Ok(())
    }
}
