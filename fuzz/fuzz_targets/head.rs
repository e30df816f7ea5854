//! Heads, in both directions. An input is what stands on the wire: a caller's request head, then the upstream's
//! answer head, then its trailers. A request is served exactly if a second reading of the rules would serve it; what
//! goes on is made of listed fields alone.
#![no_main]

use std::sync::{Arc, LazyLock};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Uri, Version};
use libfuzzer_sys::fuzz_target;
use mavera_gateway::clock::Clock;
use mavera_gateway::head::fields::back as back_of;
use mavera_gateway::head::received::Received;
use mavera_gateway::head::trailers::{trailers_announced, trailers_back};
use mavera_gateway::head::{self, RequestId};
use mavera_gateway::inject;
use mavera_gateway::live::{Live, Snapshot};
use mavera_gateway::mask::Mask;
use mavera_gateway::metrics::Metrics;
use mavera_gateway::route::Route;
use mavera_gateway_fuzz::KEY;

/// What may stand in a head that goes upstream, each once.
const ONWARD: [&str; 10] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-type",
    "host",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-request-id",
];
/// What may stand in a head that goes back.
const BACK: [&str; 10] = [
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "retry-after",
    "trailer",
    "x-accel-buffering",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];
/// What a trailer must never be: it frames, routes, authenticates or describes the content (RFC 9110 §6.5.1), or it is
/// of one connection (§7.6.1).
const NEVER_TRAILERS: [&str; 18] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

/// Where the upstream may have its paths: as we have them, which then go on as they came, and elsewhere.
const PREFIXES: [&str; 2] = ["/api/v1", "/base/v1"];

static SNAPSHOTS: LazyLock<[Arc<Snapshot>; 2]> = LazyLock::new(|| PREFIXES.map(snapshot));

fn snapshot(prefix: &str) -> Arc<Snapshot> {
    let folder = std::env::temp_dir().join(format!("mavera-gateway-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the configuration");
    let (key, file) = (folder.join("key"), folder.join("gateway.toml"));
    std::fs::write(&key, KEY).expect("the key is written");
    let text = format!(
        "[upstream]\nbase_url = \"http://127.0.0.1:1{prefix}\"\napi_key = {{ file = '{}' }}\n",
        key.display()
    );
    std::fs::write(&file, text).expect("the configuration is written");
    let live = Live::load(&file, &Metrics::new(), Clock::system()).expect("the configuration is valid");
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
    live.current()
}

fuzz_target!(|input: &[u8]| {
    let Some((mut caller, rest)) = request(input) else { return };
    // HTTP/2 brings the same head without some of HTTP/1.1's duties.
    for version in [caller.version, Version::HTTP_2] {
        caller.version = version;
        onward(&caller);
    }
    back(rest);
});

fn onward(caller: &Parts) {
    let received = Received::from(caller.clone());
    let judged = head::judge(&received);
    assert_eq!(judged.is_ok(), is_served(caller), "{judged:?} of {caller:?}");
    let target = match judged {
        Ok(target) => target,
        Err(refusal) => {
            let message = refusal.message();
            assert!(!message.contains("mvgw_") && !message.contains("mvra_"), "{message}");
            return;
        }
    };
    let path = caller.uri.path_and_query().expect("what is served has a path").as_str();
    let Some(rest) = path.strip_prefix("/api/v1") else {
        let own = ["/gateway/v1/me", "/gateway/v1/explain", "/gateway/v1/keys/rotate"];
        assert!(own.contains(&path.split('?').next().unwrap_or_default()), "{path}");
        return;
    };
    let id = RequestId::of(&caller.headers, Clock::system().wall());
    for (prefix, snapshot) in PREFIXES.iter().zip(&*SNAPSHOTS) {
        let sent =
            inject::head(snapshot, &received, &id, &target).expect("a target that is served can be written");
        assert_eq!(
            sent.uri().to_string(),
            format!("{prefix}{rest}"),
            "the path that is sent is the path that was asked for"
        );
        forwarded(caller, &sent);
    }
}

/// Looks at the whole head that would be written to the upstream.
fn forwarded(caller: &Parts, sent: &Request<()>) {
    let asked = if caller.method == Method::HEAD { Method::GET } else { caller.method.clone() };
    assert_eq!(sent.method(), asked);
    let fields = sent.headers();
    for name in fields.keys() {
        assert!(ONWARD.contains(&name.as_str()), "{name} goes on");
        assert_eq!(fields.get_all(name).iter().count(), 1, "{name} goes on more than once");
        let value = fields[name].as_bytes();
        assert!(
            value.iter().all(|&byte| byte == b'\t' || (b' '..=b'~').contains(&byte)),
            "{name}: {value:?}"
        );
        assert!(value.len() <= 512, "{name} is long");
    }
    assert_eq!(fields["host"], "127.0.0.1:1");
    assert_eq!(fields["authorization"], format!("Bearer {KEY}"));
    assert_eq!(fields["accept-encoding"], "identity");
    assert_eq!(fields["via"], "1.1 mavera-gateway");
    assert_eq!(fields.get("content-type").is_some(), caller.method == Method::POST);
    let id = fields["x-request-id"].as_bytes();
    assert!((1..=128).contains(&id.len()));
    assert!(id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(byte)));
}

