//! What holds of every head. Finds are kept in `proptest-regressions/head/properties.txt` and tried first.

use proptest::prelude::*;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::trailers::trailers_back;
use super::*;
use crate::mask::Mask;
use crate::secret::UpstreamKey;

/// Fields that frame, route or authenticate a message or describe its content, or belong to one connection.
const UNFIT: [&str; 6] =
    ["content-length", "transfer-encoding", "host", "authorization", "connection", "content-type"];

/// Pieces of paths: ours, and what could be taken for them by somebody who normalises.
fn path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/",
        "/api/v1",
        "/video-analyses",
        "/chat",
        "/clx_1-A",
        "/..",
        "/.",
        "%2f",
        "%2e%2e",
        ";x",
        "?limit=5",
        "?",
        "&status=completed",
        "&limit=6",
        "/gateway/v1/me",
        "//evil.example",
        "a",
    ]);
    let wild = prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("/{}", pieces.concat()));
    let near = prop::collection::vec("[a-zA-Z0-9_./-]{0,5}", 0..4)
        .prop_map(|ids| format!("/api/v1/video-analyses/{}", ids.join("/")));
    prop_oneof![wild, near]
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "POST", "PUT", "HEAD", "OPTIONS"])
}

fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Option<Parts> {
    let request = http::Request::builder().method(method).uri(path).header("host", "gateway");
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).ok().map(|request| request.into_parts().0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The path that is sent is the path that was asked for, byte for byte, and holds nothing to normalise.
    #[test]
    fn what_is_served_goes_on_as_the_path_it_was(method in method(), path in path()) {
        let Some(Ok(target)) = head(method, &path, &[]).map(|head| judge(&head.into())) else { return Ok(()) };
        let row = target.route.row();
        if !row.is_upstream() {
            prop_assert_eq!(path, row.template);
            return Ok(());
        }
        prop_assert_eq!(format!("/api/v1{}", target.upstream_path()), &path[..]);
        prop_assert_eq!(row.method.as_str(), if method == "HEAD" { "GET" } else { method });
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-?=&".contains(&byte);
        prop_assert!(path.bytes().all(plain), "{}", path);
    }

    /// One field that says the body is compressed is enough, wherever it stands.
    #[test]
    fn a_body_that_any_field_says_is_compressed_is_refused(
        codings in prop::collection::vec(prop::sample::select(vec!["identity", "Identity", "gzip", "br", ""]), 0..4)
    ) {
        let fields: Vec<_> = codings.iter().map(|coding| ("content-encoding", *coding)).collect();
        let head = head("GET", "/api/v1/video-analyses", &fields).expect("a valid head");
        let plain = codings.iter().all(|coding| coding.eq_ignore_ascii_case("identity"));
        prop_assert_eq!(judge(&head.into()).is_ok(), plain);
    }

    /// Whatever an upstream announces, a trailer is never one that could be taken for a field of the head.
    #[test]
    fn no_trailer_frames_or_routes(
        names in prop::collection::vec(prop::sample::select([&UNFIT[..], &["x-cost", "etag"]].concat()), 0..5)
    ) {
        let mut announced = HeaderMap::new();
        announced.insert(header::TRAILER, HeaderValue::from_str(&names.join(", ")).expect("names are visible"));
        let trailers: HeaderMap =
            names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))).collect();
        let mask = Mask::new(&UpstreamKey::for_tests("mvra_live_plainlyfakekeyfortestsonly00"));
        let back = trailers_back(&announced, trailers, &mask);
        for name in names {
            prop_assert_eq!(back.contains_key(name), !UNFIT.contains(&name), "{}", name);
        }
    }
}
