//! Everything is bounded: one answer, all answers, and how long they are kept.

use std::time::Duration;

use super::{ask, asks, breathe, counted, keyed, stepwise};
use crate::support::chat_body;
use crate::support::recorder::Recorder;
use crate::support::rig::{Answer, Rig, Setup};
use crate::support::script::{STREAM_HEAD, chunk, completed, json_answer};

fn large() -> Vec<Vec<u8>> {
    let mut pieces = vec![STREAM_HEAD.as_bytes().to_vec()];
    pieces.extend((0..20).map(|n| chunk(format!("data: {n}{}\n\n", "x".repeat(500)))));
    pieces.push([chunk(completed(3)), b"0\r\n\r\n".to_vec()].concat());
    pieces
}

fn retries(lines: &str) -> Setup {
    Setup { retries: lines.into(), ..Setup::default() }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_its_first_callers_and_nobody_elses() {
    let (rig, steps) = stepwise(&retries("bodies = { max_body = \"4KiB\" }"), large());
    let chat = || keyed(rig.chat(chat_body(true, "")), "k");
    let first = asks(&rig, chat(), false);
    let early = asks(&rig, chat(), true);
    // One that joins in time, and stops reading.
    steps.to(1);
    let behind = ask(&rig, chat(), false).await;
    for piece in 2..15 {
        steps.to(piece);
        breathe().await;
    }
    let late = rig.send(chat()).await;
    assert_eq!((late.status().as_u16(), late.code().as_str()), (409, "idempotency_in_progress"));
    assert_eq!(late.header("retry-after"), "2");
    steps.to(usize::MAX);
    for answer in [first.await.unwrap(), early.await.unwrap()] {
        assert!(answer.whole && answer.body.len() > 10_000, "whoever keeps up has all of it");
    }
    let behind = Answer::read(behind).await;
    assert!(!behind.whole || behind.body.len() > 10_000, "a copy with a hole in it shows no clean end");
    rig.settle().await;
    let gone = rig.send(chat()).await;
    assert_eq!((gone.status().as_u16(), gone.code().as_str()), (409, "idempotency_answer_gone"));
    assert_eq!(gone.header("x-should-retry"), "false");
    let message = gone.json()["error"]["message"].to_string();
    assert!(message.contains("for 3 credits, as response resp_x"), "{message}");
    assert_eq!((steps.requests(), counted(&rig, "in_progress"), counted(&rig, "gone")), (1, 1, 1));
    assert_eq!(rig.gauge("recorded_bytes"), 0.0, "and takes no memory");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_copy_of_a_large_answer_is_broken_off() {
    // Far more than pipes and connections take up.
    let mut pieces = vec![STREAM_HEAD.as_bytes().to_vec()];
    pieces.extend((0..64).map(|n| chunk(format!("data: {n}{}\n\n", "x".repeat(16 << 10)))));
    pieces.push([chunk(completed(3)), b"0\r\n\r\n".to_vec()].concat());
    let (rig, steps) = stepwise(&retries("bodies = { max_body = \"32KiB\" }"), pieces);
    let chat = || keyed(rig.chat(chat_body(true, "")), "k");
    steps.to(1);
    let first = ask(&rig, chat(), false).await;
    let stalled = ask(&rig, chat(), false).await;
    steps.to(usize::MAX);
    let first = Answer::read(first).await;
    assert!(first.whole && first.body.len() > 1 << 20);
    let stalled = Answer::read(stalled).await;
    assert!(!stalled.whole && first.body.starts_with(&stalled.body));
    rig.settle().await;
    let outcomes: Vec<_> = rig.records().iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["completed", "truncated"]);
}

#[tokio::test(start_paused = true)]
async fn answers_are_kept_for_their_time_and_keys_for_theirs() {
    let (rig, upstream) = Recorder::behind(&retries("keep = \"1h\"\nbodies = { keep = \"10m\" }"));
    let watch = tokio::spawn({
        let retries = std::sync::Arc::clone(&rig.gateway.retries);
        async move { retries.watch().await }
    });
    let call = async |rig: &Rig| rig.send(keyed(rig.chat(chat_body(false, "")), "k")).await;
    assert_eq!(call(&rig).await.status(), 200);
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_eq!(call(&rig).await.header("idempotent-replayed"), "true");
    assert!(rig.gauge("recorded_bytes") > 0.0);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(call(&rig).await.code(), "idempotency_answer_gone");
    assert_eq!(rig.gauge("recorded_bytes"), 0.0);
    tokio::time::sleep(Duration::from_secs(2990)).await;
    assert_eq!(call(&rig).await.code(), "idempotency_answer_gone");
    assert_eq!(upstream.count(), 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        (call(&rig).await.status().as_u16(), upstream.count()),
        (200, 2),
        "an hour later it is another call"
    );
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn a_team_has_a_quarter_of_the_memory_and_the_oldest_answers_go_first() {
    let others = vec![("support", String::new())];
    let lines = "bodies = { total = \"1MiB\", max_body = \"64KiB\" }";
    let (rig, upstream) = Recorder::behind(&Setup { others, ..retries(lines) });
    let body = format!("{{\"text\":\"{}\",\"usage\":{{\"credits_used\":1}}}}", "x".repeat(60_000));
    let own = rig.chat_of("support", chat_body(false, ""));
    upstream.answer_next(json_answer(&body), false);
    assert_eq!(rig.send(keyed(own, "own")).await.status(), 200);
    for n in 0..30 {
        upstream.answer_next(json_answer(&body), false);
        let key = format!("k-{n}");
        assert_eq!(rig.send(keyed(rig.chat(chat_body(false, "")), &key)).await.status(), 200);
        assert!(rig.gauge("recorded_bytes") <= f64::from((256 + 64) << 10));
    }
    let again = async |key: &str| rig.send(keyed(rig.chat(chat_body(false, "")), key)).await;
    assert_eq!(again("k-29").await.header("idempotent-replayed"), "true");
    assert_eq!(again("k-0").await.code(), "idempotency_answer_gone");
    let own = rig.chat_of("support", chat_body(false, ""));
    let own = rig.send(keyed(own, "own")).await;
    assert_eq!(own.header("idempotent-replayed"), "true", "another team's are not touched");
    assert_eq!(upstream.count(), 31);
}
