//! One connection of a caller, from its first byte to its last: which protocol it speaks, within
//! which bounds, and how it ends at a shutdown.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use http::Request;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::bounds::Bounds;
use super::caller::Caller;
use super::caller_body::CallerBody;
use super::door::Door;
use super::forwarded;
use super::http1::{self, Patience};
use super::http2;
use super::io::CallerIo;
use super::prefixed::Prefixed;
use super::proxy::preamble;
use crate::arrival::Call;
use crate::config::Server;
use crate::gateway::Stack;
use crate::identity::Certificate;
use crate::outbound::connect::Connect;
use crate::peer::Peer;

/// What an HTTP/2 connection with prior knowledge begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection from `address` with TLS, where configured, or in clear.
pub async fn serve<T, C, S>(io: T, address: SocketAddr, service: S, door: &Door)
where
    T: Caller,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    // Copied out: a connection may live long, and must not keep an old configuration and its key alive.
    let (bounds, tls) = {
        let snapshot = door.live.current();
        let config = &snapshot.config;
        let bounds = Bounds { server: config.server.clone(), exchange: config.upstream.timeouts.total };
        (bounds, snapshot.tls.clone())
    };
    let server = &bounds.server;
    let mut io = Prefixed::new(io);
    let mut caller = address;
    if server.trusted_proxies.have(address.ip()) {
        match door.within(server.head_timeout, preamble(&mut io)).await {
            Some(Ok(source)) => caller = source.unwrap_or(address),
            Some(Err(error)) => return tracing::debug!(%error, %address, "a proxy's preamble is not one"),
            None => return,
        }
    }
    // A proxy of many callers has as many connections as it likes.
    let limited = server.max_connections_per_address.filter(|_| !server.trusted_proxies.have(caller.ip()));
    let _counted = match limited.map(|limit| door.by_address.open(caller.ip(), limit)) {
        Some(None) => return door.turned_away(caller.ip()),
        counted => counted,
    };
    // Boxed, so that a connection in clear does not take the memory of a handshake.
    match tls {
        None => {
            let peer = Peer::new(address, caller.ip(), None);
            serve_protocol(io, peer, service, door, &bounds).await;
        }
        Some(tls) => Box::pin(serve_tls(io, (address, caller.ip()), tls, service, door, &bounds)).await,
    }
}

async fn serve_tls<T, C, S>(
    io: Prefixed<T>,
    (address, caller): (SocketAddr, IpAddr),
    tls: Arc<ServerConfig>,
    service: S,
    door: &Door,
    bounds: &Bounds,
) where
    T: Caller,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    match door.within(bounds.server.head_timeout, TlsAcceptor::from(tls).accept(io)).await {
        Some(Ok(io)) => {
            let certificate = io.get_ref().1.peer_certificates().and_then(Certificate::of);
            let peer = Peer::new(address, caller, certificate);
            serve_protocol(Prefixed::new(io), peer, service, door, bounds).await;
        }
        Some(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        None => tracing::debug!("TLS handshake took too long"),
    }
}

/// Tells the protocol by its first bytes, with TLS too: a peer that negotiated HTTP/2 and then says nothing
/// is cut like any other.
async fn serve_protocol<T, C, S>(mut io: Prefixed<T>, peer: Peer, service: S, door: &Door, bounds: &Bounds)
where
    T: Caller,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    let Some(Ok(h2)) = door.within(bounds.server.head_timeout, tell_protocol(&mut io)).await else { return };
    let io = CallerIo::new(io, bounds.server.write_timeout, door.parting.clone());
    let (peer, trusted) = (Arc::new(peer), bounds.server.trusted_proxies.clone());
    let is_proxy = trusted.have(peer.caller);
    let service = service.map_request(move |request: Request<CallerBody>| {
        let peer = if is_proxy {
            peer.calling_for(forwarded::caller(request.headers(), peer.caller, &trusted))
        } else {
            Arc::clone(&peer)
        };
        Call { peer, request }
    });
    // Boxed, so that a connection takes the memory of its own protocol alone.
    if h2 {
        Box::pin(http2::serve(io, service, &door.shutdown, bounds)).await;
    } else {
        let Server { keep_alive, head_timeout: head, max_head, .. } = bounds.server;
        let patience = Patience { keep_alive, head };
        Box::pin(http1::serve(io, true, service, &door.shutdown, patience, max_head)).await;
    }
}

/// Reads until the first byte that is not the HTTP/2 preface's, or its end, and puts all of it back.
async fn tell_protocol<T: AsyncRead + Unpin>(io: &mut Prefixed<T>) -> io::Result<bool> {
    let mut first = BytesMut::with_capacity(1024);
    loop {
        if io.read_buf(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = first.len().min(PREFACE.len());
        let told = match first[..length] == PREFACE[..length] {
            false => false,
            true if length == PREFACE.len() => true,
            true => continue,
        };
        io.put_back(first.freeze());
        return Ok(told);
    }
}
