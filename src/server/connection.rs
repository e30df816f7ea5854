//! One connection of a caller, from its first byte to its last: which protocol it speaks, within
//! which bounds, and how it ends at a shutdown.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::io::CallerIo;
use super::rest::{CallerBody, Rest};
use super::streams::Streams;
use crate::arrival::Call;
use crate::config::Server;
use crate::gateway::Stack;
use crate::live::Live;
use crate::outbound::connect::Connect;
use crate::peer::Peer;
use crate::shutdown::Shutdown;

/// What an HTTP/2 connection with prior knowledge begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Fields of one request head.
const MAX_FIELDS: usize = 100;
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

/// What one connection may take, as configured when it was accepted.
struct Bounds {
    server: Server,
    /// How long one exchange with the upstream may take.
    exchange: Duration,
}

/// Serves a connection from `address` with TLS, where configured, or in clear.
pub async fn serve<T, C, S>(io: T, address: SocketAddr, service: S, live: &Live, shutdown: &Shutdown)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    // Copied out: a connection may live long, and must not keep an old configuration and its key alive.
    let (bounds, tls) = {
        let snapshot = live.current();
        let config = &snapshot.config;
        let bounds = Bounds { server: config.server.clone(), exchange: config.upstream.timeouts.total };
        (bounds, snapshot.tls.clone())
    };
    // Boxed, so that a connection in clear does not take the memory of a handshake.
    match tls {
        None => {
            let peer = Peer::new(address, None);
            serve_protocol(io, peer, service, shutdown, &bounds).await;
        }
        Some(tls) => Box::pin(serve_tls(io, address, tls, service, shutdown, &bounds)).await,
    }
}

async fn serve_tls<T, C, S>(
    io: T,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    service: S,
    shutdown: &Shutdown,
    bounds: &Bounds,
) where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    let handshake = timeout(bounds.server.head_timeout, TlsAcceptor::from(tls).accept(io));
    let shaken = tokio::select! {
        biased;
        shaken = handshake => shaken,
        () = shutdown.closing.cancelled() => return,
    };
    match shaken {
        Ok(Ok(io)) => {
            let certificate = io.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let peer = Peer::new(address, certificate.cloned().map(CertificateDer::into_owned));
            serve_protocol(io, peer, service, shutdown, bounds).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

/// Tells the protocol by its first bytes, with TLS too: a peer that negotiated HTTP/2 and then says nothing
/// is cut like any other.
async fn serve_protocol<T, C, S>(mut io: T, peer: Peer, service: S, shutdown: &Shutdown, bounds: &Bounds)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    let told = tokio::select! {
        biased;
        told = timeout(bounds.server.head_timeout, tell_protocol(&mut io)) => told,
        () = shutdown.closing.cancelled() => return,
    };
    let Ok(Ok((h2, ahead))) = told else { return };
    let io = CallerIo::new(io, ahead, bounds.server.write_timeout);
    let peer = Arc::new(peer);
    // Boxed, so that a connection takes the memory of its own protocol alone.
    if h2 {
        Box::pin(serve_h2(io, peer, service, shutdown, bounds)).await;
    } else {
        Box::pin(serve_h1(io, peer, service, shutdown, bounds)).await;
    }
}

/// Reads until the first byte that is not the HTTP/2 preface's, or its end.
async fn tell_protocol<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<(bool, Bytes)> {
    let mut ahead = BytesMut::with_capacity(1024);
    loop {
        if io.read_buf(&mut ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = ahead.len().min(PREFACE.len());
        if ahead[..length] != PREFACE[..length] {
            return Ok((false, ahead.freeze()));
        }
        if length == PREFACE.len() {
            return Ok((true, ahead.freeze()));
        }
    }
}

async fn serve_h1<T, C, S>(io: CallerIo<T>, peer: Arc<Peer>, service: S, shutdown: &Shutdown, bounds: &Bounds)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    let server = &bounds.server;
    let service = service.map_request(move |request| Call { peer: Arc::clone(&peer), request });
    let rest = Rest::new(shutdown.tasks.clone(), shutdown.closing.clone(), server.head_timeout);
    let service = rest.watching(service);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(server.head_timeout)
        .max_header_size(server.max_head)
        .max_headers(MAX_FIELDS)
        .max_buf_size(server.max_head.max(64 << 10))
        // A caller that closes its sending side has left: its answer has nowhere to go.
        .half_close(false)
        .keep_alive(true);
    let connection = builder.serve_connection(io, TowerToHyperService::new(service));
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
}

async fn serve_h2<T, C, S>(io: CallerIo<T>, peer: Arc<Peer>, service: S, shutdown: &Shutdown, bounds: &Bounds)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    let server = &bounds.server;
    let bound = bounds.exchange + server.write_timeout;
    let streams = Streams::new(shutdown.tasks.clone(), bound);
    let service = service.map_request(move |request: Request<Incoming>| Call {
        peer: Arc::clone(&peer),
        request: request.map(CallerBody::of_stream),
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
    let connection = builder.serve_connection(io, TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = shutdown.draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = streams.idle_for(server.head_timeout) => {
            connection.as_mut().graceful_shutdown();
            // A peer that does not take the farewell has had its time.
            timeout(server.head_timeout, connection).await.unwrap_or(Ok(()))
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

/// What ends a connection is the caller's affair; the calls on it have their own records.
fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
