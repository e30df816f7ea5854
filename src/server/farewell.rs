//! How a connection is closed: what is left to say, the end of our side, and what still comes is read and dropped for a
//! while, so that the last answer is not lost by a reset (RFC 9112 §9.6).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

use super::caller::Caller;
use crate::clock::Clock;
use crate::shutdown::Signal;
use crate::unread::{LONGEST, MOST, SILENCE};

/// How long a caller may say nothing when the gateway itself is about to end.
const SILENCE_AT_THE_END: Duration = Duration::from_millis(500);

/// How many connections may be read on at once while they close: those beyond are closed as they are.
#[derive(Clone, Debug)]
pub struct Parting {
    open: Arc<AtomicUsize>,
    most: usize,
    closing: Signal,
    pub(super) clock: Clock,
}

impl Parting {
    /// For a gateway of so many connections, that ends when `closing` says so. A quarter of them may be parting.
    #[must_use]
    pub fn new(max_connections: usize, closing: Signal, clock: Clock) -> Self {
        Self { open: Arc::default(), most: (max_connections / 4).max(1), closing, clock }
    }

    /// Closes a connection, with `unsent` as its last words. `expects_more` if the caller may be sending yet.
    pub(super) fn begin(&self, unsent: Bytes, expects_more: bool) -> Farewell {
        let room = self.open.fetch_add(1, Ordering::Relaxed) < self.most;
        let now = self.clock.now();
        Farewell {
            parting: self.clone(),
            unsent,
            half_closed: false,
            room,
            reads_on: expects_more && room,
            left: MOST,
            since: now,
            heard: now,
            tick: Box::pin(sleep(SILENCE_AT_THE_END)),
        }
    }
}

/// A connection on its way to its end.
#[derive(Debug)]
pub(super) struct Farewell {
    parting: Parting,
    unsent: Bytes,
    half_closed: bool,
    /// Whether what comes may be waited for at all.
    room: bool,
    reads_on: bool,
    /// Bytes.
    left: u64,
    since: Instant,
    heard: Instant,
    tick: Pin<Box<Sleep>>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.parting.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Farewell {
    /// Ready when the connection can be dropped.
    pub(super) fn poll<T: Caller>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.unsent.advance(written),
            }
        }
        if !self.half_closed {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            self.half_closed = true;
        }
        let mut dropped = [std::mem::MaybeUninit::uninit(); 16 << 10];
        loop {
            let mut buffer = ReadBuf::uninit(&mut dropped);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {
                    // Something came behind the last request after all: there may be more.
                    self.reads_on = self.room;
                    self.heard = self.parting.clock.now();
                    self.left = self.left.saturating_sub(buffer.filled().len() as u64);
                    if self.left == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if !self.reads_on => return Poll::Ready(Ok(())),
                Poll::Pending => {}
            }
            while self.tick.as_mut().poll(cx).is_ready() {
                let ending = self.parting.closing.is_cancelled();
                let patience = if ending { SILENCE_AT_THE_END } else { SILENCE };
                let now = self.parting.clock.now();
                if now - self.heard >= patience || now - self.since >= LONGEST {
                    return Poll::Ready(Ok(()));
                }
                self.tick.as_mut().reset(now + SILENCE_AT_THE_END);
            }
            // All that had come was read; otherwise once more.
            if buffer.filled().is_empty() {
                return Poll::Pending;
            }
        }
    }
}
