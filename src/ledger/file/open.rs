//! Opening a ledger's file: for the gateway that writes it, for whoever reads it, and for operators' commands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use super::answers::Table;
use super::columns::{count, credits};
use super::failure::{failure, system};
use super::identity::{Lock, lock};
use super::jobs;
use super::read::Reader;
use super::recent;
use super::store::{Store, last_call};
use super::writer::SqliteLedger;
use crate::clock::Clock;
use crate::config::{Durability, LedgerFile as Settings};
use crate::ledger::answers::Answers;
use crate::ledger::counts::Counts;
use crate::ledger::entry::{Entry, days_since_epoch};
use crate::ledger::error::LedgerError;
use crate::ledger::facts::{Command, OpenHold};
use crate::ledger::journal::{self, Found};
use crate::ledger::keys::{KeyRegister, RegisteredKey};
use crate::ledger::opening::{LookBack, Opening, Total};
use crate::ledger::reading::{Reading, Upkeep};
use crate::ledger::reads::Reads;
use crate::ledger::rows::Span;
use crate::ledger::write::Ledger;

/// How often, and how many times, is looked whether a gateway has caught up with its journal: for five seconds.
const CATCH_UP_LOOK: Duration = Duration::from_millis(20);
const CATCH_UP_LOOKS: u32 = 250;
/// How many times is looked, at a start, whether the ledger is free: for a second.
const LOCK_LOOKS: u32 = 50;

/// Opens the ledger for the one gateway that writes it, with its writer on a thread of its own.
///
/// # Errors
/// In words for the operator.
pub fn open(
    settings: &Settings,
    clock: Clock,
    counts: &Arc<Counts>,
    back: LookBack,
) -> Result<(Arc<dyn Ledger>, Opening), LedgerError> {
    let Settings { path, durability } = settings;
    if !path.exists() {
        // Also what a wrong path looks like: every budget is whole again.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        tracing::warn!(path = %path.display(), "there is no ledger yet: a new one is made, and no budget is spent in it");
    }
    // Before SQLite has it open: the system takes a process's other locks of a file away with the first of its descriptors
    // that is closed.
    Store::make(path)?;
    let lock = lock_soon(path)?;
    let mut store = Store::open(path, *durability)?;
    take_up_journal(&mut store, clock)?;
    counts.set_aside(journal::set_aside_count(path));
    let opening = store.begin(back)?;
    let ledger = SqliteLedger::start(store, *durability, lock, clock, Arc::clone(counts))
        .map_err(|error| system(path, &error))?;
    Ok((Arc::new(ledger), opening))
}

/// Opens a ledger for reading, with all that its journal holds at this moment.
///
/// # Errors
/// In words for the operator.
pub fn reading(settings: &Settings) -> Result<Box<dyn Reading>, LedgerError> {
    catch_up(settings)?;
    Ok(Box::new(Reader::open(&settings.path)?))
}

/// Whether a gateway could open the ledger, as far as can be told without writing anything; and whether there is one yet.
///
/// # Errors
/// In words for the operator.
pub fn try_out(settings: &Settings) -> Result<bool, LedgerError> {
    let path = &settings.path;
    match Reader::open(path) {
        Err(LedgerError::Missing { .. }) => {}
        // A start brings it up to date.
        Ok(_) | Err(LedgerError::Older { .. }) => return Ok(true),
        Err(LedgerError::Foreign { .. }) if path.metadata().is_ok_and(|file| file.len() == 0) => {
            return Ok(true);
        }
        Err(error) => return Err(error),
    }
    let here = Path::new(".");
    let mut folders =
        path.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { here } else { folder });
    match folders.find(|folder| folder.exists()) {
        Some(folder) if !folder.is_dir() => {
            let what = format!("{} is no folder", folder.display());
            Err(LedgerError::Failed { path: path.clone(), what })
        }
        _ => Ok(false),
    }
}

/// Reads a ledger that a gateway of this process writes.
#[must_use]
pub fn reads(settings: &Settings) -> Reads {
    let path = settings.path.clone();
    Reads::new(move || Ok(Box::new(Reader::open(&path)?)))
}

/// Answers that are kept in the file of a ledger which a gateway of this process writes.
#[must_use]
pub fn answers(settings: &Settings) -> Arc<dyn Answers> {
    Arc::new(Table::of(settings.path.clone()))
}

/// Opens a ledger for what operators write, also beside a gateway.
///
/// # Errors
/// In words for the operator.
pub fn upkeep(settings: &Settings) -> Result<Box<dyn Upkeep>, LedgerError> {
    Ok(Box::new(Store::open_existing(&settings.path, settings.durability)?))
}

