//! What came of credentials that are no keys, and of looking for the keys that verify them.

use prometheus::{GaugeVec, IntCounterVec};

use crate::metrics::{Metrics, OTHER};
use crate::token::Fault;

/// What came of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It is a member's.
    Accepted,
    /// It is valid, and nobody's; or of members of several teams.
    NotAllowed,
    /// It could not be judged: no key set.
    Unavailable,
    /// It is a certificate that is not valid, or not any more.
    Certificate,
    /// It is a token that is not valid.
    Faulty(Fault),
}

impl Came {
    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotAllowed => "not_allowed",
            Self::Unavailable => "unavailable",
            Self::Certificate => "certificate",
            Self::Faulty(fault) => fault.as_str(),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        let faults = Fault::ALL.into_iter().map(Self::Faulty);
        [Self::Accepted, Self::NotAllowed, Self::Unavailable, Self::Certificate].into_iter().chain(faults)
    }
}

/// Clones are one.
#[derive(Clone, Debug)]
pub struct Counts {
    identities: IntCounterVec,
    fetches: IntCounterVec,
    age: GaugeVec,
    known: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Counts {
    /// Once per registry.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            identities: metrics.counters(
                "identity_total",
                "Tokens and certificates of callers that were judged, by the identity that vouches for them and what came of it; other is of none. Of a token that is known already each call counts.",
                &["identity", "result"],
            ),
            fetches: metrics.counters(
                "jwks_fetches_total",
                "Fetches of key sets that ended, by identity and result: ok or failed.",
                &["identity", "result"],
            ),
            age: metrics.gauges(
                "jwks_age_seconds",
                "How long ago the key set of an identity was fetched for the last time. At 86400 it is not used any more.",
                &["identity"],
            ),
            known: std::sync::Arc::default(),
        }
    }

    /// Counts a credential; of nobody's identity without a name.
    pub fn came(&self, identity: Option<&str>, came: Came) {
        self.identities.with_label_values(&[identity.unwrap_or(OTHER), came.as_str()]).inc();
    }

    pub(super) fn fetched(&self, identity: &str, ok: bool) {
        self.fetches.with_label_values(&[identity, if ok { "ok" } else { "failed" }]).inc();
    }

    /// Tells how old key sets are: of all that were ever fetched, and of no others.
    pub(crate) fn ages<'n>(&self, ages: impl Iterator<Item = (&'n str, f64)>) {
        self.age.reset();
        for (identity, seconds) in ages {
            self.age.with_label_values(&[identity]).set(seconds);
        }
    }

    /// Those of identities that are gone go with them.
    pub(super) fn keep_only<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let names: Vec<_> = names.map(str::to_owned).collect();
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for gone in known.iter().filter(|name| !names.contains(name)) {
            for came in Came::all() {
                let _ = self.identities.remove_label_values(&[gone, came.as_str()]);
            }
            for result in ["ok", "failed"] {
                let _ = self.fetches.remove_label_values(&[gone, result]);
            }
        }
        for new in names.iter().filter(|name| !known.contains(name)) {
            // Whose absence would mislead whoever asks for a rate.
            for came in [Came::Accepted, Came::NotAllowed, Came::Unavailable] {
                let _ = self.identities.with_label_values(&[new.as_str(), came.as_str()]);
            }
            for result in ["ok", "failed"] {
                let _ = self.fetches.with_label_values(&[new.as_str(), result]);
            }
        }
        *known = names;
    }
}
