//! Reads that are the same, within two seconds: one request upstream, and nothing hidden that was written since.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use mavera_sim::DEMO_ANALYSIS;
use mavera_sim::quirks::Quirks;

use crate::support::chat_body;
use crate::support::rig::{Answer, Rig, Setup};
use crate::support::script::{Received, chunk, json_answer, read_request, write};

fn wide() -> Setup {
    let setup = Setup::default();
    let routes = "routes = [\"*\", \"mave_chat\"]";
    let other = format!("requests_per_minute = 100000000\nburst = 1000000\n{routes}");
    Setup { team: format!("{}\n{routes}", setup.team), others: vec![("rival", other)], ..setup }
}

fn analysis() -> String {
    format!("/api/v1/video-analyses/{DEMO_ANALYSIS}")
}

async fn get(rig: &Rig, path: &str) -> Answer {
    rig.send(rig.request(Method::GET, path, "")).await
}

#[tokio::test(start_paused = true)]
async fn polls_of_one_analysis_within_two_seconds_are_one_request_upstream() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    let received = || simulator.books(|books| books.received.len());
    let first = get(&rig, &analysis()).await;
    let second = get(&rig, &analysis()).await;
    assert_eq!((first.status(), &first.body), (second.status(), &second.body));
    assert_eq!(second.header("x-gateway-original-request-id"), first.header("x-request-id"));
    assert_eq!(first.header("x-gateway-original-request-id"), "");
    assert_eq!((received(), rig.gateway.books.desk.window_used()), (1, 1));
    // Each has a record, and a rate, of its own.
    rig.settle().await;
    let records = rig.records();
    assert_eq!((&records[0]["retry"], &records[1]["retry"]), (&serde_json::Value::Null, &"shared".into()));
    assert_eq!(records[1]["original_request_id"], records[0]["request_id"]);
    assert!(rig.metrics().contains("mavera_gateway_retries_total{result=\"shared\",team=\"growth\"} 1"));
    // Another analysis, lists, another method and another team are others.
    get(&rig, "/api/v1/video-analyses/cother").await;
    for _ in 0..2 {
        get(&rig, "/api/v1/video-analyses").await;
    }
    rig.send(rig.request(Method::HEAD, &analysis(), "")).await;
    let mut rivals = rig.request(Method::GET, &analysis(), "");
    rivals.headers_mut().insert("authorization", rig.chat_of("rival", "").headers()["authorization"].clone());
    rig.send(rivals).await;
    assert_eq!(received(), 6);
    tokio::time::sleep(Duration::from_secs(2)).await;
    get(&rig, &analysis()).await;
    assert_eq!(received(), 7, "two seconds later it is asked for anew");
}

