//! Heads: which requests we serve at all, and what of a head may go on, in both directions.
//!
//! hyper parses strictly but does not validate for a proxy, so what it lets through and a gateway
//! must not is stopped here. Nothing is ever copied from one side to the other but by name.

use std::fmt;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Version};
use uuid::{NoContext, Uuid};

use crate::clock::Clock;
use crate::credits::Credits;
use crate::mask::Mask;
use crate::refuse::Refusal;
use crate::stage::{Arrival, Check, Refused, Routed};
use crate::trace::context::{TRACEPARENT, TRACESTATE};

/// The prefix of every path we serve, the same as upstream, so that a base URL is all that changes.
const PREFIX: &str = "/api/v1/";
/// The paths that are answered here.
const OWN: [(&str, Route); 2] = [("/gateway/v1/me", Route::Me), ("/gateway/v1/explain", Route::Explain)];
/// Our pseudonym in `Via` (RFC 9110 §7.6.3).
const VIA: &str = "1.1 mavera-gateway";
/// How we name ourselves to the upstream.
const USER_AGENT: &str = concat!("mavera-gateway/", env!("CARGO_PKG_VERSION"));

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_CREDITS_REMAINING: HeaderName = HeaderName::from_static("x-credits-remaining");

/// What of an upstream head reaches the caller. Framing is ours; the rest describes the content or
/// tells the caller when to come back.
const ANSWER_FIELDS: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
    header::TRAILER,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

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

/// The query parameters of the list route (source: `list-video-analyses` in Mavera's API reference).
const LIST_PARAMETERS: [&str; 3] = ["limit", "offset", "status"];

/// The routes we serve: the call that is paid for, and what a caller needs to find the id to ask
/// about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /api/v1/video-analyses/{id}/chat`
    VideoChat,
    /// `GET /api/v1/video-analyses`
    VideoList,
    /// `GET /api/v1/video-analyses/{id}`
    VideoGet,
    /// `GET /gateway/v1/me`: answered here.
    Me,
    /// `POST /gateway/v1/explain`: answered here.
    Explain,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::VideoChat, Self::VideoList, Self::VideoGet, Self::Me, Self::Explain];

    /// Name in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::VideoChat => "video_chat",
            Self::VideoList => "video_list",
            Self::VideoGet => "video_get",
            Self::Me => "me",
            Self::Explain => "explain",
        }
    }

    /// Its path, with a name in place of what varies.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::VideoChat => "/api/v1/video-analyses/{id}/chat",
            Self::VideoList => "/api/v1/video-analyses",
            Self::VideoGet => "/api/v1/video-analyses/{id}",
            Self::Me => OWN[0].0,
            Self::Explain => OWN[1].0,
        }
    }

    /// The route of that name.
    #[must_use]
    pub fn named(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.label() == label)
    }

    /// Whether calls of it cost credits. Reads are free (source: Mavera's credit guide).
    #[must_use]
    pub const fn costs(self) -> bool {
        matches!(self, Self::VideoChat)
    }

    const fn method(self) -> Method {
        match self {
            Self::VideoChat | Self::Explain => Method::POST,
            Self::VideoList | Self::VideoGet | Self::Me => Method::GET,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which route.
    pub route: Route,
    /// The id in the path, matching `[A-Za-z0-9_-]{1,128}`.
    pub analysis_id: Option<Arc<str>>,
    /// The query of the list route, checked, as it came.
    pub query: Option<Arc<str>>,
}

impl Target {
    /// The path and query below the upstream's base URL.
    #[must_use]
    pub fn upstream_path(&self) -> String {
        let id = self.analysis_id.as_deref().unwrap_or_default();
        match self.route {
            Route::VideoChat => format!("/video-analyses/{id}/chat"),
            Route::VideoGet => format!("/video-analyses/{id}"),
            Route::VideoList => match &self.query {
                Some(query) => format!("/video-analyses?{query}"),
                None => "/video-analyses".to_owned(),
            },
            // Never sent.
            Route::Me | Route::Explain => String::new(),
        }
    }
}

/// Identifies one request in logs, answers and upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's own id if it is well-formed (1 to 128 of letters, digits, `.`, `_`, `:` and
    /// `-`), else a new `UUIDv7`, which sorts by time.
    #[must_use]
    pub fn of(headers: &HeaderMap, clock: Clock) -> Self {
        let theirs = headers.get(X_REQUEST_ID).filter(|value| {
            (1..=128).contains(&value.len())
                && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(b))
        });
        Self(theirs.cloned().unwrap_or_else(|| {
            let now = clock.wall();
            let seconds = u64::try_from(now.as_second()).unwrap_or(0);
            let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
            let id = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds));
            let mut text = Uuid::encode_buffer();
            let text = id.hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(text).expect("a UUID is visible ASCII")
        }))
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