/// The rules, read a second time.
fn is_served(caller: &Parts) -> bool {
    let all = |name: &str| caller.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let one_host = match all("host")[..] {
        [] => caller.version != Version::HTTP_11,
        [host] => {
            let authority = caller.uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
            let host = String::from_utf8_lossy(host).to_ascii_lowercase();
            let parsed = host.parse::<http::uri::Authority>().is_ok() && !host.contains('@');
            let port =
                host.rsplit(']').next().and_then(|rest| rest.split_once(':')).map_or("", |(_, port)| port);
            let numbered = port.chars().all(|digit| digit.is_ascii_digit());
            parsed && numbered && authority.is_none_or(|authority| authority == host)
        }
        _ => false,
    };
    let user = caller.uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    let framed = match all("transfer-encoding")[..] {
        [] => true,
        [coding] => coding.trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    let plain = all("content-encoding").iter().all(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let looped = all("via").iter().flat_map(|via| via.split(|&byte| byte == b',')).any(|hop| {
        let mut words = hop.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.any(|word| word.eq_ignore_ascii_case(b"mavera-gateway"))
    });
    let expected = match all("expect")[..] {
        [] => true,
        [expected] => expected.eq_ignore_ascii_case(b"100-continue"),
        _ => false,
    };
    one_host && !user && framed && expected && plain && !looped && has_route(caller)
}

/// Queries by route, in words of its own.
fn takes(label: &str, name: &str, value: &str) -> bool {
    let is_word = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=128).contains(&text.len()) && text.bytes().all(plain)
    };
    let is_cursor = |text: &str| {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            at += match bytes[at] {
                b'%' => match text.get(at + 1..at + 3) {
                    Some("2B" | "2b" | "2F" | "2f" | "3D" | "3d") => 3,
                    _ => return false,
                },
                byte if byte.is_ascii_alphanumeric() || b"-_.~:=".contains(&byte) => 1,
                _ => return false,
            };
        }
        (1..=1024).contains(&text.len())
    };
    match (label, name) {
        ("video_list", "limit" | "offset" | "status")
        | ("explain", "route")
        | ("news_trending", "size" | "limit")
        | ("news_personalized", "size") => is_word(value),
        ("news_personalized", "persona_ids") => value.len() <= 1024 && value.split(',').all(is_word),
        ("news_trending", "cursor") => is_cursor(value),
        (
            "files_list" | "mave_threads" | "personas_list" | "generations_list" | "generation_apps"
            | "brand_voices_list",
            name,
        ) => match name {
            "limit" | "offset" | "workspace_id" => is_word(value),
            "cursor" => is_cursor(value),
            _ => false,
        },
        _ => false,
    }
}

