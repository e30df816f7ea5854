//! What the upstream can do wrong, and what the caller, the record and the connection make of it.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::support::rig::{Answer, Rig, Setup};
use crate::support::script::{Received, STREAM_HEAD, chunk, completed, json_answer, read_request, write};
use crate::support::{CANARY, chat_body};

/// A rig whose upstream answers every request with these bytes and then closes.
fn answering(bytes: impl Into<Vec<u8>>) -> (Rig, Received) {
    let received = Received::default();
    let (log, bytes) = (received.clone(), bytes.into());
    let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
        let (log, bytes) = (log.clone(), bytes.clone());
        async move {
            if let Some(request) = read_request(&mut io).await {
                log.push(request);
                write(&mut io, &bytes).await;
                let _ = io.shutdown().await;
            }
        }
    });
    (rig, received)
}

#[tokio::test(start_paused = true)]
async fn answers_pass_as_they_are_with_only_the_listed_fields() {
    let head = "HTTP/1.1 422 Whatever\r\ncontent-type: application/json\r\nretry-after: 3\r\nx-ratelimit-limit: 240\r\n\
                x-ratelimit-remaining: 3\r\nx-ratelimit-reset: 99\r\nset-cookie: a=b\r\nserver: mavera\r\nx-request-id: theirs\r\n\
                x-powered-by: y\r\nconnection: x-secret\r\nx-secret: s\r\nupgrade: foo\r\ncontent-length: 2\r\n\r\n{}";
    let (rig, _) = answering(head);
    let answer = rig.send(rig.chat(chat_body(false, ""))).await;
    let mut names: Vec<_> = answer.head.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "date",
            "retry-after",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "x-request-id"
        ]
    );
    // The caller's own, and not the organisation's.
    assert_eq!(answer.header("x-ratelimit-limit"), "100000000");
    assert_eq!((answer.status().as_u16(), &answer.body[..]), (422, &b"{}"[..]));
    assert_ne!(answer.header("x-request-id"), "theirs");
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_ours_to_explain_and_never_the_callers() {
    let (rig, _) = answering(
        "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 23\r\n\r\n{\"error\":\"mvra_live_x\"}\n",
    );
    let answer = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!((answer.status().as_u16(), answer.code().as_str()), (502, "upstream_credentials_rejected"));
    assert_eq!(answer.header("x-should-retry"), "false");
    assert!(!String::from_utf8_lossy(&answer.body).contains("mvra_"));
    let metrics = rig.metrics();
    assert!(metrics.contains("mavera_gateway_upstream_responses_total{status=\"401\"} 1"));
    assert!(
        metrics.contains(
            "mavera_gateway_refusals_total{code=\"upstream_credentials_rejected\",team=\"growth\"} 1"
        )
    );
    assert_eq!(rig.record().await["outcome"], "failed");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_upstream_echoes_is_masked_and_the_framing_holds() {
    let masked = format!("mvra_live_{}", "*".repeat(CANARY.len() - 10));
    for status in ["200 OK", "403 Forbidden", "500 Oops"] {
        let body = format!(
            "{{\"id\":\"{CANARY}\",\"echo\":\"Bearer {CANARY}\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":2,\"credits_used\":2}}}}"
        );
        let (rig, _) = answering(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: {CANARY}\r\nx-ratelimit-limit: 5\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        // The rig looks for the key in the answer, the log, the metrics and the ledger.
        let answer = rig.send(rig.chat(chat_body(false, ""))).await;
        assert!(answer.whole);
        assert_eq!(answer.body, body.replace(CANARY, &masked));
        assert_eq!((answer.header("retry-after"), answer.header("x-ratelimit-limit")), ("", "100000000"));
        assert_eq!(rig.record().await["response_id"], masked);
    }
    // In a stream, cut at every place, with a trailer that has it too.
    let event = format!("data: {{\"delta\":\"{CANARY}\"}}\n\n");
    for cut in 0..event.len() {
        let (first, second) = event.as_bytes().split_at(cut);
        let mut bytes = STREAM_HEAD.replace("\r\n\r\n", "\r\ntrailer: x-echo\r\n\r\n").into_bytes();
        for part in [first, second, completed(2).as_bytes()].into_iter().filter(|part| !part.is_empty()) {
            bytes.extend(chunk(part));
        }
        bytes.extend(format!("0\r\nx-echo: {CANARY}\r\n\r\n").into_bytes());
        let (rig, _) = answering(bytes);
        let answer = rig.send(rig.chat(chat_body(true, ""))).await;
        assert!(answer.whole, "cut at {cut}");
        assert_eq!(answer.body.len(), event.len() + completed(2).len());
        assert_eq!(rig.record().await["credits"], 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_to_pass_on_becomes_a_502() {
    for (what, bytes) in [
        (
            "a redirect",
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
        ),
        (
            "an upgrade nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: foo\r\nconnection: upgrade\r\n\r\n".to_owned(),
        ),
        ("a status that is none", "HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n".to_owned()),
        (
            "another coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "a coding within",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n".to_owned()),
        ("nothing", String::new()),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_owned()),
        ("a folded field", "HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 2\r\n\r\n{}".to_owned()),
        ("a huge head", format!("HTTP/1.1 200 OK\r\nx-a: {}\r\n\r\n", "x".repeat(100_000))),
        ("too many fields", format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-a: b\r\n".repeat(101))),
    ] {
        let (rig, received) = answering(bytes);
        let answer = rig.send(rig.chat(chat_body(false, ""))).await;
        assert_eq!(
            (answer.status().as_u16(), answer.code().as_str()),
            (502, "upstream_protocol_error"),
            "{what}"
        );
        assert_eq!(answer.header("x-should-retry"), "false", "{what}: it may have been charged");
        assert_eq!(received.requests().len(), 1, "{what}: sent once and never again");
        assert_eq!(rig.record().await["outcome"], "failed", "{what}");
        assert_eq!(rig.pool.idle_count(), 0, "{what}: such a connection is not kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_ends_for_the_caller_as_one_that_broke() {
    let event = String::from_utf8(chunk("data: {\"n\":1}\n\n")).unwrap();
    for (what, bytes, outcome) in [
        (
            "a length cut short",
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"usage\":{\"credits_used\":3}".to_owned(),
            "truncated",
        ),
        ("chunks without an end", format!("{STREAM_HEAD}{event}"), "truncated"),
        ("a broken chunk size", format!("{STREAM_HEAD}{event}zz\r\n"), "truncated"),
        ("a whole message without a terminal frame", format!("{STREAM_HEAD}{event}0\r\n\r\n"), "truncated"),
        (
            "a whole one",
            format!("{STREAM_HEAD}{}0\r\n\r\n", String::from_utf8(chunk(completed(2))).unwrap()),
            "completed",
        ),
    ] {
        let (rig, _) = answering(bytes.clone());
        let answer = rig.send(rig.chat(chat_body(true, ""))).await;
        let whole = bytes.ends_with("0\r\n\r\n");
        assert_eq!((answer.status().as_u16(), answer.whole), (200, whole), "{what}");
        assert!(!answer.body.is_empty(), "{what}: what had come is passed on");
        assert_eq!(rig.record().await["outcome"], outcome, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_answer_glued_to_the_first_reaches_nobody() {
    let glued = format!("{}{}", json_answer("{\"mine\":1}"), json_answer("{\"not_yours\":1}"));
    let (rig, _) = answering(glued);
    for _ in 0..3 {
        let answer = rig.send(rig.chat(chat_body(false, ""))).await;
        assert_eq!(answer.body, "{\"mine\":1}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_upstream_costs_nothing_and_says_so() {
    let (rig, _) = answering("");
    rig.refuse_connections();
    let answer = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!((answer.status().as_u16(), answer.code().as_str()), (502, "upstream_unreachable"));
    assert_eq!(answer.header("x-should-retry"), "", "a retry is safe");
    assert_eq!(rig.gateway.books.desk.window_used(), 0, "it took no place in the window");
    let record = rig.record().await;
    assert!(record["upstream_seconds"].is_null());
}

fn first_byte_within_20_seconds() -> Setup {
    let upstream = "requests_per_minute = 1000\nfirst_byte_timeout = \"20s\"".into();
    Setup { upstream, ..Setup::default() }
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_has_a_deadline() {
    let rig = Rig::with_upstream(&first_byte_within_20_seconds(), |mut io, _| async move {
        read_request(&mut io).await;
        std::future::pending::<()>().await;
    });
    let began = tokio::time::Instant::now();
    let answer = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!((answer.status().as_u16(), answer.code().as_str()), (504, "upstream_timeout"));
    assert_eq!(answer.header("x-should-retry"), "false");
    assert_eq!(began.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn interim_answers_do_not_stop_the_first_byte_deadline() {
    let rig = Rig::with_upstream(&first_byte_within_20_seconds(), |mut io, _| async move {
        read_request(&mut io).await;
        loop {
            write(&mut io, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let began = tokio::time::Instant::now();
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 504);
    assert_eq!(began.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_stall_mid_stream_and_an_endless_stream_are_cut() {
    let setup =
        |extra: &str| Setup { upstream: format!("requests_per_minute = 1000\n{extra}"), ..Setup::default() };
    let stalled = Rig::with_upstream(&setup("idle_timeout = \"15s\""), |mut io, _| async move {
        read_request(&mut io).await;
        write(&mut io, STREAM_HEAD).await;
        write(&mut io, chunk("data: {}\n\n")).await;
        std::future::pending::<()>().await;
    });
    let began = tokio::time::Instant::now();
    let answer = stalled.send(stalled.chat(chat_body(true, ""))).await;
    assert!(!answer.whole && answer.body == "data: {}\n\n");
    assert_eq!(began.elapsed().as_secs(), 15);
    assert_eq!(stalled.record().await["outcome"], "truncated");

    let endless = Rig::with_upstream(&setup("total_timeout = \"100s\""), |mut io, _| async move {
        read_request(&mut io).await;
        write(&mut io, STREAM_HEAD).await;
        loop {
            write(&mut io, chunk(": still here\n\n")).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let began = tokio::time::Instant::now();
    assert!(!endless.send(endless.chat(chat_body(true, ""))).await.whole);
    assert!((100..=101).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_think_as_long_in_its_midst_as_before_its_head() {
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        read_request(&mut io).await;
        tokio::time::sleep(Duration::from_secs(115)).await;
        write(&mut io, STREAM_HEAD).await;
        write(&mut io, chunk("event: response.created\ndata: {}\n\n")).await;
        tokio::time::sleep(Duration::from_secs(115)).await;
        write(&mut io, chunk(completed(3))).await;
        write(&mut io, "0\r\n\r\n").await;
    });
    assert!(rig.send(rig.chat(chat_body(true, ""))).await.whole);
    let record = rig.record().await;
    assert_eq!((&record["outcome"], &record["credits"]), (&"completed".into(), &3.into()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_died_idle_is_replaced_without_the_caller_noticing() {
    // Answers one request and closes, without having said so.
    let (rig, received) = Rig::recording(&Setup::default(), 1);
    for _ in 0..5 {
        let answer = rig.send(rig.chat(chat_body(false, ""))).await;
        assert_eq!(answer.status(), 200);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((received.requests().len(), rig.connections_made()), (5, 5), "each was sent exactly once");
}

#[tokio::test(start_paused = true)]
async fn connections_are_reused_until_they_are_idle_or_old() {
    let setup = Setup {
        upstream: "requests_per_minute = 1000\nkeep_alive_idle = \"30s\"\nkeep_alive_lifetime = \"2m\""
            .into(),
        ..Setup::default()
    };
    let (rig, _) = Rig::with_simulator(&setup);
    let chat = || async { assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200) };
    chat().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    chat().await;
    assert_eq!(rig.connections_made(), 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    chat().await;
    assert_eq!(rig.connections_made(), 2, "idle for too long");
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        chat().await;
    }
    assert_eq!(rig.connections_made(), 3, "too old");
    tokio::time::sleep(Duration::from_secs(31)).await;
    let snapshot = rig.gateway.live.current();
    rig.pool.reap(&snapshot.origin, &snapshot.config.upstream);
    assert_eq!(rig.gauge("upstream_connections"), 0.0, "the reaper closes what nobody asks for");
}

#[tokio::test(start_paused = true)]
async fn what_goes_upstream_is_one_request_of_ours() {
    let (rig, received) = answering(json_answer("{}"));
    let mut request =
        rig.chat("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"persona_id\":\"p\"}");
    for (name, value) in [
        ("cookie", "a=b"),
        ("connection", "close, authorization, x-a"),
        ("x-a", "b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("accept-encoding", "br"),
        ("accept", "text/event-stream"),
        ("x-request-id", "mine-1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("upgrade", "foo"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = rig.send(request).await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    let body = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"persona_id\":\"p\"}";
    let expected = format!(
        "POST /api/v1/video-analyses/{}/chat HTTP/1.1\r\naccept: text/event-stream\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ncontent-type: application/json\r\n\
         accept-encoding: identity\r\nuser-agent: mavera-gateway/{}\r\nvia: 1.1 mavera-gateway\r\nx-request-id: mine-1\r\n\
         host: 127.0.0.1:1\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        mavera_sim::DEMO_ANALYSIS,
        env!("CARGO_PKG_VERSION"),
        crate::support::CANARY,
        body.len()
    );
    assert_eq!(received.requests(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn the_simulators_faults_are_all_survived() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    for (quirks, status) in [
        ("answer=500", 500),
        ("answer=503", 503),
        ("answer=html", 502),
        ("answer=empty", 200),
        ("answer=not_json", 200),
        ("answer=slow_head; at=5", 200),
        ("answer=slow_body", 200),
        ("answer=reset_before", 502),
        ("answer=reset_after", 200),
    ] {
        let answer = rig.send(rig.chat(chat_body(false, quirks))).await;
        assert_eq!(answer.status(), status, "{quirks}");
    }
    rig.settle().await;
    let records = rig.records();
    let unmetered =
        records.iter().filter(|record| record["status"] == 200 && record["credits"].is_null()).count();
    assert_eq!(unmetered, 2, "answers without a figure are known as such");
    assert!(rig.metrics().contains("mavera_gateway_unmetered_total{route=\"video_chat\",team=\"growth\"} 2"));
    assert_eq!(simulator.books(|books| books.received.len()), 9, "each was sent once");
    let limited = rig.send(rig.chat(chat_body(false, "answer=429"))).await;
    assert_eq!(
        (limited.status().as_u16(), limited.header("retry-after"), limited.header("x-gateway-error")),
        (429, "7", "")
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_the_upload_is_relayed() {
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        // Answers without having read anything.
        write(&mut io, "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
        let _ = io.shutdown().await;
        read_request(&mut io).await;
    });
    let body =
        serde_json::json!({"messages": [{"role": "user", "content": "x".repeat(200_000)}]}).to_string();
    let response = rig.connect().await.send_request(rig.chat(body)).await.unwrap();
    let answer = Answer::read(response).await;
    assert!([413, 502].contains(&answer.status().as_u16()), "{answer:?}");
    assert_eq!(rig.pool.idle_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_interim_figure_and_a_break_is_no_cost() {
    let interim = "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"usage\":{\"credits_used\":0}}}\n\n";
    let old =
        "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"credits_used\":0}}\n\n";
    for event in [interim, old] {
        let (rig, _) = answering([STREAM_HEAD.as_bytes(), &chunk(event)].concat());
        let answer = rig.send(rig.chat(chat_body(true, ""))).await;
        assert!(!answer.whole);
        let record = rig.record().await;
        assert_eq!((record["outcome"].as_str(), record["credits"].is_null()), (Some("truncated"), true));
        assert_eq!(
            (record["booked"].as_u64(), record["basis"].as_str()),
            (Some(5), Some("estimated")),
            "{event}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_figure_of_nothing_behind_the_true_one_takes_nothing_away() {
    let bare =
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{}}}\n\n";
    let (rig, _) =
        answering([STREAM_HEAD.as_bytes(), &chunk(completed(3)), &chunk(bare), b"0\r\n\r\n"].concat());
    rig.send(rig.chat(chat_body(true, ""))).await;
    let record = rig.record().await;
    assert_eq!((record["booked"].as_u64(), record["basis"].as_str()), (Some(3), Some("final")));
}
