//! Who is on the other end of a connection: made once, when it is accepted, and known to every call on it.

use std::net::SocketAddr;

use rustls_pki_types::CertificateDer;

/// The other end of a caller's connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it connects from.
    pub address: SocketAddr,
    /// Its own certificate, where the handshake asked for one and it was verified.
    pub certificate: Option<CertificateDer<'static>>,
}
