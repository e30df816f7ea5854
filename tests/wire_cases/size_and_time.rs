//! How large and how slow a request may be, and how many may come at once (cases 65 to 73).

use std::fmt::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{
    BODY, Case, EVIL, answered, case, chunked, converse, good, head_with, prove, prove_with, refused, served,
    served_with, with_chunks, with_key, with_length,
};
use crate::support::h2;
use crate::support::recorder::{Recorder, answers, ours};
use crate::support::rig::{Setup, chat_path};

pub fn cases() -> Vec<Case> {
    [heads(), bodies(), protocols()].into_iter().flatten().collect()
}

fn heads() -> Vec<Case> {
    let fields = |count: usize| with_length(&"x-a: b\r\n".repeat(count), BODY);
    let target =
        |length: usize| with_length("", BODY).replacen(&chat_path(), &format!("/{}", "a".repeat(length)), 1);
    let field = |length: usize| with_length(&format!("x-a: {}\r\n", "b".repeat(length)), BODY);
    vec![
        // With Host, the key and the length.
        case(65, "100 fields", fields(97), served()),
        case(65, "101 fields", fields(98), refused(431)),
        case(65, "10,000 fields", fields(10_000), refused(431)),
        case(66, "a field of 15 KiB", field(15 << 10), served()),
        case(66, "a field of 20 KiB", field(20 << 10), refused(431)),
        case(66, "a field of 500 KiB", field(500 << 10), refused(431)),
        case(
            66,
            "a name of 70 KiB",
            with_length(&format!("x{}: b\r\n", "a".repeat(70 << 10)), BODY),
            refused(431),
        ),
        // A head is bounded as a whole before anybody looks at its parts.
        case(67, "a target of 20 KiB", target(20 << 10), refused(431)),
        case(67, "a target of 70 KiB", target(70 << 10), refused(431)),
        case(67, "a target of 15 KiB, which is none of ours", target(15 << 10), answered(404)),
    ]
}

/// Of a team that may send 1 KiB.
fn bodies() -> Vec<Case> {
    let sized = |size: usize| BODY.replace("hi", &"h".repeat(size - BODY.len() + 2));
    let (whole, large) = (sized(1024), sized(1025));
    let pieces = |body: &str| {
        body.as_bytes().chunks(100).fold(String::new(), |mut all, piece| {
            let _ = write!(all, "{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece));
            all
        }) + "0\r\n\r\n"
    };
    vec![
        case(68, "as much as is allowed", with_length("", &whole), served_with(whole.clone())),
        case(
            68,
            "as much as is allowed, in chunks",
            with_chunks("", &pieces(&whole)),
            served_with(whole.clone()),
        ),
        case(68, "a byte more", with_length("", &large), answered(413)),
        case(68, "a byte more, in chunks", with_chunks("", &pieces(&large)), refused(413)),
        case(68, "a byte more, in one chunk", with_chunks("", &chunked(&large)), refused(413)),
        case(
            68,
            "an exabyte, by its length",
            head_with("content-length: 1000000000000000000\r\n"),
            refused(413),
        ),
    ]
}

fn protocols() -> Vec<Case> {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\x03\x04\x05\x06\x07\x08\r\n\r\n";
    vec![
        case(73, "TLS where there is none", hello.as_slice(), refused(400)),
        case(73, "SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n", refused(400)),
        // The first bytes tell the protocol, and these are not HTTP/2's; behind another request they never are.
        case(
            73,
            "the beginning of HTTP/2, and then something else",
            "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
            refused(400),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn heads_have_a_bound_and_other_protocols_are_refused() {
    prove([heads(), protocols()].into_iter().flatten().collect()).await;
}

#[tokio::test(start_paused = true)]
async fn bodies_have_a_bound_however_they_are_framed() {
    let setup = Setup { team: format!("{}\nmax_body = \"1KiB\"", Setup::default().team), ..Setup::default() };
    prove_with(&setup, bodies()).await;
}

/// HTTP/2 is served on the same port to whoever begins with its preface; what is no HTTP/2 behind it ends the
/// connection, and is not read as anything else.
#[tokio::test(start_paused = true)]
async fn requests_of_http_1_behind_the_preface_of_http_2_are_not_served() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    for behind in [good(), EVIL.to_owned()] {
        let heard = converse(&rig, format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{behind}")).await;
        assert!(heard.closed_at_once(), "still open");
        let settings = &heard.bytes[..];
        assert_eq!(settings[3], h2::SETTINGS, "it begins as HTTP/2 does");
        assert!(!String::from_utf8_lossy(settings).contains("HTTP/1"), "and does not change its mind");
    }
    assert_eq!((upstream.count(), upstream.rest().len()), (0, 0));
}

/// A byte a second is progress, and does not put off the deadline of the whole.
#[tokio::test(start_paused = true)]
async fn a_body_that_comes_a_byte_at_a_time_is_cut_on_its_deadline() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    for head in [head_with("content-length: 500\r\n"), head_with("transfer-encoding: chunked\r\n")] {
        let (mut read, mut write) = tokio::io::split(rig.raw());
        let head = with_key(&rig, head);
        let began = Instant::now();
        let writer = tokio::spawn(async move {
            write.write_all(&head).await.unwrap();
            while write.write_all(b"1").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).await.unwrap();
        let took = began.elapsed().as_secs();
        drop(read);
        writer.await.unwrap();
        let said = answers(&bytes).unwrap();
        assert_eq!(said.len(), 1);
        // In chunks, the ones are a size that grows until it is none.
        assert!(
            [408, 400].contains(&said[0].status) && (15..=31).contains(&took),
            "{} after {took} s",
            said[0].status
        );
    }
    assert_eq!((upstream.count(), rig.gauge("ledger_open_holds")), (0, 0.0));
}

/// There is no bound on their number: the next is not looked at before the last is answered, so that they wait in
/// the caller's own socket.
#[tokio::test(start_paused = true)]
async fn a_thousand_pipelined_requests_are_served_in_order_one_at_a_time() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    let many: String =
        (0..1000).map(|number| with_length(&format!("x-request-id: {number}\r\n"), BODY)).collect();
    let heard = converse(&rig, many).await;
    let said = answers(&heard.bytes).unwrap();
    let order: Vec<_> = said.iter().map(|said| said.field("x-request-id").unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(order, expected);
    assert!(said.iter().all(|said| said.status == 200));
    let received: Vec<_> =
        upstream.take().iter().map(|request| ours(request).unwrap().fields["x-request-id"].clone()).collect();
    assert_eq!(received, expected);
    assert_eq!(rig.connections_made(), 1, "never two at a time");
}
