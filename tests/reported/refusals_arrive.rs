//! A refusal arrives however much of its body is still on its way: in clear, with TLS, on HTTP/1.1 and on HTTP/2; and
//! waiting for that body is no way to hold a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::authority::Authority;
use crate::support::h2::{self, Connection, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM};
use crate::support::process::{PATIENCE, Pair, PairSetup};
use crate::support::recorder::answers;
use crate::support::rig::{Rig, Setup, chat_path, sample};

const SIZES: [usize; 3] = [60_000, 900_000, 20_000_000];

fn head(fields: &str) -> String {
    format!(
        "POST {} HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-type: application/json\r\n{fields}\r\n",
        chat_path()
    )
}

/// Writes a whole request before it reads a byte, as most clients do.
fn write_then_read(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(head.as_bytes()).unwrap();
    tcp.write_all(body).expect("all of it is taken");
    let mut said = Vec::new();
    tcp.read_to_end(&mut said).expect("no reset");
    String::from_utf8_lossy(&said).into_owned()
}

fn chunks(length: usize) -> Vec<u8> {
    let chunk = [format!("{:x}\r\n", 1 << 15).as_bytes(), &vec![b'x'; 1 << 15], b"\r\n"].concat();
    [chunk.repeat(length >> 15), b"0\r\n\r\n".to_vec()].concat()
}

#[test]
fn a_refusal_arrives_behind_a_body_of_any_size() {
    let server = "max_head = \"8KiB\"";
    let pair = Pair::start(&PairSetup { server, ..PairSetup::default() });
    for length in SIZES {
        let body = vec![b'x'; length];
        let of_length = format!("content-length: {length}\r\n");
        let key = format!("authorization: Bearer {}\r\n", pair.key);
        for (what, fields, body, status) in [
            ("no key", of_length.clone(), body.clone(), 401),
            ("a bad key", format!("authorization: Bearer mvgw_no\r\n{of_length}"), body.clone(), 401),
            ("in chunks", "transfer-encoding: chunked\r\n".into(), chunks(length), 401),
            (
                "an upgrade that nobody makes",
                format!(
                    "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n{of_length}"
                ),
                body.clone(),
                401,
            ),
            ("an encoding", format!("{key}content-encoding: gzip\r\n{of_length}"), body.clone(), 415),
            ("too large in chunks", format!("{key}transfer-encoding: chunked\r\n"), chunks(length), 413),
            ("a head that is none", format!("a b: c\r\n{of_length}"), body.clone(), 400),
            ("a head too large", format!("a: {}\r\n{of_length}", "x".repeat(9000)), body.clone(), 431),
        ] {
            if status == 413 && length < 2 << 20 {
                continue;
            }
            let said = write_then_read(pair.address, &head(&fields), &body);
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{what}, {length} bytes: {said:?}");
        }
        // Half-closed, and to the operators' listener.
        let said = write_then_read(pair.admin, &head(&of_length), &body);
        assert!(said.starts_with("HTTP/1.1 405 "), "{length} bytes: {said:?}");
    }
}

