//! Who may call without a key, as it is valid.

use std::path::PathBuf;

use http::Uri;
use http::uri::Authority;
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
    Tokens(Box<Tokens>),
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
    /// The proxy on the way there, if there is one.
    pub proxy: Option<Authority>,
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

/// A text in which `*` stands for anything but a separator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Where `*` stops: at "/", as parts of paths and URIs do; of a DNS name at ".", as a wildcard of a certificate does.
    separator: u8,
}

impl Pattern {
    /// Of a claim, or a name in a certificate.
    pub(super) fn new(text: String) -> Self {
        Self { text, separator: b'/' }
    }

    /// Of a DNS name.
    pub(super) fn of_host(text: String) -> Self {
        Self { text, separator: b'.' }
    }

    /// Whether a text is meant. Compared byte by byte: `*` is one run of whatever is no separator.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        let (pattern, text) = (self.text.as_bytes(), text.as_bytes());
        let (mut at, mut of) = (0, 0);
        // Where the last `*` stands, and how far what it stands for has come.
        let mut star = None;
        while at < text.len() {
            if pattern.get(of) == Some(&b'*') {
                star = Some((of, at));
                of += 1;
            } else if pattern.get(of) == Some(&text[at]) {
                (at, of) = (at + 1, of + 1);
            } else if let Some((star_of, star_at)) =
                star.filter(|(_, star_at)| text[*star_at] != self.separator)
            {
                star = Some((star_of, star_at + 1));
                (at, of) = (star_at + 1, star_of + 1);
            } else {
                return false;
            }
        }
        pattern[of..].iter().all(|left| *left == b'*')
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_part_and_everything_else_itself() {
        let is = |pattern: &str, text: &str| Pattern::new(pattern.into()).is(text);
        for (pattern, text) in [
            ("acme/growth-*", "acme/growth-api"),
            ("acme/growth-*", "acme/growth-"),
            ("*", "anything"),
            ("*", ""),
            ("a*b*c", "axxbyybc"),
            ("*/*/x", "a/b/x"),
            ("dependabot[bot]", "dependabot[bot]"),
            ("repo:{a}?", "repo:{a}?"),
            ("refs/*/v*", "refs/tags/v1"),
        ] {
            assert!(is(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("acme/growth-*", "acme/growth-a/b"),
            ("acme/growth-*", "Acme/growth-a"),
            ("*", "a/b"),
            ("a*b*c", "axxbyyb"),
            ("*/x", "a/b/x"),
            ("dependabot[bot]", "dependabotb"),
            ("main", "main "),
            ("main", ""),
            ("", "main"),
        ] {
            assert!(!is(pattern, text), "{pattern} {text}");
        }
        let host = Pattern::of_host("*.growth.internal".into());
        assert!(host.is("api.growth.internal"));
        assert!(!host.is("a.b.growth.internal") && !host.is("growth.internal"));
    }
}
