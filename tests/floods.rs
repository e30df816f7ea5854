//! HTTP/2 floods: each is cut short or held back, and callers beside it notice nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::chat_body;
use crate::support::h2::{
    CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, REFUSED_STREAM,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, fields, frame,
};
use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup, get};
use crate::support::rig::{chat_path, sample};

/// How long a flood may stand still before it counts as held back.
const HELD_BACK: Duration = Duration::from_secs(2);
/// Floods at the same time.
const FLOODERS: usize = 4;

fn head(pair: &Pair, length: &str) -> Vec<u8> {
    fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &chat_path()),
        (":authority", "gateway"),
        ("authorization", &format!("Bearer {}", pair.key)),
        ("content-type", "application/json"),
        ("content-length", length),
    ])
}

/// Lets `flood` loose on several connections again and again while a caller makes its calls, and looks at what is left
/// afterwards.
async fn beside(pair: &Pair, flood: impl Fn() + Send + Sync) {
    let (address, key) = (pair.address, pair.key.clone());
    let stop = AtomicBool::new(false);
    let calls = tokio::spawn(async move {
        for number in 0..20 {
            let outcome = chat(address, &key, chat_body(number % 2 == 0, "")).await.expect("an answer");
            assert_eq!(outcome.status, 200);
        }
    });
    let before = pair.resident_bytes();
    std::thread::scope(|scope| {
        for _ in 0..FLOODERS {
            scope.spawn(|| {
                flood();
                while !stop.load(Ordering::Relaxed) {
                    flood();
                }
            });
        }
        scope.spawn(|| {
            while !calls.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
    calls.await.unwrap();
    let metrics = || get(pair.admin, "/metrics").1;
    for gauge in ["requests_in_flight", "ledger_open_holds", "exchanges_draining", "connections"] {
        while sample(&metrics(), &format!("mavera_gateway_{gauge}")) > 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let grown = pair.resident_bytes() - before;
    assert!(grown < f64::from(64 << 20), "the flood left {grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_as_soon_as_they_are_opened_end_the_connection() {
    let pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let head = head(&pair, "0");
    let address = pair.address;
    beside(&pair, || {
        let mut connection = Connection::open(address);
        let mut flood = Vec::new();
        for number in 0..500 {
            let stream = 2 * number + 1;
            flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
            flood.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        }
        // It may be cut off before it has said everything.
        let _ = connection.flood(&flood, HELD_BACK);
        if let Some(goaway) = connection.until(GOAWAY) {
            assert_eq!(goaway.error(), 11, "ENHANCE_YOUR_CALM");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_goes_on_for_ever_is_cut() {
    let pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let head = head(&pair, "0");
    let address = pair.address;
    beside(&pair, || {
        let mut connection = Connection::open(address);
        let mut flood = frame(HEADERS, END_STREAM, 1, &head);
        for number in 0..2000 {
            flood.extend(frame(CONTINUATION, 0, 1, &fields(&[(&format!("x-{number}"), &"y".repeat(900))])));
        }
        let cut = connection.flood(&flood, HELD_BACK).is_err() || connection.until(GOAWAY).is_some();
        assert!(cut, "neither held back nor told to go");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_empty_frames_of_a_body_are_too_many() {
    let pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let head = head(&pair, "100");
    let address = pair.address;
    beside(&pair, || {
        let mut connection = Connection::open(address);
        let mut flood = frame(HEADERS, END_HEADERS, 1, &head);
        flood.extend(frame(DATA, 0, 1, &[]).repeat(10_000));
        let cut = connection.flood(&flood, HELD_BACK).is_err() || connection.until(GOAWAY).is_some();
        assert!(cut, "neither held back nor told to go");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_settings_whose_answers_nobody_reads_are_held_back() {
    let pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let address = pair.address;
    beside(&pair, || {
        let mut connection = Connection::open(address);
        let pings = frame(PING, 0, 0, b"anybody?").repeat(2000);
        let settings = frame(SETTINGS, 0, 0, &[]).repeat(2000);
        for _ in 0..200 {
            // Answers pile up in the sockets, and then the gateway stops reading.
            if connection
                .flood(&pings, HELD_BACK)
                .and_then(|()| connection.flood(&settings, HELD_BACK))
                .is_err()
            {
                return;
            }
        }
        panic!("800,000 frames were taken from somebody who reads no answer");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn games_with_windows_end_the_stream_or_the_connection() {
    let pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let head = head(&pair, "0");
    let address = pair.address;
    beside(&pair, || {
        // An increment of nothing is an error of the connection (RFC 9113 §6.9).
        let mut connection = Connection::open(address);
        connection.send(WINDOW_UPDATE, 0, 0, &0u32.to_be_bytes()).unwrap();
        assert!(connection.until(GOAWAY).is_some());
        // A window that is larger than there are windows.
        let mut connection = Connection::open(address);
        connection.send(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()).unwrap();
        assert!(connection.until(GOAWAY).is_some());
        // Answers that may not be written, and then everybody leaves.
        let mut connection = Connection::open(address);
        let no_window = [0, 4, 0, 0, 0, 0];
        connection.send(SETTINGS, 0, 0, &no_window).unwrap();
        for number in 0..20 {
            connection.send(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head).unwrap();
        }
        assert!(connection.until(HEADERS).is_some(), "heads are not bound by a window");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_are_allowed_are_refused_one_by_one() {
    let pair = Pair::start(&PairSetup { server: "max_streams = 10", ..PairSetup::default() });
    let mut connection = Connection::open(pair.address);
    // Bodies that are still to come keep their streams open.
    for number in 0..11 {
        connection.send(HEADERS, END_HEADERS, 2 * number + 1, &head(&pair, "100")).unwrap();
    }
    let refused = connection.until(RST_STREAM).expect("the last is refused");
    assert_eq!((refused.stream, refused.error()), (21, REFUSED_STREAM));
    drop(connection);
    assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_unpacks_to_more_than_is_allowed_is_refused() {
    let pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let head = head(&pair, "0");
    let address = pair.address;
    beside(&pair, || {
        let mut connection = Connection::open(address);
        // One large field is remembered, and then named by a byte, a thousand times over.
        let mut block = head.clone();
        block.push(0x40);
        block.extend([1, b'x', 127, 0xf1, 0x1d]);
        block.extend("y".repeat(127 + 0x71 + (0x1d << 7)).as_bytes());
        block.extend([0xbe; 1000]);
        connection.send(HEADERS, END_HEADERS | END_STREAM, 1, &block).unwrap();
        let mut refused = false;
        while let Some(frame) = connection.next() {
            refused |=
                matches!(frame.kind, RST_STREAM | GOAWAY) || (frame.kind == HEADERS && frame.stream == 1);
            if refused {
                break;
            }
        }
        assert!(refused);
    })
    .await;
    let reached = pair.books()["received"].as_array().unwrap().len();
    assert_eq!(reached, 20, "only the caller's own calls reached the upstream");
}
