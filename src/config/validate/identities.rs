//! Who may call without a key: identities, and the members that they vouch for.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use http::Uri;
use http::uri::Scheme;
use jiff::SignedDuration;

use super::names::{CallerIds, is_team_name};
use super::validator::Validator;
use crate::config::file::identity as file;
use crate::config::identity::{Certificates, Identity, KeysFrom, Member, Pattern, Proof, Proves, Tokens};
use crate::config::is_loopback;
use crate::config::values::Leaf;
use crate::token::{Algorithm, Terms};

/// Issuers and authorities. Each has a key set in memory, or a verifier.
const MAX_IDENTITIES: usize = 32;
/// Claims of one member.
const MAX_CLAIMS: usize = 16;
const NAME: &str = "use 1 to 64 of a-z, 0-9, \"-\" and \"_\", a letter first";
const CLAIMS: &str = "write what its tokens say, like { sub = \"system:serviceaccount:growth:api\" }";
const SAN: &str = "write the name in its certificate, like \"spiffe://acme.internal/ns/growth/sa/batch\"";

impl Validator<'_, '_> {
    pub(super) fn identities(&mut self, identities: Vec<file::Identity>, has_tls: bool) -> Vec<Identity> {
        if identities.len() > MAX_IDENTITIES {
            let message = format!("{} identities are more than {MAX_IDENTITIES}", identities.len());
            self.problems.add(
                "identity",
                message,
                "an issuer may have several audiences, an authority several roots",
            );
        }
        let (mut names, mut issuers) = (HashSet::new(), HashSet::new());
        let mut valid = Vec::with_capacity(identities.len());
        for (index, identity) in identities.into_iter().enumerate() {
            let at = format!("identity[{index}]");
            let name = self.member_name(&format!("{at}.name"), identity.name);
            if !name.is_empty() && !names.insert(name.clone()) {
                let message = format!("there is another identity {name:?}");
                self.problems.add(&format!("{at}.name"), message, "give each a name of its own");
            }
            let proves = match (identity.jwt, identity.mtls) {
                (Some(jwt), None) => {
                    let tokens = self.tokens(&format!("{at}.jwt"), jwt);
                    if !tokens.terms.issuer.is_empty() && !issuers.insert(tokens.terms.issuer.clone()) {
                        let remedy = "one identity may have several audiences";
                        self.problems.add(&format!("{at}.jwt.issuer"), "is another identity's too", remedy);
                    }
                    Proves::Tokens(Box::new(tokens))
                }
                (None, Some(mtls)) => {
                    if !has_tls {
                        let remedy = "set `server.tls`; behind a proxy that ends TLS no certificate arrives";
                        self.problems.add(&format!("{at}.mtls"), "needs a listener with TLS", remedy);
                    }
                    Proves::Certificates(self.certificates(&format!("{at}.mtls"), mtls))
                }
                (jwt, _) => {
                    let remedy =
                        "write jwt = { issuer = \"…\", audience = [\"…\"] } or mtls = { ca_file = \"…\" }";
                    let message = if jwt.is_some() {
                        "has both `jwt` and `mtls`"
                    } else {
                        "has neither `jwt` nor `mtls`"
                    };
                    self.problems.add(&at, message, remedy);
                    continue;
                }
            };
            valid.push(Identity { name, proves });
        }
        valid
    }

