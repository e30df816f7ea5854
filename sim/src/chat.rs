//! What the simulated model says, what that costs, and how it is written in either generation.
//!
//! Documented (new and old response shapes, the six event names, where usage stands): as in Mavera's
//! reference. Invented here: the words, the cost formula, and the layout of frames beyond the six
//! names, which follows `OpenAI`'s.

use bytes::Bytes;
use serde_json::{Value, json};

use super::quirks::{Fault, Frames, Framing, Generation, Quirks, Terminator, UsageQuirk};

/// One answer before it is written.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) id: String,
    pub(super) message_id: String,
    pub(super) created: i64,
    /// The answer in the pieces that a stream sends.
    pub(super) pieces: Vec<String>,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) credits: u64,
}

/// Deterministic, and inside the documented 1 to 5: grows with what is asked.
pub(super) fn cost(input_tokens: u64) -> u64 {
    1 + (input_tokens / 64).min(4)
}

const WORDS: &str = "The hook holds until 0:07 — then the cut to the product loses a third of viewers 📉. Bring the demo forward, \
keep the voice, and write \"{\\\"usage\\\":{\\\"credits_used\\\":0}}\" nowhere: it is only text. ";

impl Reply {
    pub(super) fn new(index: usize, created: i64, asked: &str, quirks: &Quirks) -> Self {
        let prefix = match quirks.generation {
            Generation::New => "resp_",
            Generation::Old => "chatcmpl_",
        };
        let input_tokens = asked.len() as u64 / 4 + 1;
        let words: Vec<&str> = WORDS.split_inclusive(' ').collect();
        let piece = |n: usize| match quirks.bytes {
            0 => words[n % words.len()].to_owned(),
            bytes => "x".repeat(bytes),
        };
        let pieces: Vec<_> = (0..quirks.events).map(piece).collect();
        Self {
            id: format!("{prefix}{:024x}", 0x0a1b_2c3d_0000_0000_u64 + index as u64),
            message_id: format!("msg_{index:012x}"),
            created,
            output_tokens: pieces.iter().map(|piece| piece.len() as u64 / 4 + 1).sum(),
            pieces,
            input_tokens,
            credits: cost(input_tokens),
        }
    }

    /// What the answer says it cost.
    fn usage(&self, quirks: &Quirks) -> Option<Value> {
        let credits = match quirks.usage {
            UsageQuirk::Absent => return None,
            UsageQuirk::Zero => 0,
            UsageQuirk::Present | UsageQuirk::NoCredits => self.credits,
        };
        let mut usage = match quirks.generation {
            Generation::New => json!({
                "input_tokens": self.input_tokens,
                "output_tokens": self.output_tokens,
                "total_tokens": self.input_tokens + self.output_tokens,
            }),
            Generation::Old => json!({}),
        };
        if quirks.usage != UsageQuirk::NoCredits {
            usage["credits_used"] = json!(credits);
        }
        Some(usage)
    }

    fn text(&self) -> String {
        self.pieces.concat()
    }

    fn item(&self, status: &str, content: &Value) -> Value {
        json!({"id": self.message_id, "type": "message", "role": "assistant", "status": status, "content": content})
    }

