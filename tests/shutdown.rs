//! SIGTERM: not ready, no new calls, streams to their end within the grace, and a word on what was cut.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup, Process, binary, get};
use crate::support::rig::sample;

/// Puts a pipe that nobody feeds where a file is.
fn pipe_at(path: &Path) {
    let pipe = path.with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(pipe, path).unwrap();
}

#[test]
fn a_start_that_waits_for_a_file_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (key, config) = (folder.path().join("key"), folder.path().join("gateway.toml"));
    pipe_at(&key);
    std::fs::write(&config, format!("[upstream]\napi_key = {{ file = '{}' }}\n", key.display())).unwrap();
    let mut gateway = Process::start(binary().arg("serve").arg("--config").arg(&config));
    // As the first process of a container, which no signal ends that it does not catch.
    let status = format!("/proc/{}/status", gateway.id());
    let catches_term = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
    };
    while !catches_term() {
        std::thread::sleep(Duration::from_millis(5));
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_that_does_not_come_keeps_nobody_waiting() {
    let mut pair = Pair::start(&PairSetup::default());
    pipe_at(&pair.folder.path().join("key"));
    pair.gateway.wait_for(|line| line.contains("takes long: is one of them a pipe").then_some(()));
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(get(pair.admin, path).0, 200, "{path}");
    }
    assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
    pair.stop();
}

fn in_flight(pair: &Pair) -> f64 {
    sample(&get(pair.admin, "/metrics").1, "mavera_gateway_requests_in_flight")
}

async fn streams_open(pair: &Pair, count: usize) {
    while in_flight(pair) < count as f64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each worker closes its listener when its backlog is empty, so a connection may still slip in right after
/// the signal: it is served, as one that came before. Soon none does.
async fn no_more_connections(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_open_streams_all_end_within_the_grace() {
    let mut pair = Pair::start(&PairSetup { server: "drain_timeout = \"10m\"", ..PairSetup::default() });
    // Long enough that all are open before the first has ended, on a slow machine too.
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (address, key) = (pair.address, pair.key.clone());
            tokio::spawn(async move { chat(address, &key, chat_body(true, "pace=500ms; events=40")).await })
        })
        .collect();
    streams_open(&pair, 500).await;
    pair.gateway.signal("TERM");
    pair.gateway.wait_for_message("draining");
    assert_eq!(get(pair.admin, "/readyz"), (503, "draining\n".into()));
    assert_eq!(get(pair.admin, "/livez").0, 200);
    no_more_connections(pair.address).await;
    assert!(in_flight(&pair) > 0.0, "refused while streams go on, not because the process has gone");
    for call in calls {
        let outcome = call.await.unwrap().expect("a stream that was open");
        assert!(outcome.status == 200 && outcome.body.ends_with(b"data: [DONE]\n\n"));
    }
    assert_eq!(pair.gateway.wait(), Some(0));
    let output = pair.gateway.output();
    let completed = output.lines().filter(|line| line.contains("\"outcome\":\"completed\"")).count();
    assert_eq!(completed, 500);
    assert!(output.contains("drained: every call has ended"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlasts_the_grace_is_cut_and_named() {
    let mut pair = Pair::start(&PairSetup { server: "drain_timeout = \"500ms\"", ..PairSetup::default() });
    let (address, key) = (pair.address, pair.key.clone());
    let call = tokio::spawn(async move { chat(address, &key, chat_body(true, "pace=60s")).await });
    streams_open(&pair, 1).await;
    pair.gateway.signal("TERM");
    assert!(call.await.unwrap().is_err(), "the stream broke for its caller");
    assert_eq!(pair.gateway.wait(), Some(0));
    let output = pair.gateway.output();
    assert!(output.contains("\"outcome\":\"cut\"") && output.contains("\"calls\":1"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_stops_at_once() {
    let mut pair = Pair::start(&PairSetup { server: "drain_timeout = \"1h\"", ..PairSetup::default() });
    let (address, key) = (pair.address, pair.key.clone());
    let call = tokio::spawn(async move { chat(address, &key, chat_body(true, "pace=10m")).await });
    streams_open(&pair, 1).await;
    pair.gateway.signal("INT");
    pair.gateway.wait_for_message("draining");
    pair.gateway.signal("TERM");
    assert_eq!(pair.gateway.wait(), Some(0));
    assert!(call.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_a_shutdown() {
    let mut pair = Pair::start(&PairSetup { server: "drain_timeout = \"1h\"", ..PairSetup::default() });
    let idle = TcpStream::connect(pair.address).await.unwrap();
    chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    pair.gateway.signal("TERM");
    assert_eq!(pair.gateway.wait(), Some(0));
    drop(idle);
}

/// Connections in the backlog of whoever listens on this port.
fn backlog(address: SocketAddr) -> u64 {
    let port = format!(":{:04X} 00000000:0000 0A ", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .filter_map(|line| line.split_once(&port)?.1.split_once(':')?.1.split(' ').next())
        .map(|queue| u64::from_str_radix(queue, 16).unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_room_when_the_shutdown_begins_is_served() {
    let server = "max_connections = 1\nworkers = 1\ndrain_timeout = \"1m\"";
    let mut pair = Pair::start(&PairSetup { server, ..PairSetup::default() });
    let (address, key) = (pair.address, pair.key.clone());
    let long = {
        let key = key.clone();
        tokio::spawn(async move { chat(address, &key, chat_body(true, "pace=200ms; events=20")).await })
    };
    streams_open(&pair, 1).await;
    let waiting = tokio::spawn(async move { chat(address, &key, chat_body(false, "")).await });
    // It is accepted, and waits for the other to end.
    while backlog(address) > 0
        || std::fs::read_to_string("/proc/net/tcp")
            .unwrap()
            .matches(&format!(":{:04X} ", address.port()))
            .count()
            < 5
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pair.gateway.signal("TERM");
    let outcome = waiting.await.unwrap().expect("it was accepted, and is served");
    assert_eq!(outcome.status, 200);
    assert!(!long.is_finished(), "before the one whose place it waited for");
    assert_eq!(long.await.unwrap().unwrap().status, 200);
    assert_eq!(pair.gateway.wait(), Some(0));
}
