//! The same stream must yield the same reading however it is split and terminated.

use proptest::prelude::*;

use super::json::EventKind;
use super::*;
use crate::credits::Credits;

fn read_split(stream: &[u8], cuts: &[usize]) -> Reading {
    let mut meter =
        Meter { kind: Kind::EventStream(Box::new(sse::EventStream::new())), figures: Figures::Usage };
    let mut from = 0;
    for &cut in cuts {
        meter.look(&stream[from..cut]);
        from = cut;
    }
    meter.look(&stream[from..]);
    meter.finish(true)
}

const NEW: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_a\",\"usage\":null}}\n\n\
: keep-alive\n\n\
event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"delta\":\"{\\\"usage\\\":{\\\"credits_used\\\":0}} ü€\"}\n\n\
event: response.completed\ndata: {\"type\":\"response.completed\",\ndata: \"response\":{\"id\":\"resp_a\",\"usage\":{\"input_tokens\":4,\"output_tokens\":6,\"credits_used\":3}}}\n\n\
data: [DONE]\n\n";

const OLD: &str = "data:{\"id\":\"chatcmpl_b\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n\
data:{\"id\":\"chatcmpl_b\",\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"credits_used\":2.5}}\n\n\
data:[DONE]\n\n";

fn expected_new() -> Reading {
    Reading {
        usage: Usage { credits: Some(Credits::whole(3)), input_tokens: Some(4), output_tokens: Some(6) },
        response_id: Some("resp_a".into()),
        finish: Some(Finish::Completed),
        ..Reading::default()
    }
}

fn expected_old() -> Reading {
    Reading {
        usage: Usage { credits: Credits::from_json_number("2.5"), ..Usage::default() },
        response_id: Some("chatcmpl_b".into()),
        finish: Some(Finish::Completed),
        ..Reading::default()
    }
}

