//! One small request of the gateway's own to the upstream, such as its usage.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body::Body;
use http_body_util::Full;

use super::connect::Connect;
use super::connection::SendError;
use super::pool::Pool;
use crate::config::reload::Snapshot;

/// How long such a request may take in all.
const BOUND: Duration = Duration::from_secs(30);
/// Bytes of its answer.
const MAX_BYTES: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, or it broke.
    #[error("{0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer within {BOUND:?}")]
    TimedOut,
    /// It was larger than any such answer is.
    #[error("the answer is larger than {MAX_BYTES} bytes")]
    TooLarge,
}

/// Sends a request that is safe to send again, and reads its answer whole.
///
/// # Errors
/// When there is no whole answer in time. Its status is not judged.
pub async fn fetch<C: Connect>(
    pool: &Pool<C>,
    snapshot: &Snapshot,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
    tokio::time::timeout(BOUND, exchange(pool, snapshot, request)).await.unwrap_or(Err(FetchError::TimedOut))
}

async fn exchange<C: Connect>(
    pool: &Pool<C>,
    snapshot: &Snapshot,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
    // Always on a new connection: it is rare, and then nothing can be stale.
    let obtained =
        pool.obtain(snapshot, true).await.map_err(|error| FetchError::Broken(error.to_string()))?;
    let mut connection = obtained.connection;
    let response = connection.send(request).await.map_err(|error| match error {
        SendError::NotWritten(_) => FetchError::Broken("the connection was closed".into()),
        SendError::Broken(error) => FetchError::Broken(error.to_string()),
    })?;
    let (head, mut body) = response.into_parts();
    let mut whole = BytesMut::new();
    loop {
        let frame = poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            connection.drive(cx);
            Pin::new(&mut body).poll_frame(cx)
        })
        .await;
        match frame {
            None => return Ok((head.status, head.headers, whole.freeze())),
            Some(Err(error)) => return Err(FetchError::Broken(error.to_string())),
            Some(Ok(frame)) => whole.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
        }
        if whole.len() > MAX_BYTES {
            return Err(FetchError::TooLarge);
        }
    }
}
