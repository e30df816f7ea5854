//! A restart that nobody notices: sockets that outlive the process, connections that are told to close, and a word to
//! the service manager.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::chat_body;
use crate::support::http::{chat, chat_request};
use crate::support::process::{PATIENCE, Pair, PairSetup, Process, binary, get};
use crate::support::rig::{Answer, Rig, Setup, sample};

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_open_when_the_drain_begins_has_one_more_request_answered() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let mut used = rig.connect().await;
    assert!(Answer::read(used.send_request(rig.chat(chat_body(false, ""))).await.unwrap()).await.whole);
    let mut fresh = rig.connect().await;
    rig.gateway.shutdown.draining.cancel();
    for sender in [&mut used, &mut fresh] {
        let answer = Answer::read(sender.send_request(rig.chat(chat_body(false, ""))).await.unwrap()).await;
        assert_eq!((answer.status(), answer.whole), (StatusCode::OK, true));
        assert_eq!(answer.header("connection"), "close");
        assert!(sender.ready().await.is_err(), "and then it closes");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_without_a_request_are_closed_soon_after_the_drain_began() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let (mut silent, mut idle) = (rig.raw(), rig.connect().await);
    Answer::read(idle.send_request(rig.chat(chat_body(false, ""))).await.unwrap()).await;
    rig.gateway.shutdown.draining.cancel();
    rig.gateway.shutdown.closing.cancel();
    while !idle.is_closed() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "a connection that never said anything");
    // One that has begun to speak may finish.
    let mut speaking = rig.raw();
    let request = format!("GET /gateway/v1/me HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\n", rig.key);
    speaking.write_all(request.as_bytes()).await.unwrap();
    speaking.write_all(b"\r\n").await.unwrap();
    let mut answer = String::new();
    speaking.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("draining"), "by then it is refused, in words: {answer}");
}

/// Starts the gateway as systemd would: with a listening socket as descriptor 3.
fn activated(socket: &TcpListener, config: &std::path::Path) -> (Process, SocketAddr) {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=callers LISTEN_PID=$$ exec \"$@\"",
            "sh",
        ])
        .arg(binary().get_program())
        .args(["serve", "--config"])
        .arg(config);
    let gateway = Process::start_with(&mut command, Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    let serving = gateway.wait_for_message("serving");
    assert_eq!(serving["listen"], socket.local_addr().unwrap().to_string());
    (gateway, serving["admin"].as_str().unwrap().parse().unwrap())
}

/// What callers saw, over all restarts.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    streamed: AtomicUsize,
    stop: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_restarts_under_load_refuse_no_connection_and_cut_no_stream() {
    let mut pair = Pair::start(&PairSetup { server: "drain_timeout = \"10m\"", ..PairSetup::default() });
    pair.stop();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let (mut gateway, mut admin) = activated(&socket, &pair.config_path());
    let callers: Vec<_> = (0..16)
        .map(|number| {
            let (seen, key) = (Arc::clone(&seen), pair.key.clone());
            if number % 2 == 0 {
                tokio::spawn(async move { stream_again_and_again(address, &key, &seen).await })
            } else {
                tokio::spawn(async move { ask_on_kept_connections(address, &key, &seen).await })
            }
        })
        .collect();
    for _ in 0..3 {
        let before = seen.streamed.load(Ordering::Relaxed);
        while seen.streamed.load(Ordering::Relaxed) < before + 16 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0));
        assert!(gateway.output().contains("drained: every call has ended"));
        (gateway, admin) = activated(&socket, &pair.config_path());
    }
    seen.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(seen.answered.load(Ordering::Relaxed) > 100);
    // The last endings are being written.
    while sample(&get(admin, "/metrics").1, "mavera_gateway_ledger_open_holds") > 0.0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    // What the upstream has charged is what is booked, over all four processes.
    let report = binary()
        .args(["credits", "report", "--format", "json", "--config"])
        .arg(pair.config_path())
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let charged: f64 =
        pair.books()["charged"].as_object().unwrap().values().filter_map(serde_json::Value::as_f64).sum();
    assert_eq!(report["total"]["credits"].as_f64(), Some(charged), "{report}");
}

async fn stream_again_and_again(address: SocketAddr, key: &str, seen: &Seen) {
    while !seen.stop.load(Ordering::Relaxed) {
        let outcome = chat(address, key, chat_body(true, "pace=20ms; events=10")).await.expect("a stream");
        assert_eq!(outcome.status, 200);
        assert!(outcome.body.ends_with(b"data: [DONE]\n\n"), "a stream was cut");
        seen.streamed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Like a client that keeps its connection for as long as the server does.
async fn ask_on_kept_connections(address: SocketAddr, key: &str, seen: &Seen) {
    while !seen.stop.load(Ordering::Relaxed) {
        let tcp = tokio::net::TcpStream::connect(address).await.expect("no connection is refused");
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
        let connection = tokio::spawn(connection);
        loop {
            let request = chat_request(address, key, chat_body(false, ""));
            let response = sender.send_request(request).await.expect("an answer on an open connection");
            let (status, closes) = (response.status(), response.headers().contains_key("connection"));
            response.into_body().collect().await.expect("a whole answer");
            assert_eq!(status, StatusCode::OK);
            seen.answered.fetch_add(1, Ordering::Relaxed);
            if closes || seen.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        connection.abort();
    }
}

#[test]
fn the_service_manager_is_told_when_the_gateway_is_ready_reloads_and_stops() {
    let mut pair = Pair::start(&PairSetup::default());
    pair.stop();
    let path = pair.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut said = [0; 1024];
        let length = manager.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    let config = pair.folder.path().join("gateway.toml");
    let mut command = binary();
    command.env("NOTIFY_SOCKET", &path).args(["serve", "--config"]).arg(&config);
    let mut gateway = Process::start(&mut command);
    assert_eq!(hear().trim_end(), "READY=1\nSTATUS=serving 1 team");
    gateway.signal("HUP");
    let said = hear();
    assert!(said.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{said}");
    assert_eq!(hear().trim_end(), "READY=1\nSTATUS=serving 1 team");
    std::fs::write(&config, "[server]\nlisten = 5\n").unwrap();
    gateway.signal("HUP");
    hear();
    let said = hear();
    assert!(said.contains("the last reload was refused"), "{said}");
    gateway.signal("TERM");
    assert!(hear().starts_with("STOPPING=1\nSTATUS=draining"));
    assert_eq!(gateway.wait(), Some(0));
}