/// The stage that decides whether a request is one we serve.
#[derive(Clone, Copy, Debug)]
pub struct Head;

impl<B> Check<Arrival<B>> for Head {
    type Out = Routed<B>;

    fn check(&self, mut arrival: Arrival<B>) -> Result<Routed<B>, Refused> {
        match judge(&arrival.head) {
            Ok(target) => {
                arrival.exchange.routed(target.clone());
                Ok(Routed { arrival, target })
            }
            Err(refusal) => Err(Refused::new(arrival.exchange, refusal)),
        }
    }
}

/// Decides whether a head is one we serve, and for what.
///
/// # Errors
/// What is wrong with it.
pub fn judge(head: &Parts) -> Result<Target, Refusal> {
    authority(head)?;
    framing(head)?;
    let looped = head.headers.get_all(header::VIA).iter().any(|via| {
        // A comment may follow the name (RFC 9110 §7.6.3), and names of hosts know no case.
        let mut words = via.as_bytes().split(|&b| b == b',' || b.is_ascii_whitespace());
        words.any(|word| word.eq_ignore_ascii_case(b"mavera-gateway"))
    });
    if looped {
        return Err(Refusal::LoopDetected);
    }
    let target = route(head)?;
    let mut encodings = head.headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::UnsupportedMediaType { reason: "The request body must not be compressed" });
    }
    Ok(target)
}

/// Exactly one host, and only one opinion about it (RFC 9112 §3.2).
fn authority(head: &Parts) -> Result<(), Refusal> {
    let wrong = |reason| Err(Refusal::InvalidRequest { reason });
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return wrong("it has more than one Host field");
    }
    let host = match host.map(|host| (host.is_empty(), Authority::try_from(host.as_bytes()))) {
        None => None,
        Some((false, Ok(host))) if !host.as_str().contains('@') && has_plain_port(&host) => Some(host),
        Some(_) => return wrong("its Host field is not a host"),
    };
    if head.version == Version::HTTP_11 && host.is_none() {
        return wrong("it has no Host field");
    }
    if let Some(authority) = head.uri.authority() {
        if authority.as_str().contains('@') {
            return wrong("its target holds user information");
        }
        if head.method != Method::CONNECT && host.is_some_and(|host| host != *authority) {
            return Err(Refusal::Misdirected);
        }
    }
    Ok(())
}

/// A port is digits or nothing (RFC 3986 §3.2.3); `http` takes any text for one.
fn has_plain_port(host: &Authority) -> bool {
    let behind_address = host.as_str().rsplit(']').next().unwrap_or_default();
    behind_address.split_once(':').is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

/// What hyper tolerates in framing and the next hop may read differently (RFC 9112 §6.1).
fn framing(head: &Parts) -> Result<(), Refusal> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() {
            return Err(Refusal::InvalidRequest { reason: "it has more than one Transfer-Encoding field" });
        }
        if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::UnsupportedCoding);
        }
    }
    Ok(())
}

