//! HTTP/2 on a caller's connection.

mod rest;
mod streams;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use self::rest::Rest;
use self::streams::{Bound, Streams};
use super::bounds::{Bounds, log_end};
use super::caller::Caller;
use super::caller_body::CallerBody;
use super::io::CallerIo;
use super::ready::Ready;
use crate::shutdown::Shutdown;

/// Unread bytes of one HTTP/2 request, and unsent bytes of one answer. Bodies are bounded by the
/// team's limit; this bounds what flow control lets in before anybody has looked.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const SEND_BUFFER: usize = 64 << 10;
/// Resets in flight that are tolerated (CVE-2023-44487).
const MAX_RESETS: usize = 20;
/// How often an HTTP/2 connection is asked whether it is there, and how long it has to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn serve<T, S, A>(io: CallerIo<T>, service: S, shutdown: &Shutdown, bounds: &Bounds)
where
    T: Caller,
    S: Service<Request<CallerBody>, Response = Response<A>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    A: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Send + Unpin + 'static,
{
    let server = &bounds.server;
    let bound = Bound { whole: bounds.exchange + server.write_timeout, unread: server.write_timeout };
    let streams = Streams::new(shutdown.tasks.clone(), bound, io.clock());
    let rest = Rest::new(shutdown.tasks.clone(), shutdown.cut.clone());
    let service = service.map_request(move |request: Request<Incoming>| {
        request.map(|body| CallerBody::new(body, Arc::clone(&rest) as Arc<_>))
    });
    let service = streams.counting(service);
    let mut builder = http2::Builder::new(Tracked(shutdown.tasks.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(server.max_streams)
        .max_header_list_size(u32::try_from(server.max_head).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN);
    let connection = builder.serve_connection(io, Ready::new(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = shutdown.draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = streams.idle_for(server.keep_alive) => {
            connection.as_mut().graceful_shutdown();
            // A peer that does not take the farewell has had its time; a stream that has crossed it has its own.
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = streams.idle_for(server.head_timeout) => Ok(()),
            }
        }
    };
    log_end(ended);
}

/// Runs the tasks of an HTTP/2 connection's streams where the shutdown waits for them.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
