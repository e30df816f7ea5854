//! Connections to the upstream, kept between requests.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Failure;

/// Where requests go, and the connections to there that have nothing to do.
pub struct Upstream {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    idle: RefCell<Vec<Connection>>,
}

/// A connection, and the handle that sends on it.
pub struct Connection {
    sender: http1::SendRequest<Incoming>,
    driver: Pin<Box<dyn Future<Output = hyper::Result<()>>>>,
    open: bool,
}

impl Upstream {
    /// Reads the roots to trust, where there are any.
    pub fn new(address: SocketAddr, roots: Option<&Path>) -> Result<Self, Failure> {
        let tls = roots.map(|path| -> Result<_, Failure> {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path)? {
                roots.add(certificate?)?;
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(TlsConnector::from(Arc::new(config)))
        });
        Ok(Self { address, tls: tls.transpose()?, idle: RefCell::default() })
    }

    /// A connection that can take a request.
    pub async fn obtain(&self) -> Result<Connection, Failure> {
        let idle = poll_fn(|cx| {
            loop {
                let Some(mut connection) = self.idle.borrow_mut().pop() else { return Poll::Ready(None) };
                if connection.is_ready(cx) {
                    return Poll::Ready(Some(connection));
                }
            }
        });
        if let Some(connection) = idle.await {
            return Ok(connection);
        }
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Connection::over(tcp).await?,
            Some(tls) => {
                let name = ServerName::from(self.address.ip());
                Connection::over(tls.connect(name, tcp).await?).await?
            }
        })
    }

    /// Takes a connection back whose answer is over.
    pub fn keep(&self, connection: Connection) {
        if connection.open && connection.sender.is_ready() {
            self.idle.borrow_mut().push(connection);
        }
    }
}

impl Connection {
    async fn over(io: impl AsyncRead + AsyncWrite + Unpin + 'static) -> io::Result<Self> {
        let made = http1::handshake(TokioIo::new(io)).await;
        let (sender, driver) = made.map_err(io::Error::other)?;
        Ok(Self { sender, driver: Box::pin(driver), open: true })
    }

    /// Lets the connection do what it can now.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        self.open = self.open && self.driver.as_mut().poll(cx).is_pending();
    }

    fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        self.open && self.sender.is_ready()
    }

    /// Sends a request, and waits for the head of its answer.
    pub async fn send(&mut self, request: Request<Incoming>) -> hyper::Result<Response<Incoming>> {
        let mut answer = pin!(self.sender.send_request(request));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            self.open = self.open && self.driver.as_mut().poll(cx).is_pending();
            answer.as_mut().poll(cx)
        })
        .await
    }
}
