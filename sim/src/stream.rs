//! An answer of the model as an event stream, in either generation, and what goes wrong inside one. The
//! layout of frames beyond Mavera's six names follows `OpenAI`'s.

use bytes::Bytes;
use serde_json::{Value, json};

use super::quirks::{Fault, Frames, Generation, Quirks, Terminator, UsageQuirk};
use super::reply::{Reply, Wants};
use super::sse::{Numbered, breaks_off, cut_into_writes};

impl Reply {
    /// The answer as writes of an event stream.
    pub(super) fn stream(&self, quirks: &Quirks) -> Vec<Bytes> {
        let mut events = match self.form {
            Generation::New => self.new_events(quirks),
            Generation::Old => self.old_events(quirks),
        };
        if quirks.fault != Fault::None {
            events.truncate(quirks.at);
            if !breaks_off(quirks) {
                events.push(self.fault_event(quirks));
            }
        }
        cut_into_writes(&events, quirks.framing)
    }

    fn new_events(&self, quirks: &Quirks) -> Vec<String> {
        let mut events = Numbered::default();
        events.push("response.created", json!({"response": self.response("in_progress", &json!([]), None)}));
        let closed = match &self.wants {
            Wants::Call(name) => self.call_events(name, quirks, &mut events),
            Wants::Text | Wants::Json => self.text_events(quirks, &mut events),
        };
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

    /// The events of a message until it is done, and the message.
    fn text_events(&self, quirks: &Quirks, events: &mut Numbered) -> Value {
        let full = quirks.frames != Frames::Six;
        let at = json!({"item_id": self.item_id(), "output_index": 0, "content_index": 0});
        let said = |name: &str, text: &str| {
            let mut members = with(&at, name, json!(text));
            if self.is_typed() {
                members["logprobs"] = json!([]);
            }
            members
        };
        let opened = self.item("in_progress", &if full { json!([]) } else { json!([self.part("")]) });
        events.push("response.output_item.added", json!({"output_index": 0, "item": opened}));
        if full {
            events.push("response.content_part.added", with(&at, "part", self.part("")));
        }
        for (n, piece) in self.pieces.iter().enumerate() {
            events.push("response.output_text.delta", said("delta", piece));
            stray_event(n, quirks, events);
        }
        let text = self.text();
        events.push("response.output_text.done", said("text", &text));
        if full {
            events.push("response.content_part.done", with(&at, "part", self.part(&text)));
        }
        self.item("completed", &json!([self.part(&text)]))
    }

    /// The events of a function call until it is done, and the call.
    fn call_events(&self, name: &str, quirks: &Quirks, events: &mut Numbered) -> Value {
        let at = json!({"item_id": self.item_id(), "output_index": 0});
        let opened = self.call_item(name, "in_progress", "");
        events.push("response.output_item.added", json!({"output_index": 0, "item": opened}));
        for (n, piece) in self.pieces.iter().enumerate() {
            events.push("response.function_call_arguments.delta", with(&at, "delta", json!(piece)));
            stray_event(n, quirks, events);
        }
        let arguments = self.text();
        let done = with(&with(&at, "name", json!(name)), "arguments", json!(arguments));
        events.push("response.function_call_arguments.done", done);
        self.call_item(name, "completed", &arguments)
    }

    fn old_events(&self, quirks: &Quirks) -> Vec<String> {
        let chunk = |delta: &Value, finish: Option<&str>, usage: Option<Value>| {
            let mut chunk = json!({
                "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": "mavera-1",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            });
            if let Some(usage) = usage {
                chunk["usage"] = usage;
            }
            format!("data: {chunk}\n\n")
        };
        let (deltas, finish) = match &self.wants {
            Wants::Call(name) => (self.call_deltas(name), "tool_calls"),
            Wants::Text | Wants::Json => (self.text_deltas(), "stop"),
        };
        let mut events: Vec<_> = deltas.iter().map(|delta| chunk(delta, None, None)).collect();
        if matches!(quirks.terminator, Terminator::Both | Terminator::Completed) {
            events.push(chunk(&json!({}), Some(finish), self.usage(quirks)));
        }
        if matches!(quirks.terminator, Terminator::Both | Terminator::Done) {
            events.push("data: [DONE]\n\n".into());
        }
        events
    }

    /// The role stands in every chunk of a video chat, and in the first where `OpenAI`'s helpers add the
    /// chunks up.
    fn text_deltas(&self) -> Vec<Value> {
        let delta = |(n, piece): (usize, &String)| {
            if self.is_typed() && n > 0 {
                json!({ "content": piece })
            } else {
                json!({"role": "assistant", "content": piece})
            }
        };
        self.pieces.iter().enumerate().map(delta).collect()
    }

    fn call_deltas(&self, name: &str) -> Vec<Value> {
        let mut opened = self.tool_call(name, "");
        opened["index"] = json!(0);
        let first = json!({"role": "assistant", "content": null, "tool_calls": [opened]});
        let more = self
            .pieces
            .iter()
            .map(|piece| json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}));
        [first].into_iter().chain(more).collect()
    }

    fn fault_event(&self, quirks: &Quirks) -> String {
        let error = json!({"message": "simulated failure", "type": "api_error", "code": "internal_error", "param": null});
        match quirks.fault {
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

/// An event that nobody knows, with something in it that looks like a cost.
fn stray_event(n: usize, quirks: &Quirks, events: &mut Numbered) {
    if quirks.frames == Frames::Extra && n.is_multiple_of(3) {
        events.push("response.mavera.sentiment", json!({"usage": {"credits": 99}, "score": 0.5}));
    }
}

fn with(base: &Value, name: &str, value: Value) -> Value {
    let mut members = base.clone();
    members[name] = value;
    members
}
