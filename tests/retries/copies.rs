//! Copies that join a call under way, at every moment of it.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use super::{ask, asks, booked, breathe, counted, keyed, records, saved, stepwise};
use crate::support::chat_body;
use crate::support::grammar::Seed;
use crate::support::rig::{Answer, Rig, Setup, chat_path};
use crate::support::script::{STREAM_HEAD, chunk, completed};

/// Twenty-four events, the last with the cost, and trailers behind.
fn events() -> Vec<Vec<u8>> {
    let head = STREAM_HEAD.replace("\r\n\r\n", "\r\ntrailer: x-checksum\r\n\r\n").into_bytes();
    let event = |n| chunk(format!("event: response.output_text.delta\ndata: {{\"delta\":\"{n}\"}}\n\n"));
    let mut pieces = vec![head];
    pieces.extend((0..23).map(event));
    pieces.push([chunk(completed(3)), b"0\r\nx-checksum: 7\r\n\r\n".to_vec()].concat());
    pieces
}

/// A JSON answer, in twenty-five pieces.
fn document() -> Vec<Vec<u8>> {
    let body = format!("{{\"text\":\"{}\",\"usage\":{{\"credits_used\":3}}}}", "a moment".repeat(60));
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let pieces = body.as_bytes().chunks(body.len().div_ceil(24)).map(<[u8]>::to_vec);
    std::iter::once(head.into_bytes()).chain(pieces).collect()
}

