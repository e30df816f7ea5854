//! What a gateway knows of the turns that were taken: by the others, told to its desk, and the latest of all, to bring them back
//! where a database has lost them.

use std::sync::Arc;

use super::body::{Body, Seen};
use super::turner::{KEPT_EVERY, Turner};
use crate::books::bill::Bills;
use crate::books::common::Common;
use crate::books::kept::Kept;
use crate::ledger::{LedgerError, Look, Turn};

/// How many turns are remembered, and how many bytes of them.
const REMEMBERED: usize = 2048;
const REMEMBERED_BYTES: usize = 64 << 20;

impl Turner {
    pub(super) fn remember(&mut self, turn: Turn) {
        self.recent_bytes += turn.body.len();
        self.recent.push_back(turn);
        while self.recent.len() > REMEMBERED || self.recent_bytes > REMEMBERED_BYTES {
            let Some(oldest) = self.recent.pop_front() else { return };
            self.recent_bytes -= oldest.body.len();
        }
    }

    /// Whether turns are not kept any more that this gateway has not seen.
    pub(super) fn lacks_turns(&self, look: &Look) -> bool {
        let first = look.turns.iter().map(|turn| turn.turn).find(|turn| *turn > self.known);
        look.last > self.known && first != Some(self.known + 1)
    }

    pub(super) fn take_up(&mut self, turns: &[Turn], seen: Seen) -> Result<(), LedgerError> {
        let own = self.shared.id();
        for turn in turns.iter().filter(|turn| turn.turn > self.known).cloned().collect::<Vec<_>>() {
            let body = Body::read(&turn.body).ok_or_else(unknown_form)?;
            let keeper = Arc::clone(&self.keeper);
            let mut state = keeper.state();
            let today = state.common.desk.today();
            self.retell(&mut state, &turn, body, seen);
            if state.common.desk.today() != today {
                let today = state.common.desk.today();
                state.days.follow(today);
            }
            if turn.turn % KEPT_EVERY == 0 {
                state.common.sweep(turn.clock);
            }
            drop(state);
            self.known = turn.turn;
            self.told_to = self.told_to.max(turn.turn);
            if turn.gateway == own {
                self.batches = self.batches.max(turn.batch);
            }
            self.remember(turn);
        }
        Ok(())
    }

    /// Takes the desk from the ledger, as it was last written down, and the turns since.
    pub(super) async fn reload(&mut self, seen: Seen) -> Result<(), LedgerError> {
        let kept = self.turns.kept().await?;
        let (turn, body) = kept.desk.ok_or_else(unknown_form)?;
        let read = Kept::read(&body).ok_or_else(unknown_form)?;
        {
            let mut state = self.keeper.state();
            let learned = std::mem::take(&mut state.common.learned);
            state.common = Common::of(read, learned);
            state.bills = Bills::default();
        }
        // What it was told of is told to nobody twice.
        self.told_to = self.told_to.max(self.known);
        self.known = turn;
        self.forget();
        self.take_up(&kept.turns, seen)?;
        let mut state = self.keeper.state();
        let today = state.common.desk.today();
        state.days.follow(today);
        self.is_stale = false;
        Ok(())
    }

    /// Turns that are remembered may be another history's.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
        self.recent_bytes = 0;
    }
}

fn unknown_form() -> LedgerError {
    LedgerError::UnknownForm
}
