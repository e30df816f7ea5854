//! Whoever takes a gateway's turns: one at a time, for as long as it runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::batch::Batch;
use super::body::Seen;
use super::outbox::Outbox;
use crate::books::keeper::Keeper;
use crate::books::shared::Shared;
use crate::ledger::counts::Counts;
use crate::ledger::{LedgerError, Look, NewTurn, Said, Turn, Turns};

/// How long a turn may take, a connection that is made for it included, before it is given up.
const LONGEST: Duration = Duration::from_secs(20);
/// How long it may take to go.
const LAST: Duration = Duration::from_secs(3);
/// How many things are said in one turn at the most.
const MOST: usize = 512;
/// How often the desk is written down, in turns.
pub(super) const KEPT_EVERY: i64 = 512;

/// A turn under way. It stays here until it is known what has become of it, whatever breaks meanwhile.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) batch: Batch,
    /// Since it was asked to be committed.
    said: Option<Said>,
    clock: Duration,
}

#[derive(Debug)]
pub(super) struct Turner {
    pub(super) keeper: Arc<Keeper>,
    pub(super) shared: Arc<Shared>,
    pub(super) counts: Arc<Counts>,
    pub(super) runtime: Handle,
    pub(super) turns: Box<dyn Turns>,
    pub(super) name: String,
    pub(super) lease: Duration,
    pub(super) outbox: Outbox,
    /// The last turn that the desk here knows of.
    pub(super) known: i64,
    /// How many this gateway has taken.
    pub(super) batches: i64,
    /// The latest turns, to bring them back where a database has lost them.
    pub(super) recent: VecDeque<Turn>,
    pub(super) recent_bytes: usize,
    pub(super) last_turn: Instant,
    /// When the last turn that was taken was asked for: the lease is reckoned from then at the earliest.
    pub(super) renewed: Instant,
    /// When servers that follow were looked for last.
    pub(super) looked_for_standbys: Option<Instant>,
    pub(super) failures: u32,
    pub(super) away_since: Option<Instant>,
    pub(super) under_way: Option<UnderWay>,
    /// The desk here has heard what may never have been said: it is taken from the ledger again.
    pub(super) is_stale: bool,
    /// What was told in turns up to this one has been told.
    pub(super) told_to: i64,
    /// The desk's time at some moment between two of the process's own clock, to notice a server whose clock is set.
    pub(super) steady: Option<(Duration, Instant, Instant)>,
}

impl Turner {
    #[expect(clippy::too_many_arguments, reason = "what a start has made, each once")]
    pub(super) fn new(
        keeper: Arc<Keeper>,
        shared: Arc<Shared>,
        counts: Arc<Counts>,
        runtime: Handle,
        turns: Box<dyn Turns>,
        (name, lease): (String, Duration),
        outbox: Outbox,
        known: i64,
    ) -> Self {
        let last_turn = keeper.clock.now();
        Self {
            keeper,
            shared,
            counts,
            runtime,
            turns,
            name,
            lease,
            outbox,
            known,
            batches: 0,
            recent: VecDeque::new(),
            recent_bytes: 0,
            last_turn,
            renewed: last_turn,
            looked_for_standbys: None,
            failures: 0,
            away_since: None,
            under_way: None,
            is_stale: false,
            told_to: known,
            steady: None,
        }
    }

    /// Takes turns until the gateway goes.
    pub(super) async fn run(mut self) {
        loop {
            self.wait().await;
            if self.shared.queue.finishes().0 {
                // It may not live to see how the next one ends.
                self.keep().await;
            }
            let asked = self.keeper.clock.now();
            let turn = tokio::time::timeout(LONGEST, self.turn(asked)).await;
            match turn.unwrap_or_else(|_| Err(hung())) {
                Ok(()) => {
                    let took = self.keeper.clock.now() - asked;
                    self.shared.health.turns.observe(took.as_secs_f64());
                    self.renewed = asked;
                    self.came_back();
                    self.look_for_standbys().await;
                }
                Err(error) => self.failed(&error).await,
            }
            self.last_turn = self.keeper.clock.now();
            let silent = self.last_turn - self.renewed;
            self.shared.health.set_lease(self.lease.saturating_sub(silent));
            if self.shared.queue.finishes().1 && self.failures == 0 {
                // What could not be told stays so: whoever asks again asks another.
                let _ = tokio::time::timeout(LAST, self.turns.leave()).await;
                self.shared.queue.end();
                self.shared.over.notify_one();
                return;
            }
        }
    }

