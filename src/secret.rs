//! Secrets: the organisation's key and the pepper of answers at rest, in types that cannot be printed, compared or
//! serialised, and the operators' token, of which only a digest is kept.
//!
//! Only [`crate::inject`], which sends the key, and [`crate::mask`], which looks for it in what comes back, may look
//! into its type; only `retry::seal` into the pepper's.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::HeaderValue;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::digest::sha256;

/// What every key begins with (source: Mavera's authentication guide).
pub(crate) const KEY_PREFIX: &[u8] = b"mvra_live_";
/// What stands before the key in its field.
const SCHEME: &[u8] = b"Bearer ";

/// Where a secret is read from. Never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file that holds the secret alone; white space around it is ignored.
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl SecretSource {
    fn read(&self) -> Result<Zeroizing<String>, SecretError> {
        let text = match self {
            Self::Env(name) => Zeroizing::new(std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => SecretError::Unset(name.clone()),
                // It holds the value: what is told has none of it.
                std::env::VarError::NotUnicode(_) => SecretError::NotText(name.clone()),
            })?),
            Self::File(path) => Zeroizing::new(
                std::fs::read_to_string(path)
                    .map_err(|error| SecretError::Unreadable { path: path.clone(), error })?,
            ),
        };
        // Some editors put a byte order mark in front.
        Ok(Zeroizing::new(text.trim_start_matches('\u{feff}').trim().to_owned()))
    }

    /// What has the shape of a secret; what has not is `wrong`.
    fn shaped(&self, wrong: fn(Self) -> SecretError) -> Result<Zeroizing<String>, SecretError> {
        let text = self.read()?;
        if is_shaped(&text) { Ok(text) } else { Err(wrong(self.clone())) }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Env(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// What to do about a secret that is not there.
    #[must_use]
    pub fn remedy(&self, key: &str) -> String {
        match self {
            Self::Env(name) => format!("export {name}, or name a file with {key} = {{ file = \"…\" }}"),
            Self::File(_) => "put it there, readable by the gateway alone".to_owned(),
        }
    }
}

/// The URL of the ledger's database, with the password in it. Only `ledger::postgres::connect`, which opens connections by it,
/// may read it.
///
/// # Errors
/// Where it was looked for in vain; never what was found.
pub fn database_url(source: &SecretSource) -> Result<Zeroizing<String>, SecretError> {
    source.read()
}

/// The URL that notifications are sent to, which whoever has it can send to. Only `live::hook` may read it.
///
/// # Errors
/// Where it was looked for in vain; never what was found.
pub fn webhook_url(source: &SecretSource) -> Result<Zeroizing<String>, SecretError> {
    source.read()
}

/// Why a secret could not be read. Says where it was looked for and never quotes what was found.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("environment variable {0} is not set")]
    Unset(String),
    /// The variable holds something else.
    #[error("environment variable {0} holds bytes that are no text")]
    NotText(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Unreadable {
        /// The file that was to hold it.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is something, but not a key.
    #[error(
        "{0} does not hold an upstream key: expected `mvra_live_` and at least 22 more visible ASCII characters, on one line"
    )]
    Malformed(SecretSource),
    /// There is something, but not a token.
    #[error("{0} does not hold a token: expected 32 to 512 visible ASCII characters, on one line")]
    NoToken(SecretSource),
    /// There is something, but not a key to sign with.
    #[error(
        "{0} does not hold a secret to sign with: expected 32 to 512 visible ASCII characters, on one line"
    )]
    NoSigningKey(SecretSource),
    /// There is something, but not a pepper.
    #[error("{0} does not hold a pepper: expected 32 to 512 visible ASCII characters, on one line")]
    NoPepper(SecretSource),
}

/// The upstream key, ready to be sent. `Debug` says that it is there and nothing more; the bytes are
/// overwritten with zeros when the last request that uses them is gone.
#[derive(Clone)]
pub struct UpstreamKey {
    authorization: HeaderValue,
}

impl UpstreamKey {
    /// Reads the key from its source.
    ///
    /// # Errors
    /// When the source is missing or does not hold a key of the documented shape: prefix
    /// `mvra_live_`, at least 32 characters in all (source: Mavera's authentication guide).
    pub fn read(source: &SecretSource) -> Result<Self, SecretError> {
        Self::parse(&source.read()?).ok_or_else(|| SecretError::Malformed(source.clone()))
    }