/// The exact route table. Nothing is normalised: a path either is one of ours or is not.
fn route(head: &Parts) -> Result<Target, Refusal> {
    let path = head.uri.path();
    let own = OWN.iter().find(|(own, _)| *own == path).map(|(_, route)| *route);
    if let Some(route) = own {
        if head.method != route.method() {
            return Err(Refusal::MethodNotAllowed { allow: route.method() });
        }
        if head.uri.query().is_some() {
            return Err(Refusal::InvalidRequest { reason: "this route takes no query parameters" });
        }
        return Ok(Target { route, analysis_id: None, query: None });
    }
    let mut segments = path.strip_prefix(PREFIX).ok_or(Refusal::UnknownRoute)?.split('/');
    let found = (segments.next(), segments.next(), segments.next(), segments.next());
    let (route, id) = match found {
        (Some("video-analyses"), None, ..) => (Route::VideoList, None),
        (Some("video-analyses"), Some(id), None, _) => (Route::VideoGet, Some(id)),
        (Some("video-analyses"), Some(id), Some("chat"), None) => (Route::VideoChat, Some(id)),
        _ => return Err(Refusal::UnknownRoute),
    };
    if id == Some("") {
        return Err(Refusal::UnknownRoute);
    }
    if head.method != route.method() {
        return Err(Refusal::MethodNotAllowed { allow: route.method() });
    }
    if id.is_some_and(|id| !is_analysis_id(id)) {
        let reason = "is not an analysis id: expected 1 to 128 of letters, digits, \"_\" and \"-\"".into();
        return Err(Refusal::InvalidField { param: "id".into(), reason });
    }
    let query = match (route, head.uri.query()) {
        (_, None) => None,
        (Route::VideoList, Some(query)) => Some(list_query(query)?),
        (_, Some(_)) => {
            return Err(Refusal::InvalidRequest { reason: "this route takes no query parameters" });
        }
    };
    Ok(Target { route, analysis_id: id.map(Arc::from), query })
}

fn is_analysis_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The query of the list route: the documented parameters, once each, with plain values.
fn list_query(query: &str) -> Result<Arc<str>, Refusal> {
    let mut seen = Vec::with_capacity(LIST_PARAMETERS.len());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let refuse = |reason: &str| {
            // The name is quoted only if it is one we know: keys end up in query strings.
            let param = LIST_PARAMETERS.iter().find(|known| **known == name).copied();
            Err(Refusal::InvalidField { param: param.unwrap_or("query").into(), reason: reason.into() })
        };
        if !LIST_PARAMETERS.contains(&name) {
            return refuse("takes `limit`, `offset` and `status` only");
        }
        if seen.contains(&name) {
            return refuse("is given twice");
        }
        if !is_analysis_id(value) {
            return refuse("must be 1 to 128 of letters, digits, \"_\" and \"-\"");
        }
        seen.push(name);
    }
    Ok(query.into())
}

