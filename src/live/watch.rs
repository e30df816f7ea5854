//! The configuration in force, and how a running gateway gets a new one: as a whole, or not at all.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::{Gauge, IntGauge};

use super::changes::changes;
use super::files::Seen;
use super::snapshot::{Around, Fingerprint, Snapshot, fingerprint};
use super::warnings::{warn_of_collisions, warn_of_oddities, warn_of_what_needs_a_restart};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::problem::{Problem, Problems, whole_file};
use crate::ledger::RegisteredKey;
use crate::metrics::{self, Metrics};
use crate::record::series::TeamCounts;
use crate::{identity, ledger, record};

/// How often the files are looked at. A change is taken once it has stood still for one look.
const LOOK: Duration = Duration::from_millis(250);

/// Reading some small files takes no longer.
const LONG: Duration = Duration::from_secs(5);

/// What reloads are counted in, and what gets series with each team.
struct Counts {
    calls: Arc<record::counts::Counts>,
    ledger: Arc<ledger::counts::Counts>,
    identities: identity::Counts,
    success: IntGauge,
    timestamp: Gauge,
}

impl Counts {
    fn new(metrics: &Metrics) -> Self {
        Self {
            calls: Arc::new(record::counts::Counts::new(metrics)),
            ledger: Arc::new(ledger::counts::Counts::new(metrics)),
            identities: identity::Counts::new(metrics),
            success: metrics.level(
                "config_reload_success",
                "1 if the last load of the configuration succeeded, 0 if it failed and the one before is in force.",
            ),
            timestamp: metrics.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration in force was loaded, in seconds since the epoch.",
            ),
        }
    }

    /// The series of a team that was not there before.
    fn team(&self, name: &str) -> Arc<TeamCounts> {
        self.ledger.team(name);
        Arc::new(self.calls.team(name))
    }
}

/// Whoever is told of a new configuration.
type Told = dyn Fn(&Snapshot, &Snapshot) + Send + Sync;

/// The configuration in force.
pub struct Live {
    path: PathBuf,
    clock: Clock,
    counts: Counts,
    current: ArcSwap<Snapshot>,
    /// Keys that the ledger has a say on, with the number of the last event that is in them. Its lock also keeps changes of
    /// what is in force one at a time; no file is read under it, so that a key is revoked whatever becomes of those.
    keys: Mutex<(i64, Arc<[RegisteredKey]>)>,
    /// What is to be told of a new configuration at once.
    told: OnceLock<Box<Told>>,
    /// What is wrong with the configuration that was refused last, until one is taken.
    refused: Mutex<Option<String>>,
    /// The files as last loaded or refused. Its lock also keeps reloads one at a time.
    seen: Mutex<Seen>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Live {
    /// Loads the configuration for the first time.
    ///
    /// # Errors
    /// Every problem of the file and of what it names.
    pub fn load(path: &Path, metrics: &Metrics, clock: Clock) -> Result<Arc<Self>, Problems> {
        let counts = Counts::new(metrics);
        let mut seen = Seen::of(path);
        let text = seen.read(path)?;
        let parsed = seen.parse(path, &text)?;
        let around = Around { keys: &[], previous: None, clock, identities: &counts.identities };
        let snapshot = Snapshot::of(parsed, around, |name| counts.team(name))?;
        snapshot.identities.in_force();
        let seen = Mutex::new(seen);
        let current = ArcSwap::from_pointee(snapshot);
        let keys = Mutex::new((0, Arc::default()));
        let path = path.to_owned();
        let live = Self {
            path,
            clock,
            counts,
            current,
            keys,
            told: OnceLock::new(),
            refused: Mutex::default(),
            seen,
        };
        live.report(true);
        Ok(Arc::new(live))
    }

    /// The clock of the gateway.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What calls are counted in, with series for each team.
    #[must_use]
    pub fn calls(&self) -> &Arc<record::counts::Counts> {
        &self.counts.calls
    }

    /// What the ledger counts in, with series for each team.
    #[must_use]
    pub fn ledger(&self) -> &Arc<ledger::counts::Counts> {
        &self.counts.ledger
    }

    /// The snapshot in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Has `tell` told of every new configuration as soon as it is in force, with the one before. Once: there is one desk.
    pub fn on_reload(&self, tell: impl Fn(&Snapshot, &Snapshot) + Send + Sync + 'static) {
        // A second gateway over the same configuration, in a test, is told nothing.
        let _ = self.told.set(Box::new(tell));
    }

    /// Loads the files again. Takes effect as a whole; on any problem the running configuration is
    /// kept.
    ///
    /// # Errors
    /// Every problem of the new configuration.
    pub fn reload(&self) -> Result<(), Problems> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let (event, keys) = self.keys();
        let loaded = seen.read(&self.path).and_then(|text| {
            let series = |name: &str| self.counts.team(name);
            let parsed = seen.parse(&self.path, &text)?;
            if parsed.problems.is_empty() {
                refuse_to_lose_every_team(&before.config, &parsed.config, &self.path)?;
            }
            let (clock, identities) = (self.clock, &self.counts.identities);
            let around = Around { keys: &keys, previous: Some(&before), clock, identities };
            Snapshot::of(parsed, around, series)
        });
        self.report(loaded.is_ok());
        let refused = loaded.as_ref().err().map(in_short);
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        match loaded {
            Ok(snapshot) => {
                warn_of_what_needs_a_restart(&before.config, &snapshot.config);
                self.forget_teams(&before, &snapshot);
                warn_of_oddities(&snapshot.config, self.clock.wall());
                let changed = changes(&before, &snapshot).join(", ");
                let changed = if changed.is_empty() { "nothing" } else { &changed };
                tracing::info!(
                    file = %self.path.display(), teams = snapshot.config.teams.len(), changed, "configuration reloaded"
                );
                self.put_in_force(snapshot, event);
                if let Some(tell) = self.told.get() {
                    tell(&before, &self.current());
                }
                Ok(())
            }
            Err(problems) => {
                for Problem { line, key, message, remedy } in &problems.list {
                    tracing::error!(
                        file = problems.file,
                        line,
                        key,
                        problem = message,
                        remedy,
                        "configuration refused; the running one is kept"
                    );
                }
                Err(problems)
            }
        }
    }