#[tokio::test(start_paused = true)]
async fn fifty_copies_that_join_at_every_frame_are_one_request_one_charge_and_fifty_equal_bodies() {
    for pieces in [events(), document()] {
        let last = pieces.len();
        let stream = pieces[0].starts_with(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream");
        let (rig, steps) = stepwise(&Setup::default(), pieces);
        let body = chat_body(stream, "");
        let mut callers = Vec::new();
        for piece in 0..last {
            for http2 in [false, true] {
                let request = keyed(rig.chat(body.clone()), if http2 { "\"k-1\"" } else { "k-1" });
                callers.push(asks(&rig, request, http2));
            }
            breathe().await;
            steps.to(piece + 1);
            breathe().await;
        }
        let mut answers = Vec::new();
        for caller in callers {
            answers.push(caller.await.unwrap());
        }
        assert_eq!(answers.len(), 2 * last);
        for answer in &answers {
            assert_eq!((answer.status(), answer.whole), (answers[0].status(), true));
            assert_eq!(answer.body, answers[0].body);
            assert_eq!(answer.head.headers["content-type"], answers[0].head.headers["content-type"]);
        }
        assert!(answers[0].body.len() > 500);
        rig.settle().await;
        assert_eq!(steps.requests(), 1);
        assert_eq!(booked(&rig).await, (3.0, 1));
        let copies = 2 * last as u64 - 1;
        assert_eq!(saved(&rig).await, (3.0 * copies as f64, copies));
        assert_eq!((counted(&rig, "executed"), counted(&rig, "joined")), (1, copies));
        let original = records(&rig, "executed");
        for record in records(&rig, "joined") {
            assert_eq!(record["original_request_id"], original[0]["request_id"]);
            assert_eq!((&record["outcome"], &record["status"]), (&"completed".into(), &200.into()));
            assert!(record["credits"].is_null() && record["booked"].is_null(), "it cost nothing: {record}");
            assert_eq!(record["response_bytes"], original[0]["response_bytes"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_drives_may_leave_at_every_frame() {
    let whole = {
        let (rig, steps) = stepwise(&Setup::default(), events());
        steps.to(usize::MAX);
        rig.send(rig.chat(chat_body(true, ""))).await.body
    };
    let last = events().len();
    for leaves in 0..last {
        for joins in [None, Some(false), Some(true)] {
            let (rig, steps) = stepwise(&Setup::default(), events());
            let body = chat_body(true, "");
            let first = tokio::spawn({
                let asked = ask(&rig, keyed(rig.chat(body.clone()), "k"), false);
                async move {
                    let mut frames = asked.await.into_body();
                    while frames.frame().await.is_some() {}
                }
            });
            breathe().await;
            steps.to(leaves);
            breathe().await;
            let copy = joins.map(|http2| asks(&rig, keyed(rig.chat(body.clone()), "k"), http2));
            breathe().await;
            first.abort();
            // A caller that may have ended its own side alone is asked a second later, or is gone when the next frame is
            // written to it.
            tokio::time::sleep(Duration::from_secs(2)).await;
            steps.to(leaves + 1);
            breathe().await;
            steps.to(last);
            if let Some(copy) = copy {
                let copy = copy.await.unwrap();
                assert!(copy.whole && copy.body == whole, "{leaves} {joins:?}");
            }
            rig.settle().await;
            // And whoever comes when all is over.
            let late = Answer::read(ask(&rig, keyed(rig.chat(body), "k"), true).await).await;
            assert!(late.whole && late.body == whole, "{leaves} {joins:?}");
            assert_eq!(late.header("idempotent-replayed"), "true");
            assert_eq!((steps.requests(), booked(&rig).await), (1, (3.0, 1)), "{leaves} {joins:?}");
            let record = records(&rig, "executed").remove(0);
            if leaves + 1 < last {
                assert_eq!(record["outcome"], "client_gone", "{leaves} {joins:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_holds_nobody_back() {
    // Far more than pipes and connections take up.
    let mut pieces = vec![STREAM_HEAD.as_bytes().to_vec()];
    pieces.extend((0..64).map(|n| chunk(format!("data: {n}{}\n\n", "x".repeat(16 << 10)))));
    pieces.push([chunk(completed(3)), b"0\r\n\r\n".to_vec()].concat());
    let (rig, steps) = stepwise(&Setup::default(), pieces);
    let body = chat_body(true, "");
    let mut stalled = rig.raw();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         idempotency-key: k\r\ncontent-length: {}\r\n\r\n{body}",
        chat_path(),
        rig.key,
        body.len()
    );
    stalled.write_all(head.as_bytes()).await.unwrap();
    breathe().await;
    assert_eq!(steps.requests(), 1);
    let copy = asks(&rig, keyed(rig.chat(body), "k"), false);
    steps.to(usize::MAX);
    let copy = copy.await.unwrap();
    assert!(copy.whole && copy.body.len() > 1 << 20);
    drop(stalled);
    rig.settle().await;
    assert_eq!((steps.requests(), booked(&rig).await), (1, (3.0, 1)));
}

#[tokio::test(start_paused = true)]
async fn streams_cut_anywhere_are_the_same_for_all() {
    for seed in 0..200 {
        let mut random = Seed(seed);
        let event = |n| format!("event: response.output_text.delta\ndata: {{\"delta\":\"{n}\"}}\n\n");
        let written = [(0..8).map(event).collect(), completed(3)].concat().into_bytes();
        let mut pieces = vec![STREAM_HEAD.as_bytes().to_vec()];
        let mut rest = &written[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + random.below(rest.len()));
            pieces.push(chunk(piece));
            rest = behind;
        }
        pieces.push(b"0\r\n\r\n".to_vec());
        let last = pieces.len();
        let (rig, steps) = stepwise(&Setup::default(), pieces);
        let body = chat_body(true, "");
        let mut callers = Vec::new();
        for piece in 0..=last {
            if piece == 0 || random.percent(30) {
                callers.push(asks(&rig, keyed(rig.chat(body.clone()), "k"), random.percent(50)));
                breathe().await;
            }
            steps.to(piece);
            breathe().await;
        }
        let mut answers = Vec::new();
        for caller in callers {
            answers.push(caller.await.unwrap());
        }
        rig.settle().await;
        assert_eq!(steps.requests(), 1, "{seed}");
        for answer in &answers {
            assert!(answer.whole && answer.body == written, "{seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_counts_in_its_teams_rate_and_concurrency_and_takes_no_place_and_no_credits() {
    let team =
        "requests_per_minute = 100\nburst = 3\nconcurrency = 2\nbudget = { credits = 5, period = \"month\" }";
    let (rig, steps) = stepwise(
        &Setup { team: team.into(), upstream: "requests_per_minute = 1".into(), ..Setup::default() },
        events(),
    );
    let call = |rig: &Rig| asks(rig, keyed(rig.chat(chat_body(true, "")), "k"), false);
    let first = call(&rig);
    breathe().await;
    let copy = call(&rig);
    breathe().await;
    let third = call(&rig).await.unwrap();
    assert_eq!(third.code(), "concurrency_limit_exceeded");
    steps.to(usize::MAX);
    let copy = copy.await.unwrap();
    assert!(copy.whole);
    assert_eq!(copy.header("x-ratelimit-remaining"), "1", "its own standing, not the first's");
    assert_eq!(copy.header("x-credits-remaining"), "2", "what is left beside what the first holds");
    assert!(first.await.unwrap().whole);
    rig.settle().await;
    assert_eq!(call(&rig).await.unwrap().code(), "rate_limit_exceeded");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let late = call(&rig).await.unwrap();
    assert_eq!(
        (late.status().as_u16(), late.whole),
        (200, true),
        "neither window nor budget have room for another"
    );
    assert_eq!((steps.requests(), booked(&rig).await), (1, (3.0, 1)));
}
