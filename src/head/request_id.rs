//! The id of a request: the caller's own where it is well-formed, else one of ours.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use uuid::{NoContext, Uuid};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Identifies one request in logs, answers and upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's own id if it is well-formed (1 to 128 of letters, digits, `.`, `_`, `:` and
    /// `-`), else a new `UUIDv7`, which sorts by the time at which it came.
    #[must_use]
    pub fn of(headers: &HeaderMap, came: Timestamp) -> Self {
        let theirs = headers.get(X_REQUEST_ID).filter(|value| {
            (1..=128).contains(&value.len())
                && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(b))
        });
        theirs.map_or_else(|| Self::new(came), |theirs| Self(theirs.clone()))
    }

    /// A new one of a request that came then.
    #[must_use]
    pub fn new(came: Timestamp) -> Self {
        let seconds = u64::try_from(came.as_second()).unwrap_or(0);
        let nanoseconds = u32::try_from(came.subsec_nanosecond()).unwrap_or(0);
        let id = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds));
        let mut text = Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("a UUID is visible ASCII"))
    }

    /// One that was told before.
    #[must_use]
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        HeaderValue::from_str(text).ok().map(Self)
    }

    /// As a field value.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_id_is_taken_over_only_if_well_formed() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_static(value));
            RequestId::of(&headers, Timestamp::UNIX_EPOCH).to_string()
        };
        assert_eq!(of("abc-1.2:3_Z"), "abc-1.2:3_Z");
        for wrong in ["", "a b", "\"}", "a/b"] {
            assert_eq!(of(wrong).len(), 36, "{wrong:?}");
        }
    }
}
