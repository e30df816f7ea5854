//! A gateway that is killed at each moment of a job: its place, its cost and whose it is are known after the restart, from the
//! ledger alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Instant;

use mavera_gateway::key::NewKey;
use serde_json::{Value, json};

use crate::support::process::{PATIENCE, PairSetup, Process, config, get, start_gateway, team};
use crate::support::rig::sample;
use crate::support::script::json_answer;
use crate::support::{CANARY, checker};

/// A gateway in a process of its own, in front of an upstream that answers as it is told.
struct Place {
    folder: tempfile::TempDir,
    key: NewKey,
    gateway: Option<Process>,
    address: SocketAddr,
    admin: SocketAddr,
    /// A request has come; what it is to be answered with.
    came: mpsc::Receiver<(String, mpsc::Sender<Option<String>>)>,
}

impl Place {
    fn start() -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), NewKey::generate().unwrap());
        std::fs::write(folder.path().join("key"), CANARY).unwrap();
        let (upstream, came) = upstream();
        let base_url = format!("base_url = \"http://{upstream}/api/v1\"");
        let teams = format!(
            "{}analyses = []\nroutes = [\"video_get\", \"video_analyses\", \"video_chat\"]\n",
            team("growth", &key)
        );
        let text = config(folder.path(), &PairSetup::default(), &base_url, &teams);
        std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
        let (gateway, address, admin) = start_gateway(&folder.path().join("gateway.toml"));
        Self { folder, key, gateway: Some(gateway), address, admin, came }
    }

    /// Kills it in the midst of a chat, whose hold has taken along whatever was to be written, and starts it again. The chat
    /// stays booked at five credits.
    fn kill(&mut self) {
        let body = crate::support::chat_body(false, "");
        let _chat = self.send("POST /api/v1/video-analyses/ca/chat", "", &body);
        let _asked = self.came.recv().unwrap();
        self.kill_now();
    }

    fn kill_now(&mut self) {
        self.stop("KILL");
        self.start_again();
    }

    fn stop(&mut self, signal: &str) {
        let mut gateway = self.gateway.take().unwrap();
        gateway.signal(signal);
        gateway.wait();
    }

    fn start_again(&mut self) {
        let (gateway, address, admin) = start_gateway(&self.folder.path().join("gateway.toml"));
        (self.gateway, self.address, self.admin) = (Some(gateway), address, admin);
    }

    fn send(&self, request: &str, fields: &str, body: &str) -> TcpStream {
        let mut tcp = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{fields}\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            *self.key.text,
            body.len()
        );
        tcp.write_all(head.as_bytes()).unwrap();
        tcp
    }

    fn create(&self, key: &str) -> TcpStream {
        let fields = format!("idempotency-key: {key}\r\nx-gateway-max-wait: 0s\r\n");
        self.send("POST /api/v1/video-analyses", &fields, &super::analysis("").to_string())
    }

    /// A job that has begun, and whose id its caller was told.
    fn begun(&self, id: &str) {
        let tcp = self.create(id);
        self.answer(&json!({"id": id, "status": "pending"}));
        assert!(read(tcp).starts_with("HTTP/1.1 200"), "it is made");
    }

    fn poll(&self, id: &str, answer: &Value) -> String {
        let tcp = self.send(&format!("GET /api/v1/video-analyses/{id}"), "", "");
        self.answer(answer);
        read(tcp)
    }

    /// Answers the next request that comes upstream.
    fn answer(&self, document: &Value) -> String {
        let (request, answer) = self.came.recv().unwrap();
        answer.send(Some(json_answer(&document.to_string()))).unwrap();
        request
    }

    fn jobs(&self, state: &str) -> f64 {
        let metrics = get(self.admin, "/metrics").1;
        sample(&metrics, &format!("mavera_gateway_jobs{{route=\"video_analyses\",state=\"{state}\"}}"))
    }

    /// Credits counted, by what they rest on.
    fn counted(&self) -> [f64; 3] {
        let metrics = get(self.admin, "/metrics").1;
        ["final", "estimated", "derived"].map(|basis| {
            let series = format!(
                "mavera_gateway_credits_used_total{{basis=\"{basis}\",route=\"video_analyses\",team=\"growth\"}}"
            );
            if metrics.contains(&series) { sample(&metrics, &series) } else { 0.0 }
        })
    }

    /// Waits until so much is counted: it is when it is written, which no answer waits for.
    fn comes_to(&self, expected: [f64; 3]) {
        let deadline = Instant::now() + PATIENCE;
        while self.counted() != expected {
            assert!(Instant::now() < deadline, "{:?} is counted, and not {expected:?}", self.counted());
            std::thread::yield_now();
        }
    }

    fn check(mut self, credits: f64) {
        let mut gateway = self.gateway.take().unwrap();
        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0));
        let ledger = self.folder.path().join("ledger.db");
        checker::check(&ledger, &checker::Budgets::default());
        let connection = rusqlite::Connection::open(&ledger).unwrap();
        let sum: f64 = connection.query_row("SELECT sum(credits) FROM calls", [], |row| row.get(0)).unwrap();
        assert!((sum - credits).abs() < 1e-9, "{sum} is booked, {credits} is right");
    }
}

fn read(mut tcp: TcpStream) -> String {
    let mut said = String::new();
    let _ = tcp.read_to_string(&mut said);
    said
}

type Asked = mpsc::Receiver<(String, mpsc::Sender<Option<String>>)>;