fn has_route(caller: &Parts) -> bool {
    let whole = caller.uri.path_and_query().map_or("", |path| path.as_str());
    let (path, query) = whole.split_once('?').map_or((whole, None), |(path, query)| (path, Some(query)));
    let method = if caller.method == Method::HEAD { &Method::GET } else { &caller.method };
    let is_of = |template: &str| {
        let (mut expected, mut given) = (template.split('/'), path.split('/'));
        loop {
            match (expected.next(), given.next()) {
                (None, None) => return true,
                (Some("{id}"), Some(id)) if !id.is_empty() => {}
                (Some(expected), Some(given)) if expected == given => {}
                _ => return false,
            }
        }
    };
    // A word of a template's own is no id.
    let rows = Route::all().map(Route::row).filter(|row| row.method == *method && is_of(row.template));
    let rows: Vec<_> = rows.collect();
    let plain = rows.iter().find(|row| !row.template.contains("{id}"));
    let Some(row) = plain.or(rows.first()) else {
        return false;
    };
    let at = row.template.split('/').position(|segment| segment == "{id}");
    let id = at.and_then(|at| path.split('/').nth(at));
    let is_id = id.is_none_or(|id| {
        id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    });
    let asked = query.is_none_or(|query| {
        let pairs: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let mut names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        pairs.iter().all(|(name, value)| takes(row.label, name, value))
            && names.len() == query.split('&').count()
    });
    is_id && asked
}

/// What comes back: an answer's head and its trailers.
fn back(input: &[u8]) {
    let Some((answer, rest)) = answer(input) else { return };
    let mask = Mask::new(&SNAPSHOTS[0].key);
    let holds_key =
        |value: &HeaderValue| value.as_bytes().windows(KEY.len()).any(|part| part == KEY.as_bytes());
    let told = back_of(&answer, &mask);
    for (name, value) in &told {
        assert!(BACK.contains(&name.as_str()), "{name} goes back");
        assert!(!holds_key(value), "{name} goes back with the key");
        assert!(answer.get_all(name).iter().any(|given| given == value), "{name} is not as it came");
    }
    let Some(trailers) = fields(rest).map(|(trailers, _)| trailers) else { return };
    let announced = trailers_announced(&answer);
    let given = trailers.clone();
    for (name, value) in &trailers_back(&announced, trailers, &mask) {
        assert!(!NEVER_TRAILERS.contains(&name.as_str()), "{name} goes back as a trailer");
        assert!(!holds_key(value), "{name} goes back with the key");
        assert!(given.get_all(name).iter().any(|given| given == value), "{name} is not as it came");
        let listed = announced.get_all("trailer").iter().any(|listed| {
            String::from_utf8_lossy(listed.as_bytes()).to_ascii_lowercase().contains(name.as_str())
        });
        assert!(listed, "{name} was not announced");
    }
}

/// A request head, as hyper would hand it on, and what follows it.
fn request(input: &[u8]) -> Option<(Parts, &[u8])> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(end) = parsed.parse(input).ok()? else { return None };
    let mut request = Request::new(());
    *request.method_mut() = parsed.method?.parse().ok()?;
    *request.uri_mut() = Uri::try_from(parsed.path?).ok()?;
    *request.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = map(parsed.headers)?;
    Some((request.into_parts().0, &input[end..]))
}

fn answer(input: &[u8]) -> Option<(HeaderMap, &[u8])> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = parsed.parse(input).ok()? else { return None };
    Some((map(parsed.headers)?, &input[end..]))
}

fn fields(input: &[u8]) -> Option<(HeaderMap, &[u8])> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let httparse::Status::Complete((end, parsed)) = httparse::parse_headers(input, &mut fields).ok()? else {
        return None;
    };
    Some((map(parsed)?, &input[end..]))
}

fn map(fields: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(map)
}
