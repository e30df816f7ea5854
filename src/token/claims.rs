//! What a token that is signed must say: for whom it is, of which time, and who may use it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Fault, LEEWAY, Terms};

/// A token that its issuer vouches for.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What it says.
    pub claims: Map<String, Value>,
    /// The first moment at which it is not valid any more.
    pub until: Timestamp,
    /// SHA-256 of the one client certificate that may show it (RFC 8705 §3.1).
    pub bound_to: Option<[u8; 32]>,
}

impl Verified {
    pub(super) fn judge(claims: Map<String, Value>, terms: &Terms, now: Timestamp) -> Result<Self, Fault> {
        if claims.get("iss").and_then(Value::as_str) != Some(&terms.issuer) {
            return Err(Fault::Issuer);
        }
        let is_ours = |of: &Value| of.as_str().is_some_and(|of| terms.audience.iter().any(|ours| ours == of));
        let for_us = match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if !for_us {
            return Err(Fault::Audience);
        }
        let expires = time(&claims, "exp").map_err(|()| Fault::NoExpiry)?.ok_or(Fault::NoExpiry)?;
        let begins = time(&claims, "nbf").map_err(|()| Fault::NotYet)?;
        let issued = time(&claims, "iat").map_err(|()| Fault::NotYet)?;
        let later = |at: Timestamp, by: SignedDuration| at.saturating_add(by).unwrap_or(Timestamp::MAX);
        if now >= later(expires, LEEWAY) {
            return Err(Fault::Expired);
        }
        if [begins, issued].into_iter().flatten().any(|at| at > later(now, LEEWAY)) {
            return Err(Fault::NotYet);
        }
        // Without a word on when, nobody can tell how old it is.
        let issued = issued.ok_or(Fault::TooOld)?;
        let too_old = later(later(issued, terms.max_age), LEEWAY);
        if now >= too_old || terms.not_before.is_some_and(|first| issued < first) {
            return Err(Fault::TooOld);
        }
        let bound_to = binding(&claims)?;
        Ok(Self { claims, until: later(expires, LEEWAY).min(too_old), bound_to })
    }

    /// Whether whoever shows it may: it is bound to no certificate, or to the one that was shown.
    #[must_use]
    pub fn is_shown_by(&self, certificate: Option<&[u8; 32]>) -> bool {
        self.bound_to.as_ref().is_none_or(|bound| certificate == Some(bound))
    }
}

/// A time as tokens have it: seconds since the epoch, with a fraction or not (RFC 7519 §2).
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, ()> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().ok_or(())?;
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    #[expect(clippy::cast_possible_truncation, reason = "what does not fit is further off than anything")]
    let seconds = (seconds.floor() as i64).clamp(first, last);
    Timestamp::from_second(seconds).map(Some).map_err(|_| ())
}

/// The certificate that a token is bound to. A binding of another kind is one that nobody here could check, and ignored it would
/// be worse than none.
fn binding(claims: &Map<String, Value>) -> Result<Option<[u8; 32]>, Fault> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let members = confirmation.as_object().ok_or(Fault::Binding)?;
    let mut members = members.iter();
    let (Some((name, Value::String(digest))), None) = (members.next(), members.next()) else {
        return Err(Fault::Binding);
    };
    if name != "x5t#S256" {
        return Err(Fault::Binding);
    }
    let digest = URL_SAFE_NO_PAD.decode(digest).ok().and_then(|bytes| bytes.try_into().ok());
    digest.map(Some).ok_or(Fault::Binding)
}
