//! HTTP/1.1 on a connection, a caller's or an operator's.

mod io;
mod rest;
mod turn;

use std::convert::Infallible;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::time::timeout;
use tower::Service;

pub(super) use self::io::Patience;
use self::io::TurnIo;
use self::rest::Rest;
use self::turn::Turn;
use super::bounds::{MAX_FIELDS, log_end};
use super::caller::Caller;
use super::caller_body::CallerBody;
use super::io::CallerIo;
use super::ready::Ready;
use crate::shutdown::Shutdown;
use crate::unread::LONGEST;

/// How much later than ours hyper's own bound on a head is.
const BEHIND: Duration = Duration::from_mins(1);

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
    let io = TurnIo::new(io, begun, turn, patience);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Ours tells an idle connection from a slow head, and answers the latter. This one is later than either, and is set
        // because hyper looks for another request behind an answer of its own accord only where it has such a bound.
        .header_read_timeout(patience.keep_alive + patience.head + BEHIND)
        .max_header_size(max_head)
        .max_headers(MAX_FIELDS)
        .max_buf_size(max_head.max(64 << 10))
        // What the end of input means, `TurnIo` knows better: hyper would look no more whether the caller is there.
        .half_close(false)
        .keep_alive(true);
    let mut connection = builder.serve_connection(io, Ready::new(service));
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = shutdown.closing.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    log_end(ended);
    // hyper drops a connection without a word on an error, on an upgrade that nobody makes, and when its input ends in a
    // head.
    let mut io = connection.into_parts().io;
    // Also for who takes nothing that is written, and for TLS, which has a last word of its own.
    let _ = timeout(LONGEST, poll_fn(|cx| io.poll_part(cx))).await;
}
