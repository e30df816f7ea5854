//! From a ledger file to accounts at work: what a crash left open is settled, sums are taken up, counters
//! continue.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{Timestamp, ToSpan};

use super::accounts::{Accounts, KEPT_DAYS, LEARNED_FROM};
use super::hold::after_crash;
use crate::clock::Clock;
use crate::config::Config;
use crate::credits::Credits;
use crate::credits::period::day_of;
use crate::ledger::counts::Counts;
use crate::ledger::entry::Entry;
use crate::ledger::{
    Adjusted, Command, Ledger, Reader, Span, Spend, SqliteLedger, Store, StoreError, Total, journal,
};
use crate::limit::window::Window;
use crate::route::Route;

/// How often, and how many times, is looked whether a gateway has caught up with its journal: for five seconds.
const CATCH_UP_LOOK: Duration = Duration::from_millis(20);
const CATCH_UP_LOOKS: u32 = 250;
/// How many times is looked, at a start, whether the ledger is free: for a second.
const LOCK_LOOKS: u32 = 50;
/// How often grants of the command line are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Accounts, and the ledger they are booked in, open for reading.
#[derive(Clone, Debug)]
pub struct Books {
    /// Who may spend how much.
    pub accounts: Arc<Accounts>,
    /// For reports of the running gateway.
    pub reader: Arc<Mutex<Reader>>,
    /// How the ledger does.
    pub counts: Arc<Counts>,
    /// The ledger's file.
    pub path: Arc<Path>,
    /// When earlier processes sent calls upstream that are booked, within the last minute. Reads are not booked; what
    /// the upstream has counted of those, its first answer tells.
    pub sent_before: Arc<[Timestamp]>,
    /// The last correction that the accounts know of.
    last_change: i64,
}

/// Why the books cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be used.
    #[error("cannot use the ledger: {0}")]
    Store(#[from] StoreError),
    /// It can be opened and not read.
    #[error("cannot read the ledger {path}: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        error: rusqlite::Error,
    },
    /// Two gateways on one ledger would each keep sums without the other's.
    #[error("the ledger {path} is in use by another gateway; give each its own `ledger.path`", path = path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("cannot open the ledger {path}: {error}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
}

/// Opens the ledger that a configuration names, with its writer on a thread of its own.
///
/// # Errors
/// In words for the operator.
pub fn open(config: &Config, clock: Clock, counts: &Arc<Counts>) -> Result<Books, OpenError> {
    let path = &config.ledger.path;
    let failed = |error| OpenError::System { path: path.clone(), error };
    let durability = config.ledger.durability;
    let mut store = Store::open(path, durability)?;
    let lock = lock_soon(path)?;
    take_up_journal(&mut store).map_err(failed)?;
    open_with(config, clock, counts, store, |store| {
        SqliteLedger::start(store, durability, lock, clock, Arc::clone(counts))
            .map(|ledger| Arc::new(ledger) as _)
            .map_err(failed)
    })
}

/// Opens the books over a store, with whatever writes it.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    config: &Config,
    clock: Clock,
    counts: &Arc<Counts>,
    mut store: Store,
    start: impl FnOnce(Store) -> Result<Arc<dyn Ledger>, OpenError>,
) -> Result<Books, OpenError> {
    let (path, zone) = (&config.ledger.path, &config.credits.zone);
    let failed = |error| OpenError::Read { path: path.clone(), error };
    let open = store.open_holds()?;
    for hold in &open {
        tracing::warn!(
            call = hold.call, request_id = hold.request_id, team = hold.team, reserve = %hold.reserve,
            "a call was in flight when the gateway ended; its reserve is booked, in doubt"
        );
    }
    let now = clock.wall();
    let endings: Vec<_> = open.iter().map(|hold| Command::End(after_crash(hold, now))).collect();
    store.write(&endings.iter().map(Entry::from).collect::<Vec<_>>(), None)?;
    let last_call = store.last_call()?;

    let reader = Reader::open(path).map_err(failed)?;
    let last_change = reader.last_change().map_err(failed)?;
    let mut spent = reader.spends(Span::ALL).map_err(failed)?;
    // Teams that are no longer configured keep their series; each is made once, not once per row.
    let mut totals: BTreeMap<(&str, &str), Total> = BTreeMap::new();
    for Spend { team, route, counted, input_tokens, output_tokens, .. } in &spent {
        let total = totals.entry((team, route)).or_insert_with(|| Total {
            team: team.clone(),
            route: route.clone(),
            counted: [Credits::ZERO; 2],
            input_tokens: 0,
            output_tokens: 0,
        });
        for (sum, counted) in total.counted.iter_mut().zip(counted) {
            *sum += *counted;
        }
        total.input_tokens += input_tokens;
        total.output_tokens += output_tokens;
    }
    for total in totals.values() {
        counts.team(&total.team);
        counts.continue_from(total);
    }
    let today = day_of(now, zone);
    let oldest = today.checked_sub(KEPT_DAYS.days()).unwrap_or(today);
    spent.retain(|spend| spend.day >= oldest);
    let sent_before =
        reader.sent_between(now.saturating_sub(Window::MEMORY).unwrap_or(now), now).map_err(failed)?;
    let costs: Vec<_> = Route::all()
        .filter(|route| route.row().costs())
        .map(|route| Ok((route, reader.recent_costs(route.label(), LEARNED_FROM)?)))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let grants = reader.grants(today).map_err(failed)?;

    let accounts = Accounts::new(start(store)?, clock, zone, last_call, &spent);
    for (route, costs) in costs {
        accounts.learn_from(route, costs);
    }
    accounts.set_grants(grants);
    Ok(Books {
        accounts,
        reader: Arc::new(Mutex::new(reader)),
        counts: Arc::clone(counts),
        path: path.as_path().into(),
        sent_before: sent_before.into(),
        last_change,
    })
}

