//! HTTP/1.1 on a connection, a caller's or an operator's.

mod io;
mod rest;
mod turn;

use std::convert::Infallible;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tower::Service;

pub(super) use self::io::Patience;
use self::io::{Handle, TurnIo};
use self::rest::Rest;
use self::turn::Turn;
use super::bounds::{MAX_FIELDS, log_end};
use super::caller::Caller;
use super::caller_body::CallerBody;
use super::io::CallerIo;
use crate::shutdown::Shutdown;

/// Serves a connection to its end, or until `shutdown` closes what is idle. `begun` if a first head is coming already.
pub(super) async fn serve<T, S, A>(
    io: CallerIo<T>,
    begun: bool,
    service: S,
    shutdown: &Shutdown,
    patience: Patience,
    max_head: usize,
) where
    T: Caller,
    S: Service<Request<CallerBody>, Response = Response<A>, Error = Infallible> + Clone,
    A: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static,
{
    let turn = Turn::default();
    let rest = Rest::new(turn.clone(), shutdown.tasks.clone(), shutdown.closing.clone(), patience.head);
    let service = rest.watching(service);
    let io = Handle::new(TurnIo::new(io, begun, turn, patience));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Ours tells an idle connection from a slow head, and answers the latter.
        .header_read_timeout(None)
        .max_header_size(max_head)
        .max_headers(MAX_FIELDS)
        .max_buf_size(max_head.max(64 << 10))
        // What the end of input means, `TurnIo` knows better: hyper would look no more whether the caller is there.
        .half_close(false)
        .keep_alive(true);
    let connection = builder.serve_connection(io.clone(), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = shutdown.closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    log_end(ended);
    io.part().await;
}
