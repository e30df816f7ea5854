//! A gateway that is killed: what a key's call has come to is known after the restart, from the ledger alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use mavera_gateway::key::NewKey;
use serde_json::Value;

use crate::support::process::{PairSetup, Process, config, start_gateway, team};
use crate::support::rig::chat_path;
use crate::support::script::{STREAM_HEAD, chunk, completed};
use crate::support::{CANARY, chat_body, checker};

/// A gateway in a process of its own, in front of whatever listens there.
struct Place {
    folder: tempfile::TempDir,
    key: NewKey,
}

impl Place {
    fn new(upstream: SocketAddr, retries: &str) -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), NewKey::generate().unwrap());
        std::fs::write(folder.path().join("key"), CANARY).unwrap();
        let base_url = format!("base_url = \"http://{upstream}/api/v1\"");
        let teams = format!("[retries]\n{retries}\n\n{}", team("growth", &key));
        let text = config(folder.path(), &PairSetup::default(), &base_url, &teams);
        std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
        Self { folder, key }
    }

    fn start(&self) -> (Process, SocketAddr) {
        let (gateway, address, _) = start_gateway(&self.folder.path().join("gateway.toml"));
        (gateway, address)
    }

    /// A chat with a key, written out; the answer is for the caller to read.
    fn ask(&self, gateway: SocketAddr, key: &str) -> TcpStream {
        let mut tcp = TcpStream::connect(gateway).unwrap();
        let body = chat_body(true, "");
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             idempotency-key: {key}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            chat_path(),
            *self.key.text,
            body.len()
        );
        tcp.write_all(head.as_bytes()).unwrap();
        tcp
    }

    /// The same, with its answer.
    fn answer(&self, gateway: SocketAddr, key: &str) -> String {
        let mut said = String::new();
        self.ask(gateway, key).read_to_string(&mut said).unwrap();
        said
    }

    fn check(&self) {
        checker::check(&self.folder.path().join("ledger.db"), &checker::Budgets::default());
    }
}

/// An upstream that writes so much of its answer to each request, tells, and keeps the connection.
fn upstream(answer: Vec<u8>) -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (tell, told)) = (listener.local_addr().unwrap(), mpsc::channel());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut piece = [0; 4096];
                match tcp.read(&mut piece) {
                    Ok(length @ 1..) => request.extend_from_slice(&piece[..length]),
                    _ => break,
                }
            }
            if !request.is_empty() {
                tcp.write_all(&answer).unwrap();
                // The test may be over.
                let _ = tell.send(());
            }
            open.push(tcp);
        }
    });
    (address, told)
}

/// An upstream that takes no connection: its backlog is full.
fn full() -> (socket2::Socket, SocketAddr, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let patience = Duration::from_millis(300);
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok()).collect();
    (socket, address, waiting)
}

fn code(answer: &str) -> Option<String> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let value: Value = serde_json::from_str(body).ok()?;
    value["error"]["code"].as_str().map(str::to_owned)
}

#[test]
fn a_kill_between_hold_and_send_leaves_the_outcome_unknown() {
    let (_socket, address, _waiting) = full();
    let place = Place::new(address, "");
    let (mut gateway, callers) = place.start();
    let asked = place.ask(callers, "k");
    // The hold is there before a connection is asked for.
    let ledger = place.folder.path().join("ledger.db");
    while !checker::holds(&ledger) {
        std::thread::sleep(Duration::from_millis(20));
    }
    gateway.signal("KILL");
    gateway.wait();
    drop(asked);
    let (_gateway, callers) = place.start();
    assert_eq!(code(&place.answer(callers, "k")).as_deref(), Some("idempotency_outcome_unknown"));
    place.check();
}

