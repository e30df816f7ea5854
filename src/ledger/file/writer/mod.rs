//! The one writer. An entry is written to the journal; then whoever waits for it goes on, and its credits are counted. The
//! database is filled from the journal behind everybody's back.
//!
//! At `os` durability a write is a copy into the system's memory, and the event loop that asks for a hold does it itself:
//! handing it to a thread would cost far more than the write. At `fsync` a thread writes whatever has gathered and waits
//! for the disk once for all of it: the slower the disk, the larger the groups. Endings, which nobody waits
//! for, go with the next hold or after a moment.
//!
//! Credits are counted in the metrics when their ending is written, not before: a counter never shows what a crash
//! could take back.
//!
//! Holds that could not be written are refused; endings are kept and tried again until they are written, which is what
//! makes the ledger recover by itself when, say, a full disk has room again.

mod merger;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::store::Store;
use crate::clock::Clock;
use crate::config::Durability;
use crate::ledger::counts::Counts;
use crate::ledger::entry::Entry;
use crate::ledger::error::LedgerError;
use crate::ledger::facts::{CallId, Command, NewEnding, NewHold};
use crate::ledger::journal::{Journal, Position, Unmerged};
use crate::ledger::write::{Ledger, Receipt, Unavailable};

/// Commands written to the journal at once at most.
const GROUP: usize = 1024;
/// How long to wait before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the file may take to be made whole at the end. A reader may be in the way for some seconds.
const MERGE: Duration = Duration::from_secs(10);
/// How long endings wait for a hold to go with.
const LINGER: Duration = Duration::from_millis(20);
/// How long a group waits for company, where the one before had more than one asker: so many callers are at work, and
/// the next of them come within the time that one wait for the disk would have taken.
const COMPANY: Duration = Duration::from_micros(200);
/// Bytes of entries that may wait to be merged, a few hundred thousand. A database that takes none for so long is broken.
const MAX_UNMERGED: usize = 64 << 20;

/// The ledger in a SQLite file, with a journal beside it.
#[derive(Debug)]
pub struct SqliteLedger {
    shared: Arc<Shared>,
    _lock: File,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Taken with the state held, or alone; never the other way about.
    journal: Mutex<Journal>,
    /// There is something to write.
    asked: Condvar,
    /// There is something to merge.
    written: Condvar,
    /// For those who wait for all of it.
    done: Condvar,
    durability: Durability,
    clock: Clock,
    counts: Arc<Counts>,
}

/// Who waits for a hold to be written.
type Asker = oneshot::Sender<Result<(), Unavailable>>;
/// A command on its way to the journal.
type Waiting = (Command, Option<Asker>);

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own reader")]
struct State {
    waiting: VecDeque<Waiting>,
    /// A group is being written.
    writing: bool,
    /// The journal could not be written when that was last tried.
    failing: bool,
    /// Holds that were asked for and not refused, and have no ending yet: only those can be ended.
    open: HashSet<CallId>,
    /// Somebody waits for a hold among what waits.
    urgent: bool,
    /// Somebody waits for everything to be written.
    flushing: bool,
    /// Written to the journal, and not taken by the merger.
    unmerged: Unmerged,
    /// What the merger has taken and not brought into the database, in bytes.
    merging: usize,
    /// How far the database is.
    merged: Position,
    /// Somebody waits for everything to be in the database file itself.
    closing: bool,
    /// The writer, or the merger, waits to be woken. Waking one that does not would cost a system call for nothing.
    writer_rests: bool,
    merger_rests: bool,
}

impl SqliteLedger {
    /// Starts the writer over an open file whose journal has been taken up; `lock` keeps others from it meanwhile.
    ///
    /// # Errors
    /// What the system says of the journal, or that it gives no thread.
    pub fn start(
        store: Store,
        durability: Durability,
        lock: File,
        clock: Clock,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(&store, durability, clock, counts)?);
        let (writer, merger) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::Builder::new().name("ledger".into()).spawn(move || writer.write())?;
        std::thread::Builder::new().name("ledger-merge".into()).spawn(move || merger.merge(store))?;
        Ok(Self { shared, _lock: lock })
    }
}

