//! Heads of HTTP/2 that a gateway must not carry over to HTTP/1.1 (cases 97, 100 and 101).

use super::BODY;
use super::http2::{Attack, Case, ENHANCE_YOUR_CALM, Expect, PROTOCOL_ERROR, block, case, chat, request};
use crate::support::h2::{DATA, END_HEADERS, END_STREAM, HEADERS, frame};

/// A chat with one more field.
fn with(name: &'static str, value: &'static str) -> Attack {
    Box::new(move |key, stream| {
        let mut pairs = chat(key);
        pairs.push((name, value.into()));
        request(stream, &block(&pairs), BODY.as_bytes())
    })
}

/// A chat with another value in one of its fields.
fn instead(name: &'static str, value: &'static str) -> Attack {
    Box::new(move |key, stream| {
        let pairs: Vec<_> = chat(key)
            .into_iter()
            .map(|(field, old)| (field, if field == name { value.into() } else { old }))
            .collect();
        request(stream, &block(&pairs), BODY.as_bytes())
    })
}

/// A chat without one of its fields.
fn without(name: &'static str) -> Attack {
    Box::new(move |key, stream| {
        let pairs: Vec<_> = chat(key).into_iter().filter(|(field, _)| *field != name).collect();
        request(stream, &block(&pairs), BODY.as_bytes())
    })
}

pub fn cases() -> Vec<Case> {
    [bombs(), hops(), pseudo(), bodies()].into_iter().flatten().collect()
}

fn bombs() -> Vec<Case> {
    let bomb = |key: &str, stream: u32| {
        // One large field is remembered, and then named by a byte, a thousand times over.
        let mut block = block(&chat(key));
        block.push(0x40);
        block.extend([1, b'x', 127, 0xf1, 0x1d]);
        block.extend("y".repeat(127 + 0x71 + (0x1d << 7)).as_bytes());
        block.extend([0xbe; 1000]);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    };
    let large = |key: &str, stream: u32| {
        let mut pairs = chat(key);
        pairs.extend((0..20).map(|_| ("x-a", "b".repeat(800))));
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&pairs))
    };
    vec![
        // Far beyond what is allowed, it ends the connection; a little beyond, it is a 431 of its stream.
        case(97, "a head that unpacks to 4 MB", bomb, Expect::Over(ENHANCE_YOUR_CALM)),
        case(97, "a head of 17 KiB", large, Expect::Bare),
    ]
}

fn hops() -> Vec<Case> {
    let mut cases = vec![case(100, "te: trailers", with("te", "trailers"), Expect::Served)];
    for (name, value) in [
        ("te", "gzip"),
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "foo"),
    ] {
        cases.push(case(
            100,
            format!("{name:?}: {value:?}"),
            with(name, value),
            Expect::Reset(PROTOCOL_ERROR),
        ));
    }
    // What is no field at all is an error of the connection to h2, where RFC 9113 §8.1.1 asks for one of the stream.
    for (name, value) in [
        ("X-A", "b"),
        ("", "b"),
        ("x a", "b"),
        ("x-a\r\nx-b", "c"),
        ("x:a", "b"),
        ("x-a", "b\r\nhost: evil"),
        ("x-a", "b\0c"),
    ] {
        cases.push(case(
            100,
            format!("{name:?}: {value:?}"),
            with(name, value),
            Expect::Over(PROTOCOL_ERROR),
        ));
    }
    for (name, value, code) in [
        ("authorization", "Bearer other", "invalid_request"),
        ("x-api-key", "other", "invalid_request"),
        ("host", "other", "misdirected_request"),
        ("content-encoding", "gzip", "unsupported_media_type"),
        ("via", "1.1 mavera-gateway", "loop_detected"),
    ] {
        cases.push(case(100, format!("{name}: {value}"), with(name, value), Expect::Refused(code)));
    }
    cases
}