/// An upstream that tells of each request, and answers it with what it is given.
fn upstream() -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (tell, told)) = (listener.local_addr().unwrap(), mpsc::channel());
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let (mut tcp, tell) = (tcp.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let (mut request, mut piece) = (Vec::new(), [0; 4096]);
                while let Ok(length @ 1..) = tcp.read(&mut piece) {
                    request.extend_from_slice(&piece[..length]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.to_lowercase();
                    let length =
                        length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                    if body.len() < length.unwrap_or(0) {
                        continue;
                    }
                    request.clear();
                    let (answer, answers) = mpsc::channel::<Option<String>>();
                    let _ = tell.send((text, answer));
                    match answers.recv() {
                        Ok(Some(answer)) => tcp.write_all(answer.as_bytes()).unwrap(),
                        _ => return,
                    }
                }
            });
        }
    });
    (address, told)
}

#[test]
fn killed_before_its_answer_it_may_have_begun_and_keeps_its_place() {
    let mut place = Place::start();
    let _caller = place.create("lost");
    let (request, _answer) = place.came.recv().unwrap();
    assert!(request.starts_with("POST /api/v1/video-analyses "), "{request}");
    place.kill_now();
    assert_eq!((place.jobs("unknown"), place.jobs("running")), (1.0, 0.0));
    // Two more have room, and no third.
    place.begun("ca");
    place.begun("cb");
    let refused = read(place.create("third"));
    assert!(refused.contains("job_limit_reached"), "{refused}");
    // It is never made again under its key.
    let again = read(place.create("lost"));
    assert!(again.contains("idempotency_outcome_unknown"), "{again}");
    assert_eq!(place.counted(), [0.0, 0.0, 0.0], "what jobs cost is not known");
    place.check(1500.0);
}

#[test]
fn killed_while_it_runs_it_keeps_its_place_its_owner_and_its_cost_to_come() {
    let mut place = Place::start();
    place.begun("ca");
    place.kill();
    assert_eq!((place.jobs("running"), place.jobs("unknown")), (1.0, 0.0));
    // The team may see nothing but its own, which it is.
    let stranger = read(place.send("GET /api/v1/video-analyses/cz", "", ""));
    assert!(stranger.contains("analysis_not_allowed"), "{stranger}");
    let polled = place.poll("ca", &json!({"id": "ca", "status": "processing"}));
    assert!(polled.starts_with("HTTP/1.1 200"), "{polled}");
    assert_eq!(place.jobs("running"), 1.0);
    place.kill();
    place.poll("ca", &json!({"id": "ca", "status": "completed", "usage": {"credits_used": 140}}));
    assert_eq!((place.jobs("running"), place.jobs("in_doubt")), (0.0, 0.0));
    place.comes_to([140.0, 0.0, 0.0]);
    place.kill();
    assert_eq!(place.counted(), [140.0, 0.0, 0.0], "a restart counts nothing twice");
    assert_eq!((place.jobs("running"), place.jobs("in_doubt")), (0.0, 0.0));
    place.check(140.0 + 3.0 * 5.0);
}

#[test]
fn killed_after_its_end_it_stays_in_doubt_until_it_says_its_cost() {
    let mut place = Place::start();
    place.begun("ca");
    place.poll("ca", &json!({"id": "ca", "status": "COMPLETED"}));
    assert_eq!((place.jobs("running"), place.jobs("in_doubt")), (0.0, 1.0));
    place.kill();
    assert_eq!((place.jobs("running"), place.jobs("in_doubt")), (0.0, 1.0));
    assert_eq!(place.counted(), [0.0, 0.0, 0.0]);
    place.poll("ca", &json!({"id": "ca", "status": "COMPLETED", "credits_used": 170.5}));
    assert_eq!(place.jobs("in_doubt"), 0.0);
    place.comes_to([170.5, 0.0, 0.0]);
    place.check(170.5 + 5.0);
}

#[test]
fn what_was_corrected_by_hand_is_counted_once_whenever_that_was() {
    let mut place = Place::start();
    for (id, figure) in [("ca", 120), ("cb", 130)] {
        place.begun(id);
        place.poll(id, &json!({"id": id, "status": "completed"}));
        let csv = place.folder.path().join("charges.csv");
        std::fs::write(&csv, format!("{id},{figure}\n")).unwrap();
        let config = place.folder.path().join("gateway.toml");
        let book = || {
            let arguments = ["reconcile", "--book", "--csv", csv.to_str().unwrap()];
            let (code, said) = crate::ledger::credits(&config, &arguments);
            assert!(said.contains("1 call is booked"), "{code} {said}");
        };
        if id == "ca" {
            book();
            // Until the gateway has seen it.
            while place.jobs("in_doubt") > 0.0 {
                std::thread::yield_now();
            }
            place.kill();
        } else {
            place.stop("TERM");
            book();
            place.start_again();
        }
        let jobs: f64 = if id == "ca" { 1.0 } else { 2.0 };
        assert_eq!((place.counted(), place.jobs("in_doubt")), ([0.0, jobs * 500.0, 0.0], 0.0), "{id}");
    }
    place.check(120.0 + 130.0 + 5.0);
}

#[test]
fn killed_over_and_over_every_job_is_booked_once() {
    let mut place = Place::start();
    let ids = ["ca", "cb", "cc", "cd"];
    for (n, id) in ids.into_iter().enumerate() {
        place.begun(id);
        place.kill();
        let price = 100 + n;
        place.poll(id, &json!({"id": id, "status": "completed", "credits_charged": price}));
        place.kill();
        place.poll(id, &json!({"id": id, "status": "completed", "credits_charged": price}));
    }
    assert_eq!(place.counted(), [406.0, 0.0, 0.0]);
    assert_eq!(place.jobs("running"), 0.0);
    place.check(406.0 + 8.0 * 5.0);
}