impl Ledger for SqliteLedger {
    fn hold(&self, hold: NewHold) -> Receipt {
        let shared = &self.shared;
        let mut state = shared.state();
        if state.unmerged.entries.len() + state.merging > MAX_UNMERGED {
            // Nobody would know it from the journal, which goes on: the merger takes it back.
            shared.counts.set_closed(true);
            return Receipt::Refused(Unavailable("the database takes no entries".into()));
        }
        if shared.durability == Durability::Os && !state.writing {
            return shared.write_now(&mut state, hold);
        }
        let (answer, receiver) = oneshot::channel();
        let first = !std::mem::replace(&mut state.urgent, true);
        state.open.insert(hold.call);
        state.waiting.push_back((Command::Hold(hold), Some(answer)));
        drop(state);
        if first {
            shared.asked.notify_one();
        }
        Receipt::Waiting(receiver)
    }

    fn end(&self, ending: NewEnding) {
        let mut state = self.shared.state();
        // Its hold was refused, and whoever asked for it had left: there is nothing to end.
        if !state.open.remove(&ending.call) {
            return;
        }
        state.waiting.push_back((Command::End(ending), None));
        if std::mem::take(&mut state.writer_rests) {
            self.shared.asked.notify_one();
        }
    }

    fn flush(&self) {
        let shared = &self.shared;
        let mut state = shared.state();
        state.flushing = true;
        // Whatever the last attempt came to, there is one more.
        state.failing = false;
        shared.asked.notify_one();
        while (!state.waiting.is_empty() || state.writing) && !state.failing {
            state = shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.flushing = false;
        state.closing = true;
        shared.written.notify_one();
        let merged = shared.done.wait_timeout_while(state, MERGE, |state| state.closing);
        if merged.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            tracing::warn!("the ledger's journal and write-ahead log stay beside it, and are needed");
        }
    }
}

impl Shared {
    fn new(store: &Store, durability: Durability, clock: Clock, counts: Arc<Counts>) -> io::Result<Self> {
        let progress = store.progress().map_err(|error: LedgerError| io::Error::other(error))?;
        let merged = progress.merged;
        Ok(Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                writing: false,
                failing: false,
                open: HashSet::new(),
                urgent: false,
                flushing: false,
                unmerged: Unmerged { entries: Vec::new(), end: merged },
                merging: 0,
                merged,
                closing: false,
                writer_rests: false,
                merger_rests: false,
            }),
            journal: Mutex::new(Journal::open(store.path(), progress)?),
            asked: Condvar::new(),
            written: Condvar::new(),
            done: Condvar::new(),
            durability,
            clock,
            counts,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a hold, and the endings that wait in front of it, on the asker's own thread.
    fn write_now(&self, state: &mut State, hold: NewHold) -> Receipt {
        let mut group: Vec<Waiting> = state.waiting.drain(..).collect();
        state.urgent = false;
        state.open.insert(hold.call);
        group.push((Command::Hold(hold), None));
        let mut journal = self.journal();
        let written = self.write_group(&mut journal, &group, state.merged, state.failing);
        let refused = written.as_ref().err().map(|error| Unavailable(error.to_string().into()));
        // Among what waited there may be holds, of those who came while the writer was at work.
        let answers = self.wrote(state, &mut journal, group, written);
        drop(journal);
        self.tell(state.flushing, answers);
        // Should it have been refused: the writer tries again what waits, or whether it could.
        if refused.is_some() && std::mem::take(&mut state.writer_rests) {
            self.asked.notify_one();
        }
        refused.map_or(Receipt::Written, Receipt::Refused)
    }

