//! Connections that say too little: cut on their deadlines, on HTTP/1.1 and on HTTP/2.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::recorder::answers;
use crate::support::rig::{Rig, Setup, chat_path};

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_a_byte_at_a_time_is_cut_on_its_deadline() {
    let (rig, received) = Rig::recording(&Setup::default(), usize::MAX);
    let (mut read, mut write) = tokio::io::split(rig.raw());
    let began = tokio::time::Instant::now();
    let head = format!("POST {} HTTP/1.1\r\nhost: gw\r\nx-a: {}", chat_path(), "a".repeat(200));
    let writer = tokio::spawn(async move {
        for byte in head.bytes() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        began.elapsed().as_secs()
    });
    let mut said = Vec::new();
    read.read_to_end(&mut said).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 32, "30 s from the bytes that tell its protocol");
    let said = answers(&said).unwrap();
    assert_eq!((said[0].status, said[0].says_close(), said.len()), (408, true, 1));
    assert_eq!(said[0].field("x-gateway-error"), Some("request_timeout"));
    let took = writer.await.unwrap();
    assert!(took <= 63, "it is read on for 30 s at the most, and no longer: {took} s");
    assert!(received.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let (rig, _) = Rig::recording(&Setup::default(), usize::MAX);
    let mut io = rig.raw();
    let began = tokio::time::Instant::now();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer.len(), began.elapsed().as_secs()), (0, 30));
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_without_streams_is_closed_and_one_with_a_stream_is_not() {
    let (rig, _) = Rig::recording(&Setup::default(), usize::MAX);
    // A preface and settings, then only answers to pings: no stream is ever opened.
    let io = hyper_util::rt::TokioIo::new(rig.raw());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Full<bytes::Bytes>>(executor, io)
            .await
            .unwrap();
    let began = tokio::time::Instant::now();
    connection.await.unwrap();
    assert!((120..=151).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    drop(sender);
    rig.gateway.shutdown.tasks.close();
    rig.gateway.shutdown.tasks.wait().await;
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
