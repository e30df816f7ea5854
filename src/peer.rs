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
    /// The address, written out: every call's line has it.
    text: Box<str>,
}

impl Peer {
    /// Who connects from there.
    #[must_use]
    pub fn new(address: SocketAddr, certificate: Option<CertificateDer<'static>>) -> Self {
        Self { address, certificate, text: address.to_string().into() }
    }

    /// The address, as it is logged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
