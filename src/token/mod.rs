//! JSON Web Tokens (RFC 7519), as a gateway takes them: signed by a key of their issuer's set (RFC 7515, 7518), made for us,
//! and of now (RFC 8725, 9068). Reads text and keeps nothing.
//!
//! What a token says of itself decides nothing: neither which key opens it (`jwk`, `jku`, `x5u`, `x5c` are not looked at) nor
//! how it is signed, which must be as configured and as the key itself says.

mod json;
pub mod algorithm;
pub mod key_set;
mod claims;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

pub use self::algorithm::Algorithm;
pub use self::claims::Verified;
use self::json::object;
pub use self::key_set::KeySet;

/// Bytes of a token. Those of the providers that are documented are around one thousand.
pub const MOST: usize = 8 << 10;
/// How far the clocks of an issuer and of this machine may differ.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// Whether a bearer is a token: three parts with dots between them. A caller key has none.
#[must_use]
pub fn is_token(bearer: &[u8]) -> bool {
    memchr::memchr_iter(b'.', bearer).count() == 2
}

/// What an issuer's tokens must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `iss`, to the byte.
    pub issuer: String,
    /// `aud` must have one of them.
    pub audience: Vec<String>,
    /// How they may be signed.
    pub algorithms: Vec<Algorithm>,
    /// How long ago they may have been issued.
    pub max_age: SignedDuration,
    /// Those issued before are not valid any more.
    pub not_before: Option<Timestamp>,
}

/// Why a token is not valid. For operators alone: a caller is told no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no token at all.
    #[error("it is not a signed JSON Web Token of at most 8 KiB")]
    Malformed,
    /// `typ` is something else, or `crit` asks for what nobody here does.
    #[error("its header says that it is no token to call with (`typ`, `crit`)")]
    Header,
    /// `alg` is not among those that are accepted of this issuer, or not the key's.
    #[error("it is signed with an algorithm that is not accepted of this issuer, or not its key's")]
    Algorithm,
    /// No identity of the configuration has this `iss`.
    #[error("no `[[identity]]` of the configuration has its issuer")]
    Issuer,
    /// No key of the set has its `kid`.
    #[error("its issuer's key set has no key of its `kid`")]
    UnknownKey,
    /// The signature is not that key's.
    #[error("its signature is not valid")]
    Signature,
    /// `aud` is not there, or is somebody else.
    #[error("its audience is somebody else")]
    Audience,
    /// `exp` is not there.
    #[error("it has no `exp`")]
    NoExpiry,
    /// `exp` is over.
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat` is still to come, or no time.
    #[error("it is of a time to come")]
    NotYet,
    /// It was issued too long ago, before the identity's `not_before`, or does not say when.
    #[error("it was issued too long ago, or does not say when")]
    TooOld,
    /// It is bound to a key (`cnf`) that the caller has not shown.
    #[error("it is bound to a key or certificate that was not shown")]
    Binding,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Header,
        Self::Algorithm,
        Self::Issuer,
        Self::UnknownKey,
        Self::Signature,
        Self::Audience,
        Self::NoExpiry,
        Self::Expired,
        Self::NotYet,
        Self::TooOld,
        Self::Binding,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::Issuer => "issuer",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::TooOld => "too_old",
            Self::Binding => "binding",
        }
    }
}

/// A token that was read, and that nobody has vouched for.
pub struct Unverified<'t> {
    /// What is signed: header and claims as they were sent.
    signed: &'t [u8],
    algorithm: Algorithm,
    kid: Option<String>,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'t> Unverified<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// That it is none, or none that could ever be valid.
    pub fn read(token: &'t [u8]) -> Result<Self, Fault> {
        if token.len() > MOST {
            return Err(Fault::Malformed);
        }
        let mut dots = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(Fault::Malformed);
        };
        let part = |of: &[u8]| URL_SAFE_NO_PAD.decode(of).map_err(|_| Fault::Malformed);
        let header = object(&part(&token[..first])?).ok_or(Fault::Malformed)?;
        let claims = object(&part(&token[first + 1..second])?).ok_or(Fault::Malformed)?;
        let signature = part(&token[second + 1..])?;
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(Fault::Header),
        };
        if !text("typ")?.is_none_or(is_access_token)
            || header.contains_key("crit")
            || header.contains_key("b64")
        {
            return Err(Fault::Header);
        }
        let algorithm = text("alg")?.and_then(Algorithm::named).ok_or(Fault::Algorithm)?;
        let kid = text("kid")?.map(str::to_owned);
        Ok(Self { signed: &token[..second], algorithm, kid, claims, signature })
    }

    /// Who says that it has issued it. Not to be believed before [`Unverified::verify`].
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// What it says, as JSON. Not to be believed before [`Unverified::verify`].
    #[must_use]
    pub fn says(&self) -> Value {
        Value::Object(self.claims.clone())
    }

    /// Holds it against what its issuer's tokens must be.
    ///
    /// # Errors
    /// Why it is not valid; [`Fault::UnknownKey`] where a newer key set may have its key.
    pub fn verify(self, terms: &Terms, keys: &KeySet, now: Timestamp) -> Result<Verified, Fault> {
        if !terms.algorithms.contains(&self.algorithm) {
            return Err(Fault::Algorithm);
        }
        keys.verify(self.kid.as_deref(), self.algorithm, self.signed, &self.signature)?;
        Verified::judge(self.claims, terms, now)
    }
}

/// `typ`, which is a media type (RFC 7515 §4.1.9): of a token in general, or of an access token (RFC 9068 §2.1). An ID token's
/// is the first too; its audience tells it apart.
fn is_access_token(typ: &str) -> bool {
    let bare =
        typ.get(..12).filter(|start| start.eq_ignore_ascii_case("application/")).map_or(typ, |_| &typ[12..]);
    bare.eq_ignore_ascii_case("jwt") || bare.eq_ignore_ascii_case("at+jwt")
}

#[cfg(test)]
mod tests;