#[test]
fn curl_gets_the_refusal_on_http_1_1_and_on_http_2_in_clear_and_with_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.install(folder.path());
    let file = |name: &str| folder.path().join(name);
    let tls = format!("tls = {{ cert = {:?}, key = {:?} }}", file("cert.pem"), file("key.pem"));
    let clear = Pair::start(&PairSetup::default());
    let secured = Pair::start(&PairSetup { server: &tls, ..PairSetup::default() });
    for length in SIZES {
        std::fs::write(file("body"), vec![b'x'; length]).unwrap();
        let data = format!("@{}", file("body").display());
        for (pair, scheme, versions) in [
            (&clear, "http", ["--http1.1", "--http2-prior-knowledge"]),
            (&secured, "https", ["--http1.1", "--http2"]),
        ] {
            let url = format!("{scheme}://127.0.0.1:{}{}", pair.address.port(), chat_path());
            for version in versions {
                let output = Command::new("curl")
                    .args(["-sS", version, "-w", "\n%{http_code}", "-H", "expect:", "--data-binary", &data])
                    .args(["-H", "authorization: Bearer mvgw_no", "--cacert"])
                    .arg(file("ca.pem"))
                    .arg(&url)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(
                    output.status.success() && said.ends_with("\n401") && said.contains("invalid_api_key"),
                    "{scheme} {version} {length}: {said} {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
}

/// The upload goes on behind the answer as if nothing had happened, and the connection serves the next stream.
#[test]
fn a_refused_stream_is_not_reset_while_its_body_comes() {
    let pair = Pair::start(&PairSetup::default());
    let mut connection = Connection::open(pair.address);
    let path = chat_path();
    let fields = h2::fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "g"),
        (":path", &path),
        ("authorization", "Bearer mvgw_no"),
    ]);
    connection.send(HEADERS, END_HEADERS, 1, &fields).unwrap();
    // What the connection and its stream take before they open their windows again (RFC 9113 §6.9.2).
    let mut windows = [65_535; 2];
    let mut answered = false;
    let mut next = |connection: &mut Connection, windows: &mut [usize; 2]| {
        let frame = connection.next().expect("the connection goes on");
        match frame.kind {
            h2::WINDOW_UPDATE => windows[usize::from(frame.stream == 1)] += frame.increment(),
            HEADERS => answered = true,
            _ => assert_ne!(frame.kind, RST_STREAM, "{frame:?}"),
        }
        answered
    };
    while !next(&mut connection, &mut windows) {}
    // Several times as much: they are opened again as the body is dropped.
    let piece = vec![b'x'; 16 << 10];
    for _ in 0..16 {
        while windows.iter().any(|window| *window < piece.len()) {
            next(&mut connection, &mut windows);
        }
        connection.send(DATA, 0, 1, &piece).unwrap();
        windows = windows.map(|window| window - piece.len());
    }
    connection.send(DATA, END_STREAM, 1, b"x").unwrap();
    connection.send(HEADERS, END_HEADERS | END_STREAM, 3, &fields).unwrap();
    loop {
        let frame = connection.next().expect("the connection goes on");
        assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
        if frame.kind == HEADERS && frame.stream == 3 {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_arrives_when_the_body_is_late_also_while_the_gateway_ends() {
    let setup = Setup { server: "body_timeout = \"10s\"".into(), ..Setup::default() };
    for ends in [false, true] {
        let (rig, _) = Rig::with_simulator(&setup);
        let fields = format!("authorization: Bearer {}\r\ncontent-length: 900000\r\n", rig.key);
        let mut io = rig.raw();
        io.write_all(head(&fields).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        if ends {
            rig.gateway.shutdown.draining.cancel();
            rig.gateway.shutdown.closing.cancel();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What comes now is late, and is taken all the same.
        let late = vec![b'x'; 64 << 10];
        for _ in 0..10 {
            io.write_all(&late).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        io.shutdown().await.unwrap();
        let mut said = Vec::new();
        io.read_to_end(&mut said).await.unwrap();
        assert_eq!(answers(&said).unwrap()[0].status, 408);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_wants_is_bounded_in_silence_and_in_time() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    for (every, at_most) in [(Duration::MAX, 5), (Duration::from_secs(1), 31)] {
        let (mut read, mut write) = tokio::io::split(rig.raw());
        write.write_all(head("content-length: 900000\r\n").as_bytes()).await.unwrap();
        let began = tokio::time::Instant::now();
        let dripping = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every.min(Duration::from_secs(100))).await;
                if write.write_all(b"x").await.is_err() {
                    return began.elapsed().as_secs();
                }
            }
        });
        let mut said = Vec::new();
        read.read_to_end(&mut said).await.unwrap();
        assert_eq!(answers(&said).unwrap()[0].status, 401);
        assert!(began.elapsed() < Duration::from_secs(1), "the answer does not wait for that");
        if every < Duration::MAX {
            assert!(dripping.await.unwrap() <= at_most);
        }
        rig.gateway.shutdown.tasks.close();
        rig.gateway.shutdown.tasks.wait().await;
        rig.gateway.shutdown.tasks.reopen();
        assert!(began.elapsed().as_secs() <= 100 + at_most);
    }
}

#[test]
fn callers_that_are_being_refused_hold_a_quarter_of_the_connections_at_most() {
    let server = "max_connections = 40";
    let pair = Pair::start(&PairSetup { server, ..PairSetup::default() });
    let open =
        || sample(&crate::support::process::get(pair.admin, "/metrics").1, "mavera_gateway_connections");
    let held: Vec<_> = (0..40)
        .map(|_| {
            let mut tcp = TcpStream::connect(pair.address).unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            tcp.write_all(head("content-length: 900000\r\n").as_bytes()).unwrap();
            let mut said = Vec::new();
            // Its end, which is a reset for those there is no room for.
            let _ = tcp.read_to_end(&mut said);
            tcp
        })
        .collect();
    let began = Instant::now();
    // Long before the silence of those that are waited for is over.
    while open() > 10.0 {
        assert!(began.elapsed() < Duration::from_secs(4), "{} are open", open());
    }
    while open() > 0.0 {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(held);
}
