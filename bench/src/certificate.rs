//! A certificate for the upstream, made for the run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// Makes a root and a certificate for these addresses. Returns where the root is, and how to accept.
pub fn make(folder: &Path, addresses: &[SocketAddr]) -> Result<(PathBuf, TlsAcceptor), String> {
    let made = || -> Result<_, rcgen::Error> {
        let root = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "root of a benchmark");
        let pem = params.self_signed(&root)?.pem();
        let issuer = Issuer::new(params, root);
        let key = KeyPair::generate()?;
        // `api` is the name by which nginx's configuration knows the upstream, and which nginx looks for.
        let names = addresses.iter().map(|address| address.ip().to_string()).chain(["api".to_owned()]);
        let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, "upstream of a benchmark");
        Ok((pem, params.signed_by(&key, &issuer)?.der().clone(), key.serialize_der()))
    };
    let (pem, certificate, key) = made().map_err(|error| error.to_string())?;
    let path = folder.join("root.pem");
    std::fs::write(&path, pem).map_err(|error| format!("{}: {error}", path.display()))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map_err(|error| error.to_string())?;
    Ok((path, TlsAcceptor::from(Arc::new(config))))
}
