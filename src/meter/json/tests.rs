use super::*;

fn scan(text: &str) -> Document {
    let mut whole = Scanner::new();
    whole.feed(text.as_bytes());
    let whole = whole.finish();
    let mut bytewise = Scanner::new();
    for byte in text.bytes() {
        bytewise.feed(&[byte]);
    }
    assert_eq!(whole, bytewise.finish(), "split or whole, the same is found: {text}");
    whole
}

fn credits(text: &str) -> Option<u64> {
    scan(text).usage.and_then(|usage| usage.credits).map(|c| c.millionths() / 1_000_000)
}

#[test]
fn finds_usage_at_both_documented_places() {
    let new = scan(
        r#"{"type":"response.completed","response":{"id":"resp_1","output":[{"text":"x"}],"usage":{"input_tokens":42,"output_tokens":68,"total_tokens":110,"credits_used":3}}}"#,
    );
    assert_eq!(new.kind, Some(EventKind::Completed));
    assert_eq!(new.id.as_deref(), Some("resp_1"));
    let usage = new.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(42), Some(68)));
    assert_eq!(usage.credits, Some(Credits::whole(3)));
    assert_eq!(credits(r#"{"id":"chatcmpl_1","usage" : { "credits_used" : 4 } }"#), Some(4));
}

#[test]
fn text_that_looks_like_usage_counts_for_nothing() {
    for text in [
        r#"{"output":[{"text":"{\"usage\":{\"credits_used\":9}}"}]}"#,
        r#"{"output":{"usage":{"credits_used":9}}}"#,
        r#"[{"usage":{"credits_used":9}}]"#,
        r#"{"a":[{"usage":{"credits_used":9}}]}"#,
        r#"<html>{"usage":{"credits_used":9}}"#,
        r#"{} {"usage":{"credits_used":9}}"#,
        r#"{"usage":[{"credits_used":9}]}"#,
        r#"{"usage":{"details":{"credits_used":9}}}"#,
        r#"{"x":"usage","y":{"credits_used":9}}"#,
        r#""usage":{"credits_used":9}"#,
    ] {
        assert_eq!(credits(text), None, "{text}");
    }
    let after = r#"{"a":"\\","t":"\"usage\":{","usage":{"credits_used":2},"z":"\"credits_used\":9"}"#;
    assert_eq!(credits(after), Some(2));
}

#[test]
fn figures_that_cannot_be_booked_are_no_figures() {
    for value in ["null", "\"3\"", "-1", "true", "[3]", "{\"credits_used\":3}"] {
        let text = format!(r#"{{"usage":{{"credits_used":{value}}}}}"#);
        assert_eq!(credits(&text), None, "{text}");
    }
    assert_eq!(credits(r#"{"usage":{"credits_used":0}}"#), Some(0));
}

#[test]
fn escaped_names_are_the_names_they_spell() {
    assert_eq!(credits(r#"{"us\u0061ge":{"credits\u005fused":5}}"#), Some(5));
}

#[test]
fn the_last_usage_counts_whole() {
    let twice = scan(r#"{"usage":{"credits_used":1,"input_tokens":7},"usage":{"credits_used":2}}"#);
    assert_eq!(twice.usage, Some(Usage { credits: Some(Credits::whole(2)), ..Usage::default() }));
}

#[test]
fn an_error_is_one_unless_empty() {
    assert!(scan(r#"{"error":{"message":"no"}}"#).error);
    assert!(scan(r#"{"error":"no"}"#).error);
    for text in [r#"{"error":null}"#, r#"{"error":false}"#, r#"{"error":""}"#, r#"{"a":{"error":{}}}"#] {
        assert!(!scan(text).error, "{text}");
    }
}
