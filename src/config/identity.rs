//! Who may call without a key, as it is valid.

use std::path::PathBuf;

use globset::GlobMatcher;
use http::Uri;
use serde_json::Value;

use crate::credits::budget::Budget;
use crate::token::Terms;

/// Whose word on who calls is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name in metrics and logs.
    pub name: String,
    /// What it vouches with.
    pub proves: Proves,
}

/// What an identity vouches with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proves {
    /// Tokens of an issuer.
    Tokens(Tokens),
    /// Client certificates of an authority.
    Certificates(Certificates),
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What they must be.
    pub terms: Terms,
    /// Where its keys are.
    pub keys: KeysFrom,
    /// The only roots to trust there, or the system's.
    pub ca_file: Option<PathBuf>,
    /// Holds what is sent there as a bearer.
    pub token_file: Option<PathBuf>,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// Where the document at this base URL says.
    Discovery(Uri),
    /// There.
    Url(Uri),
    /// In a file.
    File(PathBuf),
}

/// A certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// Its roots.
    pub ca_file: PathBuf,
    /// What it has revoked.
    pub crl_file: Option<PathBuf>,
    /// Whether callers without a certificate may connect.
    pub allow_unauthenticated: bool,
}

/// A caller without a key.
#[derive(Clone, Debug)]
pub struct Member {
    /// In place of a key's id.
    pub id: String,
    /// The identity that vouches for it, by its place in the configuration.
    pub identity: usize,
    /// What that must say.
    pub proof: Proof,
    /// What it may spend.
    pub budget: Option<Budget>,
}

/// What an identity must say of a member.
#[derive(Clone, Debug)]
pub enum Proof {
    /// All of these claims of its token.
    Claims(Vec<(String, Pattern)>),
    /// This name in its certificate.
    San(Pattern),
}

/// A text, or a glob.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub(super) text: String,
    pub(super) glob: Option<GlobMatcher>,
}

impl Pattern {
    /// Whether a text is meant.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.glob.as_ref().map_or(self.text == text, |glob| glob.is_match(text))
    }

    /// Whether a claim is meant: a text, what JSON writes of a number or a truth value, or a list with one of them.
    #[must_use]
    pub fn is_claim(&self, claim: &Value) -> bool {
        match claim {
            Value::String(text) => self.is(text),
            Value::Number(number) => self.is(&number.to_string()),
            Value::Bool(truth) => self.is(if *truth { "true" } else { "false" }),
            Value::Array(items) => items.iter().any(|item| !item.is_array() && self.is_claim(item)),
            Value::Null | Value::Object(_) => false,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
