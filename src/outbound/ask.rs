//! One small question to any origin, on a connection of its own, with the answer read whole: the upstream's usage, a
//! collector of spans, a gateway's probes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use http_body_util::Full;

use super::connect::Connect;
use super::connection::{Connection, SendError};
use super::origin::Origin;
use crate::clock::Clock;

/// What one question may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In all, connecting included.
    pub time: Duration,
    /// Bytes of the answer's body.
    pub bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No connection, or it broke.
    #[error("{0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// It was larger than any such answer is.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Sends a request to `origin`, and reads its answer whole. `Host` and `Connection` are written here. Cancel-safe: dropped,
/// it closes the connection.
///
/// # Errors
/// When there is no whole answer within the bounds. Its status is not judged.
pub async fn ask<C: Connect>(
    connect: &C,
    origin: &Arc<Origin>,
    mut request: Request<Full<Bytes>>,
    bounds: Bounds,
) -> Result<Response<Bytes>, AskError> {
    let fields = request.headers_mut();
    fields.insert(header::HOST, origin.host().clone());
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    tokio::time::timeout(bounds.time, exchange(connect, origin, request, bounds.bytes))
        .await
        .unwrap_or(Err(AskError::TimedOut(bounds.time)))
}

async fn exchange<C: Connect>(
    connect: &C,
    origin: &Arc<Origin>,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Response<Bytes>, AskError> {
    let broken = |error: &dyn std::fmt::Display| AskError::Broken(error.to_string());
    let io = connect.connect(origin).await.map_err(|error| broken(&error))?;
    let opened = Connection::new(io, Arc::clone(origin), Clock::system().now(), None).await;
    let mut connection = opened.map_err(|error| broken(&error))?;
    let response = connection.send(request).await.map_err(|error| match error {
        SendError::NotWritten(_) => AskError::Broken("the connection was closed".into()),
        SendError::Broken(error) => broken(&error),
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
            None => return Ok(Response::from_parts(head, whole.freeze())),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(frame)) => whole.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
        }
        if whole.len() > most {
            return Err(AskError::TooLarge(most));
        }
    }
}
