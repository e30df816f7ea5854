//! Where a request ends: lengths, chunks, and what two parsers could read differently (cases 1 to 28).

use tokio::io::AsyncWriteExt;

use super::{
    BODY, Case, EVIL, End, Expect, KEY, SMUGGLED, Way, answered, case, chunked, good, head_with, hear, prove,
    refused, served, start, with_chunks, with_key, with_length,
};
use crate::support::recorder::{Recorder, answers, ours};
use crate::support::rig::{Setup, chat_path};

const LENGTH: usize = BODY.len();

/// A chat with these framing fields and whatever follows.
fn framed(fields: &str, after: impl AsRef<str>) -> String {
    format!("{}{}", head_with(fields), after.as_ref())
}

pub fn cases() -> Vec<Case> {
    [lengths(), codings(), old_versions(), chunks(), other_methods(), unread_bodies()]
        .into_iter()
        .flatten()
        .collect()
}

fn lengths() -> Vec<Case> {
    let mut cases = vec![
        // hyper reads by chunks, drops the length and closes, as RFC 9112 §6.3 allows.
        case(
            1,
            "a length, then chunked",
            framed("content-length: 5\r\ntransfer-encoding: chunked\r\n", chunked(BODY)),
            served().ending(End::Announced),
        ),
        case(
            2,
            "chunked, then a length",
            framed("transfer-encoding: chunked\r\ncontent-length: 5\r\n", chunked(BODY)),
            served().ending(End::Announced),
        ),
        case(
            3,
            "the same length twice",
            framed(&format!("content-length: {LENGTH}\r\n").repeat(2), BODY),
            served(),
        ),
        case(
            4,
            "two lengths",
            framed(&format!("content-length: {LENGTH}\r\ncontent-length: 5\r\n"), BODY),
            refused(400),
        ),
        case(
            5,
            "a list of lengths",
            framed(&format!("content-length: {LENGTH}, {LENGTH}\r\n"), BODY),
            refused(400),
        ),
        case(7, "a length with zeros", framed(&format!("content-length: 0{LENGTH}\r\n"), BODY), served()),
        case(
            8,
            "a length beyond 64 bits",
            framed("content-length: 18446744073709551617\r\n", BODY),
            refused(400),
        ),
        case(
            9,
            "a space before the colon",
            framed(&format!("Content-Length : {LENGTH}\r\n"), BODY),
            refused(400),
        ),
        case(
            9,
            "a space before the colon of a coding",
            framed("Transfer-Encoding : chunked\r\n", chunked(BODY)),
            refused(400),
        ),
    ];
    for length in ["+45", "-1", "0x2d", "45z", "4_5", "", "4 5", "45.0", "\u{0b}45"] {
        let name = format!("the length {length:?}");
        cases.push(case(6, name, framed(&format!("content-length: {length}\r\n"), BODY), refused(400)));
    }
    cases
}

fn codings() -> Vec<Case> {
    let coded = |fields: &str| framed(fields, chunked(BODY));
    let coding = |value: &str| coded(&format!("transfer-encoding: {value}\r\n"));
    let mut cases = vec![
        case(10, "an unknown coding", coding("xchunked"), refused(400)),
        case(10, "identity", coding("identity"), refused(400)),
        // hyper reads it by its chunks and the service would get compressed bytes; 501 is ours.
        case(11, "gzip, chunked", coding("gzip, chunked"), refused(501)),
        case(12, "chunked, gzip", coding("chunked, gzip"), refused(400)),
        case(12, "chunked, identity", coding("chunked, identity"), refused(400)),
        case(13, "chunked, chunked", coding("chunked, chunked"), refused(501)),
        case(14, "chunked twice", coded(&"transfer-encoding: chunked\r\n".repeat(2)), refused(400)),
        case(15, "chunked in capitals", coding("CHUNKED"), served()),
        case(15, "a tab before the value", coded("transfer-encoding:\tchunked\r\n"), served()),
        case(16, "a vertical tab", coding("\u{0b}chunked"), refused(400)),
        case(16, "quotes", coding("\"chunked\""), refused(400)),
        case(16, "nothing", coding(""), refused(400)),
        case(17, "a folded coding", coded("transfer-encoding:\r\n chunked\r\n"), refused(400)),
        case(17, "a folded field", with_length("x-a: b\r\n\tc\r\n", BODY), refused(400)),
    ];
    let head = start();
    let no_break_space =
        [head.as_bytes(), b"transfer-encoding: \xa0chunked\r\n\r\n", chunked(BODY).as_bytes()].concat();
    cases.push(case(16, "a no-break space", no_break_space, refused(400)));
    cases
}

