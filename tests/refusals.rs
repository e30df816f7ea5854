//! Every refusal: its status, its code, its words and its headers; and that the upstream saw nothing.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::support::chat_body;
use crate::support::rig::{Answer, Rig, Setup, chat_path};

fn limited(team: &str) -> Setup {
    Setup { team: team.into(), ..Setup::default() }
}

async fn refused(
    rig: &Rig,
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
) -> (u16, String, Answer) {
    let answer = rig.send(request).await;
    let error = answer.json()["error"].clone();
    assert!(error["message"].as_str().unwrap().len() > 20 && error["type"].is_string(), "{error}");
    assert!(error.as_object().unwrap().contains_key("param"));
    assert!(!answer.header("x-request-id").is_empty());
    (answer.status().as_u16(), answer.code(), answer)
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_served_is_refused_in_the_upstreams_own_envelope() {
    let (rig, simulator) =
        Rig::with_simulator(&limited("analyses = [\"clx*\"]\nmax_body = \"1KiB\"\nburst = 1000"));
    let chat = || rig.chat(chat_body(false, ""));
    let with = |name: &'static str, value: &str| {
        let mut request = chat();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let without_key = || {
        let mut request = chat();
        request.headers_mut().remove("authorization");
        request
    };
    let body = |body: &str| rig.chat(body.to_owned());
    let large = json!({"messages": [{"role": "user", "content": "x".repeat(2000)}]}).to_string();
    for (what, request, status, code) in [
        ("no key", without_key(), 401, "missing_api_key"),
        (
            "a strange key",
            with("authorization", "Bearer mvgw_abcdefgh_0123456789012345678901234567890123456789012"),
            401,
            "invalid_api_key",
        ),
        (
            "the upstream's kind of key",
            with("authorization", "Bearer mvra_live_0123456789012345678901234567890123456789012"),
            401,
            "invalid_api_key",
        ),
        ("two keys", with("x-api-key", &rig.key), 400, "invalid_request"),
        ("another path", rig.request(Method::POST, "/api/v1/workspaces", "{}"), 404, "unknown_route"),
        ("a route of others", rig.request(Method::POST, "/api/v1/responses", "{}"), 403, "route_not_allowed"),
        ("metrics on the callers' port", rig.request(Method::GET, "/metrics", ""), 404, "unknown_route"),
        ("another method", rig.request(Method::GET, &chat_path(), ""), 405, "method_not_allowed"),
        (
            "an odd id",
            rig.request(Method::POST, "/api/v1/video-analyses/..%2f/chat", "{}"),
            400,
            "invalid_field",
        ),
        (
            "somebody else's analysis",
            rig.request(Method::POST, "/api/v1/video-analyses/cother/chat", "{}"),
            403,
            "analysis_not_allowed",
        ),
        (
            "the list, for a team with a few",
            rig.request(Method::GET, "/api/v1/video-analyses", ""),
            403,
            "analysis_not_allowed",
        ),
        ("no JSON", body("messages=hi"), 400, "invalid_json"),
        ("no messages", body("{}"), 400, "missing_field"),
        ("a wrong field", body("{\"messages\":[{\"role\":1,\"content\":\"\"}]}"), 400, "invalid_field"),
        ("a form", with("content-type", "application/x-www-form-urlencoded"), 415, "unsupported_media_type"),
        ("a compressed body", with("content-encoding", "gzip"), 415, "unsupported_media_type"),
        ("a large body", body(&large), 413, "body_too_large"),
        ("our own Via", with("via", "1.1 mavera-gateway"), 508, "loop_detected"),
    ] {
        let (got_status, got_code, answer) = refused(&rig, request).await;
        assert_eq!((got_status, got_code.as_str()), (status, code), "{what}: {:?}", answer.body);
    }
    assert_eq!(simulator.books(|books| books.received.len()), 0, "the upstream saw none of it");
    assert_eq!((rig.connections_made(), rig.gateway.books.desk.window_used()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_bad_key_gets_the_same_answer() {
    let expired = mavera_gateway::key::NewKey::generate().unwrap();
    let setup = Setup::default();
    let (rig, _) = Rig::with_simulator(&setup);
    let text = std::fs::read_to_string(rig.config_path()).unwrap();
    let more = format!(
        "\n[[team]]\nname = \"past\"\nkeys = [{{ id = \"{}\", sha256 = \"{}\", expires = 2029-12-31T23:59:59Z }}]\n",
        expired.id, expired.sha256
    );
    std::fs::write(rig.config_path(), text + &more).unwrap();
    rig.gateway.live.reload().unwrap();
    let wrong_secret = format!("{}x", &rig.key[..rig.key.len() - 1]);
    let mut bodies = Vec::new();
    for key in [
        expired.text.as_str(),
        wrong_secret.as_str(),
        "mvgw_unknown1_0123456789012345678901234567890123456789012",
        "nonsense",
        "",
    ] {
        let mut request = rig.chat(chat_body(false, ""));
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let (status, _, answer) = refused(&rig, request).await;
        let told = (status, answer.header("www-authenticate"));
        assert_eq!(told, (401, crate::identity::INVALID));
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_refusal_tells_a_true_wait() {
    let (rig, _) = Rig::with_simulator(&limited("requests_per_minute = 6\nburst = 2"));
    for _ in 0..2 {
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    }
    let (status, code, answer) = refused(&rig, rig.chat(chat_body(false, ""))).await;
    assert_eq!((status, code.as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(answer.header("ratelimit-policy"), "\"team\";q=6;w=60");
    assert_eq!(answer.header("x-ratelimit-limit"), "6");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(answer.header("ratelimit"), format!("\"team\";r=0;t={wait}"));
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn concurrency_counts_streams_to_their_last_byte() {
    let (rig, _) = Rig::with_simulator(&limited("concurrency = 1\nburst = 100"));
    let mut sender = rig.connect().await;
    let streaming = sender.send_request(rig.chat(chat_body(true, "pace=1s"))).await.unwrap();
    let (status, code, answer) = refused(&rig, rig.chat(chat_body(false, ""))).await;
    assert_eq!((status, code.as_str()), (429, "concurrency_limit_exceeded"));
    assert_eq!(answer.header("ratelimit-policy"), "\"concurrency\";q=1;qu=\"concurrent-requests\"");
    assert!(Answer::read(streaming).await.whole);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_timed_out() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (rig, simulator) =
        Rig::with_simulator(&Setup { server: "body_timeout = \"10s\"".into(), ..Setup::default() });
    let mut io = rig.raw();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n",
        chat_path(),
        rig.key
    );
    io.write_all(head.as_bytes()).await.unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        let _ = io.write_all(b" ").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request_timeout"));
    let record = rig.record().await;
    let took = record["total_seconds"].as_f64().unwrap();
    assert!((10.0..11.0).contains(&took) && began.elapsed() >= Duration::from_secs(10), "{took}");
    assert_eq!(simulator.books(|books| books.received.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_declared_length_over_the_limit_is_refused_before_the_body_is_sent() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (rig, _) = Rig::with_simulator(&limited("max_body = \"1KiB\""));
    let mut io = rig.raw();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\ncontent-length: 1025\r\n\r\n",
        chat_path(),
        rig.key
    );
    io.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = io.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "no 100 for a body that will be refused: {answer}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_refuses_what_comes_on_a_connection_that_is_still_busy() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let io = hyper_util::rt::TokioIo::new(rig.raw());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = || {
        let mut request = rig.chat(chat_body(true, "pace=1s"));
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("http://gateway{}", request.uri().path()).parse().unwrap();
        request
    };
    let streaming = sender.clone().send_request(request()).await.unwrap();
    rig.gateway.shutdown.draining.cancel();
    rig.gateway.shutdown.closing.cancel();
    let late = sender.clone().send_request(request()).await;
    if let Ok(late) = late {
        assert_eq!(Answer::read(late).await.code(), "draining");
    }
    assert!(Answer::read(streaming).await.whole, "what was in flight goes on to its end");
}

#[tokio::test(start_paused = true)]
async fn every_record_says_who_was_on_the_other_end() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let mut stranger = rig.chat(chat_body(false, ""));
    stranger.headers_mut().insert("authorization", "Bearer mvgw_nobodys_key".parse().unwrap());
    assert_eq!(rig.send(stranger).await.status(), 401);
    let record = rig.record().await;
    assert_eq!(
        (record["peer"].as_str(), record["code"].as_str()),
        (Some("192.0.2.7:4242"), Some("invalid_api_key"))
    );
}