/// Merges what an earlier process has written to the journal and not into the database.
fn take_up_journal(store: &mut Store) -> std::io::Result<()> {
    let progress = store.progress().map_err(std::io::Error::other)?;
    let found = journal::unmerged(store.path(), progress)?;
    // No file is written over before the one ahead of it is merged: the database had been further on.
    if found.last().is_some_and(|last| last.end.generation > progress.merged.generation + 1) {
        tracing::error!(
            "the ledger's database is older than its journal, as after restoring a backup: what was booked between the \
             two is missing"
        );
    }
    for frames in found {
        let entries: Vec<_> = journal::entries(&frames.bytes).collect();
        store.merge(&entries, frames.end, true).map_err(std::io::Error::other)?;
    }
    Ok(())
}

/// Returns when the database has all that the journal holds at this moment: brings it there, or, where a gateway runs,
/// waits until that has.
///
/// # Errors
/// In words for the operator.
pub fn catch_up(config: &Config) -> Result<(), OpenError> {
    let path = &config.ledger.path;
    let failed = |error| OpenError::System { path: path.clone(), error };
    let reader = Reader::open(path).map_err(|error| OpenError::Read { path: path.clone(), error })?;
    let progress = || reader.progress().map_err(|error| OpenError::Read { path: path.clone(), error });
    let Some(last) = journal::unmerged(path, progress()?).map_err(failed)?.pop() else { return Ok(()) };
    match lock(path) {
        Ok(_lock) => take_up_journal(&mut Store::open(path, config.ledger.durability)?).map_err(failed),
        Err(OpenError::InUse { .. }) => {
            for _ in 0..CATCH_UP_LOOKS {
                if progress()?.merged >= last.end {
                    return Ok(());
                }
                std::thread::sleep(CATCH_UP_LOOK);
            }
            let why = "the gateway does not bring its journal into the database; its log says why";
            Err(failed(std::io::Error::other(why)))
        }
        Err(error) => Err(error),
    }
}

/// As [`lock`], but a command that takes the journal up at this moment is waited for.
fn lock_soon(path: &Path) -> Result<File, OpenError> {
    for _ in 0..LOCK_LOOKS {
        match lock(path) {
            Err(OpenError::InUse { .. }) => std::thread::sleep(CATCH_UP_LOOK),
            locked => return locked,
        }
    }
    lock(path)
}

/// Held for as long as the gateway runs, by the process: a crash releases it.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |error| OpenError::System { path: path.to_owned(), error };
    let file = File::create(name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl Books {
    /// Takes up grants and corrections that the command line has written. Never returns. Reads on a connection and a
    /// thread of its own, so that nobody waits for it.
    pub async fn watch_entries(&self, clock: Clock) {
        let path = Arc::clone(&self.path);
        let mut watch = Watch { reader: None, path, seen: None, last: self.last_change };
        loop {
            tokio::time::sleep(LOOK).await;
            let (accounts, now) = (Arc::clone(&self.accounts), clock.wall());
            let looked = tokio::task::spawn_blocking(move || {
                if let Err(error) = watch.look(&accounts, now) {
                    tracing::warn!(%error, "cannot read new entries of the ledger");
                }
                watch
            });
            let Ok(looked) = looked.await else { return };
            watch = looked;
        }
    }
}

/// How far the entries of others have been read.
struct Watch {
    reader: Option<Reader>,
    path: Arc<Path>,
    seen: Option<i64>,
    last: i64,
}

impl Watch {
    fn look(&mut self, accounts: &Accounts, now: Timestamp) -> rusqlite::Result<()> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.path)?),
        };
        let version = reader.data_version()?;
        if self.seen == Some(version) {
            return Ok(());
        }
        // A day early, so that no zone is left out; whether a grant is in force is decided at each call.
        let since = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let grants = reader.grants(since.yesterday().unwrap_or(since))?;
        let adjustments = reader.adjustments_after(self.last)?;
        accounts.set_grants(grants);
        for Adjusted { seq, day, team, key_id, millionths } in adjustments {
            accounts.adjust(day, &team.into(), &key_id.into(), millionths);
            self.last = seq;
        }
        self.seen = Some(version);
        Ok(())
    }
}
