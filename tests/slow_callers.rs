//! Callers that take their time: cut on their deadline, and nobody beside them waits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{PATIENCE, Pair, PairSetup, get};
use crate::support::rig::{chat_path, sample};

/// So many of each kind.
const SLOW: usize = 2000;

/// This process holds the other ends.
fn allow_descriptors() {
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
async fn served(pair: &Pair) {
    for number in 0..20 {
        let outcome = chat(pair.address, &pair.key, chat_body(number % 2 == 0, "")).await.expect("an answer");
        assert_eq!(outcome.status, 200);
    }
}

async fn all_gone(pair: &Pair) {
    for gauge in ["connections", "requests_in_flight", "ledger_open_holds", "exchanges_draining"] {
        while sample(&get(pair.admin, "/metrics").1, &format!("mavera_gateway_{gauge}")) > 0.0 {
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
    served(&pair).await;
    all_gone(&pair).await;
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
    served(&pair).await;
    for tcp in slow {
        let said = last_words(tcp);
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("request_timeout"), "{said}");
    }
    all_gone(&pair).await;
    assert_eq!(pair.books()["received"].as_array().unwrap().len(), 20, "none of them reached the upstream");
}
