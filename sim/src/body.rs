//! The body of a simulated answer: writes at their pace, and the ways in which one can go wrong.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::call::Call;

/// What comes after the last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The message ends as HTTP wants.
    Whole,
    /// The connection closes in its middle.
    Close,
    /// The connection is reset in its middle.
    Reset,
    /// The message ends, and then the connection is reset.
    WholeThenReset,
    /// Nothing more, ever.
    Stall,
}

/// A body that writes piece by piece. Dropped before its end, it drops its call, which then has hung up.
pub(super) struct SimBody {
    writes: VecDeque<Bytes>,
    exact: Option<u64>,
    end: End,
    pace: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    /// A write was handed over and the connection has not had its turn to flush it.
    written: bool,
    reset: Arc<AtomicBool>,
    call: Option<Call>,
}

impl SimBody {
    /// One piece with its length announced.
    pub(super) fn whole(bytes: Bytes, call: Call) -> Self {
        let exact = Some(bytes.len() as u64);
        Self::new([bytes].into(), exact, End::Whole, Duration::ZERO, call)
    }

    pub(super) fn new(
        writes: VecDeque<Bytes>,
        exact: Option<u64>,
        end: End,
        pace: Duration,
        call: Call,
    ) -> Self {
        let reset = Arc::clone(&call.reset);
        Self { writes, exact, end, pace, sleep: None, written: false, reset, call: Some(call) }
    }

    fn finish(&mut self) {
        if let Some(call) = self.call.take() {
            call.finished();
        }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if std::mem::take(&mut self.written) {
            if self.pace.is_zero() {
                // One turn of the event loop, in which the connection flushes this write by itself.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.sleep = Some(Box::pin(sleep(self.pace)));
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        if let Some(write) = self.writes.pop_front() {
            self.written = true;
            if self.writes.is_empty() && self.end == End::Whole && self.exact.is_some() {
                self.finish();
            }
            return Poll::Ready(Some(Ok(Frame::data(write))));
        }
        match self.end {
            End::Stall => return Poll::Pending,
            End::Whole => {}
            End::WholeThenReset => self.reset.store(true, Ordering::Relaxed),
            End::Close | End::Reset => {
                self.reset.store(self.end == End::Reset, Ordering::Relaxed);
                self.finish();
                return Poll::Ready(Some(Err(io::Error::other("simulated fault"))));
            }
        }
        self.finish();
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.exact.is_some() && self.writes.is_empty() && self.end == End::Whole
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, |_| {
            SizeHint::with_exact(self.writes.iter().map(|write| write.len() as u64).sum())
        })
    }
}
