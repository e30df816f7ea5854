//! A caller that leaves changes nothing in the books: whatever it leaves behind is read on to its
//! cost, or cut by rule, and recorded once.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::chat_body;
use crate::support::recorder::answers;
use crate::support::rig::{Rig, Setup, chat_path};
use crate::support::script::{STREAM_HEAD, chunk, completed, read_request, write};

fn outcome(record: &Value) -> (&str, &Value, &Value) {
    (record["outcome"].as_str().unwrap(), &record["status"], &record["credits"])
}

#[tokio::test(start_paused = true)]
async fn leaving_during_its_own_body_sends_nothing() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let mut io = rig.raw();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\n{{\"mess",
        chat_path(),
        rig.key
    );
    io.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(io);
    let record = rig.record().await;
    assert_eq!((&record["team"], &record["route"]), (&"growth".into(), &"video_chat".into()));
    assert!(record["credits"].is_null() && record["upstream_seconds"].is_null());
    assert_eq!(simulator.books(|books| books.received.len()), 0);
    assert_eq!(rig.connections_made(), 0);
}

#[tokio::test(start_paused = true)]
async fn leaving_before_the_head_is_read_on_to_the_cost() {
    for stream in [false, true] {
        let (rig, simulator) = Rig::with_simulator(&Setup::default());
        let mut sender = rig.connect().await;
        let call = sender.send_request(rig.chat(chat_body(stream, "delay=10s; pace=100ms")));
        assert!(tokio::time::timeout(Duration::from_secs(3), call).await.is_err(), "it has not answered yet");
        drop(sender);
        let record = rig.record().await;
        let charged = simulator.books(mavera_sim::books::Books::total_charged);
        assert_eq!(outcome(&record), ("client_gone", &200.into(), &charged.into()));
        assert!(record["response_id"].as_str().unwrap().starts_with("resp_"));
        assert!(
            !simulator.books(|books| books.received[0].hung_up),
            "the upstream saw its answer read to the end"
        );
        assert_eq!(rig.pool.idle_count(), 1, "the connection is good for the next call");
    }
}

/// A caller that leaves after the first frame of its answer, and the record of its call.
async fn leave_mid_stream(rig: &Rig) -> Value {
    let mut sender = rig.connect().await;
    let response = sender.send_request(rig.chat(chat_body(true, "pace=1s"))).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    drop((body, sender));
    rig.record().await
}

#[tokio::test(start_paused = true)]
async fn leaving_mid_stream_is_read_on_to_the_cost() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let record = leave_mid_stream(&rig).await;
    let charged = simulator.books(mavera_sim::books::Books::total_charged);
    assert_eq!(outcome(&record), ("client_gone", &200.into(), &charged.into()));
    assert_eq!(record["finish"], "completed");
    let streams = "mavera_gateway_streams_total{outcome=\"client_gone\",team=\"growth\"} 1";
    assert!(rig.metrics().contains(streams));
}

#[tokio::test(start_paused = true)]
async fn leaving_while_a_connection_is_being_made_sends_nothing() {
    let (rig, received) = Rig::recording(&Setup::default(), 0);
    let mut sender = rig.connect().await;
    let call = sender.send_request(rig.chat(chat_body(false, "")));
    // Never polled to its end: the caller goes away at once.
    assert!(tokio::time::timeout(Duration::ZERO, call).await.is_err());
    drop(sender);
    rig.settle().await;
    let sent = received.requests().len();
    assert_eq!(
        rig.gateway.books.desk.window_used() as usize,
        sent,
        "a place in the window is taken only by what was sent"
    );
}

#[tokio::test(start_paused = true)]
async fn cancelling_closes_the_upstream_connection_and_keeps_what_was_read() {
    let setup = Setup {
        upstream: "requests_per_minute = 100000000\non_disconnect = \"cancel\"".into(),
        ..Setup::default()
    };
    let (rig, simulator) = Rig::with_simulator(&setup);
    let record = leave_mid_stream(&rig).await;
    assert_eq!(outcome(&record), ("client_gone", &200.into(), &Value::Null));
    assert!(record["response_id"].as_str().unwrap().starts_with("resp_"), "read before it left");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(simulator.books(|books| books.received[0].hung_up));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_without_a_caller_keeps_its_deadlines() {
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        read_request(&mut io).await;
        write(&mut io, STREAM_HEAD).await;
        for _ in 0..2 {
            write(&mut io, chunk("data: {}\n\n")).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // In this silence nobody would see that the caller has left.
        std::future::pending::<()>().await;
    });
    let mut sender = rig.connect().await;
    let mut body = sender.send_request(rig.chat(chat_body(true, ""))).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop((body, sender));
    let record = rig.record().await;
    assert_eq!(record["outcome"], "client_gone");
    let took = record["total_seconds"].as_f64().unwrap();
    assert!((120.0..122.0).contains(&took), "cut by the idle timeout, after {took} s");
}

#[tokio::test(start_paused = true)]
async fn an_endless_answer_without_a_caller_is_cut_at_its_bound() {
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        read_request(&mut io).await;
        write(&mut io, STREAM_HEAD).await;
        let event = chunk(format!(": {}\n\n", "x".repeat(64 << 10)));
        while io.write_all(&event).await.is_ok() {}
    });
    let mut sender = rig.connect().await;
    let mut body = sender.send_request(rig.chat(chat_body(true, ""))).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop((body, sender));
    let bytes = rig.record().await["response_bytes"].as_u64().unwrap();
    assert!(bytes < 18 << 20, "{bytes} bytes were read for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_has_left_still_counts_against_its_concurrency() {
    let setup = Setup { team: "concurrency = 1\nburst = 100".into(), ..Setup::default() };
    let (rig, _) = Rig::with_simulator(&setup);
    let mut sender = rig.connect().await;
    let mut body = sender.send_request(rig.chat(chat_body(true, "pace=1s"))).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop((body, sender));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let refused = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!(refused.code(), "concurrency_limit_exceeded");
    rig.settle().await;
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_http2_stream_that_is_reset_leaves_the_others_alone() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let io = hyper_util::rt::TokioIo::new(rig.raw());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = || {
        let mut request = rig.chat(chat_body(true, "pace=100ms"));
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("http://gateway{}", request.uri().path()).parse().unwrap();
        request
    };
    let mut first = sender.clone().send_request(request()).await.unwrap().into_body();
    let second = sender.clone().send_request(request()).await.unwrap().into_body();
    first.frame().await.unwrap().unwrap();
    drop(first);
    assert!(second.collect().await.unwrap().to_bytes().ends_with(b"data: [DONE]\n\n"));
    rig.settle().await;
    let records = rig.records();
    let mut outcomes: Vec<_> = records.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["client_gone", "completed"]);
    let credits: u64 = records.iter().map(|record| record["credits"].as_u64().unwrap()).sum();
    assert_eq!(credits, simulator.books(mavera_sim::books::Books::total_charged));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_half_closes_waits_for_its_answer() {
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        read_request(&mut io).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        write(&mut io, STREAM_HEAD).await;
        write(&mut io, chunk(completed(4))).await;
        write(&mut io, "0\r\n\r\n").await;
    });
    let body = chat_body(true, "");
    let mut io = rig.raw();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        chat_path(),
        rig.key,
        body.len()
    );
    io.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    io.shutdown().await.unwrap();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    let said = answers(&answer).unwrap();
    let last = said.last().expect("an answer");
    assert!(last.status == 200 && last.whole, "{said:?}");
    assert_eq!(outcome(&rig.record().await), ("completed", &200.into(), &4.into()));
}
