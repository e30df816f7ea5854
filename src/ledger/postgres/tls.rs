//! TLS towards the database: rustls, as tokio-postgres wants it. A password is bound to the connection it is sent over.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use crate::pem;

const NO_ROOTS: &str = "the system has no root certificates; install the package ca-certificates, or name a PEM file in `ca_file`";

/// The client side of TLS, with the system's roots or the operator's. The server's name is always verified.
pub(super) fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        for certificate in pem::all::<CertificateDer<'static>>(path, "certificate")? {
            let added = roots.add(certificate);
            added.map_err(|error| format!("{} holds no usable root: {error}", path.display()))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(NO_ROOTS.into());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Makes connections secure, or leaves them clear where nothing is to be used.
pub(super) struct Tls(pub(super) Option<Arc<ClientConfig>>);

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = Infallible;

    // Also asked for connections that stay clear, and with no name then: the name is read when it is needed.
    fn make_tls_connect(&mut self, name: &str) -> Result<Handshake, Infallible> {
        Ok(Handshake { config: self.0.clone(), name: name.to_owned() })
    }
}

/// One handshake to come.
pub(super) struct Handshake {
    config: Option<Arc<ClientConfig>>,
    name: String,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let Self { config, name } = self;
            let config = config.ok_or_else(|| io::Error::other("no TLS is to be used"))?;
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            TlsConnector::from(config).connect(name, socket).await.map(Stream)
        })
    }
}

/// A secured connection.
pub(super) struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        let leaf = self.0.get_ref().1.peer_certificates().and_then(<[_]>::first);
        match leaf.and_then(|leaf| end_point(leaf)) {
            Some(end_point) => ChannelBinding::tls_server_end_point(end_point),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, to)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What names the server's end: its certificate's digest, by the hash that it is signed with (source: RFC 5929, section 4.1).
/// Nothing where the signature has no hash of its own, as Ed25519, or names it elsewhere, as RSASSA-PSS: servers differ there.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const SEQUENCE: u8 = 0x30;
    const OBJECT_ID: u8 = 0x06;
    let (fields, _) = field(certificate, SEQUENCE)?;
    // What is signed; by which algorithm, with its parameters; the signature.
    let (_, rest) = field(fields, SEQUENCE)?;
    let (algorithm, _) = field(rest, SEQUENCE)?;
    let (id, _) = field(algorithm, OBJECT_ID)?;
    Some(digest(hash_of(id)?, certificate).as_ref().to_vec())
}

/// By the object identifier of a signature: PKCS #1 v1.5 (RFC 8017) and ECDSA (RFC 5758).
fn hash_of(id: &[u8]) -> Option<&'static Algorithm> {
    const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    match (id.strip_prefix(&RSA), id.strip_prefix(&ECDSA)) {
        // Of MD5 and SHA-1, which are too weak for this, too.
        (Some([4 | 5 | 11]), _) | (_, Some([2])) => Some(&SHA256),
        (Some([12]), _) | (_, Some([3])) => Some(&SHA384),
        (Some([13]), _) | (_, Some([4])) => Some(&SHA512),
        _ => None,
    }
}

/// The content of the field of this kind that DER begins with, and what is behind it.
fn field(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    if found != kind {
        return None;
    }
    if length < 0x80 {
        return rest.split_at_checked(length.into());
    }
    // So many bytes of length follow.
    let (length, rest) = rest.split_at_checked((length & 0x7f).into())?;
    let longer = |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add((*byte).into());
    rest.split_at_checked(length.iter().try_fold(0, longer)?)
}
