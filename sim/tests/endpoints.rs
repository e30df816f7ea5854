//! The documented shape of each endpoint's answers, what they cost, and what is refused.

use http::Method;
use mavera_sim::Settings;
use serde_json::{Value, json};

use crate::direct::{Direct, KEY, Said};

/// One message to Mave, in that thread or a new one.
async fn talk(direct: &Direct, thread: &Value) -> Said {
    direct.post("/mave/chat", json!({"message": "Who buys sparkling water?", "thread_id": thread})).await
}

#[tokio::test(start_paused = true)]
async fn mave_answers_in_threads_that_add_up_what_they_cost() {
    let direct = Direct::new();
    let first = talk(&direct, &Value::Null).await;
    assert_eq!((first.status, first.json["object"].as_str()), (200, Some("mave.message")));
    assert!(first.id().starts_with("cmsg"));
    let credits = first.json["usage"]["credits_used"].as_u64().unwrap();
    assert!((10..=75).contains(&credits));
    assert_eq!(direct.charged(), credits);
    let thread = &first.json["thread_id"];
    assert_eq!(thread.as_str().unwrap().len(), 25);
    talk(&direct, thread).await;
    let path = format!("/mave/threads/{}", thread.as_str().unwrap());
    assert_eq!(direct.get(&path).await.json["credits_used"], direct.charged());
    assert_eq!(talk(&direct, &json!("cnone")).await.code(), "resource_not_found");

    talk(&direct, &Value::Null).await;
    let page = direct.get("/mave/threads?limit=1").await.json;
    assert_eq!((page["data"][0]["id"].as_str(), page["has_more"].as_bool()), (thread.as_str(), Some(true)));
    let next =
        direct.get(&format!("/mave/threads?cursor={}", page["next_cursor"].as_str().unwrap())).await.json;
    assert_eq!((next["data"].as_array().unwrap().len(), &next["next_cursor"]), (1, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn ten_calls_of_mave_are_in_progress_and_no_more() {
    let direct = Direct::new();
    let body = || json!({"message": "?", "stream": true, "sim": "fault=stall"}).to_string();
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(direct.open(Method::POST, "/mave/chat", body()).await);
    }
    assert!(open.iter().all(|answer| answer.status() == 200));
    let refused = talk(&direct, &Value::Null).await;
    assert_eq!((refused.status, refused.code()), (429, "rate_limit_exceeded"));
    assert_eq!(direct.simulator.books(|books| books.over_cap["/mave/chat"]), 1);
    drop(open.pop());
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(talk(&direct, &Value::Null).await.status, 200, "whoever hangs up makes room");
}

#[tokio::test(start_paused = true)]
async fn a_persona_says_what_it_was_charged() {
    let direct = Direct::new();
    let made = direct.post("/personas", json!({"name": "Sceptic", "pipeline_type": "advanced"})).await;
    assert_eq!((made.status, made.json["object"].as_str()), (201, Some("persona")));
    assert_eq!((&made.json["credits_charged"], made.json.get("usage")), (&json!(300), None));
    assert_eq!(direct.charged(), 300);
    let list = direct.get("/personas").await.json;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        direct.post("/personas", json!({"pipeline_type": "south_star"})).await.code(),
        "invalid_field"
    );
}

#[tokio::test(start_paused = true)]
async fn a_generation_says_tokens_and_credits() {
    let direct = Direct::new();
    let apps = direct.get("/generation-apps").await.json;
    assert_eq!(apps["data"].as_array().unwrap().len(), 2);
    let body = json!({"app_id": apps["data"][0]["id"], "input_data": {"topic": "water"}});
    let made = direct.post("/generations", body).await;
    assert_eq!((made.status, made.json["object"].as_str()), (200, Some("generation")));
    let usage = &made.json["usage"];
    let credits = usage["credits_used"].as_u64().unwrap();
    assert!(
        (10..=30).contains(&credits)
            && usage["prompt_tokens"].is_u64()
            && usage["completion_tokens"].is_u64()
    );
    assert_eq!(direct.charged(), credits);
    assert_eq!(direct.get("/generations").await.json["data"][0]["id"], made.id());
    for (body, param) in [(json!({}), "app_id"), (json!({"app_id": "x"}), "input_data")] {
        let refused = direct.post("/generations", body).await;
        assert_eq!((refused.code(), refused.json["error"]["param"].as_str()), ("missing_field", Some(param)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_brand_voice_costs_fifty_and_does_not_say_so() {
    let direct = Direct::new();
    let body = |quirks: &str| json!({"label": "House", "usage_context": "All that we write.", "sim": quirks});
    let made = direct.post("/brand-voices", body("")).await;
    assert_eq!((made.status, made.json["object"].as_str()), (201, Some("brand_voice")));
    assert!(!made.text.contains("credits"), "{}", made.text);
    assert_eq!(direct.charged(), 50);
    let priced = direct.post("/brand-voices", body("job_price=create")).await;
    assert_eq!(priced.json["usage"]["credits_used"], 50);
    let path = format!("/brand-voices/{}", made.id());
    assert_eq!(direct.get(&path).await.json["status"], "pending");
    direct.pass(30);
    assert_eq!(direct.get(&path).await.json["status"], "completed");
    assert_eq!(direct.get("/brand-voices").await.json["data"].as_array().unwrap().len(), 2);
    assert_eq!(direct.charged(), 100);
}

#[tokio::test(start_paused = true)]
async fn stories_are_listed_analyzed_and_talked_about() {
    let direct = Direct::new();
    let trending = direct.get("/news/stories/trending").await.json;
    let story = trending["data"][0]["id"].as_str().unwrap();
    assert!(story.starts_with("cstory") && story.len() == 25);
    assert_eq!(direct.get("/news/stories/personalized").await.json["error"]["param"], "persona_ids");
    assert_eq!(direct.get("/news/stories/personalized?persona_ids=c1&size=2").await.status, 200);
    assert_eq!(direct.get(&format!("/news/stories/{story}")).await.id(), story);
    let long = "x".repeat(2001);
    for (path, body, range) in [
        ("analyze", json!({"persona_id": "cpersona00000000000000001"}), 5..=20),
        ("chat", json!({"message": "Is it true?"}), 1..=5),
    ] {
        let before = direct.charged();
        let said = direct.post(&format!("/news/stories/{story}/{path}"), body).await;
        let usage = &said.json["usage"];
        let credits = usage["credits_used"].as_u64().unwrap();
        assert!(range.contains(&credits) && usage["prompt_tokens"].is_u64(), "{}", said.text);
        assert_eq!(direct.charged(), before + credits);
        let unknown = direct.post(&format!("/news/stories/cnone/{path}"), json!({"message": "?"})).await;
        assert_eq!(unknown.status, 404);
    }
    let refused = direct.post(&format!("/news/stories/{story}/chat"), json!({ "message": long })).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid_field"));
}

#[tokio::test(start_paused = true)]
async fn files_are_put_elsewhere_and_cost_nothing() {
    let direct = Direct::new();
    let place = direct.post("/files/upload-url", json!({"filename": "a.mp4"})).await;
    assert_eq!((place.status, place.json["expires_in"].as_u64()), (200, Some(3600)));
    assert_eq!(place.json["headers"]["content-type"], "video/mp4");
    let file = direct.post("/files", json!({"file_id": place.json["file_id"], "name": "a.mp4"})).await;
    assert_eq!((file.status, file.json["object"].as_str()), (201, Some("file")));
    assert_eq!(file.json["id"], place.json["file_id"]);
    assert_eq!(direct.get("/files").await.json["data"][0]["id"], file.id());
    assert_eq!(direct.charged(), 0);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_paid_for_asks_for_credits_first() {
    let direct = Direct::with(Settings { credits: 0, ..Settings::with_key(KEY) });
    for path in [
        "/video-analyses",
        "/video-analyses/cnone/chat",
        "/focus-groups",
        "/brand-voices",
        "/responses",
        "/chat/completions",
        "/mave/chat",
        "/personas",
        "/generations",
        "/news/stories/cnone/analyze",
        "/news/stories/cnone/chat",
    ] {
        let refused = direct.post(path, json!({})).await;
        assert_eq!((refused.status, refused.code()), (402, "credits_exhausted"), "{path}");
        assert_eq!(direct.open(Method::PUT, path, String::new()).await.status(), 405, "{path}");
    }
    for path in ["/focus-groups/cnone", "/brand-voices/cnone", "/mave/threads/cnone", "/assets"] {
        assert_eq!(direct.get(path).await.status, 404, "{path}");
    }
    direct.simulator.books(|books| {
        assert!(books.peak.contains_key("/news/stories/{id}/analyze"));
        assert!(books.peak.contains_key("/brand-voices/{id}"));
        assert!(books.in_flight.values().all(|open| *open == 0));
    });
}
