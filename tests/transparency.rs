//! What the caller gets is what the upstream sent, byte for byte, and the meter finds in it what the
//! upstream charged.

use std::sync::{Arc, Mutex};

use http::Method;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use mavera_gateway::clock::Clock;
use mavera_sim::quirks::{Fault, Frames, Framing, Generation, Terminator, UsageQuirk};
use mavera_sim::{DEMO_ANALYSIS, Settings, Simulator};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::support::rig::{Rig, Setup};
use crate::support::script::{STREAM_HEAD, chunk, read_request, write};
use crate::support::{CANARY, chat_body};

/// Every combination of the documented quirks of a stream.
fn all_stream_quirks() -> Vec<String> {
    let lower = |value: &dyn std::fmt::Debug| {
        let name = format!("{value:?}");
        let mut text = String::new();
        for (at, c) in name.char_indices() {
            if c.is_uppercase() && at > 0 {
                text.push('_');
            }
            text.extend(c.to_lowercase());
        }
        text
    };
    let mut quirks = Vec::new();
    for generation in Generation::ALL {
        for framing in Framing::ALL {
            for terminator in Terminator::ALL {
                for usage in UsageQuirk::ALL {
                    for frames in Frames::ALL {
                        quirks.push(format!(
                            "generation={}; framing={}; terminator={}; usage={}; frames={}",
                            lower(generation),
                            lower(framing),
                            lower(terminator),
                            lower(usage),
                            lower(frames)
                        ));
                    }
                }
            }
            for fault in Fault::ALL.iter().filter(|fault| **fault != Fault::Stall) {
                quirks.push(format!(
                    "generation={}; framing={}; fault={}; at=3",
                    lower(generation),
                    lower(framing),
                    lower(fault)
                ));
            }
        }
    }
    quirks
}

/// What a twin of the simulator answers when it is asked directly.
async fn straight_from(simulator: &Simulator, body: String) -> (Vec<u8>, bool) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let simulator = simulator.clone();
    tokio::spawn(async move { simulator.serve_connection(far).await });
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("/api/v1/video-analyses/{DEMO_ANALYSIS}/chat"))
        .header("host", "sim")
        .header("authorization", format!("Bearer {CANARY}"))
        .body(http_body_util::Full::<bytes::Bytes>::from(body))
        .unwrap();
    let mut incoming = sender.send_request(request).await.unwrap().into_body();
    let (mut bytes, mut whole) = (Vec::new(), true);
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
            Err(_) => whole = false,
        }
    }
    (bytes, whole)
}

#[tokio::test(start_paused = true)]
async fn every_quirk_passes_unchanged_and_is_metered_as_the_simulator_charged() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let clock = Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap());
    let twin = Simulator::new(
        Settings { requests_per_minute: 100_000_000, credits: 100_000_000, ..Settings::with_key(CANARY) },
        move || clock.wall(),
    );
    let quirks = all_stream_quirks();
    assert!(quirks.len() > 600, "{}", quirks.len());
    for (index, quirk) in quirks.iter().enumerate() {
        let stream = index % 5 != 4;
        let body = chat_body(stream, quirk);
        let (expected, whole) = straight_from(&twin, body.clone()).await;
        let answer = rig.send(rig.chat(body)).await;
        assert_eq!((&answer.body[..], answer.whole), (&expected[..], whole), "{quirk}");
        rig.settle().await;
        let record = rig.records().pop().unwrap();
        let charged = simulator.books(|books| books.received.last().unwrap().charged);
        let usage_sent = String::from_utf8_lossy(&expected).contains("\"credits_used\":");
        let zero = quirk.contains("usage=zero");
        match record["credits"].as_u64() {
            Some(credits) => assert_eq!(credits, if zero { 0 } else { charged }, "{quirk}"),
            None => assert!(
                !usage_sent,
                "{quirk}: the figure was missed in {}",
                String::from_utf8_lossy(&expected)
            ),
        }
        // The old generation knows no `response.completed`: without `[DONE]` and without its cost, which
        // only the last chunk carries, nothing tells that a stream was whole.
        let no_terminal_frame = quirk.contains("terminator=neither")
            || (quirk.contains("generation=old; ")
                && quirk.contains("terminator=completed")
                && (quirk.contains("usage=absent") || quirk.contains("usage=no_credits")));
        let truncated = !whole || (stream && no_terminal_frame);
        assert_eq!(record["outcome"] == "truncated", truncated, "{quirk}: {record}");
    }
}

