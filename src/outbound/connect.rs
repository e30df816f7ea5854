//! Making a connection to the upstream.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::origin::Origin;
use super::tunnel;

/// How connections are made. The tests' own makes in-memory pipes, so that everything behind it runs
/// under a paused clock.
pub trait Connect: Clone + Send + Sync + 'static {
    /// What a connection is read from and written to.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects, with the TLS handshake where the origin wants one. Dropping the future gives up.
    fn connect(&self, origin: &Origin) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Connects over TCP.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Connect for Tcp {
    type Io = TcpIo;

    async fn connect(&self, origin: &Origin) -> io::Result<TcpIo> {
        let tcp = match origin.proxy() {
            Some(proxy) => tunnel::open(proxy, origin.address()).await?,
            // Tries every address of the name in turn.
            None => TcpStream::connect(origin.address()).await?,
        };
        tcp.set_nodelay(true)?;
        let Some((config, server)) = origin.tls() else {
            return Ok(TcpIo::Clear(tcp));
        };
        let tls = TlsConnector::from(config.clone()).connect(server.clone(), tcp).await?;
        Ok(TcpIo::Tls(Box::new(tls)))
    }
}

/// A TCP connection, with or without TLS.
#[derive(Debug)]
pub enum TcpIo {
    /// To a loopback upstream.
    Clear(TcpStream),
    /// To any other.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for TcpIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for TcpIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
