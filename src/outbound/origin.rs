//! Where the upstream is, and how it is to be trusted: what of a configuration a connection depends on.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::tls;

/// The upstream as a connection sees it. Connections are reused only for the origin they were made
/// for.
#[derive(Debug)]
pub struct Origin {
    name: String,
    port: u16,
    host: HeaderValue,
    prefix: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// On the way there. Never where the origin is in clear.
    proxy: Option<Authority>,
}

/// Why an origin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The URL.
    #[error("{0}")]
    Url(String),
    /// The roots to trust.
    #[error("{0}")]
    Roots(String),
}

impl Origin {
    /// The origin of a base URL; reads the roots to trust, the system's where none are named.
    ///
    /// # Errors
    /// What is wrong with the roots or the host name.
    pub fn new(uri: &Uri, ca_file: Option<&Path>) -> Result<Self, OriginError> {
        let wrong = |message: String| OriginError::Url(message);
        let authority = uri.authority().ok_or_else(|| wrong("has no host".to_owned()))?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let tls = if https {
            let config = tls::client(ca_file).map_err(OriginError::Roots)?;
            let server = ServerName::try_from(name.clone())
                .map_err(|_| wrong(format!("{name:?} is not a host name")))?;
            Some((config, server))
        } else {
            None
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
            host: HeaderValue::from_str(authority.as_str())
                .map_err(|_| wrong("has an unusable host".to_owned()))?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            name,
            tls,
            proxy: None,
        })
    }

    /// The same by way of a proxy. What is in clear is on this machine, and is reached without.
    #[must_use]
    pub fn by(self, proxy: Option<&Authority>) -> Self {
        Self { proxy: proxy.filter(|_| self.tls.is_some()).cloned(), ..self }
    }

    /// A listener of this machine, in clear text.
    #[must_use]
    pub fn in_clear(address: SocketAddr) -> Self {
        Self {
            name: address.ip().to_string(),
            port: address.port(),
            host: HeaderValue::from_str(&address.to_string()).expect("an address is visible ASCII"),
            prefix: String::new(),
            tls: None,
            proxy: None,
        }
    }

    /// A listener of our own with TLS, whose certificate is the first of a file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn pinned(address: SocketAddr, cert: &Path) -> Result<Self, OriginError> {
        let config = tls::pinned(cert).map_err(OriginError::Roots)?;
        Ok(Self {
            tls: Some((config, ServerName::IpAddress(address.ip().into()))),
            ..Self::in_clear(address)
        })
    }

    /// Another origin that is to be trusted as this one is, in clear only where this one is too, and the path of `uri` there.
    #[must_use]
    pub fn beside(&self, uri: &Uri) -> Option<(Self, String)> {
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match (&self.tls, uri.scheme()) {
            (Some((config, _)), Some(scheme)) if *scheme == Scheme::HTTPS => {
                Some((Arc::clone(config), ServerName::try_from(name.clone()).ok()?))
            }
            (None, Some(scheme)) if *scheme == Scheme::HTTP && name == self.name => None,
            _ => return None,
        };
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let host = HeaderValue::from_str(authority.as_str()).ok()?;
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        let proxy = self.proxy.clone();
        Some((Self { name, port, host, prefix: String::new(), tls, proxy }, path))
    }

    /// Whether connections to both lead to the same.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        self.address() == other.address() && self.tls.is_some() == other.tls.is_some()
    }

    /// The `Host` field.
    #[must_use]
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Name and port to connect to.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        (&self.name, self.port)
    }

    /// TLS settings, unless the origin is in clear.
    #[must_use]
    pub fn tls(&self) -> Option<&(Arc<ClientConfig>, ServerName<'static>)> {
        self.tls.as_ref()
    }

    /// The proxy on the way there.
    #[must_use]
    pub fn proxy(&self) -> Option<&Authority> {
        self.proxy.as_ref()
    }

    /// The path of the base URL, without a slash at its end.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The request target, in origin form, of a path below the base URL.
    #[must_use]
    pub fn uri(&self, path: &str) -> Option<Uri> {
        let path = [self.prefix.as_bytes(), path.as_bytes()].concat();
        Some(Uri::from(PathAndQuery::from_maybe_shared(Bytes::from(path)).ok()?))
    }
}
