//! Quirks do to everything that is paid for what they do to chats.

use serde_json::{Value, json};

use crate::direct::Direct;

/// Each endpoint that says its cost, and where.
fn priced() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/responses", json!({"model": "mavera-1", "input": "hi"}), "/usage/credits_used"),
        (
            "/chat/completions",
            json!({"messages": [{"role": "user", "content": "hi"}]}),
            "/usage/credits_used",
        ),
        ("/mave/chat", json!({"message": "?"}), "/usage/credits_used"),
        ("/generations", json!({"app_id": "x", "input_data": {}}), "/usage/credits_used"),
        ("/news/stories/cstory0000000000000000001/analyze", json!({}), "/usage/credits_used"),
        ("/news/stories/cstory0000000000000000001/chat", json!({"message": "?"}), "/usage/credits_used"),
        ("/personas", json!({}), "/credits_charged"),
    ]
}

fn told(mut body: Value, quirks: &str) -> Value {
    body["sim"] = json!(quirks);
    body
}

#[tokio::test(start_paused = true)]
async fn the_cost_is_said_as_the_quirk_wants_it_and_charged_all_the_same() {
    for (path, body, place) in priced() {
        let direct = Direct::new();
        for (usage, shown) in
            [("present", None), ("absent", Some(None)), ("no_credits", Some(None)), ("zero", Some(Some(0)))]
        {
            let before = direct.charged();
            let said = direct.post(path, told(body.clone(), &format!("usage={usage}"))).await;
            let charged = direct.charged() - before;
            assert!(charged > 0, "{path} {usage}");
            let found = said.json.pointer(place).and_then(Value::as_u64);
            assert_eq!(found, shown.unwrap_or(Some(charged)), "{path} {usage}: {}", said.text);
            let usage_is_there = usage != "absent" && place != "/credits_charged";
            assert_eq!(said.json.get("usage").is_some(), usage_is_there, "{path} {usage}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn staged_answers_come_instead() {
    for (path, body, _) in priced() {
        for (answer, status, code, charged) in [
            ("402_exhausted", 402, "credits_exhausted", false),
            ("402_budget", 402, "budget_exceeded", false),
            ("402_lapsed", 402, "subscription_inactive", false),
            ("503", 503, "service_unavailable", false),
            ("html", 502, "", true),
        ] {
            let direct = Direct::new();
            let said = direct.post(path, told(body.clone(), &format!("answer={answer}"))).await;
            assert_eq!((said.status, said.code()), (status, code), "{path}");
            assert_eq!(direct.charged() > 0, charged, "{path} {answer}");
        }
        let direct = Direct::new();
        let said = direct.post(path, told(body.clone(), "answer=empty")).await;
        assert!(said.text.is_empty() && direct.charged() > 0, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn opaque_streams_are_silent_about_their_cost_unless_told() {
    let bodies = [
        ("/mave/chat", json!({"message": "?", "stream": true, "sim": ""}), "thread_id"),
        (
            "/generations",
            json!({"app_id": "x", "input_data": {}, "stream": true, "sim": ""}),
            "generation_id",
        ),
    ];
    for (path, body, end) in bodies {
        let direct = Direct::new();
        let silent = direct.post(path, body.clone()).await;
        assert!(silent.whole && silent.text.starts_with("event: thinking\n"));
        assert!(silent.text.contains(&format!("\"{end}\":\"c")) && !silent.text.contains("\"usage\""));
        let charged = direct.charged();
        let telling = direct.post(path, told(body.clone(), "opaque=usage")).await.text;
        let last = telling.trim_end().lines().next_back().unwrap().strip_prefix("data: ").unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(last["usage"]["credits_used"], charged);

        for framing in ["split", "many", "crlf"] {
            let framed = direct.post(path, told(body.clone(), &format!("framing={framing}"))).await.text;
            let same = framed.replace("\r\n", "\n").split("event: end").next().map(str::to_owned);
            assert_eq!(same.as_deref(), silent.text.split("event: end").next(), "{framing}");
        }
        for refund in ["no", "yes"] {
            let before = direct.charged();
            let quirks = format!("fault=close; at=2; refund={refund}");
            let cut = direct.post(path, told(body.clone(), &quirks)).await;
            assert_eq!((cut.whole, cut.text.matches("event: ").count()), (false, 2));
            assert_eq!(direct.charged() - before, if refund == "yes" { 0 } else { charged });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_before_the_head_has_hung_up() {
    let direct = Direct::new();
    let body = told(json!({"message": "?"}), "delay=10s").to_string();
    let call = direct.open(http::Method::POST, "/mave/chat", body);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), call).await.is_err());
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    direct.simulator.books(|books| {
        assert!(books.received[0].hung_up && books.received[0].ended.is_some());
        assert_eq!(books.in_flight["/mave/chat"], 0);
    });
}
