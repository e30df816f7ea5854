//! The same over real sockets, where segments, resets and backlogs are the kernel's.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{EVIL, End, KEY, fields, framing, target};
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{PATIENCE, Pair, PairSetup};

/// What comes until the end of a connection, however it ends.
fn last_words(mut tcp: TcpStream) -> String {
    let mut said = Vec::new();
    let _ = tcp.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

fn connect(pair: &Pair) -> TcpStream {
    let tcp = TcpStream::connect(pair.address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// Every case of where a request ends, what it asks for and what is in its head, with `/evil` behind it. Of an answer
/// before the end of its request the kernel may keep the rest back; of nothing it makes more.
#[test]
fn hostile_requests_over_tcp_come_to_the_same() {
    let pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let last = EVIL.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    let mut served = 0;
    for case in [framing::cases(), target::cases(), fields::cases()].into_iter().flatten() {
        let mut tcp = connect(&pair);
        let input: Vec<u8> = with_key(&case.input, &pair.key);
        // The last byte apart, so that nothing depends on a request's coming in one piece.
        let (most, rest) = input.split_at(input.len() - 1);
        let wrote = tcp
            .write_all(most)
            .and_then(|()| tcp.write_all(rest))
            .and_then(|()| tcp.write_all(last.as_bytes()));
        let said = last_words(tcp);
        let statuses: Vec<u16> = said
            .match_indices("HTTP/1.")
            .filter_map(|(at, _)| said.get(at + 9..at + 12)?.parse().ok())
            .collect();
        let (own, evil): (&[u16], _) = match &statuses[..] {
            [own @ .., 404] if said.contains("x-request-id: evil") => (own, true),
            own => (own, false),
        };
        let cut_short = wrote.is_err() || case.expect.end != End::GoesOn;
        let fits = own == case.expect.statuses || (cut_short && case.expect.statuses.starts_with(own));
        assert!(
            fits,
            "{}, {}: {statuses:?} instead of {:?}: {said}",
            case.row, case.name, case.expect.statuses
        );
        assert!(evil || cut_short, "{}, {}: what is behind was not answered: {said}", case.row, case.name);
        assert!(!(evil && case.expect.end == End::Announced), "{}, {}: it went on", case.row, case.name);
        assert!(!said.contains("x-request-id: smuggled"), "{}, {}: {said}", case.row, case.name);
        served += case.expect.sent.len();
    }
    let books = pair.books();
    let received = books["received"].as_array().unwrap();
    assert_eq!(received.len(), served, "the upstream received what was served and nothing else");
    assert!(
        received
            .iter()
            .all(|request| request["target"].as_str().unwrap().starts_with("/api/v1/video-analyses"))
    );
}

fn with_key(input: &[u8], key: &str) -> Vec<u8> {
    let mut whole = input.to_vec();
    while let Some(at) = memchr::memmem::find(&whole, KEY.as_bytes()) {
        whole.splice(at..at + KEY.len(), key.bytes());
    }
    whole
}

/// More callers than there are places, none of which says anything: whoever comes behind them waits until their time
/// is over, and is served. There is no bound per address, because a whole team may come from one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_give_their_places_back() {
    let server = "max_connections = 64\nhead_timeout = \"1s\"";
    let pair = Pair::start(&PairSetup { server, ..PairSetup::default() });
    let idle: Vec<_> = (0..200).map(|_| connect(&pair)).collect();
    let outcome = chat(pair.address, &pair.key, chat_body(false, "")).await.expect("an answer");
    assert_eq!(outcome.status, 200);
    for tcp in idle {
        assert_eq!(last_words(tcp), "", "closed without a word");
    }
    assert_eq!(pair.books()["received"].as_array().unwrap().len(), 1);
}
