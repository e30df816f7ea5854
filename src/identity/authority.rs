//! One authority of client certificates: what it has signed and not revoked, and the names in that.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use webpki::EndEntityCert;

use crate::config::identity::Certificates;
use crate::digest::sha256;
use crate::pem;

/// A caller's certificate, as its connection has shown it.
#[derive(Clone)]
pub struct Certificate {
    /// Its own, and those between it and a root.
    chain: Arc<[CertificateDer<'static>]>,
    /// SHA-256 of its own.
    pub digest: [u8; 32],
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(…)")
    }
}

impl Certificate {
    /// Of a chain, its own first; nothing of an empty one.
    #[must_use]
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let digest = sha256(chain.first()?);
        Some(Self { chain: chain.iter().map(|one| one.clone().into_owned()).collect(), digest })
    }

    /// The names in it, if it can be read.
    pub(crate) fn names(&self) -> Option<Names> {
        let own = EndEntityCert::try_from(self.chain.first()?).ok()?;
        // One that stands for many names is nobody's in particular.
        let dns = own.valid_dns_names().filter(|name| !name.starts_with('*')).map(str::to_owned).collect();
        Some(Names { uris: own.valid_uri_names().map(str::to_owned).collect(), dns })
    }
}

/// The names in a certificate that say who its owner is. Never its common name, which says nothing any more (RFC 9525 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of its subject alternative name, URIs.
    pub uris: Vec<String>,
    /// And DNS names.
    pub dns: Vec<String>,
}

impl Names {
    /// Those that count: all, but that where there are several URIs none of them is the SPIFFE id, of which there is exactly one
    /// (source: SPIFFE X.509-SVID §2).
    pub(crate) fn valid(&self) -> impl Iterator<Item = &str> {
        let one = self.uris.len() == 1;
        let uris = self.uris.iter().filter(move |uri| one || !is_spiffe(uri));
        uris.chain(&self.dns).map(String::as_str)
    }
}

fn is_spiffe(uri: &str) -> bool {
    uri.get(..9).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe://"))
}

/// An authority at work.
#[derive(Debug)]
pub struct Authority {
    pub(super) name: String,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) allow_unauthenticated: bool,
}

impl Authority {
    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has signed a certificate that is valid now, and has not revoked it.
    pub(crate) fn vouches_for(&self, certificate: &Certificate, now: UnixTime) -> bool {
        let Some((own, between)) = certificate.chain.split_first() else { return false };
        self.verifier.verify_client_cert(own, between, now).is_ok()
    }
}

/// What verifies certificates of an authority.
///
/// # Errors
/// The configuration key to blame and what is wrong.
pub(super) fn verifier(of: &Certificates) -> Result<Arc<dyn ClientCertVerifier>, (&'static str, String)> {
    const ROOTS: &str = "mtls.ca_file";
    const REVOKED: &str = "mtls.crl_file";
    let mut roots = RootCertStore::empty();
    for certificate in pem::all(&of.ca_file, "certificate").map_err(|message| (ROOTS, message))? {
        let added = roots.add(certificate);
        added.map_err(|error| (ROOTS, format!("cannot use {}: {error}", of.ca_file.display())))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let mut key = ROOTS;
    if let Some(path) = &of.crl_file {
        let lists: Vec<CertificateRevocationListDer<'_>> =
            pem::all(path, "revocation list").map_err(|message| (REVOKED, message))?;
        builder = builder.with_crls(lists);
        key = REVOKED;
    }
    builder.build().map_err(|error| (key, error.to_string()))
}

/// What the listener verifies with: whichever authority has signed.
#[derive(Debug)]
pub(super) struct AnyOf {
    authorities: Vec<Arc<Authority>>,
    hints: Vec<DistinguishedName>,
    is_mandatory: bool,
    provider: CryptoProvider,
}

impl AnyOf {
    pub(super) fn new(authorities: Vec<Arc<Authority>>, is_mandatory: bool) -> Self {
        let hints = authorities
            .iter()
            .flat_map(|authority| authority.verifier.root_hint_subjects().to_vec())
            .collect();
        Self { authorities, hints, is_mandatory, provider: rustls::crypto::ring::default_provider() }
    }
}

impl ClientCertVerifier for AnyOf {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut why = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for authority in &self.authorities {
            match authority.verifier.verify_client_cert(own, between, now) {
                Ok(verified) => return Ok(verified),
                // What one says that knows it tells more than that another does not.
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
