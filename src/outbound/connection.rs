//! One connection to the upstream, driven by the task of the request that uses it.
//!
//! A pooled client would run the connection in a task of its own, and every frame would cross a
//! channel and a wake-up. Here whoever waits for the answer polls the connection itself, so a burst
//! of frames is read, metered and written in one turn.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::origin::Origin;
use crate::metrics::Counted;

/// Bytes of one response head. Answers of an API are a few hundred; what is larger is an attack or a
/// fault.
const MAX_HEAD: usize = 64 << 10;
/// Fields of one response head.
const MAX_FIELDS: usize = 100;
/// Bytes read ahead of the caller.
const READ_AHEAD: usize = 256 << 10;

/// An HTTP/1.1 connection and the handle that sends on it.
#[derive(Debug)]
pub(crate) struct Connection<I>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    sender: http1::SendRequest<Full<Bytes>>,
    /// Gone once the connection has ended: dropping it is what makes hyper give a queued request back.
    driver: Option<http1::Connection<TokioIo<I>, Full<Bytes>>>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) born: Instant,
    pub(crate) idle_since: Instant,
    _open: Option<Counted>,
}

/// Why there is no response head.
pub(crate) enum SendError {
    /// The request was not written, for certain; here it is back.
    NotWritten(Box<Request<Full<Bytes>>>),
    /// It may have been written; what came back, if anything, was no response.
    Broken(hyper::Error),
}

impl<I> Connection<I>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Speaks HTTP/1.1 over a fresh connection.
    pub(crate) async fn new(
        io: I,
        origin: Arc<Origin>,
        now: Instant,
        open: Option<Counted>,
    ) -> hyper::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_header_size(MAX_HEAD).max_headers(MAX_FIELDS).max_buf_size(READ_AHEAD);
        let (sender, driver) = builder.handshake(TokioIo::new(io)).await?;
        Ok(Self { sender, driver: Some(driver), origin, born: now, idle_since: now, _open: open })
    }

    /// Lets the connection do what it can now: write, read, notice that it was closed.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether a request can be sent now. Drives the connection first, so that one the upstream has
    /// closed meanwhile is not taken for a good one.
    pub(crate) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of the response.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            self.drive(cx);
            // Driving may just have brought the answer, or the reason why there will be none.
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(|mut error| match error.take_message() {
            Some(request) => SendError::NotWritten(Box::new(request)),
            None => SendError::Broken(error.into_error()),
        })
    }
}

/// Why no connection could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Handshake(#[from] hyper::Error),
    #[error("no connection within {0:?}")]
    TimedOut(std::time::Duration),
}