    /// What is wrong with the configuration as it stands in the file, if that was refused: its first problem, and how many more
    /// there are.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys of the ledger that are in force, with the number of the last event that is in them.
    pub fn keys(&self) -> (i64, Arc<[RegisteredKey]>) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other keys of the ledger in force, unless newer ones are.
    pub fn set_keys(&self, event: i64, keys: Vec<RegisteredKey>) {
        let mut held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if event > held.0 {
            *held = (event, keys.into());
            warn_of_collisions(&self.current().config, &held.1);
            self.store(self.current().with_keys(&held.1));
        }
    }

    /// From now on it is in force. Whoever may not call by it is told so.
    fn store(&self, snapshot: Snapshot) {
        let (after, before) = (Arc::new(snapshot), self.current());
        self.current.store(Arc::clone(&after));
        before.directory.succeeded_by(&after.directory);
    }

    /// Puts a snapshot in force that was made with the keys of an event: with newer ones, if there are by now.
    fn put_in_force(&self, mut snapshot: Snapshot, event: i64) {
        let held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 != event {
            snapshot = snapshot.with_keys(&held.1);
        }
        warn_of_collisions(&snapshot.config, &held.1);
        snapshot.identities.in_force();
        self.store(snapshot);
    }

    /// As [`Live::reload`], on another thread: a file may be a pipe that nobody feeds, or on a network that is away, and
    /// whoever asks for health, or for the end, must not wait for that.
    ///
    /// # Errors
    /// Every problem of the new configuration.
    pub async fn reload_aside(self: &Arc<Self>) -> Result<(), Problems> {
        let live = Arc::clone(self);
        aside(move || live.reload()).await
    }

    /// Watches the files and reloads when one has changed. Never returns.
    pub async fn watch(self: &Arc<Self>) {
        let mut pending = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let (live, before) = (Arc::clone(self), pending.take());
            pending = aside(move || live.look(before.as_ref())).await;
        }
    }

    /// Looks whether the files have changed, and reloads if they have stood still since. Returns how they are if they must
    /// stand still yet.
    fn look(&self, pending: Option<&Fingerprint>) -> Option<Fingerprint> {
        let now = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let now = fingerprint(seen.files.iter().map(PathBuf::as_path));
            (now != seen.fingerprint).then_some(now)?
        };
        if pending != Some(&now) {
            return Some(now);
        }
        // What is wrong with it has been logged; the next change is the next attempt.
        let _ = self.reload();
        None
    }

    /// A team that is gone takes its series along. If its keys are another's now, it was given another name, and whoever did
    /// that is told what does not go with a name.
    fn forget_teams(&self, before: &Snapshot, after: &Snapshot) {
        let is_kept = |name: &str| after.config.teams.iter().any(|team| team.name == name);
        for gone in before.directory.teams().iter().filter(|team| !is_kept(&team.name)) {
            gone.counts.forget();
            self.counts.ledger.forget(&gone.name);
            let ids: Vec<_> = before
                .config
                .teams
                .iter()
                .filter(|team| *team.name == *gone.name)
                .flat_map(|team| team.keys.iter().map(|key| &key.id))
                .collect();
            let heir =
                after.config.teams.iter().find(|team| team.keys.iter().any(|key| ids.contains(&&key.id)));
            if let Some(heir) = heir {
                tracing::warn!(
                    team = heir.name,
                    before = &*gone.name,
                    "a team has another name, or another's keys: its budget begins at 0, and what was spent before stays under the name it had"
                );
            }
        }
    }

    fn report(&self, success: bool) {
        self.counts.success.set(i64::from(success));
        if success {
            self.counts.timestamp.set(metrics::seconds(self.clock.wall()));
        }
    }
}

/// The first problem, and how many more there are.
fn in_short(problems: &Problems) -> String {
    let with_line = problems.list.iter().find(|problem| problem.line.is_some());
    let first = with_line.or(problems.list.first()).map(|Problem { line, key, message, .. }| {
        let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        format!("{line}{key}{message}")
    });
    match problems.list.len() {
        0 | 1 => first.unwrap_or_default(),
        count => format!("{} (and {} more)", first.unwrap_or_default(), count - 1),
    }
}

/// Runs what may wait for a file where nothing else waits for it, with a word if that takes long.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let mut working = tokio::task::spawn_blocking(work);
    let done = if let Ok(done) = tokio::time::timeout(LONG, &mut working).await {
        done
    } else {
        tracing::warn!(
            "reading the configuration, or a file that it names, takes long: is one of them a pipe, or on a network that is \
             away? The running configuration is kept meanwhile"
        );
        working.await
    };
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// An empty file is a valid configuration, and the likeliest way to write one is by mistake.
fn refuse_to_lose_every_team(before: &Config, after: &Config, path: &Path) -> Result<(), Problems> {
    if before.teams.is_empty() || !after.teams.is_empty() || after.is_meant_without_teams {
        return Ok(());
    }
    let teams = before.teams.len();
    Err(whole_file(
        path,
        format!("it has no [[team]], and the running configuration has {teams}"),
        "write `team = []` as its first line if nobody is to call any more",
    ))
}