#[tokio::test(start_paused = true)]
async fn those_that_come_while_it_is_on_its_way_join_it_and_any_of_them_may_leave() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    simulator.set_quirks(Quirks::default().with("delay=1s").unwrap());
    let request = || rig.request(Method::GET, &analysis(), "");
    let mut first = rig.connect().await;
    let leaves = tokio::time::timeout(Duration::from_millis(300), first.send_request(request())).await;
    assert!(leaves.is_err());
    let (second, third) = tokio::join!(rig.send(request()), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(first);
        rig.send(request()).await
    });
    assert_eq!((second.status().as_u16(), second.body), (200, third.body));
    assert_eq!(simulator.books(|books| books.received.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_team_has_written_is_not_hidden_from_it_by_what_it_read_before() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    let received = || simulator.books(|books| books.received.len());
    let ask = |body: &'static str| rig.send(rig.request(Method::POST, "/api/v1/mave/chat", body));
    let thread = ask("{\"message\":\"Who?\"}").await.json()["thread_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/mave/threads/{thread}");
    let used = async || get(&rig, &path).await.json()["credits_used"].as_u64().unwrap();
    let before = used().await;
    assert_eq!((used().await, received()), (before, 2));
    let follow_up = format!("{{\"message\":\"And why?\",\"thread_id\":\"{thread}\",\"sim\":\"delay=1s\"}}");
    let (answer, meanwhile) = tokio::join!(ask(follow_up.leak()), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Read while it goes on: not what stands after it.
        used().await
    });
    assert_eq!((answer.status().as_u16(), meanwhile), (200, before));
    assert!(used().await > before);
    assert_eq!(received(), 5);
    // With a key too.
    let mut keyed = rig.chat(chat_body(false, ""));
    keyed.headers_mut().insert("idempotency-key", "k".parse().unwrap());
    rig.send(keyed).await;
    used().await;
    assert_eq!(received(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_writes_is_not_hidden_by_what_was_read_while_it_came() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    let body = "{\"message\":\"Who?\",\"stream\":true,\"sim\":\"pace=100ms\"}";
    let ask = || rig.request(Method::POST, "/api/v1/mave/chat", body);
    let read = async || get(&rig, "/api/v1/mave/threads/t").await;
    for leaves in [false, true] {
        let before = simulator.books(|books| books.received.len());
        let mut caller = rig.connect().await;
        let mut answer = caller.send_request(ask()).await.unwrap();
        assert_eq!(answer.status(), 200);
        read().await;
        if leaves {
            // It is read to its end without its caller.
            drop((answer, caller));
            tokio::time::sleep(Duration::from_millis(1500)).await;
        } else {
            while answer.body_mut().frame().await.is_some() {}
        }
        read().await;
        assert_eq!(simulator.books(|books| books.received.len()) - before, 3, "{leaves}");
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_be_too_large_to_keep_is_each_callers_own() {
    let large = format!("{{\"title\":\"{}\"}}", "x".repeat(2000));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked =
        |body: &str| format!("{head}{}0\r\n\r\n", String::from_utf8(chunk(body)).unwrap()).into_bytes();
    for (what, answer, requests) in [
        ("it is known to be", json_answer(&large).into_bytes(), 2),
        ("its length is not known", chunked(&large), 2),
        ("it is small", json_answer("{}").into_bytes(), 1),
    ] {
        let setup = Setup { retries: "bodies = { max_body = \"1KiB\" }".into(), ..wide() };
        let received = Received::default();
        let log = received.clone();
        let rig = Rig::with_upstream(&setup, move |mut io, _| {
            let (log, answer) = (log.clone(), answer.clone());
            async move {
                while let Some(request) = read_request(&mut io).await {
                    log.push(request);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    write(&mut io, &answer).await;
                }
            }
        });
        let path = analysis();
        let (first, second) = tokio::join!(get(&rig, &path), get(&rig, &path));
        assert_eq!((first.status().as_u16(), first.whole, second.whole), (200, true, true), "{what}");
        assert_eq!(first.body, second.body, "{what}");
        assert_eq!(received.requests().len(), requests, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_in_vain_takes_no_other_along_and_what_a_read_tells_of_costs_is_nobodys_saving() {
    let setup = Setup { upstream: "requests_per_minute = 1".into(), queue: "wait = \"2m\"".into(), ..wide() };
    let (rig, _) = Rig::with_simulator(&setup);
    get(&rig, "/api/v1/video-analyses").await;
    let mut impatient = rig.request(Method::GET, &analysis(), "");
    impatient.headers_mut().insert("x-gateway-max-wait", "1s".parse().unwrap());
    let (first, second) = tokio::join!(rig.send(impatient), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        get(&rig, &analysis()).await
    });
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (429, 200));
    get(&rig, &analysis()).await;
    let me = rig.send(rig.request(Method::GET, "/gateway/v1/me", "")).await.json();
    assert_eq!(me["retries"]["credits_saved"], 0, "{me}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_refused_is_refused_for_those_that_share_it_and_made_anew_by_the_next() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    rig.refuse_connections();
    let path = analysis();
    let (first, second) = tokio::join!(get(&rig, &path), get(&rig, &path));
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (502, 502));
    rig.accept_connections();
    assert_eq!(get(&rig, &analysis()).await.status(), 200);
    assert_eq!(simulator.books(|books| books.received.len()), 1);
}