fn old_versions() -> Vec<Case> {
    let old = |fields: &str, after: &str| framed(fields, after).replacen("HTTP/1.1", "HTTP/1.0", 1);
    vec![
        case(18, "1.0 and chunked", old("transfer-encoding: chunked\r\n", &chunked(BODY)), refused(400)),
        case(
            18,
            "1.0, chunked and a length",
            old("transfer-encoding: chunked\r\ncontent-length: 5\r\n", &chunked(BODY)),
            refused(400),
        ),
        // No body then, which is no JSON.
        case(19, "1.0 without a length", old("", SMUGGLED), refused(400)),
        case(
            19,
            "1.0 with a length",
            old(&format!("content-length: {LENGTH}\r\n"), BODY),
            served().ending(End::Announced),
        ),
    ]
}

fn chunks() -> Vec<Case> {
    let sized = |size: &str| with_chunks("", &format!("{size}\r\n{BODY}\r\n0\r\n\r\n"));
    let mut cases: Vec<_> = ["0x2d", "+2d", "-2d", " 2d", "", "2g", "fffffffffffffffff"]
        .into_iter()
        .map(|size| case(20, format!("the chunk size {size:?}"), sized(size), refused(400)))
        .collect();
    let (size, small) = (format!("{LENGTH:x}"), format!("{:x}", LENGTH - 1));
    for (row, name, chunks) in [
        (21, "a size line ended by LF", format!("{size}\n{BODY}\r\n0\r\n\r\n")),
        (21, "data ended by LF", format!("{size}\r\n{BODY}\n0\r\n\r\n")),
        (21, "the last chunk ended by LF", format!("{size}\r\n{BODY}\r\n0\n\r\n")),
        (22, "LF in an extension", format!("{size};\n\r\n{BODY}\r\n0\r\n\r\n")),
        (22, "CR in an extension", format!("{size};a\rb\r\n{BODY}\r\n0\r\n\r\n")),
        (23, "more data than the size", format!("{small}\r\n{BODY}\r\n0\r\n\r\n")),
        (24, "rubbish behind the last chunk", format!("{size}\r\n{BODY}\r\n0\r\nXX\r\n\r\n")),
    ] {
        cases.push(case(row, name, with_chunks("", &chunks), refused(400)));
    }
    let trailers = "content-length: 5\r\nauthorization: Bearer x\r\nhost: evil\r\n";
    let announced = "trailer: content-length, authorization, host\r\n";
    let single = BODY.chars().fold(String::new(), |all, c| format!("{all}1\r\n{c}\r\n"));
    cases.extend([
        // What counts is the number; a number beyond 64 bits is none.
        case(20, "a chunk size with zeros", sized("0000000000000002d"), served()),
        case(20, "many small chunks", with_chunks("", &format!("{single}0\r\n\r\n")), served()),
        case(
            22,
            "extensions",
            with_chunks("", &format!("{size};a=\"b\"\r\n{BODY}\r\n0;c\r\n\r\n")),
            served(),
        ),
        case(
            25,
            "trailers that would be fields of a head",
            with_chunks(announced, &format!("{size}\r\n{BODY}\r\n0\r\n{trailers}\r\n")),
            served(),
        ),
    ]);
    cases
}

