//! What a caller's connection can be asked beyond reading and writing.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A caller's connection, in clear or not.
pub trait Caller: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Whether closing it from now on is a reset: the other side learns that what it has is not all. So it is also if
    /// the process dies.
    fn resets_when_dropped(&self, resets: bool);

    /// Whether the other side has gone for good, as far as the system knows.
    fn has_gone(&self) -> bool;
}

impl Caller for TcpStream {
    fn resets_when_dropped(&self, resets: bool) {
        // What cannot be set is a connection that is gone already.
        let _ = SockRef::from(self).set_linger(resets.then_some(Duration::ZERO));
    }

    fn has_gone(&self) -> bool {
        !matches!(self.take_error(), Ok(None))
    }
}

impl<T: Caller> Caller for TlsStream<T> {
    fn resets_when_dropped(&self, resets: bool) {
        self.get_ref().0.resets_when_dropped(resets);
    }

    fn has_gone(&self) -> bool {
        self.get_ref().0.has_gone()
    }
}

/// A pipe in memory knows neither: who is gone shows when it is written to.
impl Caller for DuplexStream {
    fn resets_when_dropped(&self, _: bool) {}

    fn has_gone(&self) -> bool {
        false
    }
}
