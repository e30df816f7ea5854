//! What a call asks, to the byte: SDKs repeat the bytes. Digests of it tell whether two calls are the same.

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header};

use crate::admit::body::Judged;
use crate::digest::sha256_of_parts;

/// What a call asks. Counts of owners, no copies.
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl Asked {
    pub(super) fn of(judged: &Judged) -> Self {
        Self {
            method: judged.head.method.clone(),
            uri: judged.head.uri.clone(),
            content_type: judged.head.headers.get(header::CONTENT_TYPE).cloned(),
            body: judged.body.clone(),
        }
    }

    /// Two calls with the same are the same.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let content_type = self.content_type.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let target = self.uri.path_and_query().map_or("", |target| target.as_str());
        sha256_of_parts([self.method.as_str().as_bytes(), target.as_bytes(), content_type, &self.body])
    }

    /// Two calls without a key that one caller may have made for one purpose.
    pub(super) fn likeness(&self, key_id: &str) -> [u8; 32] {
        sha256_of_parts([b"like", key_id.as_bytes(), &self.fingerprint()])
    }

    /// What a key that a caller gives a call is known by: it is the team's, for a method and a path.
    pub(super) fn key(&self, team: &str, text: &str) -> [u8; 32] {
        let [method, path] = [self.method.as_str(), self.uri.path()].map(str::as_bytes);
        sha256_of_parts([b"key", team.as_bytes(), method, path, text.as_bytes()])
    }
}
