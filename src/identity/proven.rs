//! What credentials were found to be, by their digests: bounded, and the least used go first.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

/// How many are remembered at the least; twice as many at most.
const MANY: usize = 4096;

/// What is remembered. Those that were asked for since the last turn, and those before.
pub struct Proven<T>(Mutex<Halves<T>>);

struct Halves<T> {
    young: HashMap<[u8; 32], Arc<T>>,
    old: HashMap<[u8; 32], Arc<T>>,
}

impl<T> Default for Proven<T> {
    fn default() -> Self {
        Self(Mutex::new(Halves { young: HashMap::new(), old: HashMap::new() }))
    }
}

impl<T> fmt::Debug for Proven<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proven(…)")
    }
}

impl<T> Proven<T> {
    /// What was found of it, if that is remembered.
    pub fn get(&self, digest: &[u8; 32]) -> Option<Arc<T>> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = halves.young.get(digest) {
            return Some(Arc::clone(found));
        }
        let (digest, found) = halves.old.remove_entry(digest)?;
        halves.put(digest, Arc::clone(&found));
        Some(found)
    }

    /// Remembers what was found.
    pub fn put(&self, digest: [u8; 32], found: T) -> Arc<T> {
        let found = Arc::new(found);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(digest, Arc::clone(&found));
        found
    }
}

impl<T> Halves<T> {
    fn put(&mut self, digest: [u8; 32], found: Arc<T>) {
        if self.young.len() >= MANY {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(digest, found);
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
}
