//! The organisation's key, in a type that cannot be printed, compared or serialised.
//!
//! Only [`crate::inject`] may take the header value out of it.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

/// Where the key is read from. Never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// An environment variable.
    Env(String),
    /// A file that holds the key alone; white space around it is ignored.
    File(PathBuf),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// Why the key could not be read. Says where it was looked for and never quotes what was found.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The variable is not set, or is not Unicode.
    #[error("environment variable {0} is not set")]
    Unset(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Unreadable {
        /// The file that was to hold the key.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is something, but not a key.
    #[error(
        "{0} does not hold an upstream key: expected `mvra_live_` and at least 22 more visible ASCII characters, on one line"
    )]
    Malformed(KeySource),
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
    pub fn read(source: &KeySource) -> Result<Self, KeyError> {
        let text = match source {
            KeySource::Env(name) => {
                Zeroizing::new(std::env::var(name).map_err(|_| KeyError::Unset(name.clone()))?)
            }
            KeySource::File(path) => Zeroizing::new(
                std::fs::read_to_string(path)
                    .map_err(|error| KeyError::Unreadable { path: path.clone(), error })?,
            ),
        };
        Self::parse(text.trim()).ok_or_else(|| KeyError::Malformed(source.clone()))
    }

    fn parse(key: &str) -> Option<Self> {
        let shaped = key.starts_with("mvra_live_") && (32..=512).contains(&key.len());
        if !shaped || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut value = Zeroizing::new(Vec::with_capacity(7 + key.len()));
        value.extend_from_slice(b"Bearer ");
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
}

impl fmt::Debug for UpstreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamKey(…)")
    }
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
            let error = UpstreamKey::read(&KeySource::File(path.clone())).unwrap_err().to_string();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        std::fs::write(&path, format!("{PLAIN}\n")).unwrap();
        assert!(UpstreamKey::read(&KeySource::File(path.clone())).is_ok());
        std::fs::remove_file(path).unwrap();
    }
}
