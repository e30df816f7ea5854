//! Jobs take their time, and are paid for at its end.

use mavera_sim::Settings;
use serde_json::{Value, json};

use crate::direct::{Direct, KEY};

fn analysis(title: &str, quirks: &str) -> Value {
    json!({
        "video_url": "https://v.example/a.mp4", "title": title, "brand": "Ex", "product": "Pr",
        "primary_intent": "Persuasive", "goal": "Find the weak moment.", "sim": quirks,
    })
}

#[tokio::test(start_paused = true)]
async fn a_job_is_charged_when_it_ends_though_nobody_asks_for_it() {
    let direct = Direct::new();
    let created = direct.post("/video-analyses", analysis("A film", "job_takes=90s")).await;
    assert_eq!((created.status, created.json["status"].as_str()), (201, Some("pending")));
    assert!(created.id().len() == 25 && created.id().starts_with('c'));
    direct.pass(89);
    assert_eq!(direct.charged(), 0);
    direct.pass(1);
    let charged = direct.charged();
    assert!((100..=500).contains(&charged), "{charged}");
    let entry = direct.simulator.books(|books| books.received[0].clone());
    assert_eq!((entry.charged, entry.response_id.as_deref()), (charged, Some(created.id())));
    assert_eq!(direct.simulator.books(|books| books.charged[&0]), charged);
    assert_eq!(direct.get("/usage").await.json["credits"]["used"], charged);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_charged_by_its_quirks() {
    for (title, quirks, at_once, in_the_end) in [
        ("A film", "job_cost=150", 0, 150),
        ("A film", "job_cost=150; charging=before", 150, 150),
        ("will fail", "job_cost=150", 0, 150),
        ("will fail", "job_cost=150; refund=yes", 0, 0),
        ("will fail", "job_cost=150; refund=yes; charging=before", 0, 0),
        ("A film", "job_cost=150; answer=empty", 0, 150),
        ("A film", "job_cost=150; answer=500", 0, 0),
    ] {
        let direct = Direct::new();
        direct.post("/video-analyses", analysis(title, quirks)).await;
        assert_eq!(direct.charged(), at_once, "{quirks}");
        direct.pass(120);
        assert_eq!(direct.charged(), in_the_end, "{quirks}");
        direct.pass(1000);
        assert_eq!(direct.charged(), in_the_end, "{quirks}: once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_says_its_price_where_its_create_was_told_to() {
    for (price, in_create, in_get, member) in [
        ("silent", false, false, "/usage"),
        ("create", true, true, "/usage/credits_used"),
        ("get", false, true, "/usage/credits_used"),
        ("charged", false, true, "/credits_charged"),
        ("top", false, true, "/credits_used"),
    ] {
        let direct = Direct::new();
        let body = json!({"sim": format!("job_cost=77; job_price={price}")});
        let created = direct.post("/focus-groups", body).await;
        let said = |json: &Value| json.pointer(member).is_some_and(|price| *price == 77);
        assert_eq!(said(&created.json), in_create, "{price}: {}", created.text);
        let path = format!("/focus-groups/{}", created.id());
        assert_eq!(said(&direct.get(&path).await.json), in_create, "{price}");
        direct.pass(60);
        let ended = direct.get(&path).await.json;
        assert_eq!((said(&ended), ended["status"].as_str()), (in_get, Some("completed")), "{price}");
        assert!(ended["results"].is_object());
        assert_eq!(direct.charged(), 77);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_jobs_of_a_kind_are_unfinished_than_its_cap() {
    let direct = Direct::new();
    for (path, cap) in [("/video-analyses", 3), ("/focus-groups", 5)] {
        for _ in 0..cap {
            assert_eq!(direct.post(path, analysis("A film", "job_takes=60s")).await.status, 201, "{path}");
        }
        let refused = direct.post(path, analysis("A film", "")).await;
        assert_eq!((refused.status, refused.code()), (429, "rate_limit_exceeded"));
    }
    direct.pass(60);
    assert_eq!(direct.post("/video-analyses", analysis("A film", "")).await.status, 201);
    direct.simulator.books(|books| {
        assert_eq!((books.jobs_peak["/video-analyses"], books.jobs_peak["/focus-groups"]), (3, 5));
        assert_eq!((books.over_cap["/video-analyses"], books.over_cap["/focus-groups"]), (1, 1));
    });
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ended_leaves_nothing_for_the_next() {
    let direct = Direct::with(Settings { credits: 100, ..Settings::with_key(KEY) });
    for _ in 0..2 {
        let quirks = "job_cost=60; job_takes=10s";
        assert_eq!(direct.post("/focus-groups", json!({ "sim": quirks })).await.status, 201);
    }
    direct.pass(10);
    let refused = direct.post("/focus-groups", json!({})).await;
    assert_eq!((refused.status, refused.code()), (402, "credits_exhausted"));
    assert_eq!(direct.charged(), 120);
}
