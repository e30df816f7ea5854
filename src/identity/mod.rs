//! Who vouches for callers that hold no key: issuers of tokens with their key sets, and authorities of certificates. What
//! is made of one configuration; key sets go on from one to the next.

pub mod counts;
pub mod issuer;
pub mod fetch;
pub mod authority;
pub mod proven;

use std::fs;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use tokio::sync::Notify;

use self::authority::AnyOf;
pub use self::authority::{Authority, Certificate, Names};
pub use self::counts::{Came, Counts};
pub use self::issuer::Issuer;
use crate::config::identity::{Certificates, Identity, KeysFrom, Proves, Tokens};
use crate::digest::sha256;
use crate::outbound::origin::{Origin, OriginError};
use crate::token::KeySet;

/// Everybody who vouches, in the order of the configuration.
#[derive(Debug)]
pub struct Identities {
    list: Vec<Voucher>,
    /// A key set is wanted now.
    pub(crate) asked: Arc<Notify>,
    /// What came of credentials.
    pub counts: Counts,
}

#[derive(Clone, Debug)]
enum Voucher {
    Issuer(Arc<Issuer>),
    Authority(Arc<Authority>),
}

impl Identities {
    /// Those of a configuration. Reads the files that they name. `before` has the key sets that are known.
    ///
    /// # Errors
    /// The keys to blame and what is wrong, all of them.
    pub(crate) fn new(
        identities: &[Identity],
        before: Option<&Self>,
        counts: &Counts,
    ) -> Result<Self, Vec<(String, String)>> {
        let asked = before.map_or_else(Arc::default, |before| Arc::clone(&before.asked));
        let (mut list, mut problems) = (Vec::with_capacity(identities.len()), Vec::new());
        for (index, Identity { name, proves }) in identities.iter().enumerate() {
            let at = |key: &str| format!("identity[{index}].{key}");
            let voucher = match proves {
                Proves::Tokens(tokens) => {
                    let keys = keys(tokens, at);
                    keys.map(|keys| {
                        let before =
                            before.and_then(|before| before.issuers().find(|issuer| issuer.name == *name));
                        Voucher::Issuer(Arc::new(Issuer::new(name, tokens, keys, before, &asked, counts)))
                    })
                }
                Proves::Certificates(certificates) => {
                    let Certificates { allow_unauthenticated, .. } = *certificates;
                    authority::verifier(certificates).map_err(|(key, message)| (at(key), message)).map(
                        |verifier| {
                            Voucher::Authority(Arc::new(Authority {
                                name: name.clone(),
                                verifier,
                                allow_unauthenticated,
                            }))
                        },
                    )
                }
            };
            match voucher {
                Ok(voucher) => list.push(voucher),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { list, asked, counts: counts.clone() })
    }

    /// These are in force from now on: what was counted of others is forgotten.
    pub(crate) fn in_force(&self) {
        self.counts.keep_only((0..self.list.len()).filter_map(|index| self.name(index)));
    }

    /// The issuer that a token names, with its place in the configuration.
    pub(crate) fn issuer(&self, iss: &str) -> Option<(usize, &Arc<Issuer>)> {
        self.list.iter().enumerate().find_map(|(index, voucher)| match voucher {
            Voucher::Issuer(issuer) if issuer.tokens.terms.issuer == iss => Some((index, issuer)),
            _ => None,
        })
    }

    /// The issuer at a place of the configuration.
    pub(crate) fn issuer_at(&self, index: usize) -> Option<&Arc<Issuer>> {
        match self.list.get(index)? {
            Voucher::Issuer(issuer) => Some(issuer),
            Voucher::Authority(_) => None,
        }
    }

    /// The name of the one at a place of the configuration.
    pub(crate) fn name(&self, index: usize) -> Option<&str> {
        self.list.get(index).map(|voucher| match voucher {
            Voucher::Issuer(issuer) => issuer.name(),
            Voucher::Authority(authority) => authority.name(),
        })
    }

    /// All issuers.
    pub fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.list.iter().filter_map(|voucher| match voucher {
            Voucher::Issuer(issuer) => Some(issuer),
            Voucher::Authority(_) => None,
        })
    }

    /// All authorities, with their places in the configuration.
    pub(crate) fn authorities(&self) -> impl Iterator<Item = (usize, &Arc<Authority>)> {
        self.list.iter().enumerate().filter_map(|(index, voucher)| match voucher {
            Voucher::Authority(authority) => Some((index, authority)),
            Voucher::Issuer(_) => None,
        })
    }

    /// Whether nobody may call without a certificate of a member.
    #[must_use]
    pub fn require_certificates(&self) -> bool {
        self.authorities().any(|(_, authority)| !authority.allow_unauthenticated)
    }

    /// What the listener asks of callers' certificates; nothing where nobody vouches with them.
    #[must_use]
    pub(crate) fn client_verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let authorities: Vec<_> = self.authorities().map(|(_, authority)| Arc::clone(authority)).collect();
        (!authorities.is_empty()).then(|| Arc::new(AnyOf::new(authorities, self.require_certificates())) as _)
    }
}

/// Where an issuer's keys come from, read and made ready.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// They stand in a file.
    Known(KeySet),
    /// They are fetched there, where these roots are trusted: a digest of their file.
    At(Arc<Origin>, Option<[u8; 32]>),
}

fn keys(tokens: &Tokens, at: impl Fn(&str) -> String) -> Result<Keys, (String, String)> {
    match &tokens.keys {
        KeysFrom::File(path) => {
            let wrong =
                |error: String| (at("jwt.jwks_file"), format!("cannot use {}: {error}", path.display()));
            let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
            KeySet::read(&text).map(Keys::Known).map_err(wrong)
        }
        KeysFrom::Discovery(uri) | KeysFrom::Url(uri) => {
            let roots = tokens.ca_file.as_ref().and_then(|path| fs::read(path).ok());
            let roots = roots.map(sha256);
            let origin = Origin::new(uri, tokens.ca_file.as_deref());
            let origin = origin.map(|origin| Arc::new(origin.by(tokens.proxy.as_ref())));
            origin.map(|origin| Keys::At(origin, roots)).map_err(|error| {
                let key = match (&error, &tokens.keys) {
                    (OriginError::Roots(_), _) => "jwt.ca_file",
                    (OriginError::Url(_), KeysFrom::Url(_)) => "jwt.jwks_url",
                    (OriginError::Url(_), _) => "jwt.issuer",
                };
                (at(key), error.to_string())
            })
        }
    }
}
