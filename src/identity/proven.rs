//! What credentials were found to be, by their digests: bounded, and the least used go first.
//!
//! A token is told again by a keyed digest (SipHash-2-4, 128 bits), whose key is made here and leaves with it: nobody can make
//! another token of the same without it, and it takes a fifth of what SHA-256 does where the processor has no help for that
//! (source: callgrind, of a token of 900 bytes).

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use siphasher::sip128::{Hasher128, SipHasher24};

/// How many are remembered at the least; twice as many at most.
const MANY: usize = 4096;

/// What is remembered. Those that were asked for since the last turn, and those before.
pub struct Proven<K, T>(Mutex<Halves<K, T>>);

struct Halves<K, T> {
    young: HashMap<K, Arc<T>>,
    old: HashMap<K, Arc<T>>,
}

impl<K, T> Default for Proven<K, T> {
    fn default() -> Self {
        Self(Mutex::new(Halves { young: HashMap::new(), old: HashMap::new() }))
    }
}

impl<K, T> fmt::Debug for Proven<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proven(…)")
    }
}

impl<K: Copy + Eq + Hash, T> Proven<K, T> {
    /// What was found of it, if that is remembered.
    pub fn get(&self, digest: &K) -> Option<Arc<T>> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = halves.young.get(digest) {
            return Some(Arc::clone(found));
        }
        let (digest, found) = halves.old.remove_entry(digest)?;
        halves.put(digest, Arc::clone(&found));
        Some(found)
    }

    /// Remembers what was found.
    pub fn put(&self, digest: K, found: T) -> Arc<T> {
        let found = Arc::new(found);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(digest, Arc::clone(&found));
        found
    }
}

impl<K: Eq + Hash, T> Halves<K, T> {
    fn put(&mut self, digest: K, found: Arc<T>) {
        if self.young.len() >= MANY {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(digest, found);
    }
}

/// What tokens were found to be.
pub struct ProvenTokens<T> {
    /// A hasher with a key that nobody else has, before the first byte.
    keyed: SipHasher24,
    proven: Proven<u128, T>,
}

impl<T> Default for ProvenTokens<T> {
    fn default() -> Self {
        let mut key = [0; 16];
        // As the standard library has it of its own hash maps.
        getrandom::fill(&mut key).expect("the system has randomness to give");
        Self { keyed: SipHasher24::new_with_key(&key), proven: Proven::default() }
    }
}

impl<T> fmt::Debug for ProvenTokens<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProvenTokens(…)")
    }
}

impl<T> ProvenTokens<T> {
    /// By which a token is told again, here and nowhere else.
    pub fn digest(&self, token: &[u8]) -> u128 {
        let mut hasher = self.keyed;
        hasher.write(token);
        hasher.finish128().as_u128()
    }

    /// What was found of the token of a digest, if that is remembered.
    pub fn get(&self, digest: u128) -> Option<Arc<T>> {
        self.proven.get(&digest)
    }

    /// Remembers what was found.
    pub fn put(&self, digest: u128, found: T) -> Arc<T> {
        self.proven.put(digest, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_there_is_never_too_much() {
        let proven = Proven::default();
        let digest = |number: u64| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        proven.put([9; 32], 9);
        for number in 0..10 * MANY as u64 {
            proven.put(digest(number), number);
            assert_eq!(proven.get(&[9; 32]).as_deref(), Some(&9), "{number}");
        }
        let halves = proven.0.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 2 * MANY);
        drop(halves);
        assert_eq!(proven.get(&digest(0)), None);
    }

    #[test]
    fn a_token_has_another_digest_in_each_gateway() {
        let [one, other] = [ProvenTokens::<u8>::default(), ProvenTokens::default()];
        assert_eq!(one.digest(b"a.b.c"), one.digest(b"a.b.c"));
        assert_ne!(one.digest(b"a.b.c"), one.digest(b"a.b.d"));
        assert_ne!(one.digest(b"a.b.c"), other.digest(b"a.b.c"));
    }
}