    /// The thread that writes what nobody writes at once.
    fn write(&self) {
        let mut askers = 0;
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() && !state.failing {
                state.writer_rests = true;
                state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.writer_rests = false;
            // Only endings, or nothing but the wish to write again: longer where that failed a moment ago.
            let pause = if state.failing { RETRY } else { LINGER };
            let only_endings = |state: &mut State| !state.flushing && !state.urgent;
            let waited = self.asked.wait_timeout_while(state, pause, only_endings);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if askers > 1 && state.urgent && !state.flushing {
                drop(state);
                std::thread::sleep(COMPANY);
                state = self.state();
            }
            let count = state.waiting.len().min(GROUP);
            let group: Vec<Waiting> = state.waiting.drain(..count).collect();
            if group.is_empty() && !state.failing {
                // A hold has taken it along, and has told whoever waits.
                continue;
            }
            state.writing = true;
            state.urgent = state.waiting.iter().any(|(_, answer)| answer.is_some());
            let (merged, failing) = (state.merged, state.failing);
            drop(state);

            let mut journal = self.journal();
            let written = self.write_group(&mut journal, &group, merged, failing);
            drop(journal);

            let mut state = self.state();
            state.writing = false;
            let answers = self.wrote(&mut state, &mut self.journal(), group, written);
            let flushing = state.flushing;
            drop(state);
            askers = answers.len();
            self.tell(flushing, answers);
        }
    }

    /// Tells those whose holds are written, and those who wait for all of it.
    fn tell(&self, flushing: bool, answers: Vec<Asker>) {
        for answer in answers {
            // Whoever asked may have left.
            let _ = answer.send(Ok(()));
        }
        if flushing {
            self.done.notify_all();
        }
    }

    /// Writes a group to the journal. With nothing to write, whether it could be is tried all the same: nobody may come to
    /// find out, now that the gateway says it is not ready.
    fn write_group(
        &self,
        journal: &mut Journal,
        group: &[Waiting],
        merged: Position,
        failing: bool,
    ) -> io::Result<()> {
        let sync = self.durability == Durability::Fsync;
        journal.turn(merged, failing);
        if group.is_empty() {
            return journal.probe(sync);
        }
        let began = self.clock.now();
        for (command, _) in group {
            journal.stage(&Entry::from(command));
        }
        let written = journal.write(sync);
        self.counts.commit.observe((self.clock.now() - began).as_secs_f64());
        written
    }

    /// What follows from a write: it is counted and handed on, or holds are refused and endings wait. Returns those who
    /// wait for a hold that was written.
    #[must_use = "they wait"]
    fn wrote(
        &self,
        state: &mut State,
        journal: &mut Journal,
        group: Vec<Waiting>,
        written: io::Result<()>,
    ) -> Vec<Asker> {
        if state.failing != written.is_err() {
            state.failing = written.is_err();
            self.counts.set_closed(written.is_err());
            match &written {
                Ok(()) => tracing::info!("the ledger can be written again"),
                Err(error) => {
                    tracing::error!(%error, "the ledger cannot be written: nothing is forwarded until it can");
                }
            }
        }
        if let Err(error) = written {
            state.refuse_holds(group, &error.to_string().into());
            return Vec::new();
        }
        journal.hand_over(&mut state.unmerged);
        self.show_unmerged(state);
        if !group.is_empty() && std::mem::take(&mut state.merger_rests) {
            self.written.notify_one();
        }
        let count = |(command, answer): Waiting| {
            self.counts.wrote(&command);
            answer
        };
        group.into_iter().filter_map(count).collect()
    }

    fn show_unmerged(&self, state: &State) {
        let bytes = state.unmerged.entries.len() + state.merging;
        self.counts.unmerged.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl State {
    /// The disk does not take what was asked: every hold is refused, those that wait too; endings go back in
    /// front, in order, but for those of the holds that were just refused.
    fn refuse_holds(&mut self, group: Vec<Waiting>, reason: &Arc<str>) {
        let mut refused = HashSet::new();
        let mut endings = VecDeque::new();
        for (command, answer) in group.into_iter().chain(self.waiting.drain(..)) {
            match (command, answer) {
                (Command::Hold(hold), answer) => {
                    refused.insert(hold.call);
                    self.open.remove(&hold.call);
                    // Whoever asked may have left.
                    answer.map(|answer| answer.send(Err(Unavailable(Arc::clone(reason)))));
                }
                (Command::End(ending), _) if refused.contains(&ending.call) => {}
                (ending, _) => endings.push_back((ending, None)),
            }
        }
        self.waiting = endings;
        self.urgent = false;
    }
}

#[cfg(test)]
mod tests;
