//! The simulator's side of a connection, with the means to break one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::Simulator;

/// Accepts until the future is dropped.
///
/// # Errors
/// When accepting fails.
pub async fn serve(listener: TcpListener, simulator: Simulator) -> io::Result<()> {
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let simulator = simulator.clone();
        tokio::spawn(async move { simulator.serve_connection(tcp).await });
    }
}

/// A connection that can be reset.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes closing it a reset.
    fn linger_no_more(&self);
}

impl Socket for TcpStream {
    fn linger_no_more(&self) {
        // If it cannot be reset, it is closed, which is a fault as well.
        let _ = socket2::SockRef::from(self).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Socket for DuplexStream {
    fn linger_no_more(&self) {}
}

impl Simulator {
    /// Serves one connection to its end.
    pub async fn serve_connection<S: Socket>(&self, socket: S) {
        let reset = Arc::new(AtomicBool::new(false));
        let io = TokioIo::new(Breakable { socket, reset: Arc::clone(&reset) });
        let simulator = self.clone();
        let service = service_fn(move |request| simulator.clone().answer(request, Arc::clone(&reset)));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new());
        // A connection that breaks is part of what is simulated.
        let _ = builder.serve_connection(io, service).await;
    }
}

struct Breakable<S: Socket> {
    socket: S,
    reset: Arc<AtomicBool>,
}

impl<S: Socket> Drop for Breakable<S> {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            self.socket.linger_no_more();
        }
    }
}

impl<S: Socket> AsyncRead for Breakable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: Socket> AsyncWrite for Breakable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
