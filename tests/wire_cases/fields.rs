//! What stands in a head: line ends, names and values, hop-by-hop fields, expectations, upgrades, keys
//! (cases 47 to 64).

use tokio::io::AsyncWriteExt;

use super::{
    BODY, Case, End, KEY, MARK, SMUGGLED, answered, case, chunked, head_with, hear, prove, refused, served,
    served_with, start, with_chunks, with_key, with_length,
};
use crate::support::recorder::{Recorder, answers, ours};
use crate::support::rig::{Setup, chat_path};

/// A chat with one more line in its head, whatever is in it.
fn with_line(line: &[u8]) -> Vec<u8> {
    let rest = format!("content-length: {}\r\n\r\n{BODY}", BODY.len());
    [start().as_bytes(), line, b"\r\n", rest.as_bytes()].concat()
}

pub fn cases() -> Vec<Case> {
    [lines(), hops(), expectations(), keys(), content()].into_iter().flatten().collect()
}

fn lines() -> Vec<Case> {
    let head = head_with(&format!("content-length: {}\r\n", BODY.len()));
    let mut cases = vec![
        // RFC 9112 §2.2 lets a server take them; what goes on has line ends of ours.
        case(47, "LF for CRLF", format!("{}{BODY}", head.replace("\r\n", "\n")), served()),
        case(47, "LF for some", format!("{}{BODY}", head.replacen("\r\n", "\n", 2)), served()),
        case(
            51,
            "a head that ends with CR and another byte",
            format!("{}\r\n\rZ{SMUGGLED}", head.trim_end()),
            refused(400),
        ),
        case(49, "bytes beyond ASCII in a field that is copied", with_line(b"accept: \xff\xfe"), served()),
        case(49, "bytes beyond ASCII in a request id", with_line(b"x-request-id: \xe4\xf6"), served()),
        case(
            49,
            "bytes beyond ASCII in a key",
            [
                b"POST ",
                chat_path().as_bytes(),
                b" HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer \xff\r\ncontent-length: 0\r\n\r\n",
            ]
            .concat(),
            answered(401),
        ),
    ];
    for (name, line) in [
        ("a bare CR in a value", &b"x-a: b\rc"[..]),
        ("a NUL in a value", b"x-a: b\0c"),
        ("another control character", b"x-a: b\x08c"),
        ("DEL in a value", b"x-a: b\x7fc"),
    ] {
        cases.push(case(48, name, with_line(line), refused(400)));
    }
    for (name, line) in [
        ("an empty name", &b": b"[..]),
        ("no colon", b"x-a"),
        ("a space before the name", b" x-a: b"),
        ("a space in the name", b"x a: b"),
        ("a name that is no token", b"x(a): b"),
        ("a name beyond ASCII", b"x\xe4: b"),
    ] {
        cases.push(case(50, name, with_line(line), refused(400)));
    }
    cases
}

fn hops() -> Vec<Case> {
    let with = |fields: &str| with_length(fields, BODY);
    vec![
        case(
            52,
            "hop-by-hop names for what is ours",
            with("connection: close, authorization, x-a\r\nx-a: b\r\n"),
            served().ending(End::Announced),
        ),
        case(
            52,
            "keep-alive and its like",
            with("keep-alive: timeout=5\r\nproxy-connection: close\r\nte: trailers\r\n"),
            served(),
        ),
        case(
            53,
            "hop-by-hop names for framing and Host",
            with("connection: content-length, host, via\r\n"),
            served(),
        ),
        case(
            54,
            "where it says that it comes from",
            with(&format!(
                "via: 1.0 {MARK}\r\nforwarded: for={MARK}\r\nx-forwarded-for: {MARK}\r\nx-forwarded-host: {MARK}\r\nx-real-ip: {MARK}\r\n"
            )),
            served(),
        ),
        case(54, "ourselves on the way", with("via: 1.1 other, 1.1 mavera-gateway\r\n"), answered(508)),
        // Not 200 with what we can do: there is one method per path, which the refusal names.
        case(
            55,
            "OPTIONS with no more hops",
            format!("OPTIONS {} HTTP/1.1\r\nhost: gw\r\nmax-forwards: 0\r\n\r\n", chat_path()),
            answered(405),
        ),
        case(56, "an upgrade nobody knows", with("connection: upgrade\r\nupgrade: foo\r\n"), served()),
        case(
            57,
            "an upgrade to HTTP/2",
            with("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"),
            served(),
        ),
        case(
            57,
            "an upgrade to WebSocket",
            with("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n"),
            served(),
        ),
        // The body is a body, and as such no JSON.
        case(
            58,
            "an upgrade with a request for a body",
            with_length("connection: upgrade\r\nupgrade: foo\r\n", SMUGGLED),
            answered(400),
        ),
        case(
            58,
            "an upgrade with a body in chunks",
            with_chunks("connection: upgrade\r\nupgrade: foo\r\n", &chunked(BODY)),
            served(),
        ),
    ]
}

fn expectations() -> Vec<Case> {
    let expecting = |key: &str| with_length("expect: 100-continue\r\n", BODY).replace(KEY, key);
    vec![
        // The body is there already, and is asked for all the same.
        case(59, "an expectation, and the body at once", expecting(KEY), {
            let mut served = served();
            served.statuses.insert(0, 100);
            served
        }),
        case(59, "an expectation nobody knows", with_length("expect: 200-ok\r\n", BODY), refused(417)),
        case(60, "an expectation of a stranger", expecting("wrong"), refused(401)),
    ]
}

