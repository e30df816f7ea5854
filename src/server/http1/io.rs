//! The bytes of an HTTP/1.1 connection, with what hyper leaves to whoever gives them: how long a connection may be idle
//! and a head take, what an end of input means, and how it all ends.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep_until};

use super::turn::Turn;
use crate::refuse::Refusal;
use crate::server::caller::Caller;
use crate::server::io::CallerIo;

/// How long a caller that sends nothing more is taken for one that waits for its answer, before it is asked.
const ASKED_AFTER: Duration = Duration::from_secs(1);
/// How often an end is taken up once more.
const TURNS: u8 = 3;
/// How often it is looked whether the question came back.
const LOOKED_EVERY: Duration = Duration::from_millis(500);
/// The question: an informational answer, which every caller must understand and none has to heed (RFC 9110 §15.2). If the
/// caller is gone, its system says so.
const QUESTION: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How long a caller may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Patience {
    /// Between two requests.
    pub(in crate::server) keep_alive: Duration,
    /// For a head, from its first byte.
    pub(in crate::server) head: Duration,
}

/// An HTTP/1.1 connection of a caller.
#[derive(Debug)]
pub(in crate::server) struct TurnIo<T> {
    io: CallerIo<T>,
    turn: Turn,
    patience: Patience,
    input: Input,
    /// Goes off when something is due; moved, not made anew.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Closing it is a reset.
    resets: bool,
    /// hyper has written all there was to write.
    clean: bool,
}

/// What comes from the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Nothing yet of another request, since then; since the last look, if nobody has looked.
    Idle(Option<Instant>),
    /// The head of the request behind so many, since then. It is over when there is one more.
    Head { began: Instant, behind: u64 },
    /// It has ended its side. `turns` is how often that was kept back from hyper; `asked` if it
    /// was asked whether it is there; looked at again at `next`.
    Ended { turns: u8, asked: bool, next: Instant },
    /// Nothing more is read: it took too long, in the middle of a head or not.
    GivenUp { in_head: bool },
}

impl<T: Caller> TurnIo<T> {
    /// `begun` if a first head is coming already.
    pub(in crate::server) fn new(io: CallerIo<T>, begun: bool, turn: Turn, patience: Patience) -> Self {
        let input =
            if begun { Input::Head { began: io.clock().now(), behind: 0 } } else { Input::Idle(None) };
        Self { io, turn, patience, input, alarm: None, resets: false, clean: false }
    }

    /// Ready when `at` has come.
    fn poll_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(cx)
    }

    /// A head that was read is one no longer.
    fn look_behind_head(&mut self) {
        if let Input::Head { behind, .. } = self.input
            && self.turn.requests() > behind
        {
            self.input = Input::Idle(None);
        }
    }

    /// Nothing has come: how long that may go on. Ready at the end of the connection.
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.turn.is_served() {
            if let Input::Idle(since) = &mut self.input {
                *since = None;
            }
            return Poll::Pending;
        }
        self.look_behind_head();
        let clock = self.io.clock();
        let due = match &mut self.input {
            Input::Head { began, .. } => *began + self.patience.head,
            Input::Idle(since) => *since.get_or_insert_with(|| clock.now()) + self.patience.keep_alive,
            Input::Ended { .. } | Input::GivenUp { .. } => return Poll::Pending,
        };
        ready!(self.poll_alarm(due, cx));
        self.input = Input::GivenUp { in_head: matches!(self.input, Input::Head { .. }) };
        Poll::Ready(Ok(()))
    }

    /// Ends the connection, whatever hyper made of it: a head that took too long is told so, and what still comes is read
    /// on. A break where nothing else shows it stays a reset.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.resets && !self.clean {
            return Poll::Ready(());
        }
        self.look_behind_head();
        if std::mem::take(&mut self.resets) {
            self.io.get_ref().resets_when_dropped(false);
        }
        let (input, patience) = (self.input, self.patience);
        let last_words = || match input {
            Input::GivenUp { in_head: true } => written(&Refusal::HeadTimeout { after: patience.head }),
            _ => Bytes::new(),
        };
        let expects_more = match input {
            Input::Idle(_) => self.turn.is_unread(),
            Input::Head { .. } => true,
            Input::GivenUp { in_head } => in_head,
            Input::Ended { .. } => false,
        };
        // Who is gone cannot be parted from.
        self.io.poll_part(cx, last_words, expects_more).map(drop)
    }

    /// The caller has ended its side. Between two requests and within one that is the end; behind a whole one it may
    /// wait for the answer, or be gone.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gone = || Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the caller has left")));
        // What hyper has read of a request, the service may not have been given yet: that is done between two reads.
        if let Input::Ended { turns, .. } = &mut self.input
            && !self.turn.is_ours()
            && *turns < TURNS
        {
            *turns += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while let Input::Ended { turns, mut asked, next } = self.input
            && self.turn.is_ours()
        {
            if self.turn.closes_whole() {
                return gone();
            }
            ready!(self.poll_alarm(next, cx));
            if self.io.get_ref().has_gone() {
                return gone();
            }
            if !asked && self.turn.may_inform() {
                match Pin::new(&mut self.io).poll_write(cx, QUESTION) {
                    Poll::Ready(Ok(written)) if written == QUESTION.len() => asked = true,
                    // A part of it cannot be taken back.
                    Poll::Ready(_) => return gone(),
                    Poll::Pending => return Poll::Pending,
                }
            }
            self.input = Input::Ended { turns, asked, next: self.io.clock().now() + LOOKED_EVERY };
        }
        Poll::Ready(Ok(()))
    }

    /// Before each write: what the answer makes of the connection.
    fn writing(&mut self) {
        if !self.resets && self.turn.is_unframed() {
            self.resets = true;
            self.io.get_ref().resets_when_dropped(true);
        }
    }
}

/// A refusal in bytes, where no request was read that it could be the answer to.
fn written(refusal: &Refusal) -> Bytes {
    let response = refusal.response();
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", response.body().len()).as_bytes());
    bytes.extend_from_slice(response.body());
    bytes.into()
}

impl<T: Caller> Read for TurnIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.input {
            Input::Idle(_) | Input::Head { .. } => {}
            Input::Ended { .. } => return this.poll_ended(cx),
            Input::GivenUp { .. } => return Poll::Ready(Ok(())),
        }
        match this.io.poll_take(cx, &mut buf) {
            Poll::Ready(Ok(0)) => {
                this.input =
                    Input::Ended { turns: 0, asked: false, next: this.io.clock().now() + ASKED_AFTER };
                this.poll_ended(cx)
            }
            Poll::Ready(Ok(_)) => {
                this.look_behind_head();
                if let Input::Idle(since) = &mut this.input {
                    *since = None;
                    if this.turn.is_the_callers() {
                        this.input =
                            Input::Head { began: this.io.clock().now(), behind: this.turn.requests() };
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_silent(cx),
        }
    }
}

impl<T: Caller> Write for TurnIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writing();
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writing();
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper asks for this when it has handed over all there was.
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.turn.flushed();
        Poll::Ready(Ok(()))
    }

    /// A clean end. What is done then is done for every end, by [`TurnIo::poll_part`].
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().clean = true;
        Poll::Ready(Ok(()))
    }
}