    fn tokens(&mut self, at: &str, jwt: file::Jwt) -> Tokens {
        let file::Jwt {
            issuer,
            audience,
            jwks_url,
            jwks_file,
            ca_file,
            proxy,
            token_file,
            algorithms,
            max_age,
            not_before,
        } = jwt;
        let key = |name: &str| format!("{at}.{name}");
        let issuer = self.filled(&key("issuer"), issuer, "write the `iss` of its tokens");
        let names = "write names of this gateway, like [\"mavera-gateway\"]";
        let audience = self.required(&key("audience"), audience, names);
        if audience.iter().any(String::is_empty) || audience.is_empty() {
            self.problems.add(&key("audience"), "is empty, or has a name that is", names);
        }
        let file = self.path_if_any(&key("jwks_file"), jwks_file);
        let url = match jwks_url.0 {
            None => None,
            given => {
                let text = self.value(&key("jwks_url"), Leaf(given), String::new(), "");
                self.fetched(&key("jwks_url"), &text)
            }
        };
        let ca_file = self.path_if_any(&key("ca_file"), ca_file);
        let token_file = self.path_if_any(&key("token_file"), token_file);
        let is_clear = url.as_ref().is_some_and(|url| url.scheme() == Some(&Scheme::HTTP));
        let proxy = self.proxy(&key("proxy"), proxy, is_clear);
        let keys = match (file, url) {
            (Some(_), Some(_)) => {
                self.problems.add(&key("jwks_file"), "stands beside `jwks_url`", "keep one of them");
                None
            }
            (Some(file), None) => {
                let beside = [
                    ("ca_file", ca_file.is_some()),
                    ("proxy", proxy.is_some()),
                    ("token_file", token_file.is_some()),
                ];
                for (name, _) in beside.into_iter().filter(|(_, given)| *given) {
                    self.problems.add(&key(name), "nothing is fetched beside `jwks_file`", "remove it");
                }
                Some(KeysFrom::File(file))
            }
            (None, Some(url)) => Some(KeysFrom::Url(url)),
            (None, None) if issuer.is_empty() => None,
            (None, None) => self.fetched(&key("issuer"), &issuer).map(KeysFrom::Discovery),
        };
        let names: Vec<_> = Algorithm::ALL.map(Algorithm::as_str).into();
        let remedy = format!("use some of {}", names.join(", "));
        let all = names.iter().map(|name| (*name).to_owned()).collect();
        let given = self.value(&key("algorithms"), algorithms, all, &remedy);
        let algorithms: Vec<_> = given.iter().filter_map(|name| Algorithm::named(name)).collect();
        if algorithms.is_empty() || algorithms.len() < given.len() {
            self.problems.add(&key("algorithms"), "has one that is not accepted, or none", remedy);
        }
        let max_age = self.duration(&key("max_age"), max_age, 86_400, 60..=90 * 86_400);
        let not_before = self.moment(&key("not_before"), not_before);
        Tokens {
            terms: Terms {
                issuer,
                audience,
                algorithms,
                max_age: SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX),
                not_before,
            },
            keys: keys.unwrap_or_else(|| KeysFrom::File(PathBuf::new())),
            ca_file,
            proxy,
            token_file,
        }
    }

    /// The URL of something that is fetched.
    fn fetched(&mut self, key: &str, text: &str) -> Option<Uri> {
        let uri = text.parse::<Uri>().ok().filter(|uri| {
            let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            let known = uri.scheme().is_some_and(|s| *s == Scheme::HTTPS || *s == Scheme::HTTP);
            plain && known && uri.query().is_none()
        });
        let Some(uri) = uri else {
            let remedy = "write it like \"https://issuer.example\"; with `jwks_url` or `jwks_file`, an issuer may be any text";
            self.problems.add(key, format!("{text:?} is not a URL without user, password and query"), remedy);
            return None;
        };
        if uri.scheme() == Some(&Scheme::HTTP) && !uri.host().is_some_and(is_loopback) {
            let remedy = "use https://; http:// is accepted for loopback addresses only";
            self.problems.add(
                key,
                "would fetch keys in clear text, which anybody on the way can replace",
                remedy,
            );
        }
        Some(uri)
    }

    fn certificates(&mut self, at: &str, mtls: file::Mtls) -> Certificates {
        let file::Mtls { ca_file, crl_file, allow_unauthenticated } = mtls;
        let key = |name: &str| format!("{at}.{name}");
        Certificates {
            ca_file: self.path(&key("ca_file"), ca_file, "name the PEM file with the authority's roots"),
            crl_file: self.path_if_any(&key("crl_file"), crl_file),
            allow_unauthenticated: self.value(&key("allow_unauthenticated"), allow_unauthenticated, true, ""),
        }
    }

    /// The members of a list, whoever's they are.
    pub(super) fn members(
        &mut self,
        at: &str,
        members: Vec<file::Member>,
        identities: &[Identity],
        ids: &mut CallerIds,
    ) -> Vec<Member> {
        let valid = members.into_iter().enumerate().filter_map(|(index, member)| {
            let at = format!("{at}[{index}]");
            let id = self.member_name(&format!("{at}.id"), member.id);
            if !ids.add(&id) {
                let message = format!("{id:?} is the id of another member or key");
                self.problems.add(&format!("{at}.id"), message, "give each caller an id of its own");
            }
            let names =
                identities.iter().map(|identity| identity.name.as_str()).collect::<Vec<_>>().join(", ");
            let remedy = if names.is_empty() {
                "write an [[identity]] that vouches for it".to_owned()
            } else {
                format!("name one of {names}")
            };
            let name = self.filled(&format!("{at}.identity"), member.identity, &remedy);
            let found = identities.iter().position(|identity| identity.name == name);
            if found.is_none() && !name.is_empty() {
                self.problems.add(
                    &format!("{at}.identity"),
                    format!("there is no identity {name:?}"),
                    remedy,
                );
            }
            let identity = found?;
            let budget = self.budget(&format!("{at}.budget"), member.budget);
            let proof = match (&identities[identity].proves, member.claims.0, member.san.0) {
                (Proves::Tokens(_), claims, None) => self.claims(&format!("{at}.claims"), Leaf(claims)),
                (Proves::Certificates(_), None, san) => {
                    let key = format!("{at}.san");
                    let text = self.filled(&key, Leaf(san), SAN);
                    Proof::San(if text.contains(':') { Pattern::new(text) } else { Pattern::of_host(text) })
                }
                (Proves::Tokens(_), ..) => {
                    self.problems.add(&format!("{at}.san"), "tokens have no such name", CLAIMS);
                    return None;
                }
                (Proves::Certificates(_), ..) => {
                    self.problems.add(&format!("{at}.claims"), "certificates have no claims", SAN);
                    return None;
                }
            };
            Some(Member { id, identity, proof, budget })
        });
        valid.collect()
    }

    /// Who may change keys: by tokens, for the listener of operators has no TLS.
    pub(super) fn operators(
        &mut self,
        operators: Vec<file::Member>,
        identities: &[Identity],
        ids: &mut CallerIds,
    ) -> Vec<Member> {
        const KEY: &str = "admin.operators";
        let operators = self.members(KEY, operators, identities, ids);
        for (index, operator) in operators.iter().enumerate() {
            if operator.budget.is_some() {
                self.problems.add(
                    &format!("{KEY}[{index}].budget"),
                    "an operator spends nothing",
                    "remove it",
                );
            }
            if matches!(operator.proof, Proof::San(_)) {
                let remedy = "name an identity with `jwt`";
                self.problems.add(
                    &format!("{KEY}[{index}].san"),
                    "operators show tokens, no certificates",
                    remedy,
                );
            }
        }
        operators
    }

    fn claims(&mut self, key: &str, claims: Leaf<BTreeMap<String, String>>) -> Proof {
        let claims = self.required(key, claims, CLAIMS);
        if claims.is_empty() || claims.len() > MAX_CLAIMS {
            let message =
                format!("a member has 1 to {MAX_CLAIMS} claims: without any, every token would be its own");
            self.problems.add(key, message, CLAIMS);
        }
        Proof::Claims(claims.into_iter().map(|(name, text)| (name, Pattern::new(text))).collect())
    }

    /// A text that says something.
    fn filled(&mut self, key: &str, leaf: Leaf<String>, remedy: &str) -> String {
        let is_given = leaf.0.is_some();
        let text = self.required(key, leaf, remedy);
        if is_given && text.is_empty() {
            self.problems.add(key, "is empty", remedy);
        }
        text
    }

    fn member_name(&mut self, key: &str, leaf: Leaf<String>) -> String {
        let name = self.filled(key, leaf, NAME);
        if !name.is_empty() && !is_team_name(&name) {
            self.problems.add(key, format!("{name:?} is not such a name"), NAME);
        }
        name
    }
}
