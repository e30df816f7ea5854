//! Members: callers without a key, found by what an identity says of them.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::identity::Proof;
use crate::identity::Names;

/// What an identity says of whoever calls.
#[derive(Clone, Copy, Debug)]
pub enum Says<'s> {
    /// The claims of a token.
    Claims(&'s Map<String, Value>),
    /// The names in a certificate.
    Names(&'s Names),
}

/// Members, each with what it is to the gateway.
#[derive(Debug)]
pub struct Members<T>(Vec<Member<T>>);

#[derive(Debug)]
struct Member<T> {
    identity: usize,
    proof: Proof,
    is: T,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Members<T> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more, behind the others.
    pub(super) fn add(&mut self, identity: usize, proof: Proof, is: T) {
        self.0.push(Member { identity, proof, is });
    }

    /// All that are meant, in the order of the file.
    pub fn meant<'m>(&'m self, identity: usize, says: Says<'m>) -> impl Iterator<Item = &'m T> {
        let of_it = self.0.iter().filter(move |member| member.identity == identity);
        of_it.filter(move |member| member.proof.is_met(says)).map(|member| &member.is)
    }

    /// The claims that any member of an identity is known by: what is worth telling of a token that is nobody's.
    pub fn claims_asked_for(&self, identity: usize) -> impl Iterator<Item = &str> {
        let of_it = self.0.iter().filter(move |member| member.identity == identity);
        of_it.flat_map(|member| match &member.proof {
            Proof::Claims(claims) => claims.iter().map(|(name, _)| name.as_str()).collect(),
            Proof::San(_) => Vec::new(),
        })
    }
}

impl Proof {
    fn is_met(&self, says: Says<'_>) -> bool {
        match (self, says) {
            (Self::Claims(wanted), Says::Claims(claims)) => wanted
                .iter()
                .all(|(name, pattern)| claims.get(name).is_some_and(|claim| pattern.is_claim(claim))),
            (Self::San(pattern), Says::Names(names)) => names.valid().any(|name| pattern.is(name)),
            _ => false,
        }
    }
}

/// What a credential was found to be.
#[derive(Debug)]
pub struct Found<T> {
    /// By which identity, and under which of its key sets.
    pub identity: usize,
    /// See there.
    pub generation: u64,
    /// The first moment at which it must be judged again.
    pub until: jiff::Timestamp,
    /// SHA-256 of the one certificate that may show it, if it is bound to one.
    pub bound_to: Option<[u8; 32]>,
    /// All that are meant, of each team the first.
    pub are: Arc<[T]>,
}