    fn response(&self, status: &str, output: &Value, usage: Option<&Value>) -> Value {
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status,
            "model": "mavera-1", "output": output, "usage": usage,
        })
    }

    /// The answer as one JSON document.
    pub(super) fn json(&self, quirks: &Quirks) -> Bytes {
        let usage = self.usage(quirks);
        let mut document = match quirks.generation {
            Generation::New => {
                let content = json!([{"type": "output_text", "text": self.text()}]);
                self.response("completed", &json!([self.item("completed", &content)]), usage.as_ref())
            }
            Generation::Old => json!({
                "id": self.id, "object": "chat.completion", "created": self.created, "model": "mavera-1",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": self.text()}, "finish_reason": "stop"}],
                "usage": usage,
            }),
        };
        if usage.is_none() {
            document.as_object_mut().map(|members| members.remove("usage"));
        }
        document.to_string().into()
    }

    /// The answer as writes of an event stream, and whether the message breaks off after them.
    pub(super) fn stream(&self, quirks: &Quirks) -> Vec<Bytes> {
        let mut events = match quirks.generation {
            Generation::New => self.new_events(quirks),
            Generation::Old => self.old_events(quirks),
        };
        let cut = quirks.at.min(events.len());
        match quirks.fault {
            Fault::None => {}
            Fault::Close | Fault::Reset | Fault::Stall => events.truncate(cut),
            fault => {
                events.truncate(cut);
                events.push(self.fault_event(fault, quirks));
            }
        }
        cut_into_writes(&events, quirks.framing)
    }

    fn new_events(&self, quirks: &Quirks) -> Vec<String> {
        let full = quirks.frames != Frames::Six;
        let mut events = Numbered::default();
        let (item, output) = (json!(self.message_id), json!(0));
        let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
        let at = json!({"item_id": item, "output_index": output, "content_index": 0});
        events.push("response.created", json!({"response": self.response("in_progress", &json!([]), None)}));
        let opened = self.item("in_progress", &if full { json!([]) } else { json!([part("")]) });
        events.push("response.output_item.added", json!({"output_index": 0, "item": opened}));
        if full {
            events.push("response.content_part.added", with(&at, "part", part("")));
        }
        for (n, piece) in self.pieces.iter().enumerate() {
            events.push("response.output_text.delta", with(&at, "delta", json!(piece)));
            if quirks.frames == Frames::Extra && n % 3 == 0 {
                events.push("response.mavera.sentiment", json!({"usage": {"credits": 99}, "score": 0.5}));
            }
        }
        let text = self.text();
        events.push("response.output_text.done", with(&at, "text", json!(text)));
        if full {
            events.push("response.content_part.done", with(&at, "part", part(&text)));
        }
        let closed = self.item("completed", &json!([part(&text)]));
        events.push("response.output_item.done", json!({"output_index": 0, "item": closed}));
        if matches!(quirks.terminator, Terminator::Both | Terminator::Completed) {
            let mut response = self.response("completed", &json!([closed]), self.usage(quirks).as_ref());
            if quirks.usage == UsageQuirk::Absent {
                response.as_object_mut().map(|members| members.remove("usage"));
            }
            events.push("response.completed", json!({ "response": response }));
        }
        if matches!(quirks.terminator, Terminator::Both | Terminator::Done) {
            events.0.push("data: [DONE]\n\n".into());
        }
        events.0
    }

    fn old_events(&self, quirks: &Quirks) -> Vec<String> {
        let chunk = |delta: Value, finish: Option<&str>, usage: Option<Value>| {
            let mut chunk = json!({
                "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": "mavera-1",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            });
            if let Some(usage) = usage {
                chunk["usage"] = usage;
            }
            format!("data: {chunk}\n\n")
        };
        let mut events: Vec<_> = self
            .pieces
            .iter()
            .map(|piece| chunk(json!({"role": "assistant", "content": piece}), None, None))
            .collect();
        if matches!(quirks.terminator, Terminator::Both | Terminator::Completed) {
            events.push(chunk(json!({}), Some("stop"), self.usage(quirks)));
        }
        if matches!(quirks.terminator, Terminator::Both | Terminator::Done) {
            events.push("data: [DONE]\n\n".into());
        }
        events
    }

    fn fault_event(&self, fault: Fault, quirks: &Quirks) -> String {
        let error = json!({"message": "simulated failure", "type": "api_error", "code": "internal_error", "param": null});
        match fault {
            Fault::ErrorEvent => format!(
                "event: error\ndata: {}\n\n",
                json!({"type": "error", "code": "internal_error", "message": "simulated failure", "param": null, "sequence_number": quirks.at})
            ),
            Fault::Envelope => format!("data: {}\n\n", json!({ "error": error })),
            Fault::Failed => {
                let mut response = self.response("failed", &json!([]), self.usage(quirks).as_ref());
                response["error"] = json!({"code": "internal_error", "message": "simulated failure"});
                format!(
                    "event: response.failed\ndata: {}\n\n",
                    json!({"type": "response.failed", "response": response})
                )
            }
            _ => {
                let mut response = self.response("incomplete", &json!([]), self.usage(quirks).as_ref());
                response["incomplete_details"] = json!({"reason": "max_output_tokens"});
                format!(
                    "event: response.incomplete\ndata: {}\n\n",
                    json!({"type": "response.incomplete", "response": response})
                )
            }
        }
    }
}

/// Events with their type and number, as `OpenAI` writes them.
#[derive(Default)]
struct Numbered(Vec<String>);

impl Numbered {
    fn push(&mut self, kind: &str, members: Value) {
        let mut event = json!({"type": kind, "sequence_number": self.0.len()});
        if let (Some(event), Value::Object(members)) = (event.as_object_mut(), members) {
            event.extend(members);
        }
        self.0.push(format!("event: {kind}\ndata: {event}\n\n"));
    }
}

fn with(base: &Value, name: &str, value: Value) -> Value {
    let mut members = base.clone();
    members[name] = value;
    members
}

fn cut_into_writes(events: &[String], framing: Framing) -> Vec<Bytes> {
    match framing {
        Framing::Frame => events.iter().map(|event| Bytes::from(event.clone())).collect(),
        Framing::Crlf => events.iter().map(|event| event.replace('\n', "\r\n").into()).collect(),
        Framing::Comments => events.iter().map(|event| format!(": keep-alive\n\n{event}").into()).collect(),
        Framing::Many => vec![events.concat().into()],
        Framing::Split => {
            let all = Bytes::from(events.concat());
            (0..all.len()).step_by(7).map(|from| all.slice(from..all.len().min(from + 7))).collect()
        }
        Framing::Bom => {
            let mut writes: Vec<_> = events.iter().map(|event| Bytes::from(event.clone())).collect();
            writes.insert(0, Bytes::from_static(b"\xEF\xBB\xBF"));
            writes
        }
    }
}