/// Opens a ledger for what is done to caller keys, also beside a gateway.
///
/// # Errors
/// In words for the operator.
pub fn keys(settings: &Settings) -> Result<Box<dyn KeyRegister>, LedgerError> {
    // A revocation must survive whatever a hold need not.
    Ok(Box::new(Store::open_existing(&settings.path, Durability::Fsync)?))
}

/// The caller keys that a ledger has a say on, as far as they are merged; nothing is written for that.
///
/// # Errors
/// In words for the operator.
pub fn registered_keys(settings: &Settings) -> Result<Vec<RegisteredKey>, LedgerError> {
    Reader::open(&settings.path)?.keys()
}

/// Writes a copy of the whole ledger, as it is at this moment, to a file that is not there yet, and holds it against
/// itself. Returns the number of its last entry.
///
/// # Errors
/// In words for the operator; of a copy that failed a part may lie there.
pub fn backup(settings: &Settings, to: &Path) -> Result<i64, LedgerError> {
    catch_up(settings)?;
    Reader::open(&settings.path)?.copy_to(to)?;
    let copy = Reader::open(to)?;
    match copy.verify()?.into_iter().next() {
        None => copy.last_entry(),
        Some(what) => Err(LedgerError::Damaged { path: to.to_owned(), what }),
    }
}

/// Returns when the database has all that the journal holds at this moment: brings it there, or, where a gateway runs,
/// waits until that has. Brings the schema of an older version up to date.
///
/// # Errors
/// In words for the operator.
pub fn catch_up(settings: &Settings) -> Result<(), LedgerError> {
    let path = &settings.path;
    if !path.exists() {
        return Err(LedgerError::Missing { path: path.clone() });
    }
    match lock(path) {
        Ok(_lock) => take_up_journal(&mut Store::open_existing(path, settings.durability)?, Clock::system()),
        Err(LedgerError::InUse { .. }) => wait_for_the_gateway(path),
        Err(error) => Err(error),
    }
}

fn wait_for_the_gateway(path: &Path) -> Result<(), LedgerError> {
    let reader = Reader::open(path)?;
    let found = journal::find(path, reader.progress()?).map_err(|error| system(path, &error))?;
    let Some(last) = found.last().map(|file| file.unmerged.end) else { return Ok(()) };
    for _ in 0..CATCH_UP_LOOKS {
        if reader.progress()?.merged >= last {
            return Ok(());
        }
        std::thread::sleep(CATCH_UP_LOOK);
    }
    let what = "the gateway does not bring its journal into the database; its log says why".into();
    Err(LedgerError::Failed { path: path.to_owned(), what })
}

/// Merges what an earlier process has written to the journal and not into the database. Damaged files are set aside.
fn take_up_journal(store: &mut Store, clock: Clock) -> Result<(), LedgerError> {
    let progress = store.progress()?;
    let path = store.path().to_owned();
    let failed = |error: std::io::Error| system(&path, &error);
    let found = journal::find(&path, progress).map_err(failed)?;
    // No file is written over before the one ahead of it is merged: the database had been further on.
    if found.last().is_some_and(|last| last.unmerged.end.generation > progress.merged.generation + 1) {
        tracing::error!(
            "the ledger's database is older than its journal, as after restoring a backup: what was booked between the \
             two is missing"
        );
    }
    for Found { path: file, unmerged, damage } in found {
        if !unmerged.entries.is_empty() {
            let entries: Vec<_> = Entry::read_all(&unmerged.entries).collect();
            store.merge(&entries, unmerged.end, true)?;
        }
        if let Some(damage) = damage {
            let aside = journal::set_aside(&file, clock.wall()).map_err(failed)?;
            tracing::error!(
                file = %file.display(), aside = %aside.display(), damage,
                "a file of the ledger's journal is damaged and was set aside; what it held and the database has not is \
                 missing from the books: compare them with the upstream's list of charges"
            );
        }
    }
    Ok(())
}

/// As [`lock`], but a command that takes the journal up at this moment is waited for.
fn lock_soon(path: &Path) -> Result<Lock, LedgerError> {
    for _ in 0..LOCK_LOOKS {
        match lock(path) {
            Err(LedgerError::InUse { .. }) => std::thread::sleep(CATCH_UP_LOOK),
            locked => return locked,
        }
    }
    lock(path)
}

