//! The one writer. An entry is written to the journal; then whoever waits for it goes on, and its credits are counted. The
//! database is filled from the journal behind everybody's back.
//!
//! At `os` durability a write is a copy into the system's memory, and the event loop that asks for a hold does it itself:
//! handing it to a thread would cost far more than the write. Should the disk hang in the midst of it, that one loop hangs
//! with it; the others leave their holds to the writer, are refused after a moment, and go on. At `fsync` a thread writes whatever has gathered and waits
//! for the disk once for all of it: the slower the disk, the larger the groups. Endings, which nobody waits
//! for, go with the next hold or after a moment.
//!
//! Credits are counted in the metrics when their ending is written, not before: a counter never shows what a crash
//! could take back.
//!
//! Holds that could not be written are refused; endings are kept and tried again until they are written, which is what
//! makes the ledger recover by itself when, say, a full disk has room again.

mod asker;
mod merger;
mod state;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::asker::{Asker, tell};
use self::state::{State, Waiting};
use super::identity::{Identity, Lock};
use super::store::Store;
use crate::clock::Clock;
use crate::config::Durability;
use crate::ledger::counts::Counts;
use crate::ledger::entry::Entry;
use crate::ledger::error::LedgerError;
use crate::ledger::facts::{Aside, Command, NewEnding, NewHold};
use crate::ledger::journal::{Journal, Position};
use crate::ledger::write::{Ledger, Note, Receipt, Unavailable};

/// Commands written to the journal at once at most.
const GROUP: usize = 1024;
/// How long to wait before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the file may take to be made whole at the end. A reader may be in the way for some seconds.
const MERGE: Duration = Duration::from_secs(10);
/// How long the end waits for the last entries to be written. A disk that hangs must not keep a process from ending.
const LAST_WRITE: Duration = Duration::from_secs(10);
/// How long an event loop waits for another that writes, before it leaves its hold to the writer: far longer than a write takes
/// that does not hang.
const TURN: Duration = Duration::from_millis(5);
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
    identity: Identity,
    _lock: Lock,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Waited for without the state, which may be taken while this is held.
    journal: Mutex<Journal>,
    /// For askers: the one that wrote has.
    free: Condvar,
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

impl SqliteLedger {
    /// Starts the writer over an open file whose journal has been taken up; `lock` keeps others from it meanwhile.
    ///
    /// # Errors
    /// What the system says of the journal, or that it gives no thread.
    pub fn start(
        store: Store,
        durability: Durability,
        lock: Lock,
        clock: Clock,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(&store, durability, clock, counts)?);
        let identity = Identity::of(store.path());
        let (writer, merger) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::Builder::new().name("ledger".into()).spawn(move || writer.write())?;
        std::thread::Builder::new().name("ledger-merge".into()).spawn(move || merger.merge(store))?;
        Ok(Self { shared, identity, _lock: lock })
    }
}

impl Ledger for SqliteLedger {
    fn hold(&self, mut hold: NewHold) -> Receipt {
        let shared = &self.shared;
        let mut state = shared.state();
        if state.unmerged.entries.len() + state.merging > MAX_UNMERGED {
            // Nobody would know it from the journal, which goes on: the merger takes it back.
            shared.counts.set_closed(true);
            return Receipt::Refused(Unavailable("the database takes no entries".into()));
        }
        if let Some(why) = shared.counts.why_nothing_is_tried() {
            return Receipt::Refused(Unavailable(why.into()));
        }
        if shared.durability == Durability::Os {
            match shared.write_now(state, hold) {
                Ok(receipt) => return receipt,
                // Somebody else is at it, for longer than such a write takes: the thread waits for the disk, and not this one.
                Err(back) => (state, hold) = back,
            }
        }
        let (asker, told) = Asker::new();
        let first = !std::mem::replace(&mut state.urgent, true);
        state.open.insert(hold.call);
        state.waiting.push_back((Command::Hold(hold), Some(asker)));
        drop(state);
        if first {
            shared.asked.notify_one();
        }
        Receipt::Waiting(told)
    }

    fn end(&self, ending: NewEnding) {
        let mut state = self.shared.state();
        // Its hold was refused, and whoever asked for it had left: there is nothing to end.
        if !state.open.remove(&ending.call) {
            return;
        }
        self.shared.write_soon(state, Command::End(ending));
    }