#[test]
fn a_kill_after_sending_leaves_what_was_known_by_then() {
    let part = [STREAM_HEAD.as_bytes(), &chunk("data: {}\n\n")].concat();
    let whole = [part.clone(), chunk(completed(3)), b"0\r\n\r\n".to_vec()].concat();
    for (what, answer, expected) in [
        ("before the head", Vec::new(), "idempotency_outcome_unknown"),
        ("behind the head", part, "idempotency_outcome_unknown"),
        ("behind the end", whole, "idempotency_answer_gone"),
    ] {
        let (address, told) = upstream(answer.clone());
        let place = Place::new(address, "");
        let (mut gateway, callers) = place.start();
        let mut asked = place.ask(callers, "k");
        told.recv().unwrap();
        // As far as the upstream has answered, the caller has it; of a whole answer the ending is written then, and not
        // merged into the database.
        let mut said = Vec::new();
        let last = if what == "behind the end" { "0\r\n\r\n" } else { "data: {}\n\n\r\n" };
        while !answer.is_empty() && !String::from_utf8_lossy(&said).ends_with(last) {
            let mut piece = [0; 4096];
            let length = asked.read(&mut piece).unwrap();
            said.extend_from_slice(&piece[..length]);
        }
        if what == "behind the end" {
            // Endings wait for twenty milliseconds for a hold to go with.
            std::thread::sleep(Duration::from_millis(60));
        }
        gateway.signal("KILL");
        gateway.wait();
        let (_gateway, callers) = place.start();
        for _ in 0..2 {
            let copy = place.answer(callers, "k");
            assert_eq!(code(&copy).as_deref(), Some(expected), "{what}: {copy}");
            assert!(
                expected != "idempotency_answer_gone" || copy.contains("for 3 credits, as response resp_x"),
                "{copy}"
            );
            assert!(copy.contains("x-should-retry: false"), "{copy}");
        }
        assert!(told.try_recv().is_err(), "{what}: it was not made again");
        place.check();
    }
}

#[test]
fn what_was_refused_before_a_restart_is_free_behind_it() {
    let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    let (address, told) = upstream(refusal);
    let place = Place::new(address, "");
    for _ in 0..2 {
        let (mut gateway, callers) = place.start();
        assert!(place.answer(callers, "k").starts_with("HTTP/1.1 400"));
        told.recv().unwrap();
        gateway.signal("TERM");
        gateway.wait();
    }
    place.check();
}

/// Something in an answer that is nowhere else.
const SECRET_OF_AN_ANSWER: &str = "a-canary-in-an-answer-5f1d9c";

/// Bytes of everything in a folder.
fn files(folder: &std::path::Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    bytes
}

#[test]
fn an_answer_is_at_rest_only_if_wanted_and_only_sealed() {
    let event = format!("data: {{\"delta\":\"{SECRET_OF_AN_ANSWER}\"}}\n\n");
    let whole = [STREAM_HEAD.as_bytes(), &chunk(event), &chunk(completed(3)), b"0\r\n\r\n"].concat();
    let folder = tempfile::tempdir().unwrap();
    let pepper = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text.repeat(8)).unwrap();
        format!("bodies = {{ store = \"ledger\", pepper = {{ file = '{}' }} }}", path.display())
    };
    let (sealed, other) = (pepper("pepper", "plainly-fake"), pepper("other", "another-fake"));
    for (retries, kept) in [("", false), (sealed.as_str(), true)] {
        let (address, told) = upstream(whole.clone());
        let place = Place::new(address, retries);
        let key = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        let (mut gateway, callers) = place.start();
        let first = place.answer(callers, key);
        assert!(first.contains(SECRET_OF_AN_ANSWER) && first.ends_with("0\r\n\r\n"), "{first}");
        // With a drain: what is to be written by then is.
        gateway.signal("TERM");
        gateway.wait();
        let said = gateway.output();
        drop(gateway);
        let all = [files(place.folder.path()), said.into_bytes()].concat();
        let is_in = |text: &str| all.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!is_in(SECRET_OF_AN_ANSWER), "{retries}: the answer is in a file");
        assert!(!is_in(key), "{retries}: its key is in a file");
        assert!(!is_in("plainly-fakeplainly-fake"), "{retries}: the pepper is in a file");

        let (mut gateway, callers) = place.start();
        let copy = place.answer(callers, key);
        if kept {
            assert!(copy.contains("idempotent-replayed: true"), "{copy}");
            let body = |answer: &str| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
            assert_eq!(body(&copy), body(&first), "byte for byte, frames as they were");
        } else {
            assert_eq!(code(&copy).as_deref(), Some("idempotency_answer_gone"));
        }
        gateway.signal("TERM");
        gateway.wait();
        let replayed = r#""outcome":"completed","code":null,"retry":"replayed""#;
        assert_eq!(gateway.output().contains(replayed), kept, "{}", gateway.output());
        drop(gateway);
        if kept {
            let text = std::fs::read_to_string(place.folder.path().join("gateway.toml")).unwrap();
            std::fs::write(place.folder.path().join("gateway.toml"), text.replace(&sealed, &other)).unwrap();
            let (_gateway, callers) = place.start();
            let copy = place.answer(callers, key);
            assert_eq!(code(&copy).as_deref(), Some("idempotency_answer_gone"), "not with another pepper");
        }
        assert_eq!(told.try_iter().count(), 1, "{retries}");
        place.check();
    }
}
