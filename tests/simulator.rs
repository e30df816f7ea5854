//! The simulator is held to the fact sheet too: what the gateway is tested against must itself be right.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mavera_gateway::clock::Clock;
use mavera_sim::quirks::Quirks;
use mavera_sim::{DEMO_ANALYSIS, KeyState, Settings, SimKey, Simulator};
use serde_json::{Value, json};

use crate::support::{CANARY, chat_body};

struct Direct {
    simulator: Simulator,
}

/// Status, head and JSON body of one answer.
struct Said {
    status: u16,
    head: http::HeaderMap,
    json: Value,
}

impl Said {
    fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.head[name].to_str().unwrap().parse().unwrap()
    }
}

impl Direct {
    fn new(settings: Settings) -> Self {
        let clock = Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap());
        Self { simulator: Simulator::new(settings, move || clock.wall()) }
    }

    async fn connect(&self) -> http1::SendRequest<Full<Bytes>> {
        let (near, far) = tokio::io::duplex(1 << 20);
        let simulator = self.simulator.clone();
        tokio::spawn(async move { simulator.serve_connection(far).await });
        let (sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn ask(&self, method: Method, path: &str, key: &str, body: impl Into<String>) -> Said {
        let mut request = Request::builder().method(method).uri(path).header("host", "sim");
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let request = request.body(Full::from(body.into())).unwrap();
        let (head, body) = self.connect().await.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Said {
            status: head.status.as_u16(),
            head: head.headers,
            json: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    async fn chat(&self) -> Said {
        self.ask(
            Method::POST,
            &format!("/api/v1/video-analyses/{DEMO_ANALYSIS}/chat"),
            CANARY,
            chat_body(false, ""),
        )
        .await
    }

    async fn get(&self, path: &str) -> Said {
        self.ask(Method::GET, &format!("/api/v1{path}"), CANARY, "").await
    }
}

#[tokio::test(start_paused = true)]
async fn keys_answer_with_the_four_documented_codes_and_a_lapsed_plan_with_402() {
    let mut settings = Settings::with_key(CANARY);
    for (text, state) in
        [("revoked", KeyState::Revoked), ("expired", KeyState::Expired), ("lapsed", KeyState::Lapsed)]
    {
        settings.keys.push(SimKey { text: text.into(), state });
    }
    let direct = Direct::new(settings);
    for (key, status, code) in [
        ("", 401, "missing_api_key"),
        ("nobody", 401, "invalid_api_key"),
        ("revoked", 401, "revoked_api_key"),
        ("expired", 401, "expired_api_key"),
        ("lapsed", 402, "subscription_inactive"),
        (CANARY, 200, ""),
    ] {
        let said = direct.ask(Method::GET, "/api/v1/personas", key, "").await;
        assert_eq!((said.status, said.code()), (status, code), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn analyses_go_from_pending_to_completed_on_the_clock_and_only_then_can_be_asked_about() {
    let direct = Direct::new(Settings::with_key(CANARY));
    let create = |title: &str| {
        json!({"video_url": "https://v.example/a.mp4", "title": title, "brand": "Ex", "product": "Pr",
               "primary_intent": "Persuasive", "goal": "Find the weak moment."})
        .to_string()
    };
    let created = direct.ask(Method::POST, "/api/v1/video-analyses", CANARY, create("A film")).await;
    assert_eq!((created.status, created.json["status"].as_str()), (201, Some("pending")));
    let id = created.json["id"].as_str().unwrap().to_owned();
    assert!(id.len() == 25 && id.starts_with('c'));
    let chat = format!("/api/v1/video-analyses/{id}/chat");
    for (quirk, status) in [("", 409), ("not_completed=400", 400), ("not_completed=422", 422)] {
        let said = direct.ask(Method::POST, &chat, CANARY, chat_body(false, quirk)).await;
        assert_eq!((said.status, said.code()), (status, "analysis_not_completed"));
    }
    let failing = direct.ask(Method::POST, "/api/v1/video-analyses", CANARY, create("will fail")).await;
    assert_eq!(direct.ask(Method::POST, "/api/v1/video-analyses", CANARY, create("Third")).await.status, 201);
    let fourth = direct.ask(Method::POST, "/api/v1/video-analyses", CANARY, create("Fourth")).await;
    assert_eq!((fourth.status, fourth.code()), (429, "rate_limit_exceeded"), "three at a time");

    tokio::time::sleep(Duration::from_mins(1)).await;
    let half = direct.get(&format!("/video-analyses/{id}")).await;
    assert_eq!(
        (half.json["status"].as_str(), half.json["progress"]["processed_chunks"].as_u64()),
        (Some("generating"), Some(5))
    );
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(direct.get(&format!("/video-analyses/{id}")).await.json["status"], "completed");
    let failed = direct.get(&format!("/video-analyses/{}", failing.json["id"].as_str().unwrap())).await;
    assert_eq!((failed.json["status"].as_str(), failed.json["error"].is_string()), (Some("failed"), true));
    assert_eq!(direct.ask(Method::POST, &chat, CANARY, chat_body(false, "")).await.status, 200);
    let list = direct.get("/video-analyses?status=completed&limit=1").await.json;
    assert_eq!(
        (list["object"].as_str(), list["total"].as_u64(), list["has_more"].as_bool()),
        (Some("list"), Some(3), Some(true))
    );
    for (body, code, param) in
        [("{}", "missing_field", "video_url"), (r#"{"asset_id":"x","title":"a"}"#, "invalid_field", "title")]
    {
        let said = direct.ask(Method::POST, "/api/v1/video-analyses", CANARY, body).await;
        assert_eq!((said.code(), said.json["error"]["param"].as_str()), (code, Some(param)));
    }
    assert_eq!(direct.get("/video-analyses/cnone").await.code(), "resource_not_found");
}

#[tokio::test(start_paused = true)]
async fn the_window_slides_and_its_headers_add_up() {
    let direct = Direct::new(Settings { requests_per_minute: 3, ..Settings::with_key(CANARY) });
    for remaining in [2, 1, 0] {
        let said = direct.get("/personas").await;
        assert_eq!((said.number("x-ratelimit-limit"), said.number("x-ratelimit-remaining")), (3, remaining));
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let refused = direct.get("/personas").await;
    assert_eq!((refused.status, refused.code()), (429, "rate_limit_exceeded"));
    let wait = refused.number("retry-after");
    assert!((29..=31).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs(wait.unsigned_abs())).await;
    assert_eq!(direct.get("/personas").await.status, 200, "the oldest has left");
    assert_eq!(direct.get("/personas").await.status, 429, "and only the oldest");
}

#[tokio::test(start_paused = true)]
async fn usage_agrees_with_what_was_charged_and_drifts_with_the_dashboard() {
    let settings = Settings { dashboard_per_minute: 2, credits: 100, ..Settings::with_key(CANARY) };
    let direct = Direct::new(settings);
    let mut told = 0;
    for _ in 0..5 {
        told += direct.chat().await.json["usage"]["credits_used"].as_u64().unwrap();
    }
    let usage = direct.get("/usage").await.json;
    assert_eq!(
        (usage["credits"]["used"].as_u64(), usage["api_requests"]["credits_used"].as_u64()),
        (Some(told), Some(told))
    );
    assert_eq!(usage["credits"]["remaining"], 100 - told);
    assert_eq!(usage["billing_period"]["start"], "2030-01-01T00:00:00.000Z");
    assert_eq!(direct.simulator.books(mavera_sim::books::Books::total_charged), told);
    tokio::time::sleep(Duration::from_mins(5)).await;
    let usage = direct.get("/usage").await.json;
    assert_eq!(
        (usage["credits"]["used"].as_u64(), usage["api_requests"]["credits_used"].as_u64()),
        (Some(told + 10), Some(told))
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_pool_and_a_workspace_cap_answer_402_and_auto_recharge_buys() {
    let direct = Direct::new(Settings { credits: 2, ..Settings::with_key(CANARY) });
    assert_eq!([direct.chat().await.status, direct.chat().await.status], [200, 200]);
    let empty = direct.chat().await;
    assert_eq!((empty.status, empty.code()), (402, "credits_exhausted"));

    let direct = Direct::new(Settings { workspace_budget: Some(1), ..Settings::with_key(CANARY) });
    assert_eq!(direct.chat().await.status, 200);
    assert_eq!(direct.chat().await.code(), "budget_exceeded");

    let direct = Direct::new(Settings { credits: 2, recharge: Some((2, 10)), ..Settings::with_key(CANARY) });
    for _ in 0..5 {
        assert_eq!(direct.chat().await.status, 200);
    }
    assert_eq!(direct.simulator.books(|books| books.recharged), 10);
}

#[tokio::test(start_paused = true)]
async fn responses_are_served_in_both_forms() {
    let direct = Direct::new(Settings::with_key(CANARY));
    let ask = |body: Value| body.to_string();
    let answer = direct
        .ask(Method::POST, "/api/v1/responses", CANARY, ask(json!({"model": "mavera-1", "input": "hi"})))
        .await;
    assert_eq!((answer.status, answer.json["object"].as_str()), (200, Some("response")));
    let id = answer.json["id"].as_str().unwrap();
    assert!(id.starts_with("resp_") && id.len() == 29, "{id}");
    let wrong = direct
        .ask(Method::POST, "/api/v1/responses", CANARY, ask(json!({"model": "gpt", "input": "hi"})))
        .await;
    assert_eq!((wrong.code(), wrong.json["error"]["param"].as_str()), ("invalid_model", Some("model")));
    direct.simulator.set_quirks(Quirks::default().with("generation=old").unwrap());
    let old = direct.chat().await.json;
    assert_eq!(
        (old["object"].as_str(), old["usage"]["credits_used"].as_u64()),
        (Some("chat.completion"), Some(1))
    );
}

#[tokio::test(start_paused = true)]
async fn charging_follows_its_quirk() {
    for (quirk, after_end, after_hang_up) in
        [("charging=always", 1, 2), ("charging=before", 1, 2), ("charging=end", 1, 1)]
    {
        let direct = Direct::new(Settings::with_key(CANARY));
        direct.simulator.set_quirks(Quirks::default().with(&format!("{quirk}; pace=1s")).unwrap());
        let path = format!("/api/v1/video-analyses/{DEMO_ANALYSIS}/chat");
        direct.ask(Method::POST, &path, CANARY, chat_body(true, "")).await;
        let charged = |direct: &Direct| direct.simulator.books(mavera_sim::books::Books::total_charged);
        assert_eq!(charged(&direct), after_end, "{quirk}");
        let request =
            Request::post(&path).header("host", "sim").header("authorization", format!("Bearer {CANARY}"));
        let response = direct
            .connect()
            .await
            .send_request(request.body(Full::from(chat_body(true, ""))).unwrap())
            .await
            .unwrap();
        drop(response);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(charged(&direct), after_hang_up, "{quirk}");
    }
}
