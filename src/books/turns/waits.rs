//! When a gateway takes its next turn, and what time it is at the desk then.

use std::time::Duration;

use tokio::time::Instant;

use super::turner::Turner;
use crate::ledger::Look;

/// How long what nobody waits for gathers.
const LINGER: Duration = Duration::from_millis(20);
/// How often a gateway looks at which calls wait, and one at which none do.
const WAITING: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(1);
/// How often it is looked for servers that follow.
const STANDBYS: Duration = Duration::from_secs(10);
/// How far the desk's time may be off the process's own clock, since that was first looked at.
const SET: Duration = Duration::from_secs(1);

impl Turner {
    /// Now and then, how servers do that follow the ledger's: for operators alone.
    pub(super) async fn look_for_standbys(&mut self) {
        let now = self.last_turn;
        if self.looked_for_standbys.is_some_and(|at| now < at + STANDBYS) {
            return;
        }
        self.looked_for_standbys = Some(now);
        let looked = tokio::time::timeout(IDLE, self.turns.standbys()).await;
        if let Ok(Ok(Some(standbys))) = looked {
            self.shared.health.follow(&standbys);
        }
    }

    /// Waits until there is something to say, or to look at.
    pub(super) async fn wait(&self) {
        if self.failures > 0 {
            let pause = Duration::from_millis(100) * self.failures.min(10);
            // At once the first time: a connection that was cut is made anew.
            tokio::time::sleep(if self.failures == 1 { Duration::ZERO } else { pause }).await;
            return;
        }
        loop {
            let changed = self.shared.queue.changed.notified();
            let (any, is_urgent) = self.shared.queue.stands();
            let (waits, own, next) = {
                let state = self.keeper.state();
                let desk = &state.common.desk;
                let now = self.keeper.moment();
                let next = desk.next(now).map(|next| next.saturating_sub(now));
                (desk.has_waiting(), !state.callers.is_empty(), next)
            };
            if is_urgent || self.shared.queue.finishes().0 || (any && waits) {
                return;
            }
            let pause = match (any, own) {
                (true, _) => LINGER,
                (false, true) => next.map_or(WAITING, |next| next.clamp(Duration::from_millis(1), WAITING)),
                (false, false) if self.shared.health.is_settling() => WAITING,
                (false, false) => IDLE,
            };
            tokio::select! {
                () = tokio::time::sleep_until(self.last_turn + pause) => return,
                () = changed => {}
            }
        }
    }

    /// The desk's time is the database's, but for a clock that is set: places in the window do not leave for that. It was read at
    /// some moment between `asked` and `told`.
    pub(super) fn steady(&mut self, look: &mut Look, asked: Instant, told: Instant) {
        let (then, since, until) = *self.steady.get_or_insert((look.now, asked, told));
        let least = (then + asked.saturating_duration_since(until)).saturating_sub(SET);
        let most = then + told.saturating_duration_since(since) + SET;
        if look.now < least || look.now > most {
            let (steady, set) = (look.now.clamp(least, most), look.now);
            tracing::warn!(
                ?set,
                ?steady,
                "the database's clock was set; the upstream's window goes by the time that passes"
            );
            look.now = steady;
        }
    }
}
