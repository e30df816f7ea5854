//! What the model answers on `/responses` and `/chat/completions`.

use serde_json::{Value, json};

use crate::direct::Direct;

fn tools() -> Value {
    json!([
        {"type": "function", "name": "look_up", "function": {"name": "look_up"}, "parameters": {"type": "object"}},
    ])
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_has_its_form_whatever_the_generation() {
    let direct = Direct::new();
    for generation in ["generation=new", "generation=old"] {
        let new =
            direct.post("/responses", json!({"model": "mavera-1", "input": "hi", "sim": generation})).await;
        assert_eq!(new.json["object"], "response");
        let body = json!({"messages": [{"role": "user", "content": "hi"}], "sim": generation});
        let old = direct.post("/chat/completions", body).await;
        assert_eq!(old.json["object"], "chat.completion");
        assert!(old.json["usage"]["prompt_tokens"].is_u64() && old.json["usage"]["credits_used"].is_u64());
    }
    let many = vec![json!({"role": "user", "content": "x"}); 129];
    assert_eq!(direct.post("/chat/completions", json!({ "messages": many })).await.code(), "invalid_field");
    let other = json!({"model": "gpt", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(direct.post("/chat/completions", other).await.code(), "invalid_model");
}

#[tokio::test(start_paused = true)]
async fn a_background_answer_is_charged_and_does_not_say_it() {
    let direct = Direct::new();
    let body = json!({"model": "mavera-1", "input": "hi", "background": true});
    let said = direct.post("/responses", body).await;
    assert_eq!((said.status, said.json["status"].as_str()), (200, Some("in_progress")));
    assert_eq!((&said.json["output"], said.json.get("usage")), (&json!([]), Some(&Value::Null)));
    assert_eq!(direct.charged(), 1);
}

#[tokio::test(start_paused = true)]
async fn json_of_a_schema_is_parsed_too() {
    let direct = Direct::new();
    let format = json!({"type": "json_schema", "name": "verdict", "schema": {}});
    let body = json!({"model": "mavera-1", "input": "hi", "text": {"format": format}});
    let said = direct.post("/responses", body).await.json;
    assert_eq!(said["parsed"], json!({"verdict": "strong", "score": 71}));
    assert_eq!(said["output"][0]["content"][0]["text"], r#"{"verdict":"strong","score":71}"#);
}

#[tokio::test(start_paused = true)]
async fn a_function_is_called_in_both_forms() {
    let direct = Direct::new();
    let new = |stream: bool| json!({"model": "mavera-1", "input": "hi", "tools": tools(), "stream": stream});
    let said = direct.post("/responses", new(false)).await.json;
    let item = &said["output"][0];
    assert_eq!((item["type"].as_str(), item["name"].as_str()), (Some("function_call"), Some("look_up")));
    assert_eq!(item["arguments"], r#"{"brand":"Example"}"#);
    let stream = direct.post("/responses", new(true)).await.text;
    let mut at = 0;
    for event in [
        "response.created",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ] {
        at += stream[at..].find(&format!("event: {event}\n")).unwrap_or_else(|| panic!("{event}"));
    }

    let old = |stream: bool| json!({"messages": [{"role": "user", "content": "hi"}], "tools": tools(), "stream": stream});
    let said = direct.post("/chat/completions", old(false)).await.json;
    let choice = &said["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    assert_eq!(choice["message"]["tool_calls"][0]["function"]["name"], "look_up");
    assert!(direct.post("/chat/completions", old(true)).await.text.contains(r#""delta":{"tool_calls":[{"#));
}