fn keys() -> Vec<Case> {
    let with = |fields: &str| with_length(fields, BODY);
    let without = |fields: &str| with(fields).replacen(&format!("authorization: Bearer {KEY}\r\n"), "", 1);
    vec![
        case(61, "the same key twice", with(&format!("authorization: Bearer {KEY}\r\n")), refused(400)),
        case(61, "a key and another", with("authorization: Bearer other\r\n"), refused(400)),
        case(61, "a key in two fields", with(&format!("x-api-key: {KEY}\r\n")), refused(400)),
        case(
            61,
            "two keys in one field",
            without(&format!("authorization: Bearer {KEY}, Bearer {KEY}\r\n")),
            refused(400),
        ),
        case(61, "a key in the other field", without(&format!("x-api-key: {KEY}\r\n")), served()),
        case(62, "cookies", with(&format!("cookie: a={MARK}\r\nset-cookie: b={MARK}\r\n")), served()),
        case(
            62,
            "a key of the upstream's kind",
            with(&format!("x-mavera-key: mvra_live_plainlyfake{MARK}\r\n")),
            served(),
        ),
        case(
            62,
            "a key of the upstream's kind in place of ours",
            without(&format!("authorization: Bearer mvra_live_plainlyfake{MARK}\r\n")),
            answered(401),
        ),
    ]
}

fn content() -> Vec<Case> {
    let encoded = |encoding: &str| with_length(&format!("content-encoding: {encoding}\r\n"), BODY);
    vec![
        case(
            63,
            "other codings of the answer",
            with_length("accept-encoding: br, gzip;q=0.5\r\n", BODY),
            served(),
        ),
        case(64, "a compressed body", encoded("gzip"), answered(415)),
        case(64, "a body compressed twice", encoded("gzip, br"), answered(415)),
        case(64, "a body that is not compressed", encoded("identity"), served()),
        case(64, "a body of another kind", with_length("content-type: text/plain\r\n", BODY), answered(415)),
        case(
            64,
            "a body of a kind with parameters",
            with_length("content-type: application/json; charset=utf-8\r\n", BODY),
            served_with(BODY),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_a_head_holds_goes_no_further_than_it_may() {
    prove(cases()).await;
}

/// Nobody is asked for a body before it is known who they are and that they may call. What it costs is not known
/// before the body is there, so that budgets are looked at after it.
#[tokio::test(start_paused = true)]
async fn a_body_is_asked_for_only_from_whom_it_is_wanted() {
    let setup =
        Setup { team: "requests_per_minute = 1\nburst = 1\nconcurrency = 8".into(), ..Setup::default() };
    let (rig, upstream) = Recorder::behind(&setup);
    let head = head_with(&format!("expect: 100-continue\r\ncontent-length: {}\r\n", BODY.len()));
    let mut stranger = rig.raw();
    stranger.write_all(head.replace(KEY, "wrong").as_bytes()).await.unwrap();
    let said = answers(&hear(&mut stranger).await).unwrap();
    assert_eq!((said.len(), said[0].status), (1, 401), "and not 100 before");

    let mut caller = rig.raw();
    caller.write_all(&with_key(&rig, &head)).await.unwrap();
    assert_eq!(hear(&mut caller).await, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!((upstream.count(), rig.gauge("ledger_open_holds")), (0, 0.0), "nothing is held for a promise");
    caller.write_all(BODY.as_bytes()).await.unwrap();
    let said = answers(&hear(&mut caller).await).unwrap();
    assert_eq!((said.len(), said[0].status), (1, 200));
    let request = ours(&upstream.take().pop().unwrap()).unwrap();
    assert_eq!(request.body, BODY.as_bytes());

    // One more than its limit: told so, and not asked for the body.
    let mut limited = rig.raw();
    limited.write_all(&with_key(&rig, &head)).await.unwrap();
    let said = answers(&hear(&mut limited).await).unwrap();
    assert_eq!((said.len(), said[0].status, said[0].says_close()), (1, 429, true));
    assert_eq!(upstream.count(), 0);
}

/// What the gateway writes of its own: the fields that count, whatever the caller wrote there.
#[tokio::test(start_paused = true)]
async fn fields_that_are_ours_are_written_by_us() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    let fields = "accept: text/event-stream\r\naccept-encoding: br\r\nuser-agent: theirs\r\nvia: 1.0 theirs\r\n\
                  content-type: application/json; charset=utf-8\r\nx-request-id: theirs-1\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    super::converse(&rig, with_length(fields, BODY)).await;
    let request = ours(&upstream.take().pop().unwrap()).unwrap();
    let agent = format!("mavera-gateway/{}", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("accept", "text/event-stream"),
        ("accept-encoding", "identity"),
        ("user-agent", &agent),
        ("via", "1.1 mavera-gateway"),
        ("content-type", "application/json"),
        ("x-request-id", "theirs-1"),
        ("content-length", "45"),
    ] {
        assert_eq!(request.fields[name], value, "{name}");
    }
}
