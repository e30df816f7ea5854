//! The states of a key, and what a copy is told in each.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;

use super::{ask, asks, booked, breathe, correct, counted, keyed, records, saved, stepwise};
use crate::support::chat_body;
use crate::support::recorder::Recorder;
use crate::support::rig::{Answer, Rig, Setup};
use crate::support::script::{STREAM_HEAD, chunk, completed, json_answer};

const ANSWER: &str = "{\"id\":\"resp_7\",\"usage\":{\"credits_used\":3}}";

async fn call(rig: &Rig, key: &str) -> Answer {
    rig.send(keyed(rig.chat(chat_body(false, "")), key)).await
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_is_replayed_byte_for_byte() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    upstream.answer_next(json_answer(ANSWER), false);
    let first = call(&rig, "k").await;
    assert_eq!((first.status().as_u16(), &*first.body), (200, ANSWER.as_bytes()));
    assert!(!first.head.headers.contains_key("idempotent-replayed"));
    for written in ["k", "\"k\"", " k "] {
        let copy = call(&rig, written).await;
        assert_eq!((copy.status().as_u16(), &copy.body), (200, &first.body));
        assert_eq!(copy.header("content-length"), first.header("content-length"));
        assert_eq!(copy.header("idempotent-replayed"), "true");
        assert_eq!(copy.header("x-gateway-original-request-id"), first.header("x-request-id"));
        assert_ne!(copy.header("x-request-id"), first.header("x-request-id"));
    }
    rig.settle().await;
    assert_eq!((upstream.count(), booked(&rig).await, saved(&rig).await), (1, (3.0, 1), (9.0, 3)));
    assert_eq!((counted(&rig, "executed"), counted(&rig, "replayed")), (1, 3));
    let line = records(&rig, "replayed").remove(0);
    assert_eq!(line["original_request_id"], first.header("x-request-id"));
    assert_eq!(
        (&line["outcome"], &line["response_id"], &line["credits"]),
        (&"completed".into(), &"resp_7".into(), &serde_json::Value::Null)
    );
    let saved = "mavera_gateway_credits_saved_total{team=\"growth\"} 9";
    assert!(rig.metrics().contains(saved), "{}", rig.metrics());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_of_a_team_a_method_and_a_path() {
    let others = vec![("support", String::new())];
    let (rig, upstream) = Recorder::behind(&Setup { others, ..Setup::default() });
    let body = chat_body(false, "");
    assert_eq!(call(&rig, "k").await.status(), 200);
    assert_eq!(rig.send(keyed(rig.chat_of("support", body.clone()), "k")).await.status(), 200);
    let path = "/api/v1/video-analyses/another/chat";
    assert_eq!(rig.send(keyed(rig.request(Method::POST, path, body), "k")).await.status(), 200);
    assert_eq!(upstream.count(), 3);
    // Reads cost nothing, and are what they are each time.
    for _ in 0..2 {
        let request = rig.request(Method::GET, "/api/v1/video-analyses", "");
        let answer = rig.send(keyed(request, "not a key at all")).await;
        assert!(!answer.head.headers.contains_key("idempotent-replayed"));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(upstream.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn another_call_with_the_same_key_is_refused() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    assert_eq!(call(&rig, "k").await.status(), 200);
    let mut other = rig.chat(chat_body(false, ""));
    other.headers_mut().insert("content-type", "application/json; charset=utf-8".parse().unwrap());
    for request in [rig.chat(chat_body(true, "")), rig.chat(chat_body(false, "delay=0s")), other] {
        let answer = rig.send(keyed(request, "k")).await;
        assert_eq!((answer.status().as_u16(), answer.code().as_str()), (422, "idempotency_key_reused"));
        assert_eq!(answer.header("x-should-retry"), "false");
    }
    assert_eq!((upstream.count(), counted(&rig, "reused")), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_could_be_read_in_two_ways_is_refused_and_says_how_to_mend_it() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    for key in ["", "\"\"", "a b", "\"a", &"k".repeat(256)] {
        let answer = call(&rig, key).await;
        assert_eq!((answer.status().as_u16(), answer.code().as_str()), (400, "invalid_field"), "{key}");
        assert_eq!(answer.json()["error"]["param"], "idempotency-key");
    }
    let mut twice = keyed(rig.chat(chat_body(false, "")), "a");
    twice.headers_mut().append("idempotency-key", "a".parse().unwrap());
    assert_eq!(rig.send(twice).await.code(), "invalid_field");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_frees_its_key() {
    for status in ["400 Bad Request", "404 Not Found", "409 Conflict", "422 Unprocessable Content"] {
        let (rig, upstream) = Recorder::behind(&Setup::default());
        upstream.answer_next(
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"),
            false,
        );
        assert_eq!(call(&rig, "k").await.status().as_str(), &status[..3]);
        // With another body too: what was wrong may have been mended.
        let mended = rig.send(keyed(rig.chat(chat_body(true, "")), "k")).await;
        assert_eq!((mended.status().as_u16(), upstream.count()), (200, 2), "{status}");
    }
    // By us, before anything was sent.
    let queue = "wait = \"0s\"";
    let upstream = "requests_per_minute = 1";
    let setup = Setup { queue: queue.into(), upstream: upstream.into(), ..Setup::default() };
    let (rig, upstream) = Recorder::behind(&setup);
    assert_eq!(call(&rig, "first").await.status(), 200);
    assert_eq!(call(&rig, "k").await.code(), "upstream_window_full");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!((call(&rig, "k").await.status().as_u16(), upstream.count()), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_upstream_frees_the_key_of_a_chat_and_stays_in_doubt() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    upstream.answer_next("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", false);
    assert_eq!(call(&rig, "k").await.status(), 500);
    assert_eq!(call(&rig, "k").await.status(), 200);
    assert_eq!(upstream.count(), 2);
    assert_eq!(booked(&rig).await.1, 2, "the first stays booked, in doubt");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_unknown_is_never_made_again() {
    let truncated = [STREAM_HEAD.as_bytes(), &chunk("data: {}\n\n")].concat();
    for (what, answer) in [
        ("nothing at all", Vec::new()),
        ("a part of an answer", truncated.clone()),
        ("an answer that does not say how it ended", [truncated, b"0\r\n\r\n".to_vec()].concat()),
    ] {
        let (rig, upstream) = Recorder::behind(&Setup::default());
        upstream.answer_next(answer, true);
        let first = rig.send(keyed(rig.chat(chat_body(true, "")), "k")).await;
        for _ in 0..2 {
            let copy = rig.send(keyed(rig.chat(chat_body(true, "")), "k")).await;
            assert_eq!(
                (copy.status().as_u16(), copy.code().as_str()),
                (409, "idempotency_outcome_unknown"),
                "{what}: {first:?}"
            );
            assert_eq!(copy.header("x-should-retry"), "false");
        }
        assert_eq!((upstream.count(), counted(&rig, "unknown")), (1, 2), "{what}");
    }
    // A deadline that passes.
    let (rig, steps) = stepwise(
        &Setup { upstream: "first_byte_timeout = \"5s\"".into(), ..Setup::default() },
        vec![vec![]; 2],
    );
    assert_eq!(call(&rig, "k").await.code(), "upstream_timeout");
    assert_eq!(call(&rig, "k").await.code(), "idempotency_outcome_unknown");
    assert_eq!(steps.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_is_known_when_the_books_have_been_reconciled() {
    for (figure, expected) in [(0u64, 200), (2, 409)] {
        let (rig, upstream) = Recorder::behind(&Setup::default());
        let event = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_lost\"}}\n\n";
        upstream.answer_next([STREAM_HEAD.as_bytes(), &chunk(event)].concat(), true);
        let chat = || keyed(rig.chat(chat_body(true, "")), "k");
        assert!(!rig.send(chat()).await.whole);
        assert_eq!(rig.send(chat()).await.code(), "idempotency_outcome_unknown");
        correct(&rig, "resp_lost", figure);
        let copy = rig.send(chat()).await;
        assert_eq!(copy.status(), expected);
        if figure > 0 {
            assert_eq!(copy.code(), "idempotency_answer_gone");
            let message = copy.json()["error"]["message"].to_string();
            assert!(message.contains("for 2 credits") && message.contains("resp_lost"), "{message}");
        }
        assert_eq!(upstream.count(), if figure == 0 { 2 } else { 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_waits_its_turn_leaves_the_call_to_its_copies_or_frees_the_key() {
    for joined in [true, false] {
        let setup = Setup {
            upstream: "requests_per_minute = 1".into(),
            queue: "wait = \"2m\"".into(),
            ..Setup::default()
        };
        let (rig, upstream) = Recorder::behind(&setup);
        assert_eq!(call(&rig, "before").await.status(), 200);
        let wait = |rig: &Rig| asks(rig, keyed(rig.chat(chat_body(false, "")), "k"), false);
        let first = wait(&rig);
        breathe().await;
        let copy = joined.then(|| wait(&rig));
        breathe().await;
        first.abort();
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let Some(copy) = copy {
            let copy = copy.await.unwrap();
            assert_eq!((copy.status().as_u16(), copy.whole, upstream.count()), (200, true, 2));
            rig.settle().await;
            assert_eq!(booked(&rig).await.1, 2);
        } else {
            rig.settle().await;
            assert_eq!((upstream.count(), booked(&rig).await.0), (1, 1.0), "it was never sent");
            assert_eq!(wait(&rig).await.unwrap().status(), 200, "the key is free");
            assert_eq!(upstream.count(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_to_whoever_waits_for_the_call() {
    let setup = Setup {
        upstream: "requests_per_minute = 1".into(),
        queue: "wait = \"10s\"".into(),
        ..Setup::default()
    };
    let (rig, upstream) = Recorder::behind(&setup);
    assert_eq!(call(&rig, "before").await.status(), 200);
    rig.gateway.books.desk.see(mavera_gateway::desk::Seen::Reconfigured);
    let wait = || asks(&rig, keyed(rig.chat(chat_body(false, "")), "k"), false);
    let (first, copy) = (wait(), wait());
    breathe().await;
    rig.gateway.books.desk.close();
    for answer in [first.await.unwrap(), copy.await.unwrap()] {
        assert!(["draining", "upstream_window_full"].contains(&answer.code().as_str()), "{answer:?}");
    }
    rig.settle().await;
    assert_eq!(upstream.count(), 1);
    let outcomes: Vec<_> = rig.records().iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["completed", "refused", "refused"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_put_back_by_the_upstream_keeps_its_copies_and_is_charged_once() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    upstream
        .answer_next("HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n", false);
    upstream.answer_next(json_answer(ANSWER), false);
    let wait = || asks(&rig, keyed(rig.chat(chat_body(false, "")), "k"), false);
    let (first, copy) = (wait(), wait());
    for answer in [first.await.unwrap(), copy.await.unwrap()] {
        assert_eq!((answer.status().as_u16(), &*answer.body), (200, ANSWER.as_bytes()));
    }
    rig.settle().await;
    assert_eq!((upstream.count(), booked(&rig).await.0, saved(&rig).await), (2, 3.0, (3.0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_key_is_read_to_its_end_also_where_others_are_cut() {
    let pieces = vec![
        STREAM_HEAD.as_bytes().to_vec(),
        chunk("data: {}\n\n"),
        [chunk(completed(3)), b"0\r\n\r\n".to_vec()].concat(),
    ];
    let setup = Setup { upstream: "on_disconnect = \"cancel\"".into(), ..Setup::default() };
    let (rig, steps) = stepwise(&setup, pieces);
    let chat = || keyed(rig.chat(chat_body(true, "")), "k");
    steps.to(2);
    let mut response = ask(&rig, chat(), false).await;
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    breathe().await;
    steps.to(3);
    rig.settle().await;
    let copy = Answer::read(ask(&rig, chat(), false).await).await;
    assert!(copy.whole && copy.header("idempotent-replayed") == "true");
    assert_eq!((steps.requests(), booked(&rig).await), (1, (3.0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_key_names_its_call_for_as_long_as_that_goes_on() {
    let setup = Setup {
        retries: "keep = \"1m\"\nbodies = { keep = \"1m\" }".into(),
        upstream: "first_byte_timeout = \"10m\"\ntotal_timeout = \"1h\"".into(),
        ..Setup::default()
    };
    let (rig, steps) = stepwise(&setup, vec![json_answer(ANSWER).into_bytes()]);
    let watch = tokio::spawn({
        let retries = std::sync::Arc::clone(&rig.gateway.retries);
        async move { retries.watch().await }
    });
    let first = asks(&rig, keyed(rig.chat(chat_body(false, "")), "k"), false);
    tokio::time::sleep(Duration::from_mins(5)).await;
    let copy = asks(&rig, keyed(rig.chat(chat_body(false, "")), "k"), false);
    breathe().await;
    steps.to(usize::MAX);
    for answer in [first.await.unwrap(), copy.await.unwrap()] {
        assert_eq!(&*answer.body, ANSWER.as_bytes());
    }
    assert_eq!(steps.requests(), 1);
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_not_sent_again() {
    let refusal = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
    for has_key in [true, false] {
        let (rig, steps) = stepwise(&Setup::default(), vec![refusal.as_bytes().to_vec()]);
        let request = || {
            let mut request = rig.chat(chat_body(false, ""));
            request.headers_mut().insert("x-stainless-retry-count", 0.into());
            if has_key { keyed(request, "k") } else { request }
        };
        let first = asks(&rig, request(), false);
        breathe().await;
        first.abort();
        tokio::time::sleep(Duration::from_secs(2)).await;
        // By now it is the drain's; the upstream has no place for it, and it would wait for another turn.
        steps.to(usize::MAX);
        rig.settle().await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!((steps.requests(), booked(&rig).await.0), (1, 0.0), "{has_key}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_said_that_it_was_over_is_whole_also_if_its_connection_goes_on() {
    let pieces = vec![STREAM_HEAD.as_bytes().to_vec(), chunk(completed(3)), Vec::new()];
    let (rig, steps) = stepwise(&Setup::default(), pieces);
    let chat = || keyed(rig.chat(chat_body(true, "")), "k");
    steps.to(2);
    let mut response = ask(&rig, chat(), true).await;
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    drop(response);
    // Longer than a body is waited for whose answer is over.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let copy = rig.send(chat()).await;
    assert_eq!((copy.header("idempotent-replayed"), copy.whole, &copy.body), ("true", true, &first));
    assert_eq!((steps.requests(), booked(&rig).await), (1, (3.0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_drain_has_no_room_for_is_not_made_again() {
    let (rig, steps) = stepwise(&Setup::default(), vec![json_answer(ANSWER).into_bytes()]);
    let leave = async |request| {
        let asked = asks(&rig, request, true);
        breathe().await;
        asked.abort();
        breathe().await;
    };
    for _ in 0..1024 {
        leave(rig.chat(chat_body(false, ""))).await;
    }
    assert_eq!(rig.gauge("exchanges_draining"), 1024.0);
    leave(keyed(rig.chat(chat_body(false, "")), "k")).await;
    assert_eq!(steps.requests(), 1025);
    let copy = call(&rig, "k").await;
    assert_eq!(copy.code(), "idempotency_outcome_unknown");
    steps.to(usize::MAX);
    rig.settle().await;
    assert_eq!(call(&rig, "k").await.code(), "idempotency_outcome_unknown");
    assert_eq!(steps.requests(), 1025);
}