    fn aside(&self, aside: Aside) {
        let state = self.shared.state();
        // It is no credit, and copies are answered, and calls refused, also while nothing can be written.
        if !state.failing && self.shared.counts.why_nothing_is_tried().is_none() {
            self.shared.write_soon(state, Command::Aside(aside));
        }
    }

    fn note(&self, note: Note) {
        let mut state = self.shared.state();
        // What is made goes on being made while nothing can be written, and would gather without end; of jobs there are few.
        let closed = state.failing || self.shared.counts.why_nothing_is_tried().is_some();
        if closed && matches!(note, Note::Made(_)) {
            return;
        }
        // At once: a crash that takes the id of a job along would leave nobody who can tell what it cost.
        state.urgent = true;
        self.shared.write_soon(state, note.into());
    }

    fn look(&self) {
        self.shared.counts.set_lost(self.identity.changed());
    }

    fn flush(&self) {
        let shared = &self.shared;
        let mut state = shared.state();
        state.flushing = true;
        // Whatever the last attempt came to, there is one more.
        state.failing = false;
        shared.asked.notify_one();
        let unwritten = |state: &mut State| {
            (!state.waiting.is_empty() || state.writing || state.inline) && !state.failing
        };
        let waited = shared.done.wait_timeout_while(state, LAST_WRITE, unwritten);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            tracing::error!(
                "the ledger's disk hangs: the endings of the last calls are not written, and stay booked in doubt"
            );
            return;
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
        Ok(Self {
            state: Mutex::new(State::new(progress.merged)),
            journal: Mutex::new(Journal::open(store.path(), progress)?),
            free: Condvar::new(),
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

    /// What nobody waits for.
    fn write_soon(&self, mut state: MutexGuard<'_, State>, command: Command) {
        state.waiting.push_back((command, None));
        if std::mem::take(&mut state.writer_rests) || state.urgent {
            self.asked.notify_one();
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a hold, and the endings that wait in front of it, on the asker's own thread, if nobody else is writing. The
    /// state is free meanwhile: should the disk hang, it holds up this thread and no other.
    fn write_now<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        hold: NewHold,
    ) -> Result<Receipt, (MutexGuard<'s, State>, NewHold)> {
        while state.inline && !state.writing && !state.avoided {
            state.in_line += 1;
            let waited = self.free.wait_timeout(state, TURN);
            let (taken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = taken;
            state.in_line -= 1;
            // Whoever comes after this one does not even wait, until that write has come back.
            state.avoided = state.inline && waited.timed_out();
        }
        if state.inline || state.writing {
            return Err((state, hold));
        }
        let mut group: Vec<Waiting> = state.waiting.drain(..).collect();
        state.urgent = false;
        state.inline = true;
        state.open.insert(hold.call);
        group.push((Command::Hold(hold), None));
        let (merged, failing) = (state.merged, state.failing);
        drop(state);

        // Nobody else has it while this one writes, but for the writer, which waits for it.
        let mut journal = self.journal();
        let written = self.write_group(&mut journal, &group, merged, failing);
        let refused = written.as_ref().err().map(|error| Unavailable(error.to_string().into()));
        let mut state = self.state();
        (state.inline, state.avoided) = (false, false);
        let others = state.in_line > 0;
        // Among what waited there may be holds, of those who came while the writer was at work.
        let answers = self.wrote(&mut state, &mut journal, group, written);
        drop(journal);
        let flushing = state.flushing;
        // Should it have been refused: the writer tries again what waits, or whether it could.
        let wakes = refused.is_some() && std::mem::take(&mut state.writer_rests);
        drop(state);
        if others {
            self.free.notify_one();
        }
        self.tell(flushing, answers);
        if wakes {
            self.asked.notify_one();
        }
        Ok(refused.map_or(Receipt::Written, Receipt::Refused))
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
            let mut state = self.state();
            state.writing = false;
            let answers = self.wrote(&mut state, &mut journal, group, written);
            drop(journal);
            let flushing = state.flushing;
            drop(state);
            askers = answers.len();
            self.tell(flushing, answers);
        }
    }

    /// Tells those whose holds are written, and those who wait for all of it.
    fn tell(&self, flushing: bool, answers: Vec<Asker>) {
        tell(answers);
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
        self.counts.disk.begins(self.clock);
        let began = self.clock.now();
        for (command, _) in group {
            journal.stage(&Entry::from(command));
        }
        let written = if group.is_empty() { journal.probe(sync) } else { journal.write(sync) };
        self.counts.disk.ends();
        if group.is_empty() {
            return written;
        }
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

#[cfg(test)]
mod tests;