/// The head that goes upstream: made here, not copied. The key is added by [`crate::inject`] alone.
#[must_use]
pub(crate) fn onward(caller: &Parts, id: &RequestId, route: Route) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    for name in [header::ACCEPT, TRACEPARENT, TRACESTATE] {
        // Visible ASCII and short, or not at all: what a caller writes here is copied.
        let value = caller.headers.get(&name).filter(|value| value.len() <= 512 && value.to_str().is_ok());
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    if route == Route::VideoChat {
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
    let mut headers = HeaderMap::with_capacity(8);
    for name in &ANSWER_FIELDS {
        for value in upstream.get_all(name).iter().filter(|value| !mask.is_in(value.as_bytes())) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// Tells the caller what its tightest budget has left, this call's hold counted.
pub(crate) fn tell_credits_left(headers: &mut HeaderMap, left: Option<Credits>) {
    if let Some(left) = left.and_then(|left| HeaderValue::from_str(&left.to_string()).ok()) {
        headers.insert(X_CREDITS_REMAINING, left);
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

/// Whether an answer of the upstream may be passed on as it is. An interim or switching answer, a
/// redirect (which we do not follow) and a number that is no HTTP status may not.
#[must_use]
pub(crate) fn is_final_answer(status: StatusCode) -> bool {
    status.is_success() || status.is_client_error() || status.is_server_error()
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::UpstreamKey;

    fn judge_request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Target, Refusal> {
        let mut request = http::Request::builder().method(method).uri(uri);
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "gateway");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        judge(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn serves_exactly_three_routes() {
        let chat = judge_request("POST", "/api/v1/video-analyses/clx_1-A/chat", &[]).unwrap();
        assert_eq!((chat.route, chat.analysis_id.as_deref()), (Route::VideoChat, Some("clx_1-A")));
        assert_eq!(chat.upstream_path(), "/video-analyses/clx_1-A/chat");
        let list = judge_request("GET", "/api/v1/video-analyses?limit=5&status=completed", &[]).unwrap();
        assert_eq!(list.upstream_path(), "/video-analyses?limit=5&status=completed");
        assert_eq!(judge_request("GET", "/api/v1/video-analyses/a", &[]).unwrap().route, Route::VideoGet);
    }

    #[test]
    fn refuses_every_other_path_without_normalising() {
        for path in [
            "/",
            "/metrics",
            "/admin",
            "/api/v1",
            "/api/v1/",
            "/api/v1/video-analyses/",
            "/api/v1/video-analyses//chat",
            "/api/v1/video-analyses/a/chat/",
            "/api/v1/video-analyses/a/chat/b",
            "/api/v1/../v1/video-analyses",
            "//evil.example/api/v1/video-analyses",
            "/api/v1/responses",
            "/api/v1/video-analysis",
        ] {
            assert_eq!(judge_request("GET", path, &[]), Err(Refusal::UnknownRoute), "{path}");
        }
    }

    #[test]
    fn refuses_ids_that_could_mean_another_path() {
        for id in ["..%2f..%2fkeys", "%2e%2e", "a%00", "a%0d%0a", "a;b", "a.b", "..", &"a".repeat(129)] {
            let refusal = judge_request("GET", &format!("/api/v1/video-analyses/{id}"), &[]).unwrap_err();
            assert_eq!(refusal.status(), 400, "{id}");
        }
    }

    #[test]
    fn names_the_method_that_would_do() {
        for method in ["GET", "PUT", "DELETE", "TRACE", "OPTIONS"] {
            let refusal = judge_request(method, "/api/v1/video-analyses/a/chat", &[]).unwrap_err();
            assert_eq!(refusal, Refusal::MethodNotAllowed { allow: Method::POST }, "{method}");
        }
    }

    #[test]
    fn refuses_queries_where_there_are_none() {
        assert!(judge_request("POST", "/api/v1/video-analyses/a/chat?key=x", &[]).is_err());
        for query in ["key=mvgw_x", "limit=1&limit=2", "limit=%31", "limit", "status=a/b"] {
            let refusal = judge_request("GET", &format!("/api/v1/video-analyses?{query}"), &[]).unwrap_err();
            assert!(!refusal.message().contains("mvgw_"), "{query}");
        }
    }

    #[test]
    fn refuses_heads_that_another_hop_could_read_differently() {
        let path = "/api/v1/video-analyses";
        for fields in [
            &[("host", "a"), ("host", "b")][..],
            &[("host", "")],
            &[("host", "a b")],
            &[("host", "u@h")],
            &[("host", "gw:port")],
            &[("host", "[::1]:port")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("content-encoding", "gzip")],
            &[("content-encoding", "identity"), ("content-encoding", "gzip")],
            &[("via", "1.1 other, 1.1 mavera-gateway")],
            &[("via", "1.1 Mavera-Gateway (a comment)")],
        ] {
            assert!(judge_request("GET", path, fields).is_err(), "{fields:?}");
        }
        assert_eq!(
            judge_request("GET", "http://evil.example/api/v1/video-analyses", &[]),
            Err(Refusal::Misdirected)
        );
    }

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
        let id = RequestId::of(&HeaderMap::new(), Clock::system());
        let headers = onward(&caller, &id, Route::VideoChat);
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
        upstream.insert("x-ratelimit-remaining", HeaderValue::from_static("7"));
        upstream.insert("retry-after", HeaderValue::from_static("mvra_live_plainlyfakekeyfortestsonly00"));
        let mask = Mask::new(&UpstreamKey::for_tests("mvra_live_plainlyfakekeyfortestsonly00"));
        assert_eq!(back(&upstream, &mask).len(), 1, "and none that echoes the key");
    }

    #[tokio::test]
    async fn a_request_id_is_taken_over_only_if_well_formed() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_static(value));
            RequestId::of(&headers, Clock::system()).to_string()
        };
        assert_eq!(of("abc-1.2:3_Z"), "abc-1.2:3_Z");
        for wrong in ["", "a b", "\"}", "a/b"] {
            assert_eq!(of(wrong).len(), 36, "{wrong:?}");
        }
    }
}
