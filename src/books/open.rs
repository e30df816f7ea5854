//! From a ledger to books at work: sums are taken up, counters continue, and what operators write meanwhile is taken up too.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use tokio::runtime::Handle;

use super::keeper::Keeper;
use super::learned::LEARNED_FROM;
use super::queue_counts::QueueCounts;
use super::shared::Health;
use super::turns::start::{Start, join};
use super::{job, owners};
use crate::clock::Clock;
use crate::config::{Config, Ledger as LedgerSettings, Postgres};
use crate::credits::period::day_of;
use crate::desk::{ARRIVAL, GRANT_DAYS, KEPT_DAYS, WINDOW};
use crate::ledger::counts::Counts;
use crate::ledger::{
    Account, Adjusted, Answers, Changes, KnownCall, Ledger, LedgerError, LookBack, Opening, Reading, Reads,
    file, home, postgres,
};
use crate::metrics::Metrics;

/// How often grants and corrections of the command line are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// The desk, and the ledger that what it gives is booked in.
#[derive(Clone, Debug)]
pub struct Books {
    /// Who may send what, and when.
    pub desk: Arc<Keeper>,
    /// For reports of the running gateway.
    pub reads: Reads,
    /// Answers at rest.
    pub answers: Arc<dyn Answers>,
    /// How the ledger does.
    pub counts: Arc<Counts>,
    /// Calls with a key that the ledger knows, until they are taken up.
    pub(crate) known: Arc<Mutex<Vec<KnownCall>>>,
    /// The last correction that the accounts know of.
    last_change: i64,
}

/// How far a start with this configuration looks back.
#[must_use]
pub fn look_back(config: &Config, clock: Clock) -> LookBack {
    let now = clock.wall();
    let today = day_of(now, &config.credits.zone);
    LookBack {
        now,
        today,
        since: today.checked_sub(KEPT_DAYS.days()).unwrap_or(today),
        grants: today.checked_sub(GRANT_DAYS.days()).unwrap_or(today),
        costs: LEARNED_FROM,
        sent_since: now.saturating_sub(WINDOW + ARRIVAL).unwrap_or(now),
        jobs: job::MOST,
        things: owners::MOST,
        known_since: now.saturating_sub(config.retries.keep).unwrap_or(now),
    }
}

