//! Heads: which requests we serve at all, and what of a head may go on, in both directions.
//!
//! hyper parses strictly but does not validate for a proxy, so what it lets through and a gateway must not is stopped here.
//! Nothing is ever copied from one side to the other but by name.

pub mod received;
pub mod request_id;
pub mod fields;
pub mod trailers;
pub mod said;
pub(crate) mod idempotency;

use http::header;
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Version};

use self::idempotency::IDEMPOTENCY_KEY;
use self::received::{Field, Received};
pub use self::request_id::RequestId;
use crate::refuse::Refusal;
use crate::route::{Row, Target};

/// Decides whether a head is one we serve, and for what.
///
/// # Errors
/// What is wrong with it.
pub fn judge(head: &Received) -> Result<Target, Refusal> {
    authority(head)?;
    framing(head)?;
    expectation(head)?;
    let looped = head.values(Field::Via, header::VIA).any(|via| {
        // A comment may follow the name (RFC 9110 §7.6.3), and names of hosts know no case.
        let mut words = via.as_bytes().split(|&b| b == b',' || b.is_ascii_whitespace());
        words.any(|word| word.eq_ignore_ascii_case(b"mavera-gateway"))
    });
    if looped {
        return Err(Refusal::LoopDetected);
    }
    let target = Target::find(&head.method, &head.uri)?;
    let mut encodings = head.values(Field::ContentEncoding, header::CONTENT_ENCODING);
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
fn framing(head: &Received) -> Result<(), Refusal> {
    let mut codings = head.values(Field::TransferEncoding, header::TRANSFER_ENCODING);
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

/// The one expectation there is (RFC 9110 §10.1.1).
fn expectation(head: &Received) -> Result<(), Refusal> {
    let mut expected = head.values(Field::Expect, header::EXPECT);
    match (expected.next(), expected.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => {
            let reason = "The only expectation that can be met is `Expect: 100-continue`";
            Err(Refusal::ExpectationFailed { reason })
        }
    }
}

/// A row whose calls are too dear to be made twice by mistake asks for a key.
///
/// # Errors
/// That there is none.
pub(crate) fn key_of_retries(row: &Row, head: &Parts) -> Result<(), Refusal> {
    if row.requires_key && !head.headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(Refusal::RetryKeyRequired);
    }
    Ok(())
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;

    fn judge_request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Target, Refusal> {
        let mut request = http::Request::builder().method(method).uri(uri);
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "gateway");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        judge(&request.body(()).unwrap().into_parts().0.into())
    }

    #[test]
    fn serves_what_the_table_has() {
        for (method, path, label) in [
            ("POST", "/api/v1/video-analyses/clx_1-A/chat", "video_chat"),
            ("GET", "/api/v1/video-analyses?limit=5", "video_list"),
            ("GET", "/api/v1/video-analyses/a", "video_get"),
            ("POST", "/api/v1/video-analyses", "video_analyses"),
        ] {
            assert_eq!(judge_request(method, path, &[]).unwrap().route.label(), label);
        }
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
            "/api/v1/responses/a",
            "/api/v1/workspaces",
            "/api/v1/usage",
            "/api/v1/video-analysis",
        ] {
            let refusal = judge_request("GET", path, &[]).unwrap_err();
            assert!(matches!(refusal, Refusal::UnknownRoute { .. }), "{path}");
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
            assert_eq!(refusal, Refusal::MethodNotAllowed { allow: vec![Method::POST] }, "{method}");
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

    #[test]
    fn a_row_may_ask_for_a_key_that_tells_a_retry() {
        let (head, ()) = http::Request::new(()).into_parts();
        let row = Route::explained().row();
        assert_eq!(key_of_retries(row, &head), Ok(()));
        let costly = Row { requires_key: true, method: row.method.clone(), cost: row.cost.clone(), ..*row };
        let refusal = key_of_retries(&costly, &head).unwrap_err();
        assert_eq!((refusal.status().as_u16(), refusal.code().as_str()), (400, "idempotency_key_required"));
        let (head, ()) =
            http::Request::builder().header("idempotency-key", "\"a\"").body(()).unwrap().into_parts();
        assert_eq!(key_of_retries(&costly, &head), Ok(()));
    }
}
