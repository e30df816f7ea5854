//! Answers at rest are sealed with what neither the ledger's file nor the gateway has alone: the pepper, and the
//! `Idempotency-Key` itself, of which the ledger has a digest. ChaCha20-Poly1305 (RFC 8439) under a key derived from both by
//! HKDF (RFC 5869).

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::ledger::Retry;
use crate::secret::Pepper;

/// What the derived keys are for.
const PURPOSE: &[u8] = b"mavera-gateway answer 1";

/// Seals and opens the answer of one call.
pub(super) struct Seal {
    key: LessSafeKey,
    /// The call that an answer belongs to: sealed for one, it opens for no other.
    call: [u8; 64],
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// For the call that is named by this text, whose digests are in `retry`.
    pub(super) fn new(pepper: &Pepper, text: &str, retry: &Retry) -> Option<Self> {
        let secret = Salt::new(HKDF_SHA256, pepper.reveal()).extract(text.as_bytes());
        let info = [PURPOSE, &retry.key];
        let derived = secret.expand(&info, &CHACHA20_POLY1305).ok()?;
        let mut call = [0; 64];
        call[..32].copy_from_slice(&retry.key);
        call[32..].copy_from_slice(&retry.fingerprint);
        Some(Self { key: LessSafeKey::new(UnboundKey::from(derived)), call })
    }

    /// Seals an answer: the nonce, what is sealed, and what tells whether it was changed.
    pub(super) fn close(&self, mut answer: Vec<u8>) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(sealing, Aad::from(&self.call), &mut answer).ok()?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut answer);
        Some(sealed)
    }

    /// Opens what was sealed; nothing if it was for another call, by another key or pepper, or was changed.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let opened =
            self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(&self.call), &mut sealed);
        let length = opened.ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry { key: [1; 32], fingerprint: [2; 32] };

    #[test]
    fn an_answer_opens_with_its_key_and_pepper_alone() {
        let [pepper, other] = ["first", "other"].map(|text| Pepper::for_tests(&text.repeat(8)));
        let seal = |pepper, text, retry: Retry| Seal::new(pepper, text, &retry).unwrap();
        let sealed = seal(&pepper, "key", RETRY).close(b"an answer".to_vec()).unwrap();
        assert!(!sealed.windows(9).any(|window| window == b"an answer"));
        assert_eq!(seal(&pepper, "key", RETRY).open(&sealed).as_deref(), Some(&b"an answer"[..]));
        assert_ne!(
            seal(&pepper, "key", RETRY).close(b"an answer".to_vec()).unwrap(),
            sealed,
            "a nonce is used once"
        );
        for closed in [
            seal(&other, "key", RETRY),
            seal(&pepper, "Key", RETRY),
            seal(&pepper, "key", Retry { key: [3; 32], ..RETRY }),
            seal(&pepper, "key", Retry { fingerprint: [3; 32], ..RETRY }),
        ] {
            assert_eq!(closed.open(&sealed), None);
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal(&pepper, "key", RETRY).open(&changed), None, "{at}");
            assert_eq!(seal(&pepper, "key", RETRY).open(&sealed[..at]), None, "{at}");
        }
        assert_eq!(format!("{:?}", seal(&pepper, "key", RETRY)), "Seal(…)");
    }
}
