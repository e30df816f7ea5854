use super::*;
use crate::route::Route;

fn judge(body: &[u8]) -> Result<Asked, Refusal> {
    super::judge(Route::explained().row().body.unwrap(), body)
}

fn refusal(body: &str) -> Refusal {
    judge(body.as_bytes()).expect_err(body)
}

fn param(body: &str) -> (String, String) {
    match refusal(body) {
        Refusal::MissingField { param } => ("missing".into(), param),
        Refusal::InvalidField { param, reason } => (reason, param),
        other => (format!("{other:?}"), String::new()),
    }
}

#[test]
fn the_documented_body_passes() {
    let body = r#"{"messages":[{"role":"user","content":"Which moment loses viewers?"}],"stream":false}"#;
    assert_eq!(judge(body.as_bytes()), Ok(Asked::default()));
}

#[test]
fn what_is_not_judged_goes_on() {
    for body in [
        r#"{"stream":true,"messages":[{"role":"x","content":[{"type":"text"}],"name":1}],"persona_id":"p","analysis_mode":true}"#,
        r#"{"stream":true,"messages":[{"role":"x","content":null}],"seed":1e400,"seed":2,"Stream":0}"#,
        r#"{"stream":true,"messages":[{"role":"assistant","tool_calls":[]},{"role":"user"}]}"#,
        r#" {"me\u0073sages":[{"role":"x","content":""}],"stream":true} "#,
    ] {
        assert_eq!(judge(body.as_bytes()), Ok(Asked { stream: true, ..Asked::default() }), "{body}");
    }
}

#[test]
fn null_is_as_good_as_nothing_where_nothing_may_stand() {
    let body = r#"{"messages":[{"role":"user","content":"x"}],"stream":null}"#;
    assert_eq!(judge(body.as_bytes()), Ok(Asked::default()));
    for (body, expected) in [
        (r#"{"messages":null}"#, "messages"),
        (r#"{"messages":[null]}"#, "messages[0]"),
        (r#"{"messages":[{"role":null}]}"#, "messages[0].role"),
        (r#"{"messages":[{"role":"user"}],"stream":null,"stream":true}"#, "stream"),
    ] {
        assert_eq!(param(body).1, expected, "{body}");
    }
}

#[test]
fn each_wrong_field_is_named() {
    let message = r#"{"role":"user","content":"x"}"#;
    let many = vec![message; 51].join(",");
    for (body, expected) in [
        ("{}".to_owned(), ("missing", "messages")),
        (r#"{"messages":[]}"#.to_owned(), ("is empty; send at least one message", "messages")),
        (r#"{"messages":"hi"}"#.to_owned(), ("must be an array of 1 to 50 messages", "messages")),
        (r#"{"messages":7}"#.to_owned(), ("must be an array of 1 to 50 messages", "messages")),
        (r#"{"messages":{}}"#.to_owned(), ("must be an array of 1 to 50 messages", "messages")),
        (
            format!("{{\"messages\":[{many}]}}"),
            ("has more than 50 messages; leave out the oldest", "messages"),
        ),
        (format!("{{\"messages\":[{message},\"x\"]}}"), ("must be an object with a `role`", "messages[1]")),
        (r#"{"messages":[{"content":"x"}]}"#.to_owned(), ("missing", "messages[0].role")),
        (r#"{"messages":[{"role":7,"content":"x"}]}"#.to_owned(), ("must be a string", "messages[0].role")),
        (
            r#"{"messages":[{"role":null,"content":"x"}]}"#.to_owned(),
            ("must be a string", "messages[0].role"),
        ),
        (format!("{{\"messages\":[{message}],\"stream\":\"yes\"}}"), ("must be true or false", "stream")),
        (
            r#"{"messages":[", expected nothing at line"]}"#.to_owned(),
            ("must be an object with a `role`", "messages[0]"),
        ),
        (
            format!("{{\"messages\":[{message}],\"stream\":true,\"str\\u0065am\":false}}"),
            ("is given twice", "stream"),
        ),
        (format!("{{\"messages\":[{message}],\"messages\":[{message}]}}"), ("is given twice", "messages")),
        (
            r#"{"messages":[{"role":"a","role":"b","content":"x"}]}"#.to_owned(),
            ("is given twice", "messages[0].role"),
        ),
    ] {
        assert_eq!(param(&body), (expected.0.to_owned(), expected.1.to_owned()), "{body}");
    }
}

#[test]
fn what_is_not_json_is_said_to_be_so_with_its_place() {
    for body in [
        "",
        "hello",
        "{",
        r#"{"messages":[{"role":"user","content":"x"}]} x"#,
        "{\"messages\":[}",
        "{'a':1}",
        "[1]",
        "\"x\"",
    ] {
        assert!(matches!(refusal(body), Refusal::InvalidJson { .. }), "{body}");
    }
    let Refusal::InvalidJson { detail } = refusal("{\n  \"messages\": [,]\n}") else {
        unreachable!("not JSON")
    };
    assert!(detail.contains("line 2"), "{detail}");
    assert!(matches!(refusal("\u{feff}{}"), Refusal::InvalidJson { .. }));
    let not_text = b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}";
    let detail = "it is not UTF-8 behind byte 39".to_owned();
    assert_eq!(judge(not_text), Err(Refusal::InvalidJson { detail }));
    let Refusal::InvalidJson { detail } = refusal(&format!("\"{}\"", "x".repeat(9999))) else {
        unreachable!("no object")
    };
    assert_eq!(detail, "it is not an object");
}

#[test]
fn nesting_is_bounded_outside_strings_only() {
    let deep = |n: usize| {
        format!(r#"{{"x":{}{},"messages":[{{"role":"u","content":"c"}}]}}"#, "[".repeat(n), "]".repeat(n))
    };
    assert!(judge(deep(127).as_bytes()).is_ok());
    assert!(matches!(refusal(&deep(128)), Refusal::InvalidJson { .. }));
    let text = format!(r#"{{"messages":[{{"role":"u","content":"\"{}"}}]}}"#, "[".repeat(500));
    assert!(judge(text.as_bytes()).is_ok());
}
