//! Who is on the other end of a connection, and who calls over it: made once, when it is accepted, and known to every call
//! on it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::identity::Certificate;

/// The other end of a caller's connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it connects from.
    pub address: SocketAddr,
    /// Who calls: the same, unless a trusted proxy says for whom it connects or calls.
    pub caller: IpAddr,
    /// Its own certificate, where the handshake asked for one and it was verified.
    pub certificate: Option<Certificate>,
    /// The address, written out: every call's line has it.
    text: Box<str>,
}

impl Peer {
    /// Who connects from there, for `caller`.
    #[must_use]
    pub fn new(address: SocketAddr, caller: IpAddr, certificate: Option<Certificate>) -> Self {
        Self { address, caller, certificate, text: address.to_string().into() }
    }

    /// The same, for one call of somebody else's, whose certificate was shown to the proxy that speaks for it, if to anybody.
    #[must_use]
    pub fn calling_for(self: &Arc<Self>, caller: IpAddr) -> Arc<Self> {
        if caller == self.caller {
            return Arc::clone(self);
        }
        Arc::new(Self { caller, certificate: None, ..Self::clone(self) })
    }

    /// The address it connects from, as it is logged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Who calls, where that is somebody else than who connects.
    #[must_use]
    pub fn behind(&self) -> Option<IpAddr> {
        (self.caller != self.address.ip()).then_some(self.caller)
    }
}
