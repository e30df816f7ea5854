//! Callers that take their time: cut on their deadline, and nobody beside them waits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use mavera_gateway::key::NewKey;
use memchr::memmem;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::http::chat;
use crate::support::process::{PATIENCE, Pair, PairSetup, config, get, start_gateway, team};
use crate::support::rig::{chat_path, sample};
use crate::support::script::{STREAM_HEAD, chunk, completed};
use crate::support::{CANARY, chat_body, checker};

/// So many of each kind.
const SLOW: usize = 2000;

/// This process holds the other ends.
pub fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

fn open(address: SocketAddr, beginning: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(beginning).unwrap();
    tcp
}

/// Calls that are made meanwhile.
async fn served(address: SocketAddr, key: &str) {
    for number in 0..20 {
        let outcome = chat(address, key, chat_body(number % 2 == 0, "")).await.expect("an answer");
        assert_eq!(outcome.status, 200);
    }
}

async fn all_gone(admin: SocketAddr) {
    for gauge in ["connections", "requests_in_flight", "ledger_open_holds", "exchanges_draining"] {
        while sample(&get(admin, "/metrics").1, &format!("mavera_gateway_{gauge}")) > 0.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What the gateway said before it closed.
fn last_words(mut tcp: TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is as good an end as any.
    let _ = tcp.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_heads_are_cut_and_nobody_waits_for_them() {
    allow_descriptors();
    let setup = PairSetup { server: "head_timeout = \"5s\"", discards_output: true, ..PairSetup::default() };
    let pair = Pair::start(&setup);
    let slow: Vec<_> = (0..SLOW)
        .map(|number| open(pair.address, if number % 2 == 0 { b"POST /api" } else { b"" }))
        .collect();
    served(pair.address, &pair.key).await;
    all_gone(pair.admin).await;
    for tcp in slow {
        let said = last_words(tcp);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_bodies_are_told_and_cut_and_nobody_waits_for_them() {
    allow_descriptors();
    let setup = PairSetup { server: "body_timeout = \"5s\"", discards_output: true, ..PairSetup::default() };
    let pair = Pair::start(&setup);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{{\"mess",
        chat_path(),
        pair.key
    );
    let slow: Vec<_> = (0..SLOW).map(|_| open(pair.address, head.as_bytes())).collect();
    served(pair.address, &pair.key).await;
    for tcp in slow {
        let said = last_words(tcp);
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("request_timeout"), "{said}");
    }
    all_gone(pair.admin).await;
    assert_eq!(pair.books()["received"].as_array().unwrap().len(), 20, "none of them reached the upstream");
}

/// A caller that will not read. What the kernel holds for it is kept small, by its own window and by small segments,
/// from which the other side sizes its buffer: otherwise each would take megabytes before anybody notices.
fn open_unread(address: SocketAddr, request: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut tcp = TcpStream::from(socket);
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(request).unwrap();
    tcp
}

/// Asks for the long stream of [`upstream`].
const LONG: &str = "the long one";
/// Its events, and the bytes of each: more than the sockets and the gateway together hold for a caller that takes
/// nothing.
const LONG_EVENTS: usize = 5;
const LONG_EVENT: usize = 64 << 10;

/// An upstream whose answers lie ready: to make two thousand long ones would take the simulator minutes in a build
/// for tests, and what is looked at here is the gateway.
async fn upstream(listener: TcpListener) {
    let answer = |events: &[u8]| {
        Bytes::from([STREAM_HEAD.as_bytes(), events, &chunk(completed(1)), b"0\r\n\r\n"].concat())
    };
    let event = format!("data: {{\"x\":\"{}\"}}\n\n", "x".repeat(LONG_EVENT));
    let (long, short) = (answer(&chunk(event).repeat(LONG_EVENTS)), answer(b""));
    while let Ok((mut tcp, _)) = listener.accept().await {
        SockRef::from(&tcp).set_send_buffer_size(16 << 10).unwrap();
        let (long, short) = (long.clone(), short.clone());
        tokio::spawn(async move {
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = tcp.read(&mut piece).await {
                request.extend_from_slice(&piece[..length]);
                // The last bytes of every body that is sent here.
                if request.ends_with(b"}") {
                    let is_long = memmem::find(&request, LONG.as_bytes()).is_some();
                    let _ = tcp.write_all(if is_long { &long } else { &short }).await;
                    request.clear();
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_that_never_read_are_cut_and_nobody_waits_for_them() {
    allow_descriptors();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("base_url = \"http://{}/api/v1\"", listener.local_addr().unwrap());
    tokio::spawn(upstream(listener));
    let (folder, key) = (tempfile::tempdir().unwrap(), NewKey::generate().unwrap());
    std::fs::write(folder.path().join("key"), CANARY).unwrap();
    let setup = PairSetup { server: "write_timeout = \"5s\"", ..PairSetup::default() };
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, config(folder.path(), &setup, &base_url, &team("growth", &key))).unwrap();
    let (_gateway, address, admin) = start_gateway(&path);
    let body = chat_body(true, LONG);
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        chat_path(),
        *key.text,
        body.len()
    );
    let slow: Vec<_> = (0..SLOW).map(|_| open_unread(address, request.as_bytes())).collect();
    served(address, &key.text).await;
    all_gone(admin).await;
    for tcp in slow {
        let said = last_words(tcp);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 200 "), "{said}");
        assert!(said.len() < LONG_EVENTS * LONG_EVENT, "a stream that was not read is not whole");
    }
    let metrics = get(admin, "/metrics").1;
    let sum = |of: &str| sample(&metrics, &format!("mavera_gateway_{of}"));
    assert_eq!(sum("streams_total{outcome=\"client_gone\",team=\"growth\"}"), SLOW as f64);
    assert_eq!(sum("streams_total{outcome=\"completed\",team=\"growth\"}"), 20.0);
    checker::check(&folder.path().join("ledger.db"), &checker::Budgets::default());
}