    fn parse(key: &str) -> Option<Self> {
        if !key.as_bytes().starts_with(KEY_PREFIX) || !is_shaped(key) {
            return None;
        }
        let mut value = Zeroizing::new(Vec::with_capacity(SCHEME.len() + key.len()));
        value.extend_from_slice(SCHEME);
        value.extend_from_slice(key.as_bytes());
        // The header value borrows the zeroizing buffer for as long as any clone of it lives.
        let mut authorization = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).ok()?;
        authorization.set_sensitive(true);
        Some(Self { authorization })
    }

    /// The whole `Authorization` value. For [`crate::inject`] alone.
    pub(crate) fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }

    /// The key itself. For [`crate::mask`] alone.
    pub(crate) fn reveal(&self) -> &[u8] {
        &self.authorization.as_bytes()[SCHEME.len()..]
    }

    /// Whether another is the same. Takes as long for a near miss as for a far one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.reveal().ct_eq(other.reveal()).into()
    }

    /// A key that was not read from anywhere.
    #[cfg(test)]
    pub(crate) fn for_tests(key: &str) -> Self {
        Self::parse(key).expect("a key of the right shape")
    }
}

impl fmt::Debug for UpstreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamKey(…)")
    }
}

/// The gateway's part of what seals answers at rest. As little to be seen as the upstream key.
#[derive(Clone)]
pub struct Pepper(std::sync::Arc<Zeroizing<String>>);

impl Pepper {
    /// Reads the pepper from its source.
    ///
    /// # Errors
    /// When the source is missing, or too short to be a secret.
    pub fn read(source: &SecretSource) -> Result<Self, SecretError> {
        source.shaped(SecretError::NoPepper).map(|text| Self(std::sync::Arc::new(text)))
    }

    /// The pepper itself. For `retry::seal` alone.
    pub(crate) fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// One that was not read from anywhere.
    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Self {
        Self(std::sync::Arc::new(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

/// What notifications are signed with.
#[derive(Clone)]
pub struct SigningKey(std::sync::Arc<Zeroizing<String>>);

impl SigningKey {
    /// Reads it from its source.
    ///
    /// # Errors
    /// When the source is missing, or too short to be a secret.
    pub fn read(source: &SecretSource) -> Result<Self, SecretError> {
        source.shaped(SecretError::NoSigningKey).map(|text| Self(std::sync::Arc::new(text)))
    }

    /// The key itself. For `live::hook` alone.
    pub(crate) fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The operators' token, as a digest: enough to tell whether another is the same.
#[derive(Clone)]
pub struct AdminToken {
    digest: [u8; 32],
}

impl AdminToken {
    /// Reads the token from its source.
    ///
    /// # Errors
    /// When the source is missing, or too short to be a secret.
    pub fn read(source: &SecretSource) -> Result<Self, SecretError> {
        source.shaped(SecretError::NoToken).map(|text| Self { digest: sha256(text.as_bytes()) })
    }

    /// Whether `presented` is this token. Takes as long for a near miss as for a far one.
    #[must_use]
    pub fn is(&self, presented: &[u8]) -> bool {
        self.digest.ct_eq(&sha256(presented)).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

fn is_shaped(secret: &str) -> bool {
    (32..=512).contains(&secret.len()) && secret.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "mvra_live_plainlyfakekeyfortestsonly00";

    #[test]
    fn no_way_of_printing_shows_the_key() {
        let key = UpstreamKey::parse(PLAIN).unwrap();
        for text in [format!("{key:?}"), format!("{key:#?}"), format!("{:?}", key.authorization())] {
            assert!(!text.contains("plainlyfake"), "{text}");
        }
    }

    #[test]
    fn a_malformed_key_is_refused_without_being_quoted() {
        let path = std::env::temp_dir().join(format!("mavera-key-{}", std::process::id()));
        for text in [
            "",
            "sk-something-else-entirely-000000000",
            "mvra_live_short",
            "mvra_live_two\nlines_of_key_material_00",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = UpstreamKey::read(&SecretSource::File(path.clone())).unwrap_err().to_string();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        for text in [format!("{PLAIN}\n"), format!("\u{feff}{PLAIN}\r\n")] {
            std::fs::write(&path, text).unwrap();
            let read = UpstreamKey::read(&SecretSource::File(path.clone())).unwrap();
            assert_eq!(read.reveal(), PLAIN.as_bytes());
        }
        std::fs::remove_file(path).unwrap();
    }
}
