//! TLS of the callers' listener.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;
use crate::pem;

/// The server side of TLS: HTTP/2 and HTTP/1.1 by ALPN. Callers are asked for a certificate where somebody vouches with those.
///
/// # Errors
/// The configuration key to blame and what is wrong. A private key is never quoted.
pub fn server(
    files: &TlsFiles,
    callers: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, (&'static str, String)> {
    const CERT: &str = "server.tls.cert";
    const KEY: &str = "server.tls.key";
    let chain: Vec<CertificateDer<'_>> =
        pem::all(&files.cert, "certificate").map_err(|message| (CERT, message))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| (KEY, format!("cannot use {}: {error}", files.key.display())))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| (CERT, error.to_string()))?
        .with_client_cert_verifier(callers.unwrap_or_else(|| Arc::new(NoClientAuth)))
        .with_single_cert(chain, key)
        .map_err(|error| (CERT, format!("certificate and key do not go together: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
