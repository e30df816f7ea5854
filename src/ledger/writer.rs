//! The one writer: a thread that takes what has gathered, writes it as one transaction, and says so. Holds are
//! waited for and written at once; endings, which nobody waits for, go with the next hold or after a moment.
//!
//! Credits are counted in the metrics when their ending is written, not before: a counter never shows what a crash
//! could take back.
//!
//! While it writes, more gathers: the slower the disk, the larger the groups. Holds that could not be
//! written are refused; endings are kept and tried again until they are written, which is what makes
//! the ledger recover by itself when, say, a full disk has room again.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::store::{Store, StoreError};
use super::{Command, Ledger, NewEnding, NewHold, Unavailable};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Commands written in one transaction at most.
const GROUP: usize = 1024;
/// How long to wait before endings that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the file may take to be made whole at the end. A reader may be in the way for some seconds.
const MERGE: Duration = Duration::from_secs(10);
/// How long endings wait for a hold to go with.
const LINGER: Duration = Duration::from_millis(20);

/// The ledger in a SQLite file.
#[derive(Debug)]
pub struct SqliteLedger {
    shared: Arc<Shared>,
    _lock: File,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Who waits for a hold to be written.
type Asker = oneshot::Sender<Result<(), Unavailable>>;

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own reader")]
struct State {
    waiting: VecDeque<(Command, Option<Asker>)>,
    /// A group is being written.
    writing: bool,
    /// Endings wait for the disk.
    failing: bool,
    /// A hold is among what waits.
    urgent: bool,
    /// Somebody waits for everything to be written.
    flushing: bool,
    /// Somebody waits for everything to be in the file itself.
    merging: bool,
}

impl SqliteLedger {
    /// Starts the writer over an open file; `lock` keeps others from it meanwhile.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(store: Store, lock: File, clock: Clock, metrics: Arc<Metrics>) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), clock, metrics });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run(store))?;
        Ok(Self { shared, _lock: lock })
    }

    fn enqueue(&self, command: Command, answer: Option<Asker>) {
        let mut state = self.shared.state();
        // The first of all, or the first that is waited for.
        let wakes = state.waiting.is_empty() || (answer.is_some() && !state.urgent);
        state.urgent |= answer.is_some();
        state.waiting.push_back((command, answer));
        drop(state);
        if wakes {
            self.shared.changed.notify_all();
        }
    }
}

impl Ledger for SqliteLedger {
    fn hold(&self, hold: NewHold) -> oneshot::Receiver<Result<(), Unavailable>> {
        let (answer, receiver) = oneshot::channel();
        self.enqueue(Command::Hold(hold), Some(answer));
        receiver
    }

    fn end(&self, ending: NewEnding) {
        self.enqueue(Command::End(ending), None);
    }

    fn flush(&self) {
        let mut state = self.shared.state();
        state.flushing = true;
        // Whatever the last attempt came to, there is one more.
        state.failing = false;
        self.shared.changed.notify_all();
        while (!state.waiting.is_empty() || state.writing) && !state.failing {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.flushing = false;
        state.merging = true;
        self.shared.changed.notify_all();
        let merged = self.shared.changed.wait_timeout_while(state, MERGE, |state| state.merging);
        if merged.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            tracing::warn!("the ledger's write-ahead log stays beside it");
        }
    }
}

impl State {
    /// The disk does not take what was asked: every hold is refused, those that wait too; endings go back in
    /// front, in order, but for those of the holds that were just refused.
    fn refuse_holds(&mut self, group: &mut Vec<(Command, Option<Asker>)>, reason: &Arc<str>) {
        let mut refused = HashSet::new();
        let mut endings = VecDeque::new();
        for (command, answer) in group.drain(..).chain(self.waiting.drain(..)) {
            match (command, answer) {
                (Command::Hold(hold), answer) => {
                    refused.insert(hold.call);
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

/// One entry that can never be written must not keep the others from it: each is tried alone, and the one that
/// is at fault is left out, with a word to the operator.
fn set_aside(store: &mut Store, group: &mut Vec<(Command, Option<Asker>)>) {
    group.retain(|(command, _)| match store.try_write(command) {
        Err(error) if error.is_of_one_entry() => {
            tracing::error!(%error, ?command, "an entry cannot be written and is left out of the ledger");
            false
        }
        _ => true,
    });
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut store: Store) {
        let mut group = Vec::new();
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() && !state.merging && !state.failing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.merging {
                drop(state);
                store.merge();
                self.state().merging = false;
                self.changed.notify_all();
                continue;
            }
            // Only endings, or nothing but the wish to write again: longer where that failed a moment ago.
            let pause = if state.failing { RETRY } else { LINGER };
            let only_endings = |state: &mut State| !state.flushing && !state.urgent && !state.merging;
            let waited = self.changed.wait_timeout_while(state, pause, only_endings);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let count = state.waiting.len().min(GROUP);
            group.extend(state.waiting.drain(..count));
            state.writing = true;
            state.urgent = state.waiting.iter().any(|(_, answer)| answer.is_some());
            drop(state);

            let began = self.clock.now();
            // With nothing to write, whether it could be is tried all the same: nobody may come to find out, now that the
            // gateway says it is not ready.
            let mut written = if group.is_empty() {
                store.probe().map(|()| Vec::new())
            } else {
                store.write(group.iter().map(|(command, _)| command))
            };
            if written.as_ref().is_err_and(StoreError::is_of_one_entry) {
                set_aside(&mut store, &mut group);
                written = store.write(group.iter().map(|(command, _)| command));
            }
            self.metrics.ledger_commit.observe((self.clock.now() - began).as_secs_f64());
            if let Ok(written) = &written {
                for command in written {
                    self.metrics.ledger_wrote(command);
                }
            }
            let written = written.map(drop);

            let mut state = self.state();
            state.writing = false;
            if state.failing != written.is_err() {
                state.failing = written.is_err();
                self.metrics.ledger_closed.set(i64::from(written.is_err()));
                match &written {
                    Ok(()) => tracing::info!("the ledger can be written again"),
                    Err(error) => {
                        tracing::error!(%error, "the ledger cannot be written: nothing is forwarded until it can");
                    }
                }
            }
            match written {
                Ok(()) => {
                    for answer in group.drain(..).filter_map(|(_, answer)| answer) {
                        // Whoever asked may have left.
                        let _ = answer.send(Ok(()));
                    }
                }
                Err(error) => state.refuse_holds(&mut group, &error.to_string().into()),
            }
            self.changed.notify_all();
        }
    }
}
