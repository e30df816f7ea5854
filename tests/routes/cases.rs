//! What calls of each route look like, in the order of the table: a row without its case here does not compile.

use mavera_gateway::route::Route;
use mavera_sim::DEMO_ANALYSIS;
use serde_json::{Value, json};

use crate::support::chat_body;

/// What calls of a route look like.
#[derive(Clone)]
pub struct Case {
    pub label: &'static str,
    /// A target that is served.
    pub target: String,
    /// A body that is served, given what the upstream is to do with it; empty where a body has no meaning.
    pub body: fn(stream: bool, quirks: &str) -> String,
    /// Whether an event stream can be asked for.
    pub streams: bool,
    /// Bodies that are refused, with the code and the field that is named.
    pub wrong: Vec<(String, &'static str, &'static str)>,
    /// Targets that are refused, with the code.
    pub off: Vec<(&'static str, &'static str)>,
}

fn no_body(_: bool, _: &str) -> String {
    String::new()
}

/// An object of these members, with what the upstream is to do.
fn with(members: &Value, stream: bool, quirks: &str) -> String {
    let mut body = members.clone();
    body["sim"] = quirks.into();
    if stream {
        body["stream"] = true.into();
    }
    body.to_string()
}

/// What starts an analysis, as the reference has it.
pub fn analysis() -> Value {
    json!({
        "video_url": "https://videos.example/launch.mp4", "title": "Launch", "brand": "Example", "product": "App",
        "primary_intent": "Persuasive", "goal": "Find what loses viewers.",
    })
}

fn analysis_body(stream: bool, quirks: &str) -> String {
    with(&analysis(), stream, quirks)
}

fn anything(stream: bool, quirks: &str) -> String {
    with(&json!({"pipeline_type": "north_star", "workspace_id": "w"}), stream, quirks)
}

fn response(stream: bool, quirks: &str) -> String {
    with(&json!({"model": "mavera-1", "input": "Why?"}), stream, quirks)
}

fn completion(stream: bool, quirks: &str) -> String {
    with(&json!({"model": "mavera-1", "messages": [{"role": "user", "content": "Why?"}]}), stream, quirks)
}

fn mave(stream: bool, quirks: &str) -> String {
    with(&json!({"message": "Who watches this?"}), stream, quirks)
}

fn generation(stream: bool, quirks: &str) -> String {
    with(&json!({"app_id": "capp", "input_data": {"topic": "launch"}}), stream, quirks)
}

fn voice(stream: bool, quirks: &str) -> String {
    with(&json!({"label": "House", "usage_context": "Everything that we write."}), stream, quirks)
}

fn story(stream: bool, quirks: &str) -> String {
    with(&json!({"message": "So what?"}), stream, quirks)
}

/// A body without one of its members, and a body with another value there.
fn without(mut body: Value, name: &str) -> String {
    body.as_object_mut().unwrap().remove(name);
    body.to_string()
}

fn changed(mut body: Value, name: &str, value: Value) -> String {
    body[name] = value;
    body.to_string()
}

fn read(label: &'static str, target: &str, off: &[(&'static str, &'static str)]) -> Case {
    Case { label, target: target.into(), body: no_body, streams: false, wrong: Vec::new(), off: off.to_vec() }
}

