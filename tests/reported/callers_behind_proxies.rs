//! Who is really calling: by the word of a trusted proxy, and of nobody else.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::chat_body;
use crate::support::process::{PATIENCE, Pair, PairSetup, get};
use crate::support::recorder::{Recorder, answers, ours};
use crate::support::rig::{PEER, Rig, Setup, chat_path, sample};

fn trusting(networks: &str) -> Setup {
    Setup { server: format!("trusted_proxies = [{networks}]"), ..Setup::default() }
}

fn request(key: &str, fields: &str) -> String {
    let body = chat_body(false, "");
    format!(
        "POST {} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{fields}\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        chat_path(),
        body.len()
    )
}

/// What is answered to bytes, with which status, and whom the record names.
async fn said(rig: &Rig, bytes: &str) -> (u16, Value) {
    let before = rig.records().len();
    let mut io = rig.raw();
    io.write_all(bytes.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    io.read_to_end(&mut said).await.unwrap();
    rig.settle().await;
    let status = answers(&said).unwrap().first().map_or(0, |answer| answer.status);
    (status, rig.records().get(before).cloned().unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_says_who_calls_and_nobody_else_does() {
    let forwarded = "forwarded: for=198.51.100.7\r\n";
    let plain = "x-forwarded-for: 203.0.113.5, 198.51.100.7, 192.0.2.9\r\n";
    let preamble = "PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n";
    for (networks, client) in [("", Value::Null), ("\"192.0.2.0/24\"", "198.51.100.7".into())] {
        let (rig, upstream) = Recorder::behind(&trusting(networks));
        for fields in [forwarded, plain] {
            let (status, record) = said(&rig, &request(&rig.key, fields)).await;
            assert_eq!((status, &record["client"]), (200, &client), "{fields}");
            assert_eq!(record["peer"], PEER.to_string());
        }
        let (status, record) = said(&rig, &format!("{preamble}{}", request(&rig.key, ""))).await;
        assert_eq!((status, &record["client"]), (if networks.is_empty() { 400 } else { 200 }, &client));
        for sent in upstream.take() {
            let fields = ours(&sent).unwrap().fields;
            assert!(fields.keys().all(|name| !name.contains("forward")), "it goes nowhere else: {fields:?}");
        }
    }
    // A trusted balancer in front of a trusted proxy: the one says who connects, the other who calls.
    let (rig, _) = Recorder::behind(&trusting("\"192.0.2.7\", \"10.0.0.0/8\""));
    let chain = "PROXY TCP4 10.1.2.3 192.0.2.1 4711 443\r\n";
    let call = request(&rig.key, "x-forwarded-for: 203.0.113.5\r\n");
    assert_eq!(said(&rig, &format!("{chain}{call}")).await.1["client"], "203.0.113.5");
    // One that is none ends the connection, and a check of the proxy's own is served.
    let call = request(&rig.key, "");
    assert_eq!(said(&rig, &format!("PROXY TCP4 nobody 1\r\n{call}")).await.0, 0);
    assert_eq!(said(&rig, &format!("PROXY UNKNOWN\r\n{call}")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn too_many_bad_keys_of_one_address_are_not_looked_at_any_more() {
    let server = "bad_keys_per_minute = 3\ntrusted_proxies = [\"192.0.2.7\"]".into();
    let (rig, _) = Recorder::behind(&Setup { server, ..Setup::default() });
    let from = |key: &str, address: &str| request(key, &format!("x-forwarded-for: {address}\r\n"));
    for _ in 0..3 {
        assert_eq!(said(&rig, &from("mvgw_no", "198.51.100.1")).await.0, 401);
    }
    let (status, record) = said(&rig, &from("mvgw_no", "198.51.100.1")).await;
    assert_eq!((status, &record["code"]), (429, &"rate_limit_exceeded".into()));
    assert_eq!(
        said(&rig, &from(&rig.key, "198.51.100.1")).await.0,
        429,
        "a good key is not looked at either"
    );
    assert_eq!(said(&rig, &from(&rig.key, "198.51.100.2")).await.0, 200, "others are not concerned");
    // In the open a missing key is no guess.
    tokio::time::sleep(std::time::Duration::from_secs(21)).await;
    assert_eq!(said(&rig, &from(&rig.key, "198.51.100.1")).await.0, 200);
    rig.reconfigure(&Setup { server: "trusted_proxies = [\"192.0.2.7\"]".into(), ..Setup::default() });
    for _ in 0..9 {
        assert_eq!(said(&rig, &from("mvgw_no", "198.51.100.1")).await.0, 401, "no bound, no count");
    }
}

#[test]
fn one_address_has_so_many_connections_and_a_proxy_as_many_as_it_likes() {
    for (server, served) in [
        ("max_connections_per_address = 4", 4),
        ("max_connections_per_address = 4\ntrusted_proxies = [\"127.0.0.1\"]", 8),
    ] {
        let pair = Pair::start(&PairSetup { server, ..PairSetup::default() });
        let open: Vec<_> = (0..8)
            .map(|_| {
                let mut tcp = TcpStream::connect(pair.address).unwrap();
                tcp.set_read_timeout(Some(PATIENCE)).unwrap();
                let head = "GET /gateway/v1/me HTTP/1.1\r\nhost: g\r\n\r\n";
                let _ = tcp.write_all(head.as_bytes());
                let answered = tcp.read(&mut [0; 512]).is_ok_and(|length| length > 0);
                (tcp, answered)
            })
            .collect();
        assert_eq!(open.iter().filter(|(_, answered)| *answered).count(), served, "{server}");
        let turned_away =
            sample(&get(pair.admin, "/metrics").1, "mavera_gateway_connections_turned_away_total");
        assert_eq!(turned_away, 8.0 - served as f64);
        drop(open);
        // What was given back can be had again.
        while !TcpStream::connect(pair.address)
            .and_then(|mut tcp| {
                tcp.write_all(b"GET / HTTP/1.1\r\nhost: g\r\n\r\n")?;
                tcp.read(&mut [0; 512])
            })
            .is_ok_and(|length| length > 0)
        {
            std::thread::yield_now();
        }
    }
}