    /// Takes one turn.
    async fn turn(&mut self, asked: Instant) -> Result<(), LedgerError> {
        let (known, changes) = (self.known, self.keeper.state().common.last_change);
        let mut look = self.turns.look(known, changes).await?;
        let clock = self.keeper.clock;
        self.steady(&mut look, asked, clock.now());
        let seen = Seen { now: look.now, wall: look.wall, asked };
        self.shared.time.set(look.now, (clock.since_origin_of(asked), clock.since_origin()));
        self.shared.health.saw(&look, self.shared.id(), clock.wall());
        self.settle(&look);
        let is_forked = self.is_forked(&look);
        let mut brought_back = if is_forked { None } else { Some(Vec::new()) };
        let reloads = self.is_stale || is_forked || self.lacks_turns(&look);
        if !reloads {
            self.take_up(&look.turns, seen)?;
            brought_back = self.missing(&look);
        }
        if look.is_out {
            return self.rejoin().await;
        }
        if brought_back.is_none() {
            tracing::error!(
                known = self.known,
                last = look.last,
                "the database has lost turns that this gateway cannot bring back: what they booked is missing; compare the \
                 ledger with the upstream's list of charges"
            );
            self.dismiss_callers();
        }
        let reloads = reloads || brought_back.is_none();
        if reloads {
            self.reload(seen).await?;
        }
        let brought_back = brought_back.unwrap_or_default();
        // What was silent may have been the database: nobody is given up for that.
        let renews = look.was_silent || look.is_another;
        let settling_until = self.settles_until(&look, !brought_back.is_empty(), renews);
        let is_settling = settling_until.is_some();
        self.shared.health.brings_back(brought_back.len());
        self.shared.health.set_settling(is_settling);
        let (lease, load) = (self.lease, self.load());
        let now = look.now;
        let new = NewTurn { brought_back, renews, now, settling_until, lease, load, ..NewTurn::default() };
        if is_settling {
            self.shared.queue.set_away(true);
            self.dismiss_callers();
            self.keep().await;
        }
        // What a desk that was taken from the ledger has to say, it says in the next turn: the lock was held for long.
        if is_settling || reloads { self.turns.take(new).await } else { self.say(&look, new, asked).await }
    }

    /// Says what waits to be said.
    async fn say(&mut self, look: &Look, mut new: NewTurn, asked: Instant) -> Result<(), LedgerError> {
        let (turn, number) = (self.known + 1, self.batches + 1);
        self.is_stale = true;
        {
            let mut batch = Batch::new(look, asked);
            let pending = self.shared.queue.take(MOST);
            let mut state = self.keeper.state();
            let (keeper, shared) = (&*self.keeper, &*self.shared);
            state.common.desk.set(shared.settings());
            for step in self.own_steps(&mut state, look, &mut new, asked) {
                batch.step(keeper, shared, &mut state, step);
            }
            batch.say(keeper, shared, &mut state, pending);
            drop(state);
            self.under_way = Some(UnderWay { batch, said: None, clock: look.now });
        }
        self.look_up_late().await?;
        if let Some(under_way) = self.under_way.as_mut().filter(|under_way| !under_way.batch.is_empty()) {
            let mut state = self.keeper.state();
            self.shared.health.says(under_way.batch.said.len());
            let said = under_way.batch.written(&state, &self.shared, (turn, number));
            if turn % KEPT_EVERY == 0 {
                state.common.sweep(look.now);
                new.desk = state.common.kept().map(|desk| (turn, desk));
            }
            drop(state);
            under_way.said = Some(said.clone());
            new.said = Some(said);
        }
        self.turns.take(new).await?;
        self.taken();
        Ok(())
    }

    /// What is under way was committed.
    fn taken(&mut self) {
        self.is_stale = false;
        let Some(UnderWay { batch, said, clock }) = self.under_way.take() else { return };
        if let Some(Said { turn, batch: number, body, .. }) = said {
            (self.known, self.batches, self.told_to) = (turn, number, turn);
            let gateway = self.shared.id();
            self.remember(Turn { turn, gateway, batch: number, clock, body: body.into() });
        }
        self.deliver(batch);
    }

    /// What has become of a turn whose commit was not answered, if there is one.
    fn settle(&mut self, look: &Look) {
        let Some(under_way) = &self.under_way else { return };
        if under_way.said.as_ref().is_some_and(|said| look.own_batch >= said.batch) {
            self.taken();
        } else if let Some(UnderWay { batch, .. }) = self.under_way.take() {
            self.requeue(batch);
        }
    }

    fn load(&self) -> (u32, u32) {
        let state = self.keeper.state();
        let open = state.common.calls.as_ref().map_or(0, |calls| calls.open_of(self.shared.id()));
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (count(open), count(state.callers.len()))
    }
}

fn hung() -> LedgerError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
