//! Hostile bytes: what the upstream receives is one well-formed request of ours, or nothing; and what
//! is pipelined behind is never taken for anything else.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::rig::{Rig, Setup, chat_path};
use crate::support::script::{Received, json_answer, read_request, write};

const BODY: &str = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

/// A rig that records what its upstream receives and answers each request.
fn recording() -> (Rig, Received) {
    let received = Received::default();
    let log = received.clone();
    let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
        let log = log.clone();
        async move {
            while let Some(request) = read_request(&mut io).await {
                log.push(request);
                write(&mut io, json_answer("{\"usage\":{\"credits_used\":1}}")).await;
            }
        }
    });
    (rig, received)
}

/// Writes bytes on a fresh connection and returns all that comes back until it is closed, or until
/// nothing more comes.
async fn say(rig: &Rig, bytes: &[u8]) -> String {
    let io = rig.raw();
    let (mut read, mut write) = tokio::io::split(io);
    let said = bytes.to_vec();
    let writer = tokio::spawn(async move {
        let _ = write.write_all(&said).await;
        write
    });
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(Duration::from_mins(2), read.read(&mut piece)).await
    {
        answer.extend_from_slice(&piece[..length]);
    }
    drop(writer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<u16> {
    answer.match_indices("HTTP/1.1 ").filter_map(|(at, _)| answer[at + 9..].get(..3)?.parse().ok()).collect()
}

/// Each case is tried alone, after a good request on the same connection, and with a request for
/// `/evil` pipelined behind.
async fn tried_three_ways(what: &str, bytes: &[u8], expected: &[u16]) {
    for way in ["alone", "after a good one", "with another behind"] {
        let (rig, received) = recording();
        let good = format!(
            "POST {} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\nx-request-id: good\r\ncontent-length: {}\r\n\r\n{BODY}",
            chat_path(),
            rig.key,
            BODY.len()
        );
        let bytes = String::from_utf8_lossy(bytes).replace("{KEY}", &rig.key).replace("{PATH}", &chat_path());
        let evil = "GET /evil HTTP/1.1\r\nhost: gw\r\nx-request-id: evil\r\n\r\n";
        let said = match way {
            "alone" => bytes.clone(),
            "after a good one" => format!("{good}{bytes}"),
            _ => format!("{bytes}{evil}"),
        };
        let answer = say(&rig, said.as_bytes()).await;
        let mut got = statuses(&answer);
        if way == "after a good one" {
            assert_eq!(got.first(), Some(&200), "{what}, {way}: {answer}");
            got.remove(0);
        }
        let first = got.first().copied();
        assert!(expected.contains(&first.unwrap_or(0)), "{what}, {way}: {first:?} in {answer}");
        let requests = received.requests();
        let admitted = statuses(&answer).iter().filter(|status| **status == 200).count();
        assert_eq!(
            requests.len(),
            admitted,
            "{what}, {way}: one request of ours per call that was admitted: {requests:?}"
        );
        for request in requests {
            let head = request.split("\r\n\r\n").next().unwrap().to_lowercase();
            assert!(!request.contains("evil"), "{what}, {way}: {request}");
            assert_eq!(
                head.matches("content-length:").count() + head.matches("transfer-encoding:").count(),
                1,
                "{what}, {way}: {request}"
            );
            assert_eq!(
                (head.matches("host:").count(), head.matches("authorization:").count()),
                (1, 1),
                "{what}, {way}: {request}"
            );
        }
    }
}

fn chat_with(fields: &str, body: &str) -> Vec<u8> {
    format!("POST {{PATH}} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {{KEY}}\r\n{fields}\r\n{body}")
        .into_bytes()
}

/// 0 stands for a connection that is closed without an answer.
const REFUSED: &[u16] = &[400, 0];

#[tokio::test(start_paused = true)]
async fn framing_that_two_parsers_could_read_differently_is_refused() {
    let length = BODY.len();
    let chunked = format!("{length:x}\r\n{BODY}\r\n0\r\n\r\n");
    for (what, fields, body, expected) in [
        (
            "two different lengths",
            format!("content-length: {length}\r\ncontent-length: 5\r\n"),
            BODY.to_owned(),
            REFUSED,
        ),
        ("a list of lengths", format!("content-length: {length}, {length}\r\n"), BODY.to_owned(), REFUSED),
        ("a signed length", format!("content-length: +{length}\r\n"), BODY.to_owned(), REFUSED),
        ("a negative length", "content-length: -1\r\n".to_owned(), BODY.to_owned(), REFUSED),
        ("a hexadecimal length", "content-length: 0x2\r\n".to_owned(), BODY.to_owned(), REFUSED),
        (
            "a length beyond 64 bits",
            "content-length: 18446744073709551617\r\n".to_owned(),
            BODY.to_owned(),
            REFUSED,
        ),
        ("a space before the colon", format!("content-length : {length}\r\n"), BODY.to_owned(), REFUSED),
        ("an unknown coding", "transfer-encoding: xchunked\r\n".to_owned(), chunked.clone(), &[400, 501, 0]),
        ("gzip, chunked", "transfer-encoding: gzip, chunked\r\n".to_owned(), chunked.clone(), &[501, 400, 0]),
        ("chunked, gzip", "transfer-encoding: chunked, gzip\r\n".to_owned(), chunked.clone(), &[400, 501, 0]),
        (
            "chunked, chunked",
            "transfer-encoding: chunked, chunked\r\n".to_owned(),
            chunked.clone(),
            &[400, 501, 0],
        ),
        (
            "chunked twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".to_owned(),
            chunked.clone(),
            REFUSED,
        ),
        ("a folded field", "transfer-encoding:\r\n chunked\r\n".to_owned(), chunked.clone(), REFUSED),
        (
            "a chunk size with a sign",
            "transfer-encoding: chunked\r\n".to_owned(),
            "+2\r\n{}\r\n0\r\n\r\n".to_owned(),
            REFUSED,
        ),
        (
            "a chunk size in C",
            "transfer-encoding: chunked\r\n".to_owned(),
            "0x2\r\n{}\r\n0\r\n\r\n".to_owned(),
            REFUSED,
        ),
        (
            "a chunk longer than it says",
            "transfer-encoding: chunked\r\n".to_owned(),
            "2\r\n{}{}\r\n0\r\n\r\n".to_owned(),
            REFUSED,
        ),
        (
            "a chunk line ended by LF alone",
            "transfer-encoding: chunked\r\n".to_owned(),
            "2\n{}\r\n0\r\n\r\n".to_owned(),
            REFUSED,
        ),
        (
            "rubbish after the last chunk",
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("{length:x}\r\n{BODY}\r\n0\r\nXX\r\n\r\n"),
            REFUSED,
        ),
    ] {
        tried_three_ways(what, &chat_with(&fields, &body), expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn odd_but_lawful_framing_is_written_anew() {
    let length = BODY.len();
    let chunked = format!("{length:x};ext=1\r\n{BODY}\r\n0\r\nauthorization: Bearer x\r\nhost: evil\r\n\r\n");
    for (what, fields, body) in [
        ("a length with zeros", format!("content-length: 0{length}\r\n"), BODY.to_owned()),
        ("chunked in capitals", "transfer-encoding: CHUNKED\r\n".to_owned(), chunked.clone()),
        (
            "chunked with extensions and trailers",
            "transfer-encoding:\tchunked\r\n".to_owned(),
            chunked.clone(),
        ),
        (
            "an upgrade nobody does",
            format!(
                "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\ncontent-length: {length}\r\n"
            ),
            BODY.to_owned(),
        ),
        (
            "hop-by-hop names for what is ours",
            format!("connection: close, authorization, host, content-length\r\ncontent-length: {length}\r\n"),
            BODY.to_owned(),
        ),
        ("a length and chunked", "content-length: 5\r\ntransfer-encoding: chunked\r\n".to_string(), chunked),
    ] {
        tried_three_ways(what, &chat_with(&fields, &body), &[200, 400, 0]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn targets_and_hosts_that_are_not_ours_are_refused() {
    let length = format!("content-length: {}\r\n", BODY.len());
    for (what, head, expected) in [
        (
            "no Host",
            format!("POST {{PATH}} HTTP/1.1\r\nauthorization: Bearer {{KEY}}\r\n{length}\r\n{BODY}"),
            REFUSED,
        ),
        (
            "two Hosts",
            format!(
                "POST {{PATH}} HTTP/1.1\r\nhost: a\r\nhost: b\r\nauthorization: Bearer {{KEY}}\r\n{length}\r\n{BODY}"
            ),
            REFUSED,
        ),
        (
            "an impossible Host",
            format!(
                "POST {{PATH}} HTTP/1.1\r\nhost: a b/c@d\r\nauthorization: Bearer {{KEY}}\r\n{length}\r\n{BODY}"
            ),
            REFUSED,
        ),
        (
            "another authority",
            format!(
                "POST http://evil.example{{PATH}} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {{KEY}}\r\n{length}\r\n{BODY}"
            ),
            &[421],
        ),
        (
            "CONNECT",
            "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n".to_owned(),
            &[400, 404, 405],
        ),
        ("OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: gw\r\n\r\n".to_owned(), &[400, 404, 405]),
        ("TRACE", "TRACE {PATH} HTTP/1.1\r\nhost: gw\r\n\r\n".to_owned(), &[405]),
        (
            "dots",
            "GET /api/v1/video-analyses/../keys HTTP/1.1\r\nhost: gw\r\n\r\n".to_owned(),
            &[400, 404, 405],
        ),
        (
            "encoded dots",
            "GET /api/v1/video-analyses/..%2f..%2fkeys HTTP/1.1\r\nhost: gw\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "a double slash",
            "GET //evil.example/api/v1/video-analyses HTTP/1.1\r\nhost: gw\r\n\r\n".to_owned(),
            &[404],
        ),
        (
            "a NUL in the target",
            "GET /api/v1/video-analyses/a%00 HTTP/1.1\r\nhost: gw\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "a space in the target",
            "GET /api/v1/video analyses HTTP/1.1\r\nhost: gw\r\n\r\n".to_owned(),
            REFUSED,
        ),
        (
            "a bare CR in a value",
            format!(
                "POST {{PATH}} HTTP/1.1\r\nhost: gw\r\nx-a: b\rc\r\nauthorization: Bearer {{KEY}}\r\n{length}\r\n{BODY}"
            ),
            REFUSED,
        ),
        (
            "an empty name",
            format!(
                "POST {{PATH}} HTTP/1.1\r\nhost: gw\r\n: b\r\nauthorization: Bearer {{KEY}}\r\n{length}\r\n{BODY}"
            ),
            REFUSED,
        ),
        (
            "too many fields",
            format!("GET /api/v1/video-analyses HTTP/1.1\r\nhost: gw\r\n{}\r\n", "x-a: b\r\n".repeat(101)),
            &[431],
        ),
        (
            "a large field",
            format!(
                "GET /api/v1/video-analyses HTTP/1.1\r\nhost: gw\r\nx-a: {}\r\n\r\n",
                "x".repeat(20 << 10)
            ),
            &[431],
        ),
    ] {
        tried_three_ways(what, head.as_bytes(), expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_is_never_taken_for_a_request() {
    let smuggled = "GET /evil HTTP/1.1\r\nhost: gw\r\nx-request-id: evil\r\n\r\n";
    let bytes = format!(
        "POST {{PATH}} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer wrong\r\ncontent-length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let (rig, received) = recording();
    let answer = say(&rig, bytes.replace("{PATH}", &chat_path()).as_bytes()).await;
    assert_eq!(statuses(&answer), [401], "{answer}");
    assert!(received.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_a_byte_at_a_time_is_cut_on_its_deadline() {
    let (rig, received) = recording();
    let mut io = rig.raw();
    let began = tokio::time::Instant::now();
    let mut cut = false;
    for byte in format!("POST {} HTTP/1.1\r\nhost: gw\r\nx-a: {}", chat_path(), "a".repeat(200)).bytes() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if io.write_all(&[byte]).await.is_err() {
            cut = true;
            break;
        }
    }
    let took = began.elapsed().as_secs();
    assert!(cut && took <= 61, "still open after {took} s");
    assert!(received.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let (rig, _) = recording();
    let mut io = rig.raw();
    let began = tokio::time::Instant::now();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer.len(), began.elapsed().as_secs()), (0, 30));
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_without_streams_is_closed_and_one_with_a_stream_is_not() {
    let (rig, _) = recording();
    // A preface and settings, then only answers to pings: no stream is ever opened.
    let io = hyper_util::rt::TokioIo::new(rig.raw());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Full<bytes::Bytes>>(executor, io)
            .await
            .unwrap();
    let began = tokio::time::Instant::now();
    connection.await.unwrap();
    assert!((30..=61).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    drop(sender);
    rig.gateway.tasks.close();
    rig.gateway.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn an_http2_stream_that_its_caller_leaves_unread_is_ended() {
    let setup =
        Setup { upstream: "requests_per_minute = 1000\ntotal_timeout = \"60s\"".into(), ..Setup::default() };
    let (rig, simulator) = Rig::with_simulator(&setup);
    let io = hyper_util::rt::TokioIo::new(rig.raw());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(executor)
        .initial_stream_window_size(1024)
        .handshake(io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = rig.chat(crate::support::chat_body(true, "events=50; bytes=1000"));
    request.headers_mut().remove("host");
    *request.uri_mut() = format!("http://gateway{}", request.uri().path()).parse().unwrap();
    let response = sender.send_request(request).await.unwrap();
    let record = rig.record().await;
    assert_eq!(record["outcome"], "client_gone");
    let took = record["total_seconds"].as_f64().unwrap();
    assert!((60.0..125.0).contains(&took), "{took}");
    assert_eq!(simulator.books(|books| books.received.len()), 1);
    drop(response);
}
