//! The public keys of an issuer (RFC 7517): which of them may have signed a token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Fault;
use super::algorithm::{Algorithm, PublicKey};
use super::json::object;

/// Keys of one set. Issuers have two or three.
const MOST_KEYS: usize = 100;

/// The keys of a set that are for signatures that we verify. The others are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    public: PublicKey,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let set = object(text).ok_or("it is not a JSON object, or has a member twice")?;
        let Some(Value::Array(keys)) = set.get("keys") else { return Err("it has no list `keys`".into()) };
        if keys.len() > MOST_KEYS {
            return Err(format!("it has more than {MOST_KEYS} keys"));
        }
        let keys: Vec<_> = keys.iter().filter_map(Value::as_object).filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err("it has no key for signatures of RS256, PS256, ES256, ES384 or EdDSA".into());
        }
        Ok(Self(keys))
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether the key that a token names has signed it. Without a name, where only one key can be meant.
    pub(super) fn verify(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Fault> {
        let mut named = self.0.iter().filter(|key| kid.is_none() || key.id.as_deref() == kid).peekable();
        if named.peek().is_none() {
            return Err(Fault::UnknownKey);
        }
        let fit: Vec<_> = named.filter(|key| key.is_for(algorithm)).collect();
        match fit[..] {
            [] => Err(Fault::Algorithm),
            // Which of them is nobody's guess to make.
            [_, _, ..] => Err(Fault::UnknownKey),
            [key] if key.public.has_signed(algorithm, message, signature) => Ok(()),
            [_] => Err(Fault::Signature),
        }
    }
}

impl Key {
    /// The key that a JWK is, if it is one for us.
    fn of(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let is_absent_or = |name: &str, right: &dyn Fn(&Value) -> bool| jwk.get(name).is_none_or(right);
        let verifies = is_absent_or("use", &|of| of == "sig")
            && is_absent_or("key_ops", &|of| {
                of.as_array().is_some_and(|of| of.iter().any(|of| of == "verify"))
            });
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(named) => Some(Algorithm::named(named.as_str()?)?),
        };
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let point = |size: usize| {
            let [x, y] = [bytes("x")?, bytes("y")?];
            (x.len() == size && y.len() == size).then(|| [&[4], &x[..], &y[..]].concat())
        };
        let key = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let number = |name| {
                    let bytes = bytes(name)?;
                    Some(bytes[bytes.iter().take_while(|byte| **byte == 0).count()..].to_vec())
                };
                let (n, e) = (number("n")?, number("e")?);
                // Less than 2048 bits are broken soon (RFC 7518 §3.3), more than 8192 cost too much.
                (256..=1024).contains(&n.len()).then_some(PublicKey::Rsa { n, e })?
            }
            ("EC", Some("P-256")) => PublicKey::P256(point(32)?),
            ("EC", Some("P-384")) => PublicKey::P384(point(48)?),
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let is_its_own = algorithm.is_none_or(|algorithm| key.is_for(algorithm));
        (verifies && is_its_own).then(|| Self { id: text("kid").map(str::to_owned), algorithm, public: key })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.public.is_for(algorithm) && self.algorithm.is_none_or(|own| own == algorithm)
    }
}