fn write(
    label: &'static str,
    target: &str,
    body: fn(bool, &str) -> String,
    wrong: Vec<(String, &'static str, &'static str)>,
) -> Case {
    let streams =
        ["responses", "chat_completions", "mave_chat", "generations", "video_chat"].contains(&label);
    let off = vec![(format!("{target}?x=1").leak() as &'static str, "invalid_request")];
    let broken = [(String::new(), "invalid_json", ""), ("[]".into(), "invalid_json", "")];
    let wrong = broken.into_iter().chain(wrong).collect();
    Case { label, target: target.into(), body, streams, wrong, off }
}

/// The cases of all rows.
pub fn cases() -> [Case; Route::COUNT] {
    let plain = "invalid_request";
    let object = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let completion_of = |messages: usize| {
        let message = json!({"role": "user", "content": "x"});
        json!({ "messages": vec![message; messages] }).to_string()
    };
    [
        write(
            "video_chat",
            &format!("/api/v1/video-analyses/{DEMO_ANALYSIS}/chat"),
            chat_body,
            vec![
                ("{}".into(), "missing_field", "messages"),
                (r#"{"messages":[]}"#.into(), "invalid_field", "messages"),
                (r#"{"messages":[{"content":"x"}]}"#.into(), "missing_field", "messages[0].role"),
                (r#"{"messages":[{"role":1,"content":"x"}]}"#.into(), "invalid_field", "messages[0].role"),
                (r#"{"messages":[{"role":"user"}],"stream":1}"#.into(), "invalid_field", "stream"),
            ],
        ),
        read(
            "video_list",
            "/api/v1/video-analyses?limit=5&offset=0&status=completed",
            &[
                ("/api/v1/video-analyses?limit=5&limit=6", "invalid_field"),
                ("/api/v1/video-analyses?key=1", "invalid_field"),
                ("/api/v1/video-analyses?limit=%31", "invalid_field"),
            ],
        ),
        read(
            "video_get",
            &format!("/api/v1/video-analyses/{DEMO_ANALYSIS}"),
            &[("/api/v1/video-analyses/a.b", "invalid_field"), ("/api/v1/video-analyses/a?x=1", plain)],
        ),
        write(
            "video_analyses",
            "/api/v1/video-analyses",
            analysis_body,
            ["title", "brand", "product", "goal", "primary_intent", "video_url"]
                .into_iter()
                .map(|name| (without(analysis(), name), "missing_field", name))
                .chain([
                    (changed(analysis(), "title", "ab".into()), "invalid_field", "title"),
                    (changed(analysis(), "goal", "x".repeat(501).into()), "invalid_field", "goal"),
                    (changed(analysis(), "asset_id", 7.into()), "invalid_field", "asset_id"),
                ])
                .collect(),
        ),
        write("files_upload_url", "/api/v1/files/upload-url", anything, Vec::new()),
        write("files_create", "/api/v1/files", anything, Vec::new()),
        read(
            "files_list",
            "/api/v1/files?cursor=eyJpIjox%3D",
            &[("/api/v1/files?cursor=a%00", "invalid_field")],
        ),
        write(
            "responses",
            "/api/v1/responses",
            response,
            vec![
                (r#"{"input":"x"}"#.into(), "missing_field", "model"),
                (r#"{"model":"gpt-5","input":"x"}"#.into(), "invalid_field", "model"),
                (r#"{"model":"mavera-1"}"#.into(), "missing_field", "input"),
                (r#"{"model":"mavera-1","input":7}"#.into(), "invalid_field", "input"),
                (
                    changed(object(r#"{"model":"mavera-1"}"#), "input", "x".repeat(100_001).into()),
                    "invalid_field",
                    "input",
                ),
                (r#"{"model":"mavera-1","input":"x","stream":"yes"}"#.into(), "invalid_field", "stream"),
            ],
        ),
        write(
            "chat_completions",
            "/api/v1/chat/completions",
            completion,
            vec![
                ("{}".into(), "missing_field", "messages"),
                (completion_of(129), "invalid_field", "messages"),
                (r#"{"model":"gpt-5","messages":[{}]}"#.into(), "invalid_field", "model"),
            ],
        ),
        write(
            "mave_chat",
            "/api/v1/mave/chat",
            mave,
            vec![
                ("{}".into(), "missing_field", "message"),
                (r#"{"message":1}"#.into(), "invalid_field", "message"),
                (r#"{"message":"x","thread_id":1}"#.into(), "invalid_field", "thread_id"),
            ],
        ),
        read(
            "mave_threads",
            "/api/v1/mave/threads?limit=5",
            &[("/api/v1/mave/threads?x=1", "invalid_field")],
        ),
        read(
            "mave_thread_get",
            "/api/v1/mave/threads/cthread",
            &[("/api/v1/mave/threads/a%2Fb", "invalid_field"), ("/api/v1/mave/threads/a?x=1", plain)],
        ),
        read("personas_list", "/api/v1/personas", &[("/api/v1/personas?x=1", "invalid_field")]),
        write("personas", "/api/v1/personas", anything, Vec::new()),
        write("focus_groups", "/api/v1/focus-groups", anything, Vec::new()),
        read(
            "focus_group_get",
            "/api/v1/focus-groups/cgroup",
            &[("/api/v1/focus-groups/..", "invalid_field"), ("/api/v1/focus-groups/a?x=1", plain)],
        ),
        write(
            "generations",
            "/api/v1/generations",
            generation,
            vec![
                (r#"{"input_data":{}}"#.into(), "missing_field", "app_id"),
                (r#"{"app_id":"a"}"#.into(), "missing_field", "input_data"),
            ],
        ),
        read("generations_list", "/api/v1/generations", &[("/api/v1/generations?x=1", "invalid_field")]),
        read(
            "generation_apps",
            "/api/v1/generation-apps",
            &[("/api/v1/generation-apps?x=1", "invalid_field")],
        ),
        write("brand_voices", "/api/v1/brand-voices", voice, Vec::new()),
        read("brand_voices_list", "/api/v1/brand-voices", &[("/api/v1/brand-voices?x=1", "invalid_field")]),
        read(
            "brand_voice_get",
            "/api/v1/brand-voices/cvoice",
            &[("/api/v1/brand-voices/a;b", "invalid_field"), ("/api/v1/brand-voices/a?x=1", plain)],
        ),
        read(
            "news_trending",
            "/api/v1/news/stories/trending?size=5",
            &[("/api/v1/news/stories/trending?size=5&size=6", "invalid_field")],
        ),
        read(
            "news_personalized",
            "/api/v1/news/stories/personalized?persona_ids=a,b",
            &[("/api/v1/news/stories/personalized?persona_ids=a,,b", "invalid_field")],
        ),
        read(
            "news_get",
            "/api/v1/news/stories/cstory0000000000000000001",
            &[("/api/v1/news/stories/a.b", "invalid_field"), ("/api/v1/news/stories/a?x=1", plain)],
        ),
        write("news_analyze", "/api/v1/news/stories/cstory0000000000000000001/analyze", anything, Vec::new()),
        write(
            "news_chat",
            "/api/v1/news/stories/cstory0000000000000000001/chat",
            story,
            vec![
                ("{}".into(), "missing_field", "message"),
                (changed(json!({}), "message", "x".repeat(2001).into()), "invalid_field", "message"),
            ],
        ),
        read("me", "/gateway/v1/me", &[("/gateway/v1/me?x=1", plain)]),
        Case {
            label: "explain",
            target: "/gateway/v1/explain".into(),
            body: chat_body,
            streams: false,
            wrong: Vec::new(),
            off: vec![
                ("/gateway/v1/explain?x=1", "invalid_field"),
                ("/gateway/v1/explain?route=me", "invalid_field"),
                ("/gateway/v1/explain?route=nonsense", "invalid_field"),
            ],
        },
        Case {
            label: "key_rotate",
            target: "/gateway/v1/keys/rotate".into(),
            body: no_body,
            streams: false,
            wrong: Vec::new(),
            off: vec![("/gateway/v1/keys/rotate?x=1", plain)],
        },
    ]
}
