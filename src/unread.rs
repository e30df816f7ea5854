//! What is still read of a request that nobody wants any more, so that its refusal arrives: a caller that is still sending
//! when its connection closes gets a reset, and the answer is lost with it (RFC 9112 §9.6). Bounded in bytes and in time,
//! so that it is no way to hold a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

/// Bytes of one request that are read for nothing.
pub const MOST: u64 = 64 << 20;
/// How long that may take in all.
pub const LONGEST: Duration = Duration::from_secs(30);
/// How long the caller may say nothing meanwhile.
pub const SILENCE: Duration = Duration::from_secs(5);

/// Reads a body to its end and drops what comes, within the bounds.
pub async fn read_to_end<B: Body<Data = Bytes> + Unpin>(body: B) {
    let mut left = MOST;
    read_while(body, |length| {
        left = left.saturating_sub(length);
        left > 0
    })
    .await;
}

/// The same, for as long as `goes_on` says so of each piece's length.
pub async fn read_while<B: Body<Data = Bytes> + Unpin>(mut body: B, mut goes_on: impl FnMut(u64) -> bool) {
    let read = async {
        while let Ok(Some(Ok(frame))) = timeout(SILENCE, body.frame()).await {
            if !goes_on(frame.data_ref().map_or(0, |data| data.len() as u64)) {
                return;
            }
        }
    };
    // Whatever has come by then is enough.
    let _ = timeout(LONGEST, read).await;
}

/// Reads what has come of a body. Ready when that was the end of it.
pub fn poll_to_end<B: Body + Unpin>(body: &mut B, cx: &mut Context<'_>) -> Poll<()> {
    while !body.is_end_stream() {
        // A body that breaks off breaks the connection too.
        let Some(Ok(_)) = ready!(Pin::new(&mut *body).poll_frame(cx)) else { break };
    }
    Poll::Ready(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use tokio::time::{Interval, interval};

    use crate::clock::Clock;

    use super::*;

    /// So many bytes every so often, without end.
    struct Dripping(Interval, usize);

    impl Body for Dripping {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            ready!(self.0.poll_tick(cx));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; self.1])))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_on_within_bytes_time_and_silence() {
        for (every, length, takes) in [
            (Duration::from_millis(1), 1 << 20, Duration::from_millis(63)),
            (Duration::from_secs(1), 1, LONGEST),
            (Duration::from_secs(9), 1, SILENCE),
        ] {
            let clock = Clock::system();
            read_to_end(Dripping(interval(every), length)).await;
            assert_eq!(clock.since_origin(), takes);
        }
    }
}