fn other_methods() -> Vec<Case> {
    let list = format!("GET /api/v1/video-analyses HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {KEY}\r\n");
    let sent = |count| vec![("GET /api/v1/video-analyses HTTP/1.1".to_owned(), Vec::new()); count];
    let listed = |statuses, count, end| Expect { statuses, sent: sent(count), end };
    let other = |method: &str| with_chunks("", &chunked(BODY)).replacen("POST", method, 1);
    vec![
        case(
            26,
            "bytes behind a GET are a message of their own",
            format!("{list}\r\nNOT HTTP\r\n\r\n"),
            listed(vec![200, 400], 1, End::Announced),
        ),
        case(
            26,
            "a request behind a GET is one",
            format!("{list}\r\n{list}\r\n"),
            listed(vec![200, 200], 2, End::GoesOn),
        ),
        case(
            26,
            "a GET with a length",
            format!("{list}content-length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
            listed(vec![200], 1, End::GoesOn),
        ),
        case(27, "DELETE with chunks", other("DELETE"), refused(405)),
        case(27, "OPTIONS with chunks", other("OPTIONS"), refused(405)),
    ]
}

/// Answered before the body was read: what is in the body is never run.
fn unread_bodies() -> Vec<Case> {
    let stranger = |fields: &str, body: &str| framed(fields, body).replace(KEY, "wrong");
    let length = format!("content-length: {}\r\n", SMUGGLED.len());
    vec![
        case(28, "a body of requests, refused", stranger(&length, SMUGGLED), answered(401)),
        case(
            28,
            "the same in chunks",
            stranger("transfer-encoding: chunked\r\n", &chunked(SMUGGLED)),
            refused(401),
        ),
        case(
            28,
            "the same, with Expect",
            stranger(&format!("expect: 100-continue\r\n{length}"), SMUGGLED),
            refused(401),
        ),
        case(28, "a body of requests, admitted", with_length("", SMUGGLED), answered(400)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_where_its_framing_says_or_is_refused() {
    prove(cases()).await;
}

/// A body that comes after its answer, in pieces, with `/evil` in it: it is read as a body or not at all.
#[tokio::test(start_paused = true)]
async fn a_body_that_comes_after_its_refusal_is_never_run() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    for way in Way::ALL {
        let mut io = rig.raw();
        let (before, behind) = match way {
            Way::Alone => (String::new(), ""),
            Way::AfterGood => (good(), ""),
            Way::EvilBehind => (String::new(), EVIL),
        };
        let refused = start().replace(KEY, "wrong");
        let request = format!("{before}{refused}content-length: {}\r\n\r\n", 2 * SMUGGLED.len());
        io.write_all(&with_key(&rig, request)).await.unwrap();
        let mut bytes = hear(&mut io).await;
        for piece in [SMUGGLED, SMUGGLED, behind] {
            // It may have been closed on us.
            let _ = io.write_all(piece.as_bytes()).await;
            bytes.extend(hear(&mut io).await);
        }
        let said = answers(&bytes).unwrap();
        let mut statuses: Vec<_> = said.iter().map(|answer| answer.status).collect();
        let evil = said.iter().filter(|answer| answer.field("x-request-id") == Some("evil")).count();
        assert!(!said.iter().any(|answer| answer.field("x-request-id") == Some("smuggled")), "{said:?}");
        if evil == 1 {
            assert_eq!(statuses.pop(), Some(404), "in its own right");
        }
        assert_eq!(statuses, if way == Way::AfterGood { &[200, 401][..] } else { &[401] });
        let requests = upstream.take();
        assert_eq!(requests.len(), usize::from(way == Way::AfterGood));
        assert!(requests.iter().all(|request| ours(request).unwrap().line.contains(&chat_path())));
    }
}
