//! What the simulated model says, and how one document says it in either generation.
//!
//! Documented (new and old response shapes, where usage stands, `parsed`): as in Mavera's reference.
//! Invented here: the words, the verdict, the arguments. Function calls, and the members of a response
//! beyond the documented ones, are as `OpenAI` writes them, because its typed methods are pointed at
//! `/responses` and `/chat/completions`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::price;
use super::quirks::{Generation, Quirks};

/// What the model answers when JSON of a schema is wanted, whatever the schema.
const VERDICT: &str = r#"{"verdict":"strong","score":71}"#;
/// What it calls a function with.
const ARGUMENTS: &str = r#"{"brand":"Example"}"#;
const WORDS: &str = "The hook holds until 0:07 — then the cut to the product loses a third of viewers 📉. Bring the demo forward, \
keep the voice, and write \"{\\\"usage\\\":{\\\"credits_used\\\":0}}\" nowhere: it is only text. ";

/// What the model is asked, by whichever endpoint.
pub(super) struct Prompt {
    /// All that was said to it: the tokens are counted by it.
    pub(super) text: String,
    pub(super) form: Generation,
    pub(super) layout: Layout,
    pub(super) wants: Wants,
}

/// How much an answer's documents say.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// What Mavera documents.
    Documented,
    /// All that `OpenAI`'s typed methods look at. Each response object has these members too.
    OpenAi(Map<String, Value>),
}

/// What kind of answer is wanted.
#[derive(Clone, Debug)]
pub(super) enum Wants {
    Text,
    /// JSON of a schema.
    Json,
    /// A call of the function with that name.
    Call(String),
}

/// One answer before it is written.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) form: Generation,
    pub(super) layout: Layout,
    pub(super) wants: Wants,
    /// The answer in the pieces that a stream sends.
    pub(super) pieces: Vec<String>,
    pub(super) credits: u64,
    index: usize,
    input_tokens: u64,
    output_tokens: u64,
}

/// Words of an answer, in the pieces that a stream sends.
pub(super) fn words(quirks: &Quirks) -> Vec<String> {
    let words: Vec<&str> = WORDS.split_inclusive(' ').collect();
    let piece = |n: usize| match quirks.bytes {
        0 => words[n % words.len()].to_owned(),
        bytes => "x".repeat(bytes),
    };
    (0..quirks.events).map(piece).collect()
}

fn cut(text: &str) -> Vec<String> {
    text.chars().collect::<Vec<_>>().chunks(9).map(|piece| piece.iter().collect()).collect()
}

impl Reply {
    pub(super) fn new(index: usize, created: i64, prompt: Prompt, quirks: &Quirks) -> Self {
        let Prompt { text, form, layout, wants } = prompt;
        let prefix = match form {
            Generation::New => "resp_",
            Generation::Old => "chatcmpl_",
        };
        let pieces = match wants {
            Wants::Text => words(quirks),
            Wants::Json => cut(VERDICT),
            Wants::Call(_) => cut(ARGUMENTS),
        };
        let input_tokens = price::tokens(&text);
        Self {
            id: format!("{prefix}{:024x}", 0x0a1b_2c3d_0000_0000_u64 + index as u64),
            created,
            form,
            layout,
            wants,
            output_tokens: pieces.iter().map(|piece| price::tokens(piece)).sum(),
            pieces,
            credits: price::chat(input_tokens),
            index,
            input_tokens,
        }
    }

    /// What the answer says it cost.
    pub(super) fn usage(&self, quirks: &Quirks) -> Option<Value> {
        let (asked, said) = (self.input_tokens, self.output_tokens);
        let total = asked + said;
        let tokens = match (self.form, self.is_typed()) {
            (Generation::New, false) => {
                json!({"input_tokens": asked, "output_tokens": said, "total_tokens": total})
            }
            (Generation::New, true) => json!({
                "input_tokens": asked,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": said,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": total,
            }),
            (Generation::Old, false) => json!({}),
            (Generation::Old, true) => {
                json!({"prompt_tokens": asked, "completion_tokens": said, "total_tokens": total})
            }
        };
        price::usage(tokens, self.credits, quirks.usage)
    }

    /// Whether `OpenAI`'s typed methods read it.
    pub(super) fn is_typed(&self) -> bool {
        matches!(self.layout, Layout::OpenAi(_))
    }

    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }

    pub(super) fn item_id(&self) -> String {
        match self.wants {
            Wants::Call(_) => format!("fc_{:024x}", self.index),
            Wants::Text | Wants::Json => format!("msg_{:012x}", self.index),
        }
    }

    pub(super) fn call_id(&self) -> String {
        format!("call_{:024x}", self.index)
    }

    /// A message of the new form.
    pub(super) fn item(&self, status: &str, content: &Value) -> Value {
        json!({"id": self.item_id(), "type": "message", "role": "assistant", "status": status, "content": content})
    }

    /// The part of a message that is text.
    pub(super) fn part(&self, text: &str) -> Value {
        let mut part = json!({"type": "output_text", "text": text, "annotations": []});
        if self.is_typed() {
            part["logprobs"] = json!([]);
        }
        part
    }

    /// A function call of the new form.
    pub(super) fn call_item(&self, name: &str, status: &str, arguments: &str) -> Value {
        json!({
            "id": self.item_id(), "type": "function_call", "call_id": self.call_id(), "name": name,
            "arguments": arguments, "status": status,
        })
    }

    /// A function call of the old form.
    pub(super) fn tool_call(&self, name: &str, arguments: &str) -> Value {
        json!({"id": self.call_id(), "type": "function", "function": {"name": name, "arguments": arguments}})
    }

    pub(super) fn response(&self, status: &str, output: &Value, usage: Option<&Value>) -> Value {
        let mut response = json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status,
            "model": "mavera-1", "output": output, "usage": usage,
        });
        if let (Layout::OpenAi(members), Some(response)) = (&self.layout, response.as_object_mut()) {
            response.extend(members.clone());
        }
        response
    }

    /// The answer as one JSON document.
    pub(super) fn json(&self, quirks: &Quirks) -> Bytes {
        let usage = self.usage(quirks);
        let mut document = match self.form {
            Generation::New => self.new_document(usage.as_ref()),
            Generation::Old => self.old_document(usage.as_ref()),
        };
        if usage.is_none() {
            document.as_object_mut().map(|members| members.remove("usage"));
        }
        document.to_string().into()
    }

    fn new_document(&self, usage: Option<&Value>) -> Value {
        let text = self.text();
        let item = match &self.wants {
            Wants::Call(name) => self.call_item(name, "completed", &text),
            _ if self.is_typed() => self.item("completed", &json!([self.part(&text)])),
            _ => self.item("completed", &json!([{"type": "output_text", "text": text}])),
        };
        let mut document = self.response("completed", &json!([item]), usage);
        if matches!(self.wants, Wants::Json) {
            document["parsed"] = serde_json::from_str(&text).unwrap_or_default();
        }
        document
    }

    fn old_document(&self, usage: Option<&Value>) -> Value {
        let (mut message, finish) = match &self.wants {
            Wants::Call(name) => {
                let calls = json!([self.tool_call(name, &self.text())]);
                (json!({"role": "assistant", "content": null, "tool_calls": calls}), "tool_calls")
            }
            _ => (json!({"role": "assistant", "content": self.text()}), "stop"),
        };
        if self.is_typed() {
            message["refusal"] = Value::Null;
        }
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": "mavera-1",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": usage,
        })
    }
}
