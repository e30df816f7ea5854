//! Whose token is this? What was found is remembered, until the token ends or its issuer has other keys.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::identity::proven::ProvenTokens;
use crate::identity::{Identities, Issuer};
use crate::live::members::{Found, Members, Says};
use crate::token::{Fault, Unverified};

/// Why nothing was found.
#[derive(Debug)]
pub(crate) enum Unproven {
    /// The token is not valid. Its issuer, if it names one of ours.
    Not(Option<Arc<Issuer>>, Fault),
    /// There is no key set to judge it by.
    Unavailable(Arc<Issuer>),
    /// Its key set is being fetched: when that has ended, it may be found.
    Fetching(watch::Receiver<()>),
}

/// Whose tokens are found: the members they may be of, and what was found before.
#[derive(Debug)]
pub(crate) struct Among<'a, T> {
    pub(crate) identities: &'a Identities,
    pub(crate) members: &'a Members<T>,
    pub(crate) proven: &'a ProvenTokens<Found<T>>,
    pub(crate) clock: Clock,
}

impl<T: Clone> Among<'_, T> {
    /// Who a token is of, which whoever has `certificate` shows. Where nobody is meant, the log is told what it says, the first
    /// time. `waits`: whether a key set may be fetched for it.
    ///
    /// # Errors
    /// Why it is of nobody.
    pub(crate) fn find(
        &self,
        token: &[u8],
        certificate: Option<&[u8; 32]>,
        waits: bool,
    ) -> Result<Arc<Found<T>>, Unproven> {
        let digest = self.proven.digest(token);
        let now = self.clock.wall();
        if let Some(found) = self.proven.get(digest)
            && now < found.until
            && let Some(issuer) = self.identities.issuer_at(found.identity)
            && issuer.current(now).is_some_and(|current| current.generation == found.generation)
        {
            return shown_by(found, certificate, issuer);
        }
        let unverified = Unverified::read(token).map_err(|fault| Unproven::Not(None, fault))?;
        let found = unverified.issuer().and_then(|iss| self.identities.issuer(iss));
        let Some((identity, issuer)) = found else { return Err(Unproven::Not(None, Fault::Issuer)) };
        let fetching = || waits.then(|| issuer.fetch_now(self.clock.now())).flatten().map(Unproven::Fetching);
        let Some(current) = issuer.current(now) else {
            return Err(fetching().unwrap_or_else(|| Unproven::Unavailable(Arc::clone(issuer))));
        };
        let not = |fault| Unproven::Not(Some(Arc::clone(issuer)), fault);
        let verified = match unverified.verify(&issuer.tokens().terms, &current.keys, now) {
            // It may have come meanwhile.
            Err(Fault::UnknownKey)
                if issuer.current(now).is_some_and(|newer| newer.generation != current.generation) =>
            {
                return self.find(token, certificate, false);
            }
            Err(Fault::UnknownKey) => return Err(fetching().unwrap_or_else(|| not(Fault::UnknownKey))),
            verified => verified.map_err(not)?,
        };
        let are: Arc<[T]> = self.members.meant(identity, Says::Claims(&verified.claims)).cloned().collect();
        if are.is_empty() {
            let asked_for = self.members.claims_asked_for(identity);
            let said = told(&verified.claims, asked_for);
            tracing::warn!(identity = issuer.name(), claims = said, "a valid token is of nobody here");
        }
        let (until, bound_to) = (verified.until, verified.bound_to);
        let found = Found { identity, generation: current.generation, until, bound_to, are };
        shown_by(self.proven.put(digest, found), certificate, issuer)
    }
}

fn shown_by<T>(
    found: Arc<Found<T>>,
    certificate: Option<&[u8; 32]>,
    issuer: &Arc<Issuer>,
) -> Result<Arc<Found<T>>, Unproven> {
    if found.bound_to.as_ref().is_none_or(|bound| certificate == Some(bound)) {
        return Ok(found);
    }
    Err(Unproven::Not(Some(Arc::clone(issuer)), Fault::Binding))
}

/// What the log may know of a token that is nobody's: the names of its claims, and the values of those that say whose it is or
/// that members are known by. Bounded; never the token.
fn told<'n>(
    claims: &serde_json::Map<String, serde_json::Value>,
    asked_for: impl Iterator<Item = &'n str>,
) -> String {
    const CLAIMS: usize = 40;
    const LENGTH: usize = 200;
    let asked_for: Vec<_> = asked_for.chain(["iss", "sub", "aud"]).collect();
    let short = |text: String| text.chars().take(LENGTH).collect::<String>();
    let words = claims.iter().take(CLAIMS).map(|(name, value)| {
        let name = short(name.clone());
        if asked_for.contains(&name.as_str()) { format!("{name}={}", short(value.to_string())) } else { name }
    });
    words.collect::<Vec<_>>().join(" ")
}
