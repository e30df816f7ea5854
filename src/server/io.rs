//! A caller's connection as hyper sees it: small writes are gathered into one, a write that the caller does not take has a deadline, and what still comes is read on at the end.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::caller::Caller;
use super::farewell::{Farewell, Parting};
use crate::clock::Clock;

/// Up to this many bytes are cheaper copied into one buffer than gathered by the kernel piece by
/// piece: an event of a stream is three pieces (chunk size, data, line end), and a burst has many.
const COPY_LIMIT: usize = 16 << 10;

/// A caller's connection.
#[derive(Debug)]
pub struct CallerIo<T> {
    inner: T,
    /// Scratch for gathering small writes. Empty but for the duration of a write.
    gathered: Vec<u8>,
    write_timeout: Duration,
    /// Running since the caller stopped taking what is written.
    stalled: Option<Pin<Box<Sleep>>>,
    parting: Parting,
    /// Once it is being closed.
    farewell: Option<Box<Farewell>>,
}

impl<T> CallerIo<T> {
    /// Wraps a connection of which `ahead` has been read already.
    pub fn new(inner: T, write_timeout: Duration, parting: Parting) -> Self {
        Self { inner, gathered: Vec::new(), write_timeout, stalled: None, parting, farewell: None }
    }

    /// The gateway's clock.
    pub(super) fn clock(&self) -> Clock {
        self.parting.clock
    }

    /// What it wraps.
    pub(super) fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Passes on what a write came to; a caller that takes nothing for too long is an error.
    fn timed<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the caller stopped reading")))
    }

    /// Reads what has come; how much it was, 0 at the end. By way of a buffer on the stack, which keeps this crate free of
    /// unsafe code: only heads and request bodies come this way.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<usize>>
    where
        T: AsyncRead + Unpin,
    {
        let mut space = [std::mem::MaybeUninit::uninit(); 8 << 10];
        let length = space.len().min(buf.remaining());
        let mut read = ReadBuf::uninit(&mut space[..length]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Closes the connection with `last_words`, and reads on what still comes. `expects_more` if the caller may be sending
    /// yet.
    pub(super) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        last_words: impl FnOnce() -> Bytes,
        expects_more: bool,
    ) -> Poll<io::Result<()>>
    where
        T: Caller,
    {
        let Self { inner, parting, farewell, .. } = self;
        farewell.get_or_insert_with(|| Box::new(parting.begin(last_words(), expects_more))).poll(inner, cx)
    }
}

impl<T: AsyncRead + Unpin> Read for CallerIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_take(cx, &mut buf).map_ok(drop)
    }
}

impl<T: Caller> Write for CallerIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.timed(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        let written = if length > COPY_LIMIT {
            Pin::new(&mut this.inner).poll_write_vectored(cx, bufs)
        } else if let [one] = bufs {
            Pin::new(&mut this.inner).poll_write(cx, one)
        } else {
            this.gathered.clear();
            for buf in bufs {
                this.gathered.extend_from_slice(buf);
            }
            Pin::new(&mut this.inner).poll_write(cx, &this.gathered)
        };
        this.timed(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.timed(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = this.poll_part(cx, Bytes::new, false);
        this.timed(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;
    use crate::clock::Clock;

    fn caller(io: DuplexStream) -> CallerIo<DuplexStream> {
        let parting = Parting::new(1, crate::shutdown::Signal::default(), Clock::system());
        CallerIo::new(io, Duration::from_mins(1), parting)
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_is_cut_on_its_deadline() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut io = caller(near);
        let clock = crate::clock::Clock::system();
        let error = loop {
            let written = poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"0123456789")).await;
            if let Err(error) = written {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(clock.since_origin(), Duration::from_mins(1));
        let mut got = [0; 8];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"01234567");
    }

    #[tokio::test]
    async fn pieces_arrive_in_order_gathered_or_not() {
        for size in [1, 100, COPY_LIMIT] {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let mut io = caller(near);
            let pieces = [vec![b'a'; size], vec![b'b'; size], vec![b'c'; size]];
            let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut left: &mut [IoSlice<'_>] = &mut slices;
            while !left.is_empty() {
                let written = poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, left)).await.unwrap();
                IoSlice::advance_slices(&mut left, written);
            }
            drop(io);
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, pieces.concat());
        }
    }
}
