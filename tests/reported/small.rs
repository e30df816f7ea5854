//! Small things that clients do, and that go right.

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::chat_body;
use crate::support::h2::{self, Connection, DATA, END_HEADERS, END_STREAM, HEADERS};
use crate::support::process::{Pair, PairSetup};
use crate::support::recorder::{Recorder, ours};
use crate::support::rig::{Rig, Setup, chat_path};

#[tokio::test(start_paused = true)]
async fn an_http2_stream_that_nobody_reads_is_cut_after_the_write_timeout() {
    let setup = Setup { server: "write_timeout = \"6s\"".into(), ..Setup::default() };
    let (rig, _) = Rig::with_simulator(&setup);
    let io = hyper_util::rt::TokioIo::new(rig.raw());
    let executor = hyper_util::rt::TokioExecutor::new();
    let mut builder = hyper::client::conn::http2::Builder::new(executor);
    let (mut sender, connection) = builder.initial_stream_window_size(1024).handshake(io).await.unwrap();
    tokio::spawn(connection);
    let call = |quirk: &str| {
        let mut request = rig.chat(chat_body(true, quirk));
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("http://gateway{}", chat_path()).parse().unwrap();
        request
    };
    let unread = sender.send_request(call("events=50; bytes=1000")).await.unwrap();
    let record = rig.record().await;
    assert_eq!(record["outcome"], "client_gone");
    let took = record["total_seconds"].as_f64().unwrap();
    assert!((6.0..14.0).contains(&took), "{took}");
    // One that is silent for longer than that is not unread.
    let response = sender.send_request(call("delay=10s; pace=10s")).await.unwrap();
    let whole = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert!(whole.ends_with(b"data: [DONE]\n\n"));
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_no_text_goes_on_as_it_came() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    for name in ["\\ud800", "a\\udfff\\ud800b", "\\ud83d\\ude00"] {
        let messages =
            "\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\",\"NAME\":1}]".replace("NAME", name);
        let body = format!("{{\"{name}\":{{\"{name}\":\"{name}\"}},{messages}}}");
        assert_eq!(rig.send(rig.chat(body.clone())).await.status(), 200, "{body}");
        assert_eq!(ours(&upstream.take()[0]).unwrap().body, body.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_need_not_know_is_the_upstreams_to_judge() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    for body in [
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":null}",
        "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"t\"}]},{\"role\":\"tool\",\"content\":null}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}],\"model\":7}",
    ] {
        assert_eq!(rig.send(rig.chat(body)).await.status(), 200, "{body}");
        assert_eq!(ours(&upstream.take()[0]).unwrap().body, body.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn an_expectation_that_cannot_be_met_is_refused() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    for (expected, status) in [
        ("100-continue", 200),
        ("100-Continue", 200),
        ("y 100-continue", 417),
        ("100-continue, y", 417),
        ("y", 417),
        ("", 417),
    ] {
        let mut request = rig.chat(chat_body(false, ""));
        request.headers_mut().insert("expect", expected.parse().unwrap());
        let answer = rig.send(request).await;
        assert_eq!(answer.status(), status, "{expected}");
        if status == 417 {
            assert_eq!(answer.code(), "expectation_failed");
        }
    }
    assert_eq!(upstream.take().len(), 2);
}

#[test]
fn who_waits_on_http_2_to_be_asked_for_its_body_is_told_soon_that_nobody_asks() {
    let pair = Pair::start(&PairSetup::default());
    let (path, key) = (chat_path(), format!("Bearer {}", pair.key));
    let fields = h2::fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "g"),
        (":path", &path),
        ("authorization", &key),
        ("content-type", "application/json"),
        ("expect", "100-continue"),
    ]);
    let mut connection = Connection::open(pair.address);
    connection.send(HEADERS, END_HEADERS, 1, &fields).unwrap();
    connection.send(HEADERS, END_HEADERS, 3, &fields).unwrap();
    // Who sends it all the same is served.
    connection.send(DATA, END_STREAM, 3, chat_body(false, "").as_bytes()).unwrap();
    let mut said = Vec::new();
    while said.len() < 2 {
        let frame = connection.until(DATA).unwrap();
        said.push((frame.stream, String::from_utf8_lossy(&frame.payload).into_owned()));
    }
    said.sort();
    assert!(said[0].1.contains("expectation_failed") && said[1].1.contains("credits_used"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_as_get_without_a_body() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    for path in ["/api/v1/video-analyses", "/api/v1/video-analyses/a", "/gateway/v1/me", "/nothing"] {
        let get = rig.send(rig.request(Method::GET, path, "")).await;
        let mut io = rig.raw();
        let head = format!(
            "HEAD {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            rig.key
        );
        io.write_all(head.as_bytes()).await.unwrap();
        let mut said = String::new();
        io.read_to_string(&mut said).await.unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", get.status().as_u16())), "{path}: {said}");
        assert_eq!(body, "", "{path}");
        assert!(
            head.contains(&format!("content-length: {}", get.body.len())) || path.ends_with("me"),
            "{path}: {said}"
        );
    }
    let asked: Vec<_> = upstream.take().iter().map(|request| ours(request).unwrap().line).collect();
    assert!(asked.len() == 4 && asked.iter().all(|line| line.starts_with("GET ")), "{asked:?}");
    let chat = rig.send(rig.request(Method::HEAD, &chat_path(), "")).await;
    assert_eq!((chat.status().as_u16(), chat.header("allow")), (405, "POST"));
    rig.settle().await;
    assert!(rig.records().iter().all(|record| record["outcome"] != "client_gone"));
}

#[tokio::test(start_paused = true)]
async fn browsers_get_no_cors() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    let mut request = rig.request(Method::OPTIONS, &chat_path(), "");
    for (name, value) in [("origin", "https://x.example"), ("access-control-request-method", "POST")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = rig.send(request).await;
    assert_eq!((answer.status().as_u16(), answer.header("allow")), (405, "POST"));
    assert!(answer.head.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    assert!(upstream.take().is_empty());
}
