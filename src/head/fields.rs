//! What of a head goes on, in both directions: made here from lists of names, never copied.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use http::StatusCode;
use jiff::Timestamp;

use super::received::{Field, Received};
use super::request_id::{RequestId, X_REQUEST_ID};
use crate::clock::ceil_seconds;
use crate::credits::Credits;
use crate::limit::rate::Standing;
use crate::mask::Mask;
use crate::route::Row;
use crate::trace::context::{TRACEPARENT, TRACESTATE};

/// Our pseudonym in `Via` (RFC 9110 §7.6.3).
const VIA: &str = "1.1 mavera-gateway";
/// How we name ourselves to the upstream.
const USER_AGENT: &str = concat!("mavera-gateway/", env!("CARGO_PKG_VERSION"));
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Which of its teams a caller means that has several.
pub(crate) const X_GATEWAY_TEAM: HeaderName = HeaderName::from_static("x-gateway-team");
/// What tells nginx, and those that took it over from it, not to keep an answer until it is whole (source: nginx' manual of
/// `proxy_buffering`).
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const X_CREDITS_REMAINING: HeaderName = HeaderName::from_static("x-credits-remaining");
pub(super) const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(super) const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub(super) const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The answer was given to another before, and is the same to the byte (as Stripe has it).
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The request that the answer was first given to.
const X_GATEWAY_ORIGINAL_REQUEST_ID: HeaderName = HeaderName::from_static("x-gateway-original-request-id");
/// The request that was meant by this one, and that nobody had been answered.
const X_GATEWAY_ADOPTED: HeaderName = HeaderName::from_static("x-gateway-adopted");

/// What of an upstream head reaches the caller. Framing is ours; the rest describes the content or
/// tells the caller when to come back.
const ANSWER_FIELDS: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
    header::TRAILER,
    X_ACCEL_BUFFERING,
];

/// What a caller says that is copied.
const COPIED_FIELDS: [HeaderName; 3] = [header::ACCEPT, TRACEPARENT, TRACESTATE];

/// The head that goes upstream: made here, not copied. The key is added by [`crate::inject`] alone.
#[must_use]
pub(crate) fn onward(caller: &Received, id: &RequestId, row: &Row) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    let copied = if caller.has(Field::Trace) { &COPIED_FIELDS[..] } else { &COPIED_FIELDS[..1] };
    for name in copied {
        // Visible ASCII and short, or not at all: what a caller writes here is copied.
        let value = caller.headers.get(name).filter(|value| value.len() <= 512 && value.to_str().is_ok());
        if let Some(value) = value {
            headers.insert(name.clone(), value.clone());
        }
    }
    if row.body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    add_own(&mut headers);
    headers.insert(header::VIA, HeaderValue::from_static(VIA));
    headers.insert(X_REQUEST_ID, id.value());
    headers
}

/// What stands in every head that goes upstream, also of the gateway's own requests.
pub(crate) fn add_own(headers: &mut HeaderMap) {
    // Usage must be readable as it passes.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
}

