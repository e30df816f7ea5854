//! A caller's connection as hyper sees it: bytes that were read ahead come first, small writes are
//! gathered into one, and a write that the caller does not take has a deadline.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Up to this many bytes are cheaper copied into one buffer than gathered by the kernel piece by
/// piece: an event of a stream is three pieces (chunk size, data, line end), and a burst has many.
const COPY_LIMIT: usize = 16 << 10;

/// A caller's connection.
#[derive(Debug)]
pub struct CallerIo<T> {
    inner: T,
    /// Read to tell the protocol, not yet given to hyper.
    ahead: Bytes,
    /// Scratch for gathering small writes. Empty but for the duration of a write.
    gathered: Vec<u8>,
    write_timeout: Duration,
    /// Running since the caller stopped taking what is written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<T> CallerIo<T> {
    /// Wraps a connection of which `ahead` has been read already.
    pub fn new(inner: T, ahead: Bytes, write_timeout: Duration) -> Self {
        Self { inner, ahead, gathered: Vec::new(), write_timeout, stalled: None }
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
}

impl<T: AsyncRead + Unpin> Read for CallerIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let length = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
            if this.ahead.is_empty() {
                // An empty rest would keep the buffer for as long as the connection lives.
                this.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        hyper_read(&mut this.inner, cx, buf)
    }
}

/// Reads into hyper's cursor by way of a buffer on the stack, which keeps this crate free of unsafe
/// code. Only heads and request bodies come this way.
fn hyper_read<T: AsyncRead + Unpin>(
    io: &mut T,
    cx: &mut Context<'_>,
    mut buf: ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    let mut space = [std::mem::MaybeUninit::uninit(); 8 << 10];
    let length = space.len().min(buf.remaining());
    let mut read = ReadBuf::uninit(&mut space[..length]);
    std::task::ready!(Pin::new(io).poll_read(cx, &mut read))?;
    buf.put_slice(read.filled());
    Poll::Ready(Ok(()))
}

impl<T: AsyncWrite + Unpin> Write for CallerIo<T> {
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
        let closed = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.timed(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_is_cut_on_its_deadline() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut io = CallerIo::new(near, Bytes::new(), Duration::from_mins(1));
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
            let mut io = CallerIo::new(near, Bytes::new(), Duration::from_mins(1));
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