impl Store {
    /// Settles what a crash left open, and reads what a gateway starts from, at one moment of the ledger.
    ///
    /// # Errors
    /// When it cannot be written or read.
    pub fn begin(&mut self, back: LookBack) -> Result<Opening, LedgerError> {
        let open = self.open_holds()?;
        for hold in &open {
            tracing::warn!(
                call = hold.call, request_id = hold.request_id, team = hold.team, reserve = %hold.reserve,
                "a call was in flight when the gateway ended; its reserve is booked, in doubt"
            );
        }
        // The jobs that they may have begun first: no ending is without its own.
        let jobs = open.iter().filter_map(OpenHold::job).map(Command::Job);
        let endings = open.iter().map(|hold| Command::End(hold.ending(back.now)));
        let commands: Vec<_> = jobs.chain(endings).collect();
        self.write(&commands.iter().map(Entry::from).collect::<Vec<_>>(), None)?;
        self.opening(back).map_err(|error| failure(&self.path, &error))
    }

    fn opening(&mut self, back: LookBack) -> rusqlite::Result<Opening> {
        let change = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Also where answers are not kept at rest any more.
        change.execute("DELETE FROM answers WHERE kept_until <= ?1", [back.now.as_microsecond()])?;
        roll(&change, days_since_epoch(back.since).into())?;
        let grants = Reader::grants_of(&change, back.grants)?;
        // What earlier periods took of a grant is known from its first day on.
        let granted = grants.iter().filter(|grant| grant.until >= back.today).map(|grant| grant.from);
        let since = granted.min().unwrap_or(back.since).clamp(back.grants, back.since);
        let opening = Opening {
            last_call: last_call(&change)?,
            totals: totals(&change)?,
            spent: Reader::spends_of(&change, Span { since, until: Span::ALL.until })?,
            grants,
            costs: recent::costs(&change, back.costs)?,
            sent: Reader::sent_between(&change, back.sent_since, back.now)?,
            last_change: change
                .query_row("SELECT coalesce(max(seq), 0) FROM changes", [], |row| row.get(0))?,
            known: recent::known_since(&change, back.known_since)?,
            saved: recent::saved(&change)?,
            jobs: jobs::known(&change, back.jobs)?,
            things: jobs::things(&change, back.things)?,
        };
        change.commit()?;
        Ok(opening)
    }
}

/// Adds the days before `since` to the totals that have them not, so that each is read once and not at every start.
fn roll(change: &Transaction<'_>, since: i64) -> rusqlite::Result<()> {
    change.execute(
        "INSERT INTO totals
         SELECT team, route, sum(final - adjusted_final), sum(estimated - adjusted_estimated), sum(input_tokens),
                sum(output_tokens)
         FROM day_sums WHERE day >= (SELECT before FROM rolled) AND day < ?1 GROUP BY team, route
         ON CONFLICT DO UPDATE SET final = final + excluded.final, estimated = estimated + excluded.estimated,
           input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens",
        [since],
    )?;
    change.execute("UPDATE rolled SET before = max(before, ?1)", params![since]).map(drop)
}

/// All that was ever counted: what was rolled up, and the days since. What a job may cost is counted when that is known, and
/// what follows from the bill by itself.
fn totals(connection: &Connection) -> rusqlite::Result<Vec<Total>> {
    let mut statement = connection.prepare(
        "SELECT t.name, r.name, sum(final), sum(estimated), sum(derived), sum(input_tokens), sum(output_tokens) FROM (
           SELECT team, route, final, estimated, 0 AS derived, input_tokens, output_tokens FROM totals
           UNION ALL
           SELECT team, route, final - adjusted_final, estimated - adjusted_estimated, 0, input_tokens, output_tokens
           FROM day_sums WHERE day >= (SELECT before FROM rolled)
           UNION ALL
           SELECT team, route, 0, -reserve, 0, 0, 0 FROM jobs WHERE credits IS NULL AND state <> 2
             AND NOT EXISTS (SELECT 1 FROM changes a WHERE a.kind = 'adjusted' AND a.call = jobs.call)
             AND NOT EXISTS (SELECT 1 FROM bookings b WHERE b.call = jobs.call AND b.kind <> 2)
           UNION ALL
           SELECT team, route, -credits, 0, credits, 0, 0 FROM jobs WHERE derived AND state <> 2
         ) JOIN names t ON t.id = team JOIN names r ON r.id = route GROUP BY team, route",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Total {
            team: row.get(0)?,
            route: row.get(1)?,
            counted: [credits(row, 2)?, credits(row, 3)?, credits(row, 4)?],
            input_tokens: count(row, 5)?,
            output_tokens: count(row, 6)?,
        })
    })?;
    rows.collect()
}
