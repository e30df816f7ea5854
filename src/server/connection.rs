//! One connection of a caller, from its first byte to its last: which protocol it speaks, within
//! which bounds, and how it ends at a shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::bounds::Bounds;
use super::caller::Caller;
use super::caller_body::CallerBody;
use super::door::Door;
use super::http1::{self, Patience};
use super::http2;
use super::io::CallerIo;
use crate::arrival::Call;
use crate::config::Server;
use crate::gateway::Stack;
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
    // Boxed, so that a connection in clear does not take the memory of a handshake.
    match tls {
        None => {
            let peer = Peer::new(address, None);
            serve_protocol(io, peer, service, door, &bounds).await;
        }
        Some(tls) => Box::pin(serve_tls(io, address, tls, service, door, &bounds)).await,
    }
}

async fn serve_tls<T, C, S>(
    io: T,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    service: S,
    door: &Door,
    bounds: &Bounds,
) where
    T: Caller,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    let handshake = timeout(bounds.server.head_timeout, TlsAcceptor::from(tls).accept(io));
    let shaken = tokio::select! {
        biased;
        shaken = handshake => shaken,
        () = door.shutdown.closing.cancelled() => return,
    };
    match shaken {
        Ok(Ok(io)) => {
            let certificate = io.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let peer = Peer::new(address, certificate.cloned().map(CertificateDer::into_owned));
            serve_protocol(io, peer, service, door, bounds).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

/// Tells the protocol by its first bytes, with TLS too: a peer that negotiated HTTP/2 and then says nothing
/// is cut like any other.
async fn serve_protocol<T, C, S>(mut io: T, peer: Peer, service: S, door: &Door, bounds: &Bounds)
where
    T: Caller,
    C: Connect,
    S: Stack<C, CallerBody>,
{
    let told = tokio::select! {
        biased;
        told = timeout(bounds.server.head_timeout, tell_protocol(&mut io)) => told,
        () = door.shutdown.closing.cancelled() => return,
    };
    let Ok(Ok((h2, ahead))) = told else { return };
    let io = CallerIo::new(io, ahead, bounds.server.write_timeout, door.parting.clone());
    let peer = Arc::new(peer);
    // Boxed, so that a connection takes the memory of its own protocol alone.
    if h2 {
        Box::pin(http2::serve(io, peer, service, &door.shutdown, bounds)).await;
    } else {
        let Server { keep_alive, head_timeout: head, max_head, .. } = bounds.server;
        let service = service.map_request(move |request| Call { peer: Arc::clone(&peer), request });
        Box::pin(http1::serve(io, service, &door.shutdown, Patience { keep_alive, head }, max_head)).await;
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