/// The head that goes back, from the upstream's. A field that echoes the organisation's key is left out.
#[must_use]
pub fn back(upstream: &HeaderMap, mask: &Mask) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    for (name, value) in upstream {
        if ANSWER_FIELDS.contains(name) && !mask.is_in(value.as_bytes()) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// Tells whatever stands between us and the caller to pass a stream on as it comes, unless the upstream has said otherwise.
pub(crate) fn forbid_buffering(headers: &mut HeaderMap) {
    for (name, value) in [(X_ACCEL_BUFFERING, "no"), (header::CACHE_CONTROL, "no-cache")] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Tells the caller what its tightest budget has left, this call's hold counted.
pub(crate) fn tell_credits_left(headers: &mut HeaderMap, left: Option<Credits>) {
    if let Some(left) = left.and_then(|left| HeaderValue::from_str(&left.to_string()).ok()) {
        headers.insert(X_CREDITS_REMAINING, left);
    }
}

/// Tells the caller how its team's own rate stands: requests a minute, how many there are at once, and when there is one
/// more, as the time of the epoch in seconds. Never how the organisation's window stands, which is not the caller's to use.
pub(crate) fn tell_rate(headers: &mut HeaderMap, rate: Standing, now: Timestamp) {
    let more_at = now.as_second() + i64::try_from(ceil_seconds(rate.one_more)).unwrap_or(i64::MAX / 2);
    headers.insert(X_RATELIMIT_LIMIT, HeaderValue::from(rate.most));
    headers.insert(X_RATELIMIT_REMAINING, HeaderValue::from(rate.left));
    headers.insert(X_RATELIMIT_RESET, HeaderValue::from(more_at));
}

/// A head that was another caller's: without what was said of how that one stood.
#[must_use]
pub(crate) fn without_standing(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in
        [X_CREDITS_REMAINING, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET, SERVER_TIMING]
    {
        headers.remove(name);
    }
    headers
}

/// Tells the caller of a copy whose answer it is given.
pub(crate) fn tell_copy(headers: &mut HeaderMap, original: &HeaderValue, replayed: bool) {
    headers.insert(X_GATEWAY_ORIGINAL_REQUEST_ID, original.clone());
    if replayed {
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
}

/// Tells an SDK whose call it has taken over.
pub(crate) fn tell_adopted(headers: &mut HeaderMap, adopted: &HeaderValue) {
    headers.insert(X_GATEWAY_ADOPTED, adopted.clone());
}

/// Tells the caller how long its call waited for its turn, if it did, as `Server-Timing` has it (W3C).
pub(crate) fn tell_queued(headers: &mut HeaderMap, queued: Duration) {
    if queued.is_zero() {
        return;
    }
    let timing = format!("queue;dur={:.1}", queued.as_secs_f64() * 1000.0);
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        headers.append(SERVER_TIMING, timing);
    }
}

/// Whether a response is framed in the one way that hyper undoes: any other transfer coding would reach
/// the caller as if it were content.
#[must_use]
pub(crate) fn has_plain_framing(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let plain =
        codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    plain && codings.next().is_none()
}

/// Whether an answer of the upstream may be passed on as it is. An interim or switching answer, a
/// redirect (which we do not follow) and a number that is no HTTP status may not.
#[must_use]
pub(crate) fn is_final_answer(status: StatusCode) -> bool {
    status.is_success() || status.is_client_error() || status.is_server_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;
    use crate::secret::UpstreamKey;

    #[tokio::test]
    async fn nothing_goes_on_but_what_is_listed() {
        let caller = http::Request::builder()
            .uri("/")
            .header("authorization", "Bearer mvgw_x")
            .header("x-api-key", "mvgw_x")
            .header("cookie", "a=b")
            .header("connection", "close, x-secret")
            .header("x-forwarded-for", "10.0.0.1")
            .header("accept-encoding", "br")
            .header("traceparent", "00-a-b-01")
            .header("expect", "100-continue")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let id = RequestId::of(&HeaderMap::new(), Timestamp::UNIX_EPOCH);
        let headers = onward(&caller.into(), &id, Route::explained().row());
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["accept-encoding", "content-type", "traceparent", "user-agent", "via", "x-request-id"]
        );
        assert_eq!(headers["accept-encoding"], "identity");

        let mut upstream = HeaderMap::new();
        for name in
            ["set-cookie", "server", "location", "connection", "upgrade", "x-request-id", "content-length"]
        {
            upstream.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        upstream.insert("content-language", HeaderValue::from_static("en"));
        upstream.insert("x-ratelimit-remaining", HeaderValue::from_static("7"));
        upstream.insert("retry-after", HeaderValue::from_static("mvra_live_plainlyfakekeyfortestsonly00"));
        let mask = Mask::new(&UpstreamKey::for_tests("mvra_live_plainlyfakekeyfortestsonly00"));
        assert_eq!(
            back(&upstream, &mask).len(),
            1,
            "none that echoes the key, and none of the organisation's window"
        );
    }
}