/// One generated stream: its bytes, its splits, and what it says it cost.
#[derive(Clone, Debug)]
struct Stream {
    bytes: Vec<u8>,
    cuts: Vec<usize>,
    credits: Option<u64>,
    finished: bool,
}

fn stream() -> impl Strategy<Value = Stream> {
    let text = prop_oneof![
        "[ -~]{0,40}",
        Just("{\"usage\":{\"credits_used\":0}}".to_owned()),
        Just("data: [DONE]\n\ndata: x".to_owned()),
        Just("ünïcödé 📉 \u{2028}".to_owned()),
    ];
    let noise = prop_oneof![
        text.prop_map(|text| format!("event: response.output_text.delta\ndata: {}\n\n", serde_json::json!({"type": "response.output_text.delta", "delta": text}))),
        "[a-z ]{0,20}".prop_map(|comment| format!(": {comment}\n\n")),
        Just("event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\ndata: \"response\":{\"usage\":null}}\n\n".to_owned()),
        Just("id: 7\nretry: 10\ndata:{\"type\":\"response.mavera.new\",\"nested\":{\"usage\":{\"credits_used\":77}}}\n\n".to_owned()),
        Just("data\n\n".to_owned()),
        Just("data: not json \"usage\":{\"credits_used\":88}\n\n".to_owned()),
    ];
    let noise = prop::collection::vec(noise, 0..6);
    let ending = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    (noise, prop::option::of(0u64..1000), any::<bool>(), any::<bool>(), ending, any::<bool>(), prop::collection::vec(any::<prop::sample::Index>(), 0..12)).prop_map(
        |(noise, credits, old, done, ending, bom, cuts)| {
            let mut text = noise.concat();
            if let Some(credits) = credits {
                let usage = serde_json::json!({"input_tokens": 1, "credits_used": credits});
                let last = if old {
                    serde_json::json!({"object": "chat.completion.chunk", "choices": [], "usage": usage})
                } else {
                    serde_json::json!({"response": {"id": "resp_p", "usage": usage}, "type": "response.completed"})
                };
                text.extend(["data: ", &last.to_string(), "\n\n"]);
            }
            if done {
                text.push_str("data: [DONE]\n\n");
            }
            let text = text.replace('\n', ending);
            let bytes = if bom { format!("\u{feff}{text}") } else { text }.into_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.dedup();
            Stream { bytes, cuts, credits, finished: done || credits.is_some() }
        },
    )
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_generated_streams_pass_unchanged_and_are_metered() {
    let next: Arc<Mutex<Option<Stream>>> = Arc::default();
    let script = Arc::clone(&next);
    let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
        let script = Arc::clone(&script);
        async move {
            while read_request(&mut io).await.is_some() {
                let stream = script.lock().unwrap().take().unwrap();
                write(&mut io, STREAM_HEAD).await;
                let mut from = 0;
                for cut in stream.cuts.iter().copied().chain([stream.bytes.len()]) {
                    if cut > from {
                        write(&mut io, chunk(&stream.bytes[from..cut])).await;
                        // A turn of the event loop, so that the pieces arrive apart.
                        tokio::task::yield_now().await;
                    }
                    from = cut;
                }
                write(&mut io, "0\r\n\r\n").await;
            }
        }
    });
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let strategy = stream();
    let mut sender = rig.connect().await;
    let body = chat_body(true, "");
    let mut expected = Vec::new();
    for case in 0..10_000 {
        let stream = strategy.new_tree(&mut runner).unwrap().current();
        *next.lock().unwrap() = Some(stream.clone());
        let response = sender
            .send_request(rig.request(Method::POST, &crate::support::rig::chat_path(), body.clone()))
            .await
            .unwrap();
        let got = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(got, stream.bytes, "case {case}: {stream:?}");
        sender.ready().await.unwrap();
        expected.push(stream);
    }
    rig.settle().await;
    let records = rig.records();
    assert_eq!(records.len(), expected.len());
    for (record, stream) in records.iter().zip(&expected) {
        assert_eq!(record["credits"].as_u64(), stream.credits, "{}", String::from_utf8_lossy(&stream.bytes));
        let outcome = if stream.finished { "completed" } else { "truncated" };
        assert_eq!(record["outcome"], outcome, "{}", String::from_utf8_lossy(&stream.bytes));
        // The record ends with the event that says so, and bytes behind it are passed on all the same.
        let told = record["response_bytes"].as_u64().unwrap() as usize;
        assert!(told == stream.bytes.len() || (stream.finished && told < stream.bytes.len()), "{told}");
    }
    assert_eq!(rig.connections_made(), 1, "one connection served them all");
}
