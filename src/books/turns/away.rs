//! What a gateway does while the ledger is away, and when it has been given up as lost itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::outbox::endings_of;
use super::turner::Turner;
use crate::books::shared::queue::Pending;
use crate::ledger::LedgerError;
use crate::refuse::Refusal;

/// How long the ledger may be away before the gateway says that it is not ready.
const UNREADY: Duration = Duration::from_secs(10);

impl Turner {
    /// This gateway was given up as lost: it begins anew, under another number.
    pub(super) async fn rejoin(&mut self) -> Result<(), LedgerError> {
        tracing::error!(
            gateway = self.shared.id(),
            "this gateway was given up as lost, or put out: what it had open is booked in doubt, and it begins anew"
        );
        self.shared.health.fenced();
        self.dismiss_callers();
        let id = self.turns.join(&self.name, self.lease).await?;
        self.shared.id.store(id, Ordering::Relaxed);
        self.batches = 0;
        // What it remembers may be what others have given up.
        self.is_stale = true;
        self.forget();
        Ok(())
    }

    pub(super) fn dismiss_callers(&self) {
        let mut state = self.keeper.state();
        for (_, caller) in state.callers.drain() {
            // One that leaves at this moment needs no word.
            let _ = caller.send(Err(Refusal::LedgerUnavailable));
        }
    }

    pub(super) fn came_back(&mut self) {
        if let Some(since) = self.away_since.take() {
            let seconds = (self.keeper.clock.now() - since).as_secs();
            tracing::info!(seconds, "the ledger's database answers again");
        }
        self.failures = 0;
        let settles = self.shared.health.is_settling();
        if !settles {
            self.shared.queue.set_away(false);
        }
        self.shared.health.up(true);
        self.counts.set_closed(false);
        self.outbox.clear_if(&self.shared.queue);
    }

    pub(super) async fn failed(&mut self, error: &LedgerError) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            tracing::warn!(%error, "a turn at the ledger failed, and is taken again");
            return;
        }
        let now = self.keeper.clock.now();
        let since = *self.away_since.get_or_insert_with(|| {
            tracing::error!(%error, "the ledger's database is away: nothing is forwarded until it answers");
            now
        });
        self.shared.health.up(false);
        self.counts.set_closed(now >= since + UNREADY);
        self.shared.queue.set_away(true);
        self.dismiss_callers();
        if let Some(under_way) = &mut self.under_way {
            // Nobody waits for it: should it turn out to be committed, what it was given is given back.
            for (pending, _) in &mut under_way.batch.said {
                if let Pending::Ask { told, .. } = pending {
                    let (nobody, _) = oneshot::channel();
                    let _ = std::mem::replace(told, nobody).send(Err(Refusal::LedgerUnavailable));
                }
            }
        }
        self.keep().await;
    }

    /// Keeps endings on this machine's disk that are not booked, or of which nobody knows whether they are.
    pub(super) async fn keep(&mut self) {
        let said = self.under_way.iter().flat_map(|under_way| &under_way.batch.said);
        let unsure = endings_of(said.map(|(pending, _)| pending));
        self.outbox.keep(&self.shared.queue, unsure).await;
    }
}
