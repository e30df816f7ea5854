//! The operators' listener.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::chat_body;
use crate::support::process::{Pair, PairSetup, get};
use crate::support::rig::{Rig, Setup};

#[test]
fn probes_and_metrics_are_there_and_nothing_else() {
    let pair = Pair::start(&PairSetup::default());
    assert_eq!(get(pair.admin, "/livez"), (200, "ok\n".into()));
    assert_eq!(get(pair.admin, "/readyz"), (200, "ok\n".into()));
    assert_eq!(get(pair.admin, "/api/v1/video-analyses").0, 404);
    let (status, metrics) = get(pair.admin, "/metrics");
    assert_eq!(status, 200);
    for series in [
        "mavera_gateway_build_info",
        "mavera_gateway_config_reload_success 1",
        "mavera_gateway_upstream_window_limit 1000000",
    ] {
        assert!(metrics.contains(series), "{series}");
    }
    // On the callers' port there is none of it.
    for path in ["/metrics", "/livez", "/readyz", "/", "/debug"] {
        assert_eq!(get(pair.address, path).0, 404, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_series_of_a_team_exists_before_its_first_call() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let metrics = rig.metrics();
    for series in [
        "mavera_gateway_credits_used_total{basis=\"final\",route=\"video_chat\",team=\"growth\"} 0",
        "mavera_gateway_tokens_total{direction=\"input\",route=\"video_chat\",team=\"growth\"} 0",
        "mavera_gateway_requests_total{route=\"video_chat\",status=\"200\",team=\"growth\"} 0",
        "mavera_gateway_refusals_total{code=\"rate_limit_exceeded\",team=\"growth\"} 0",
        "mavera_gateway_streams_total{outcome=\"truncated\",team=\"growth\"} 0",
        "mavera_gateway_request_duration_seconds_count{route=\"video_chat\",stream=\"true\"} 0",
        "mavera_gateway_overhead_seconds_bucket{route=\"video_chat\",le=\"0.000025\"} 0",
    ] {
        assert!(metrics.contains(series), "{series} is not in\n{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_are_exact_and_strangers_add_no_series() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let lines = || rig.metrics().lines().count();
    let before = lines();
    for n in 0..30 {
        rig.send(rig.chat(chat_body(n % 2 == 0, ""))).await;
        let mut stranger = rig.request(format!("M{n}").parse().unwrap(), &format!("/path/{n}"), "");
        stranger.headers_mut().insert("authorization", format!("Bearer key-{n}").parse().unwrap());
        rig.send(stranger).await;
    }
    rig.settle().await;
    assert_eq!(lines(), before);
    let metrics = rig.metrics();
    let charged = simulator.books(mavera_sim::books::Books::total_charged);
    for series in [
        "mavera_gateway_requests_total{route=\"video_chat\",status=\"200\",team=\"growth\"} 30".to_owned(),
        "mavera_gateway_requests_total{route=\"other\",status=\"404\",team=\"other\"} 30".to_owned(),
        "mavera_gateway_streams_total{outcome=\"completed\",team=\"growth\"} 15".to_owned(),
        format!(
            "mavera_gateway_credits_used_total{{basis=\"final\",route=\"video_chat\",team=\"growth\"}} {charged}"
        ),
        "mavera_gateway_time_to_first_byte_seconds_count{route=\"video_chat\",stream=\"true\"} 15".to_owned(),
    ] {
        assert!(metrics.contains(&series), "{series} is not in\n{metrics}");
    }
}

/// The names and labels of a scrape, without its values.
fn series(metrics: &str) -> BTreeSet<String> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

/// Random requests that no two of are alike, most of them by strangers. xorshift.
struct Crowd(u64);

impl Crowd {
    fn next(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn request(&mut self, key: &str) -> String {
        let (word, other) = (self.next(u64::MAX), self.next(u64::MAX));
        let method = match self.next(4) {
            0 => "GET".to_owned(),
            1 => "POST".to_owned(),
            2 => "DELETE".to_owned(),
            _ => format!("M{word:X}"),
        };
        let path = match self.next(6) {
            0 => format!("/{word:x}"),
            1 => format!("/api/v1/{word:x}/{other:x}"),
            // A query of a route that takes none ends the connection.
            2 if method != "POST" => format!("/api/v1/video-analyses?status={word:x}"),
            3 => format!("/api/v1/video-analyses/{word:x}"),
            _ => format!("/api/v1/video-analyses/{word:x}/chat"),
        };
        // One in fifty is a team's own: it goes on to the upstream, which knows no such analysis.
        let key = match self.next(50) {
            0 => key.to_owned(),
            _ => format!("mvgw_{word:x}_{other:x}{word:x}{other:x}"),
        };
        format!(
            "{method} {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\nx-request-id: {other:x}\r\ncontent-length: 0\r\n\r\n"
        )
    }
}

/// Sends requests on one connection and reads their answers, as many as asked for.
fn send_crowd(address: SocketAddr, key: &str, seed: u64, count: usize) {
    const AT_ONCE: usize = 50;
    let mut crowd = Crowd(seed);
    let mut tcp = TcpStream::connect(address).unwrap();
    let mut reader = BufReader::new(tcp.try_clone().unwrap());
    for _ in 0..count / AT_ONCE {
        let requests: String = (0..AT_ONCE).map(|_| crowd.request(key)).collect();
        tcp.write_all(requests.as_bytes()).unwrap();
        for _ in 0..AT_ONCE {
            let (mut line, mut length) = (String::new(), 0);
            reader.read_line(&mut line).unwrap();
            assert!(line.starts_with("HTTP/1.1 "), "{line}");
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
        }
    }
}

#[test]
fn a_million_requests_of_every_kind_add_no_series() {
    const REQUESTS: usize = 1_000_000;
    let pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let before = series(&get(pair.admin, "/metrics").1);
    std::thread::scope(|scope| {
        let (address, key) = (pair.address, pair.key.as_str());
        for seed in 1..=4 {
            scope.spawn(move || {
                send_crowd(address, key, 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed), REQUESTS / 4);
            });
        }
    });
    let metrics = get(pair.admin, "/metrics").1;
    assert_eq!(series(&metrics).difference(&before).collect::<Vec<_>>(), [] as [&String; 0]);
    let counted: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("mavera_gateway_requests_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert_eq!(counted, REQUESTS as f64);
}

#[tokio::test(start_paused = true)]
async fn a_record_splits_the_time_between_caller_upstream_and_gateway() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    rig.send(rig.chat(chat_body(true, "delay=3s; pace=1s; events=1"))).await;
    let record = rig.record().await;
    let seconds = |name: &str| record[name].as_f64().unwrap();
    assert!((3.0..3.1).contains(&seconds("upstream_seconds")), "{record}");
    assert!((3.0..3.1).contains(&seconds("first_byte_seconds")), "{record}");
    assert!(seconds("gateway_seconds") < 0.1 && seconds("total_seconds") > 9.0, "{record}");
    let names: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
    for name in [
        "request_id",
        "team",
        "key_id",
        "route",
        "status",
        "outcome",
        "response_id",
        "credits",
        "input_tokens",
        "output_tokens",
    ] {
        assert!(names.contains(&name) && !record[name].is_null(), "{name}");
    }
}
