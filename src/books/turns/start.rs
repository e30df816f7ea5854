//! A gateway's start at a ledger that others write too.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::body::Seen;
use super::outbox::Outbox;
use super::turner::Turner;
use crate::books::calls::Calls;
use crate::books::common::Common;
use crate::books::days::Days;
use crate::books::home::Home;
use crate::books::keeper::{Keeper, desk, settings};
use crate::books::kept::Kept;
use crate::books::learned::Learned;
use crate::books::queue_counts::QueueCounts;
use crate::books::shared::queue::Pending;
use crate::books::shared::{Health, Shared, SharedLedger};
use crate::clock::Clock;
use crate::config::Config;
use crate::desk::{GRACE, Moment};
use crate::ledger::counts::Counts;
use crate::ledger::{LedgerError, Look, LookBack, NewTurn, Opening, Turns};

/// What a start is given.
#[derive(Debug)]
pub struct Start<'c> {
    /// The configuration in force.
    pub config: &'c Config,
    /// The process's clock.
    pub clock: Clock,
    /// How the ledger does.
    pub counts: &'c Arc<Counts>,
    /// The series of the queue.
    pub queue: QueueCounts,
    /// How the gateways do.
    pub health: Health,
    /// How the gateway calls itself.
    pub name: String,
    /// How long it may be silent.
    pub lease: Duration,
    /// The folder of what waits for the database.
    pub journal: &'c Path,
    /// How far it looks back.
    pub back: LookBack,
}

/// Joins the gateways of a ledger, has the desk that they have, and takes turns from then on, on the runtime that this is
/// called on.
///
/// # Errors
/// In words for the operator.
pub async fn join(start: Start<'_>, mut turns: Box<dyn Turns>) -> Result<Arc<Keeper>, LedgerError> {
    let Start { config, clock, counts, queue, health, name, lease, journal, back } = start;
    let id = turns.join(&name, lease).await?;
    let (outbox, left) = Outbox::open(journal, id)?;
    let asked = clock.now();
    let look = turns.look(0, i64::MAX).await?;
    let kept = turns.kept().await?;
    let (common, days, known, written) = if let Some((turn, body)) = &kept.desk {
        let common = Common::of(Kept::read(body).ok_or(LedgerError::UnknownForm)?, Learned::default());
        let days = Days::new(clock, &config.credits.zone, common.desk.today());
        (common, days, *turn, None)
    } else {
        // Nobody is there to be kept waiting.
        let opening = turns.opening(&back).await?;
        let (common, days) = begun(config, clock, &look, opening);
        let written = common.kept().map(|desk| (look.last, desk));
        (common, days, look.last, written)
    };
    let shared = Arc::new(Shared::new(settings(config, GRACE), config.retries.keep, health));
    shared.id.store(id, Ordering::Relaxed);
    shared.time.set(look.now, (clock.since_origin_of(asked), clock.since_origin()));
    let ledger = Arc::new(SharedLedger(Arc::clone(&shared)));
    let home = Home::Shared(Arc::clone(&shared));
    let keeper = Arc::new(Keeper::over(ledger, clock, config, queue, (common, days), home));
    let (named, of_turner, runtime) = ((name, lease), Arc::clone(&shared), Handle::current());
    let counts = Arc::clone(counts);
    let mut turner =
        Turner::new(Arc::clone(&keeper), of_turner, counts, runtime, turns, named, outbox, known);
    turner.take_up(&kept.turns, Seen { now: look.now, wall: look.wall, asked })?;
    turner.begin(&look, written).await?;
    // What others say meanwhile is taken up too: it is told twice of nothing.
    let Opening { costs, things, .. } = turner.turns.opening(&back).await?;
    for (route, costs) in costs {
        keeper.learn_from(route, costs);
    }
    keeper.owners.take_up(things);
    for (path, endings) in left {
        tracing::warn!(file = %path.display(), endings = endings.len(), "endings that waited for the database are booked now");
        endings.into_iter().map(Box::new).for_each(|ending| shared.queue.push(Pending::Kept(ending)));
        shared.queue.push(Pending::Booked(path));
    }
    let (over, closed) = (Arc::clone(&shared), Arc::clone(&turner.counts));
    let turns = tokio::spawn(turner.run());
    tokio::spawn(async move {
        if turns.await.is_err() {
            tracing::error!(
                "this gateway takes no turns any more: an error of its own broke it; start it again"
            );
            over.queue.end();
            closed.set_closed(true);
        }
    });
    Ok(keeper)
}

/// What gateways have in common, where none has written that down yet: as the ledger's sums and entries say.
fn begun(config: &Config, clock: Clock, look: &Look, opening: Opening) -> (Common, Days) {
    let Opening { last_call, spent, grants, last_change, known, jobs, sent, .. } = opening;
    let (desk, days) = desk(config, clock, &spent, (look.wall, look.now), GRACE);
    let mut common = Common::new(desk, last_call, last_change);
    common.desk.set_grants(grants);
    let age = |at: &Timestamp| Duration::try_from(look.wall.duration_since(*at)).unwrap_or_default();
    for at in &sent {
        common.desk.take_up(age(at), look.now);
    }
    common.take_up_jobs(jobs, look.wall, look.now);
    let mut calls = Calls::default();
    for call in &known {
        calls.take_up(call, look.now + config.retries.keep.saturating_sub(age(&call.at)));
    }
    common.calls = Some(calls);
    (common, days)
}

impl Turner {
    /// The first turn says nothing: it writes the desk down where nobody has yet, and frees the lock.
    async fn begin(&mut self, look: &Look, desk: Option<(i64, Vec<u8>)>) -> Result<(), LedgerError> {
        let is_new = desk.is_some();
        let renews = look.is_another;
        let new = NewTurn { now: look.now, lease: self.lease, desk, renews, ..NewTurn::default() };
        // While it is waited until all have looked, they are waited for; this one has looked by that.
        let settling_until = look.settling_until.or(look.is_another.then_some(look.now + self.lease));
        let settling_until: Option<Moment> = settling_until.filter(|_| !is_new && look.gateways.len() > 1);
        self.turns.take(NewTurn { settling_until, ..new }).await
    }
}
