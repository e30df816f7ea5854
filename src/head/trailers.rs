//! Trailers on their way back: those that were announced, and that nobody could take for a field of the head.

use http::header::{self, HeaderMap, HeaderName};

use crate::mask::Mask;

/// What a trailer must never be: it frames, routes, authenticates or describes the content (RFC 9110 §6.5.1), or
/// belongs to one connection (§7.6.1). hyper drops some of these for callers of HTTP/1.1, and none for those of HTTP/2.
const NEVER_TRAILERS: [HeaderName; 18] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
];

/// The `Trailer` fields of a head; almost always none.
pub fn trailers_announced(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(header::TRAILER).iter().map(|value| (header::TRAILER, value.clone())).collect()
}

/// The trailers that go back: those that the upstream announced and that could not be taken for a field of
/// the head (RFC 9110 §6.5.1).
pub fn trailers_back(announced: &HeaderMap, mut trailers: HeaderMap, mask: &Mask) -> HeaderMap {
    let is_announced = |name: &HeaderName| {
        announced
            .get_all(header::TRAILER)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|listed| listed.trim().eq_ignore_ascii_case(name.as_str())))
    };
    let echoes = |name: &HeaderName| trailers.get_all(name).iter().any(|value| mask.is_in(value.as_bytes()));
    let unfit: Vec<_> = trailers
        .keys()
        .filter(|name| NEVER_TRAILERS.contains(name) || !is_announced(name) || echoes(name))
        .cloned()
        .collect();
    for name in unfit {
        trailers.remove(name);
    }
    trailers
}