impl Books {
    /// Opens the ledger that a configuration names. It may take its time: not for an event loop, but with a runtime at hand.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn open(
        config: &Config,
        clock: Clock,
        counts: &Arc<Counts>,
        metrics: &Metrics,
    ) -> Result<Self, LedgerError> {
        let (queue, back) = (QueueCounts::new(metrics), look_back(config, clock));
        match &config.ledger {
            LedgerSettings::File(settings) => {
                let (ledger, opening) = file::open(settings, clock, counts, back)?;
                Ok(Self::over(config, clock, counts, queue, ledger, opening))
            }
            LedgerSettings::Postgres(settings) => {
                let Postgres { lease, journal, .. } = settings;
                let (health, name) = (Health::new(metrics), gateway_name(config));
                let lease = *lease;
                let start = Start { config, clock, counts, queue, health, name, lease, journal, back };
                let desk = Handle::current().block_on(join(start, postgres::turns(settings)?))?;
                Ok(Self::of(config, counts, desk, Vec::new(), 0))
            }
        }
    }

    /// The books over a ledger, as it was when it was opened.
    #[must_use]
    pub fn over(
        config: &Config,
        clock: Clock,
        counts: &Arc<Counts>,
        queue: QueueCounts,
        ledger: Arc<dyn Ledger>,
        opening: Opening,
    ) -> Self {
        let Opening {
            last_call,
            totals,
            spent,
            grants,
            costs,
            sent,
            last_change,
            known,
            saved,
            jobs,
            things,
        } = opening;
        for total in &totals {
            counts.continue_from(total);
        }
        for (team, credits) in saved {
            counts.continue_saved(&team, credits);
        }
        let desk = Keeper::new(ledger, clock, config, queue, last_call, &spent);
        for (route, costs) in costs {
            desk.learn_from(route, costs);
        }
        desk.set_grants(grants);
        desk.take_up_jobs(jobs);
        desk.owners.take_up(things);
        // Calls that earlier processes sent within the last minute, as far as they are booked. Reads are not; what the
        // upstream has counted of those, its first answer tells.
        let now = clock.wall();
        let age = |sent: &Timestamp| Duration::try_from(now.duration_since(*sent)).unwrap_or_default();
        desk.take_up(sent.iter().map(age));
        Self::of(config, counts, desk, known, last_change)
    }

    fn of(
        config: &Config,
        counts: &Arc<Counts>,
        desk: Arc<Keeper>,
        known: Vec<KnownCall>,
        last_change: i64,
    ) -> Self {
        Self {
            desk,
            reads: home::reads(&config.ledger),
            answers: home::answers(&config.ledger),
            counts: Arc::clone(counts),
            known: Arc::new(Mutex::new(known)),
            last_change,
        }
    }

    /// Takes up grants and corrections that the command line has written. Never returns. Reads on a connection and a
    /// thread of its own, so that nobody waits for it.
    pub async fn watch_entries(&self, clock: Clock) {
        if self.desk.shared().is_some() {
            // Each turn sees them.
            return std::future::pending().await;
        }
        let start = |last| Watch { reads: self.reads.clone(), reading: None, seen: None, last };
        let mut watch = start(self.last_change);
        loop {
            tokio::time::sleep(LOOK).await;
            let (desk, now, last) = (Arc::clone(&self.desk), clock.wall(), watch.last);
            let looked = tokio::task::spawn_blocking(move || {
                desk.look_at_ledger();
                if let Err(error) = watch.look(&desk, now) {
                    tracing::warn!(%error, "cannot read new entries of the ledger");
                    watch.reading = None;
                }
                watch
            });
            watch = looked.await.unwrap_or_else(|error| {
                // Whatever broke it need not break the next look.
                tracing::error!(%error, "looking for new entries of the ledger failed; it goes on");
                start(last)
            });
        }
    }
}

/// How a gateway calls itself beside others: its machine, and where it listens.
fn gateway_name(config: &Config) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}/{}", config.server.listen)
}

/// How far the entries of others have been read.
struct Watch {
    reads: Reads,
    reading: Option<Box<dyn Reading>>,
    seen: Option<i64>,
    last: i64,
}

impl Watch {
    fn look(&mut self, desk: &Arc<Keeper>, now: Timestamp) -> Result<(), LedgerError> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => {
                self.seen = None;
                none.insert(self.reads.open()?)
            }
        };
        let version = reading.version()?;
        if self.seen == Some(version) {
            return Ok(());
        }
        let Changes { grants, adjusted } = reading.changes(Changes::since(now), self.last)?;
        desk.set_grants(grants);
        for Adjusted { seq, call, day, team, key_id, route, millionths } in adjusted {
            desk.adjust(day, Account::of(&team, &key_id, &route), millionths);
            desk.job_corrected(call);
            self.last = seq;
        }
        self.seen = Some(version);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::parse;

    #[tokio::test]
    async fn a_look_for_new_entries_that_panics_is_not_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[upstream]\nbase_url = \"http://127.0.0.1:1/v1\"\n[ledger]\npath = '{}'\ndurability = \"os\"\n",
            folder.path().join("ledger.db").display()
        );
        let config = parse(std::path::Path::new("gateway.toml"), &text).unwrap();
        let (clock, metrics) = (Clock::system(), Metrics::new());
        let counts = Arc::new(Counts::new(&metrics));
        let mut books = Books::open(&config, clock, &counts, &metrics).unwrap();
        let looks = Arc::new(AtomicUsize::new(0));
        let (counted, settings) = (Arc::clone(&looks), config.ledger.clone());
        books.reads = Reads::new(move || {
            assert!(counted.fetch_add(1, Ordering::Relaxed) > 0, "the first look fails, on purpose");
            home::reads(&settings).open()
        });
        let watched = books.clone();
        let watch = tokio::spawn(async move { watched.watch_entries(clock).await });
        while looks.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!watch.is_finished());
        watch.abort();
    }
}
