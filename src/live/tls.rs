//! TLS of the listeners.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;
use crate::pem;

/// The callers' listener: HTTP/2 and HTTP/1.1 by ALPN. Callers are asked for a certificate where somebody vouches with those.
///
/// # Errors
/// The configuration key to blame and what is wrong. A private key is never quoted.
pub(super) fn of_callers(
    files: &TlsFiles,
    callers: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, (&'static str, String)> {
    server(files, ("server.tls.cert", "server.tls.key"), callers, &["h2", "http/1.1"])
}

/// The operators' listener, which speaks HTTP/1.1.
///
/// # Errors
/// As of the callers'.
pub(super) fn of_operators(files: &TlsFiles) -> Result<Arc<ServerConfig>, (&'static str, String)> {
    server(files, ("admin.tls.cert", "admin.tls.key"), None, &["http/1.1"])
}

fn server(
    files: &TlsFiles,
    (blamed_cert, blamed_key): (&'static str, &'static str),
    callers: Option<Arc<dyn ClientCertVerifier>>,
    protocols: &[&str],
) -> Result<Arc<ServerConfig>, (&'static str, String)> {
    let chain: Vec<CertificateDer<'_>> =
        pem::all(&files.cert, "certificate").map_err(|message| (blamed_cert, message))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| (blamed_key, format!("cannot use {}: {error}", files.key.display())))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| (blamed_cert, error.to_string()))?
        .with_client_cert_verifier(callers.unwrap_or_else(|| Arc::new(NoClientAuth)))
        .with_single_cert(chain, key)
        .map_err(|error| (blamed_cert, format!("certificate and key do not go together: {error}")))?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
