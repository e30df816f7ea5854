//! Where lines are written: one background thread takes them from a bounded buffer, so that no
//! request ever waits for a slow terminal or pipe.
//!
//! A line that finds the buffer full, or that the output does not take, is dropped and counted (`mavera_gateway_log_lines_dropped_total`);
//! logs are for people, and what must never be lost does not go through here.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

use crate::metrics::Metrics;

/// Bytes that may wait to be written.
const CAPACITY: usize = 4 << 20;
/// After the first line wakes the writer, it waits this long for company: one write for many lines.
const GATHER: Duration = Duration::from_millis(10);
/// How long the end of the program waits for the output.
const FLUSH: Duration = Duration::from_secs(5);

/// A handle to the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    writing: bool,
    flush: bool,
    /// The writer waits to be woken.
    rests: bool,
}

impl Log {
    /// Starts the writer over `out`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(out: impl Write + Send + 'static, metrics: &Metrics) -> io::Result<Self> {
        let help = "Log lines dropped because the output was too slow, or did not take them.";
        let dropped = metrics.counter("log_lines_dropped_total", help);
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), dropped });
        let log = Self { shared: Arc::clone(&shared) };
        std::thread::Builder::new().name("log".into()).spawn(move || shared.write_all_to(out))?;
        Ok(log)
    }

    /// Queues whole lines. Never blocks on the output.
    pub fn write(&self, lines: &[u8]) {
        self.write_with(|waiting| waiting.extend_from_slice(lines));
    }

    /// Queues what `write` appends, which must be whole lines, where it waits. Never blocks on the output.
    pub fn write_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.waiting.len();
        write(&mut state.waiting);
        if state.waiting.len() > CAPACITY {
            state.waiting.truncate(before);
            self.shared.dropped.inc();
            return;
        }
        let rests = std::mem::take(&mut state.rests);
        drop(state);
        if rests {
            self.shared.changed.notify_all();
        }
    }

    /// Returns when everything queued so far has been handed to the system, or the output has not taken it
    /// for a few seconds: nobody must wait for a pipe without a reader.
    pub fn flush(&self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.flush = true;
        self.shared.changed.notify_all();
        let unwritten = |state: &mut State| !state.waiting.is_empty() || state.writing;
        let waited = self.shared.changed.wait_timeout_while(state, FLUSH, unwritten);
        waited.unwrap_or_else(PoisonError::into_inner).0.flush = false;
    }
}

impl Shared {
    fn write_all_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while state.waiting.is_empty() {
                state.rests = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.rests = false;
            if !state.flush {
                let gathered = self.changed.wait_timeout_while(state, GATHER, |state| !state.flush);
                state = gathered.unwrap_or_else(PoisonError::into_inner).0;
            }
            std::mem::swap(&mut batch, &mut state.waiting);
            state.writing = true;
            drop(state);
            // A closed pipe or a full disk must not stop the gateway; who reads the metrics is told.
            if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                self.dropped.inc_by(memchr::memchr_iter(b'\n', &batch).count() as u64);
            }
            batch.clear();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.writing = false;
            self.changed.notify_all();
        }
    }
}

/// One event of `tracing`, gathered to a whole line before it is queued.
pub struct Line {
    log: Log,
    bytes: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.log.write(&self.bytes);
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { log: self.clone(), bytes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_the_output_does_not_take_are_counted() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = Log::start(Full, &Metrics::new()).unwrap();
        for _ in 0..100 {
            log.write(b"{}\n{}\n");
        }
        log.flush();
        assert_eq!(log.shared.dropped.get(), 200);
    }

    #[test]
    fn flush_waits_for_every_line_in_order() {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let log = Log::start(sink.clone(), &Metrics::new()).unwrap();
        let mut expected = String::new();
        for n in 0..1000 {
            log.write(format!("{n}\n").as_bytes());
            expected += &n.to_string();
            expected.push('\n');
        }
        log.flush();
        assert_eq!(String::from_utf8(sink.0.lock().unwrap().clone()).unwrap(), expected);
    }
}
