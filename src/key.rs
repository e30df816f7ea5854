//! Caller keys, `mvgw_<id>_<secret>`: their shape, their digest, and how one is made.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::digest::sha256;

const PREFIX: &str = "mvgw_";
const KEY_ID: std::ops::RangeInclusive<usize> = 8..=32;
const SECRET: std::ops::RangeInclusive<usize> = 43..=256;

/// Whether `text` can be the public id of a caller key.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    KEY_ID.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// SHA-256 digest from its hexadecimal form.
#[must_use]
pub fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok().map(|()| digest)
}

/// A caller key that was just made: the only moment its text exists here.
pub struct NewKey {
    /// The whole key, for its owner.
    pub text: Zeroizing<String>,
    /// The public part.
    pub id: String,
    /// SHA-256 of the text, in hexadecimal, for the configuration.
    pub sha256: String,
}

impl NewKey {
    /// Makes a key from the system's randomness.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut random = Zeroizing::new([0u8; 40]);
        getrandom::fill(random.as_mut())?;
        let (id, secret) = random.split_at(8);
        let id: String = id.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret));
        let text = Zeroizing::new(format!("{PREFIX}{id}_{}", *secret));
        let sha256 = hex::encode(sha256(text.as_bytes()));
        Ok(Self { text, id, sha256 })
    }
}

/// The public id inside a key as presented, if it has the shape of one.
pub(crate) fn key_id(presented: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(presented).ok()?.strip_prefix(PREFIX)?;
    let (id, secret) = text.split_once('_')?;
    let shaped = SECRET.contains(&secret.len())
        && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (is_key_id(id) && shaped).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_documented_shape_and_digest() {
        let key = NewKey::generate().unwrap();
        assert_eq!(key_id(key.text.as_bytes()), Some(key.id.as_str()));
        let digest = sha256(key.text.as_bytes());
        assert_eq!(digest_from_hex(&key.sha256), Some(digest));
        assert_ne!(*NewKey::generate().unwrap().text, *key.text);
    }

    #[test]
    fn what_is_not_shaped_like_a_key_has_no_id() {
        let secret = "s".repeat(43);
        assert_eq!(key_id(format!("mvgw_abcd2345_{secret}").as_bytes()), Some("abcd2345"));
        for text in [
            format!("mvgw_abc_{secret}"),
            format!("mvgw_ABCD2345_{secret}"),
            format!("mvra_live_abcd2345_{secret}"),
            format!("mvgw_abcd2345_{}", &secret[1..]),
            format!("mvgw_abcd2345_{secret}!"),
            format!("mvgw_abcd2345{secret}"),
        ] {
            assert_eq!(key_id(text.as_bytes()), None, "{text}");
        }
    }
}
