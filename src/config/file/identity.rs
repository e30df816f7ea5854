//! Who may call without a key, as it is written: identities, and the members that they vouch for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::{Budget, DurationText, Leaf, TimestampText};

/// Whose word on who calls is taken: an issuer of tokens, or a certificate authority.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Identity {
    /// Name in metrics, logs and `members`: 1 to 64 of a-z, 0-9, "-" and "_", a letter first. Required.
    pub(in crate::config) name: Leaf<String>,
    /// Tokens of an issuer (JSON Web Tokens, as Kubernetes, GitHub, GitLab and any OpenID provider make them). This or `mtls`.
    pub(in crate::config) jwt: Option<Jwt>,
    /// Client certificates. Needs `server.tls`.
    pub(in crate::config) mtls: Option<Mtls>,
}

/// An issuer of tokens.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Jwt {
    /// The `iss` of its tokens, to the byte. Unless `jwks_url` or `jwks_file` is given, the https URL under which
    /// `/.well-known/openid-configuration` says where its keys are. Required.
    pub(in crate::config) issuer: Leaf<String>,
    /// What `aud` of a token must have one of: a name of this gateway's own, so that a token for another service is none
    /// for this one. Required.
    pub(in crate::config) audience: Leaf<Vec<String>>,
    /// Where its key set is, without discovery. `http://` is accepted for loopback only.
    pub(in crate::config) jwks_url: Leaf<String>,
    /// A file with its key set; nothing is fetched then. A changed file is picked up within a second.
    pub(in crate::config) jwks_file: Leaf<PathBuf>,
    /// PEM file with the only roots to trust where its keys are fetched. Default: the system's.
    pub(in crate::config) ca_file: Leaf<PathBuf>,
    /// An HTTP proxy on the way there, `"http://HOST:PORT"`: it is asked to CONNECT, and sees no more than names and lengths.
    /// Default: none; `HTTPS_PROXY` in the environment is not heeded.
    pub(in crate::config) proxy: Leaf<String>,
    /// A file with a token to send to the issuer, where it answers nobody else: read before each fetch. It is sent to
    /// `jwks_url`, or to the issuer's own origin, and nowhere else.
    pub(in crate::config) token_file: Leaf<PathBuf>,
    /// How its tokens may be signed, of "RS256", "PS256", "ES256", "ES384" and "EdDSA". Default: all five.
    pub(in crate::config) algorithms: Leaf<Vec<String>>,
    /// How long ago a token may have been issued, whatever its `exp`. Default "24h".
    pub(in crate::config) max_age: Leaf<DurationText>,
    /// Tokens that were issued before are refused: what to set when some have leaked. Default: none.
    pub(in crate::config) not_before: Leaf<TimestampText>,
}

/// A certificate authority.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Mtls {
    /// PEM file with the roots that client certificates must lead to. Changed files are picked up within a second, and hold
    /// for the next request of every connection. Required.
    pub(in crate::config) ca_file: Leaf<PathBuf>,
    /// PEM file with revocation lists: one of each authority in the chains. Default: none, and nothing is revoked.
    pub(in crate::config) crl_file: Leaf<PathBuf>,
    /// Whether callers without a certificate, who have a key or a token, may connect. Default true. With false at any authority,
    /// also a key or a token is taken only beside a certificate of a member of the same team.
    pub(in crate::config) allow_unauthenticated: Leaf<bool>,
}

/// A caller that holds no key: whoever an identity says it is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Member {
    /// Its name in the ledger, metrics and logs, in place of a key's id: 1 to 64 of a-z, 0-9, "-" and "_", a letter first.
    /// Required.
    pub(in crate::config) id: Leaf<String>,
    /// Which `[[identity]]` vouches for it. Required.
    pub(in crate::config) identity: Leaf<String>,
    /// What its token must say, all of it, as text in which `*` is anything up to the next "/":
    /// `{ repository_id = "4711", ref = "refs/heads/*" }`. Of a list one item must match. Required with `jwt`.
    pub(in crate::config) claims: Leaf<BTreeMap<String, String>>,
    /// The URI or DNS name in its certificate, in which `*` is anything up to the next "/", or "." of a DNS name:
    /// `"spiffe://acme.internal/ns/growth/sa/batch"`. Required with `mtls`.
    pub(in crate::config) san: Leaf<String>,
    /// A budget of this member alone. Default: none but the team's.
    pub(in crate::config) budget: Option<Budget>,
}