fn pseudo() -> Vec<Case> {
    let late = |key: &str, stream: u32| {
        let mut pairs = chat(key);
        pairs.rotate_left(1);
        request(stream, &block(&pairs), BODY.as_bytes())
    };
    let connect = |key: &str, stream: u32| {
        let pairs = [
            (":method", "CONNECT".to_owned()),
            (":authority", "evil.example:443".to_owned()),
            ("authorization", format!("Bearer {key}")),
        ];
        frame(HEADERS, END_HEADERS, stream, &block(&pairs))
    };
    let mut cases = vec![
        case(100, "a pseudo-field behind the others", late, Expect::Reset(PROTOCOL_ERROR)),
        // Nothing is asked of a Host but that there be one opinion about it; ours goes upstream.
        case(100, "no :authority", without(":authority"), Expect::Served),
        case(101, "CONNECT", connect, Expect::Refused("unknown_route")),
        case(101, "CONNECT with a path", instead(":method", "CONNECT"), Expect::Reset(PROTOCOL_ERROR)),
        case(101, "CONNECT to a protocol", with(":protocol", "websocket"), Expect::Reset(PROTOCOL_ERROR)),
    ];
    for name in [":method", ":path", ":scheme"] {
        cases.push(case(100, format!("no {name}"), without(name), Expect::Reset(PROTOCOL_ERROR)));
    }
    for (name, value) in [(":method", "GET"), (":path", "/evil"), (":authority", "evil"), (":status", "200")]
    {
        cases.push(case(
            100,
            format!("{name} again: {value}"),
            with(name, value),
            Expect::Reset(PROTOCOL_ERROR),
        ));
    }
    cases.push(case(100, "an unknown pseudo-field", with(":evil", "x"), Expect::Over(PROTOCOL_ERROR)));
    for (name, value, expect) in [
        (":path", "", Expect::Reset(PROTOCOL_ERROR)),
        (":path", "*", Expect::Refused("unknown_route")),
        (":path", "/a b HTTP/1.1\r\nhost: evil", Expect::Reset(PROTOCOL_ERROR)),
        (":path", "//evil.example/api/v1/video-analyses", Expect::Refused("unknown_route")),
        (":path", "/api/v1/video-analyses/..%2fkeys/chat", Expect::Refused("invalid_field")),
        (":method", "PO ST", Expect::Over(PROTOCOL_ERROR)),
        (":method", "TRACE", Expect::Refused("method_not_allowed")),
        (":authority", "user@gw", Expect::Refused("invalid_request")),
        (":authority", "a b", Expect::Reset(PROTOCOL_ERROR)),
    ] {
        cases.push(case(100, format!("{name} {value:?}"), instead(name, value), expect));
    }
    cases
}

fn bodies() -> Vec<Case> {
    let with_length = |length: &'static str, body: &'static str| {
        move |key: &str, stream: u32| {
            let mut pairs = chat(key);
            pairs.push(("content-length", length.into()));
            request(stream, &block(&pairs), body.as_bytes())
        }
    };
    let with_trailers = |trailers: &'static [(&'static str, &'static str)]| {
        move |key: &str, stream: u32| {
            let trailers: Vec<_> =
                trailers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            [
                frame(HEADERS, END_HEADERS, stream, &block(&chat(key))),
                frame(DATA, 0, stream, BODY.as_bytes()),
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&trailers)),
            ]
            .concat()
        }
    };
    vec![
        case(100, "its length", with_length("45", BODY), Expect::Served),
        case(100, "a length that is too small", with_length("5", BODY), Expect::Reset(PROTOCOL_ERROR)),
        case(100, "a length that is too large", with_length("50", BODY), Expect::Reset(PROTOCOL_ERROR)),
        case(100, "a length that is no number", with_length("x", BODY), Expect::Reset(PROTOCOL_ERROR)),
        case(
            100,
            "trailers that would be fields of a head",
            with_trailers(&[("content-length", "5"), ("authorization", "Bearer x"), ("host", "evil")]),
            Expect::Served,
        ),
        case(
            100,
            // h2 lets it pass, and nobody reads the trailers of a request.
            "trailers with a pseudo-field",
            with_trailers(&[(":path", "/evil")]),
            Expect::Served,
        ),
    ]
}