#[test]
fn every_pair_of_cuts_reads_the_same() {
    for (text, expected) in [(NEW, expected_new()), (OLD, expected_old())] {
        for ending in ["\n", "\r\n", "\r"] {
            for prefix in ["", "\u{feff}"] {
                let stream = format!("{prefix}{}", text.replace('\n', ending));
                let stream = stream.as_bytes();
                for first in 0..stream.len() {
                    let second = (first + 1 + first % 7).min(stream.len());
                    assert_eq!(
                        read_split(stream, &[first, second]),
                        expected,
                        "{ending:?} cut at {first}, {second}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_event_without_its_blank_line_is_read() {
    let stream = NEW.trim_end().strip_suffix("data: [DONE]").unwrap().trim_end();
    assert_eq!(read_split(stream.as_bytes(), &[]), expected_new());
}

#[test]
fn a_stream_without_a_terminal_frame_has_no_finish() {
    let cut = NEW.find("event: response.completed").unwrap();
    let reading = read_split(&NEW.as_bytes()[..cut], &[]);
    assert_eq!((reading.finish, reading.usage), (None, Usage::default()));
}

#[test]
fn a_figure_cut_in_half_is_no_figure() {
    let cut = NEW.find("\"credits_used\":3").unwrap() + "\"credits_used\":3".len();
    assert_eq!(read_split(&NEW.as_bytes()[..cut], &[]).usage.credits, None);
}

#[test]
fn all_ways_of_failing_inside_a_stream_are_recognised() {
    for (stream, finish) in [
        (
            "event: error\ndata: {\"type\":\"error\",\"code\":\"x\",\"message\":\"m\",\"param\":null}\n\n",
            Finish::Failed,
        ),
        (
            "data: {\"error\":{\"message\":\"m\",\"type\":\"t\",\"code\":\"c\",\"param\":null}}\n\n",
            Finish::Failed,
        ),
        ("data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\"}}\n\n", Finish::Failed),
        (
            "data: {\"type\":\"response.incomplete\",\"response\":{\"usage\":{\"credits_used\":1}}}\n\n",
            Finish::Incomplete,
        ),
        ("data: [DONE]\n\n", Finish::Completed),
    ] {
        assert_eq!(read_split(stream.as_bytes(), &[]).finish, Some(finish), "{stream}");
    }
    // A failure is not undone by the terminator that follows it.
    let failed = "data: {\"type\":\"response.failed\"}\n\ndata: [DONE]\n\n";
    assert_eq!(read_split(failed.as_bytes(), &[]).finish, Some(Finish::Failed));
}

#[test]
fn a_body_is_read_as_what_it_is_where_its_label_does_not_say() {
    let json = r#"{"id":"resp_c","usage":{"credits_used":3}}"#;
    for label in
        [Some("application/json; charset=utf-8"), None, Some("text/plain"), Some("application/octet-stream")]
    {
        for body in [json, NEW] {
            if label.is_some_and(|label| label.contains("json")) && body == NEW {
                continue;
            }
            for cut in [0, 1, 5, 20] {
                let mut headers = HeaderMap::new();
                if let Some(label) = label {
                    headers.insert(header::CONTENT_TYPE, label.parse().unwrap());
                }
                let mut meter = Meter::for_head(&headers, Figures::Usage);
                meter.look(&body.as_bytes()[..cut]);
                meter.look(&body.as_bytes()[cut..]);
                assert_eq!(meter.reads_events(), body == NEW, "{label:?}");
                let reading = meter.finish(true);
                assert_eq!(reading.usage.credits, Some(Credits::whole(3)), "{label:?} cut at {cut}");
            }
        }
    }
}

fn read_as(figures: Figures, label: &str, body: &str) -> Reading {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, label.parse().unwrap());
    let mut meter = Meter::for_head(&headers, figures);
    meter.look(body.as_bytes());
    meter.finish(true)
}

#[test]
fn a_cost_is_read_where_the_documents_of_its_route_have_it_and_nowhere_else() {
    let everywhere = r#"{"usage":{"credits_used":1},"credits_charged":2,"credits_used":3}"#;
    for (figures, body, expected) in [
        (Figures::Usage, everywhere, Some(1)),
        (Figures::Opaque, everywhere, Some(1)),
        (Figures::Charged, everywhere, Some(2)),
        (Figures::Job, everywhere, Some(1)),
        (Figures::Usage, r#"{"credits_charged":2,"credits_used":3}"#, None),
        (Figures::Charged, r#"{"usage":{"credits_used":1},"credits_used":3}"#, None),
        (Figures::Job, r#"{"credits_charged":2,"credits_used":3}"#, Some(2)),
        (Figures::Job, r#"{"credits_used":3}"#, Some(3)),
        (Figures::Job, r#"{"status":"pending","credits_used":0}"#, None),
        (Figures::Job, r#"{"status":"failed","credits_used":0}"#, Some(0)),
        (Figures::Job, r#"{"results":{"credits_used":3}}"#, None),
        (Figures::Job, r#"{"credits_used":"3"}"#, None),
        (Figures::Job, r#"{"credits_used":-3}"#, None),
    ] {
        let credits = read_as(figures, "application/json", body).usage.credits;
        assert_eq!(credits, expected.map(Credits::whole), "{figures:?} {body}");
    }
}

#[test]
fn an_answer_that_is_made_in_the_background_has_no_cost_yet() {
    for status in ["in_progress", "queued", "IN_PROGRESS"] {
        let body = format!(r#"{{"id":"resp_a","status":"{status}","usage":{{"credits_used":0}}}}"#);
        let reading = read_as(Figures::Usage, "application/json", &body);
        assert_eq!((reading.usage.credits, reading.finish), (None, Some(Finish::UnderWay)), "{status}");
    }
    let job =
        read_as(Figures::Job, "application/json", r#"{"id":"c1","status":"GENERATING","credits_used":4}"#);
    assert_eq!(job.usage.credits, Some(Credits::whole(4)));
    assert_eq!((job.status, job.response_id.as_deref()), (Some(Status::Other), Some("c1")));
    for (word, status) in [("completed", Status::Completed), ("FAILED", Status::Failed)] {
        let reading = read_as(Figures::Job, "application/json", &format!(r#"{{"status":"{word}"}}"#));
        assert_eq!(reading.status, Some(status), "{word}");
        assert!(status.is_final() && !Status::Other.is_final());
    }
}

#[test]
fn a_stream_that_nobody_documents_is_over_when_it_ends_and_says_what_it_says() {
    let stream = "event: thinking\ndata: {\"step\":1}\n\nevent: end\ndata: {\"thread_id\":\"c9\"}\n\n";
    let opaque = read_as(Figures::Opaque, "text/event-stream", stream);
    assert_eq!((opaque.finish, opaque.usage.credits), (Some(Finish::Completed), None));
    assert_eq!(opaque.beside.as_deref(), Some("c9"));
    assert_eq!(read_as(Figures::Usage, "text/event-stream", stream).finish, None);
    let priced = format!("{stream}data: {{\"usage\":{{\"credits_used\":12}}}}\n\n");
    let priced = read_as(Figures::Opaque, "text/event-stream", &priced);
    assert_eq!(priced.usage.credits, Some(Credits::whole(12)));
}

#[test]
fn what_is_encoded_or_neither_is_not_read() {
    for (name, value, body) in [
        (header::CONTENT_ENCODING, "gzip", r#"{"usage":{"credits_used":3}}"#),
        (header::CONTENT_TYPE, "text/html", r#"<p>{"usage":{"credits_used":3}}</p>"#),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        let mut meter = Meter::for_head(&headers, Figures::Usage);
        meter.look(body.as_bytes());
        assert_eq!(meter.finish(true).usage.credits, None, "{value}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The scanner agrees with a real JSON parser on the fields it looks for, for any document.
    #[test]
    fn agrees_with_serde_json(value in json_value(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let text = value.to_string();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut scanner = json::Scanner::new();
        let mut from = 0;
        for cut in cuts {
            scanner.feed(&text.as_bytes()[from..cut]);
            from = cut;
        }
        scanner.feed(&text.as_bytes()[from..]);
        let found = scanner.finish();
        let usage = ["/response/usage", "/usage"].iter().filter_map(|at| value.pointer(at)).find(|v| v.is_object());
        if value.is_object() && (value.get("usage").is_none() || value.pointer("/response/usage").is_none()) {
            let credits = usage.and_then(|u| u.get("credits_used")).and_then(serde_json::Value::as_u64).map(Credits::whole);
            prop_assert_eq!(found.usage.and_then(|u| u.credits), credits);
            let kind = value.get("type").and_then(|kind| kind.as_str()).map(|kind| EventKind::of(kind.as_bytes()));
            prop_assert_eq!(found.kind, kind);
        }
    }

    /// Nothing that arrives can make the meter fail.
    #[test]
    fn whole_events_that_are_passed_over_read_the_same_byte_by_byte(
        events in prop::collection::vec(
            prop::sample::select(vec![
                "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hm\"}\n\n",
                "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n",
                "data: {\"id\":\"chatcmpl_1\",\"choices\":[]}\n\n",
                "data: {\"us\\u0061ge\":{\"credits_used\":7}}\r\n\r\n",
                "data: {\"usage\":{\"credits_used\":3}}\n\n",
                "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_2\",\"usage\":{\"credits_used\":2}}}\n\n",
                "event: error\ndata: {}\n\n",
                "data: [DONE]\n\n",
                ": a comment\n\n",
                "data: half an event\n",
                "event: err\nevent: or\n",
                "\r", "\n", "\n\n", "or\n\n", "data\n\n", "id: 5\n\n", "\u{feff}data: [DONE]\n\n",
            ]),
            0..12,
        ),
        groups in prop::collection::vec(1..4usize, 12),
    ) {
        let mut frames = Vec::new();
        let mut rest = &events[..];
        for group in groups {
            let (now, later) = rest.split_at(group.min(rest.len()));
            frames.push(now.concat());
            rest = later;
        }
        frames.push(rest.concat());
        let read = |pieces: &[&[u8]]| {
            let mut stream = sse::EventStream::new();
            for piece in pieces {
                stream.look(piece);
            }
            stream.finish(true, false)
        };
        let whole: Vec<_> = frames.iter().map(String::as_bytes).collect();
        let text = frames.concat();
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(read(&whole), read(&bytes));
    }

    #[test]
    fn survives_any_bytes(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8)) {
        for head in ["application/json", "text/event-stream"] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, head.parse().unwrap());
            let mut meter = Meter::for_head(&headers, Figures::Usage);
            for chunk in &chunks {
                meter.look(chunk);
            }
            let _ = meter.finish(false);
        }
    }
}

/// Documents made of the very names the meter looks for, at right and wrong places.
fn json_value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0u64..1000).prop_map(Value::from),
        prop::sample::select(vec!["usage", "\"usage\":{", "response.completed", "\\", "\u{1F600}"])
            .prop_map(Value::from),
    ];
    let name = prop::sample::select(vec!["usage", "response", "type", "id", "credits_used", "x\"y", "error"]);
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// One event of a stream.
fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

#[test]
fn a_figure_counts_where_the_stream_says_that_it_has_ended() {
    let interim =
        event(r#"{"type":"response.in_progress","response":{"usage":{"credits_used":0,"input_tokens":1}}}"#);
    let completed = event(r#"{"type":"response.completed","response":{"usage":{"credits_used":3}}}"#);
    let bare = event(r#"{"type":"response.completed","response":{"usage":{}}}"#);
    let failed = event(r#"{"type":"response.failed","response":{"usage":{"credits_used":2}}}"#);
    let old = |credits: u64| event(&format!(r#"{{"choices":[],"usage":{{"credits_used":{credits}}}}}"#));
    let done = event("[DONE]");
    for (what, stream, complete, credits, finish) in [
        ("an interim figure, and a break", vec![&interim], false, None, None),
        ("an interim figure, and an end without a word", vec![&interim], true, None, None),
        (
            "an interim figure, then the true one",
            vec![&interim, &completed],
            true,
            Some(3),
            Some(Finish::Completed),
        ),
        (
            "the true one, then one of nothing",
            vec![&completed, &bare],
            true,
            Some(3),
            Some(Finish::Completed),
        ),
        ("the true one, then a break", vec![&completed], false, Some(3), Some(Finish::Completed)),
        ("a failure that says what it cost", vec![&failed], false, Some(2), Some(Finish::Failed)),
        ("the old form, interim, and a break", vec![&old(0)], false, None, None),
        ("the old form, whole", vec![&old(0), &old(4)], true, Some(4), Some(Finish::Completed)),
        (
            "the old form, ended and then broken",
            vec![&old(4), &done],
            false,
            Some(4),
            Some(Finish::Completed),
        ),
        ("the end alone", vec![&done], true, None, Some(Finish::Completed)),
    ] {
        let mut meter =
            Meter { kind: Kind::EventStream(Box::new(sse::EventStream::new())), figures: Figures::Usage };
        for event in stream {
            meter.look(event.as_bytes());
        }
        let reading = meter.finish(complete);
        assert_eq!((reading.usage.credits, reading.finish), (credits.map(Credits::whole), finish), "{what}");
    }
}
