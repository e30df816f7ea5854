//! Without a key: the retry of an SDK is given the answer of the call that it repeats, and nobody else's.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use super::{ask, asks, booked, breathe, counted, records, saved, stepwise};
use crate::support::chat_body;
use crate::support::rig::{Rig, Setup};
use crate::support::script::{STREAM_HEAD, chunk, completed, json_answer};

const ANSWER: &str = "{\"usage\":{\"credits_used\":3}}";

/// A call as an SDK makes it, for the so manieth time again.
fn attempt(rig: &Rig, count: u32, stream: bool) -> Request<Full<Bytes>> {
    let mut request = rig.chat(chat_body(stream, ""));
    request.headers_mut().insert("x-stainless-retry-count", count.into());
    request
}

/// Sends a call, and leaves when all that can be done has been done.
async fn leave(rig: &Rig, request: Request<Full<Bytes>>) {
    let asked = ask(rig, request, false);
    let left = tokio::spawn(async move { drop(asked.await) });
    breathe().await;
    left.abort();
    breathe().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_given_the_answer_that_nobody_has_received() {
    let stream = vec![STREAM_HEAD.as_bytes().to_vec(), [chunk(completed(3)), b"0\r\n\r\n".to_vec()].concat()];
    for (streams, pieces) in [(false, vec![json_answer(ANSWER).into_bytes()]), (true, stream)] {
        for answered_before in [false, true] {
            let (rig, steps) = stepwise(&Setup::default(), pieces.clone());
            leave(&rig, attempt(&rig, 0, streams)).await;
            // And a second time, in vain.
            leave(&rig, attempt(&rig, 1, streams)).await;
            if answered_before {
                steps.to(usize::MAX);
                rig.settle().await;
                tokio::time::sleep(Duration::from_secs(100)).await;
            }
            let retry = asks(&rig, attempt(&rig, 2, streams), true);
            breathe().await;
            steps.to(usize::MAX);
            let retry = retry.await.unwrap();
            assert!(retry.whole && retry.status() == 200);
            rig.settle().await;
            assert_eq!((steps.requests(), booked(&rig).await), (1, (3.0, 1)));
            assert_eq!(counted(&rig, "adopted"), 2);
            let first = rig.records().into_iter().find(|record| record["retry"].is_null()).unwrap();
            assert_eq!(retry.header("x-gateway-adopted"), first["request_id"]);
            assert_eq!(first["outcome"], "client_gone");
            assert_eq!(saved(&rig).await, (3.0, 1), "one copy has it");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_calls_that_are_the_same_on_purpose_are_two() {
    let pieces = vec![json_answer(ANSWER).into_bytes()];
    let (rig, steps) = stepwise(&Setup::default(), pieces);
    // Both were left, and both are retried: each has one of the two.
    for _ in 0..2 {
        leave(&rig, attempt(&rig, 0, false)).await;
    }
    let retries: Vec<_> = (0..2).map(|_| asks(&rig, attempt(&rig, 1, false), false)).collect();
    breathe().await;
    steps.to(usize::MAX);
    let mut adopted = Vec::new();
    for retry in retries {
        adopted.push(retry.await.unwrap().header("x-gateway-adopted").to_owned());
    }
    assert_ne!(adopted[0], adopted[1]);
    // A third has nobody to take over from, and one that is no retry never has.
    for count in [1, 0] {
        let answer = rig.send(attempt(&rig, count, false)).await;
        assert!(!answer.head.headers.contains_key("x-gateway-adopted"));
    }
    rig.settle().await;
    assert_eq!((steps.requests(), booked(&rig).await), (4, (12.0, 4)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_over_but_what_is_surely_meant() {
    let others = vec![("support", String::new())];
    let setup = Setup { others, ..Setup::default() };
    let make = |what: &str| {
        let setup = match what {
            "it is turned off" => Setup { retries: "adopt = false".into(), ..setup.clone() },
            "calls are cut when their caller leaves" => {
                Setup { upstream: "on_disconnect = \"cancel\"".into(), ..setup.clone() }
            }
            _ => setup.clone(),
        };
        stepwise(&setup, vec![json_answer(ANSWER).into_bytes()])
    };
    for what in [
        "it is turned off",
        "calls are cut when their caller leaves",
        "another body",
        "another team",
        "no retry",
        "no SDK",
        "too late",
        "it has a key",
    ] {
        let (rig, steps) = make(what);
        let first = match what {
            "no SDK" => rig.chat(chat_body(false, "")),
            _ => attempt(&rig, 0, false),
        };
        leave(&rig, first).await;
        steps.to(usize::MAX);
        rig.settle().await;
        if what == "too late" {
            tokio::time::sleep(Duration::from_secs(121)).await;
        }
        let mut second = match what {
            "another body" => attempt(&rig, 1, true),
            "no retry" => attempt(&rig, 0, false),
            _ => attempt(&rig, 1, false),
        };
        if what == "another team" {
            let mut other = rig.chat_of("support", chat_body(false, ""));
            other.headers_mut().insert("x-stainless-retry-count", 1.into());
            second = other;
        }
        if what == "it has a key" {
            second = super::keyed(second, "k");
        }
        let answer = rig.send(second).await;
        assert!(!answer.head.headers.contains_key("x-gateway-adopted"), "{what}");
        assert_eq!((answer.status().as_u16(), steps.requests()), (200, 2), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_has_had_the_head_has_had_its_answer() {
    let pieces = vec![
        STREAM_HEAD.as_bytes().to_vec(),
        chunk("data: {}\n\n"),
        [chunk(completed(3)), b"0\r\n\r\n".to_vec()].concat(),
    ];
    let (rig, steps) = stepwise(&Setup::default(), pieces);
    steps.to(2);
    let mut response = ask(&rig, attempt(&rig, 0, true), false).await;
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    breathe().await;
    steps.to(usize::MAX);
    let retry = rig.send(attempt(&rig, 1, true)).await;
    assert!(!retry.head.headers.contains_key("x-gateway-adopted"));
    rig.settle().await;
    assert_eq!(steps.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_failed_is_nobodys() {
    let setup = Setup { upstream: "first_byte_timeout = \"5s\"".into(), ..Setup::default() };
    let (rig, steps) = stepwise(&setup, vec![json_answer(ANSWER).into_bytes()]);
    leave(&rig, attempt(&rig, 0, false)).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    steps.to(usize::MAX);
    let retry = rig.send(attempt(&rig, 1, false)).await;
    assert_eq!(retry.status(), 200);
    assert!(!retry.head.headers.contains_key("x-gateway-adopted"));
    assert_eq!(steps.requests(), 2);
    assert!(records(&rig, "adopted").is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_not_sent_yet_ends_as_ever() {
    let setup = Setup {
        upstream: "requests_per_minute = 1".into(),
        queue: "wait = \"2m\"".into(),
        ..Setup::default()
    };
    let (rig, steps) = stepwise(&setup, vec![json_answer(ANSWER).into_bytes()]);
    steps.to(usize::MAX);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    leave(&rig, attempt(&rig, 0, false)).await;
    rig.settle().await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!((steps.requests(), booked(&rig).await.0), (1, 3.0));
}
