//! The one writer: a thread that takes what has gathered, writes it as one transaction, and says so.
//!
//! While it writes, more gathers: the slower the disk, the larger the groups. Holds that could not be
//! written are refused; endings are kept and tried again until they are written, which is what makes
//! the ledger recover by itself when, say, a full disk has room again.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, IntGauge};
use tokio::sync::oneshot;

use super::store::Store;
use super::{Command, Ledger, NewEnding, NewHold, Unavailable};
use crate::clock::Clock;

/// Commands written in one transaction at most.
const GROUP: usize = 1024;
/// How long to wait before endings that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(1);

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
    commit_seconds: Histogram,
    closed: IntGauge,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Command, Option<oneshot::Sender<Result<(), Unavailable>>>)>,
    /// A group is being written.
    writing: bool,
    /// Endings wait for the disk.
    failing: bool,
}

impl SqliteLedger {
    /// Starts the writer over an open file; `lock` keeps others from it meanwhile. `commit_seconds` times each transaction; `closed` is 1
    /// while the file cannot be written.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        store: Store,
        lock: File,
        clock: Clock,
        commit_seconds: Histogram,
        closed: IntGauge,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            clock,
            commit_seconds,
            closed,
        });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run(store))?;
        Ok(Self { shared, _lock: lock })
    }

    fn enqueue(&self, command: Command, answer: Option<oneshot::Sender<Result<(), Unavailable>>>) {
        let mut state = self.shared.state();
        let first = state.waiting.is_empty();
        state.waiting.push_back((command, answer));
        drop(state);
        if first {
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
        while (!state.waiting.is_empty() || state.writing) && !state.failing {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut store: Store) {
        let mut group = Vec::new();
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.failing && state.waiting.iter().all(|(_, answer)| answer.is_none()) {
                // Only endings wait, and they could not be written a moment ago.
                state = self.changed.wait_timeout(state, RETRY).unwrap_or_else(PoisonError::into_inner).0;
            }
            let count = state.waiting.len().min(GROUP);
            group.extend(state.waiting.drain(..count));
            state.writing = true;
            drop(state);

            let began = self.clock.now();
            let written = store.write(group.iter().map(|(command, _)| command));
            self.commit_seconds.observe((self.clock.now() - began).as_secs_f64());

            let mut state = self.state();
            state.writing = false;
            if state.failing != written.is_err() {
                state.failing = written.is_err();
                self.closed.set(i64::from(written.is_err()));
                match &written {
                    Ok(()) => tracing::info!("the ledger can be written again"),
                    Err(error) => {
                        tracing::error!(%error, "the ledger cannot be written: nothing is forwarded until it can")
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
                Err(error) => {
                    let reason: Arc<str> = error.to_string().into();
                    // Back in front, in order, without the holds.
                    for (command, answer) in group.drain(..).rev() {
                        match answer {
                            Some(answer) => drop(answer.send(Err(Unavailable(Arc::clone(&reason))))),
                            None => state.waiting.push_front((command, None)),
                        }
                    }
                }
            }
            self.changed.notify_all();
        }
    }
}
