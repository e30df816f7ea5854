//! What the model answers: chats about analyses, `/responses`, and its old form `/chat/completions`.

use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::said::Said;
use crate::Simulator;
use crate::call::Call;
use crate::errors::ApiError;
use crate::jobs::Status;
use crate::kinds::Kind;
use crate::quirks::{Fault, Generation, NotCompleted};
use crate::reply::{Layout, Prompt, Reply, Wants};

/// The only model.
const MODEL: &str = "mavera-1";
/// Documented bound of `/responses.input`.
const MAX_INPUT: usize = 100_000;
/// Documented bounds of `messages`.
const MAX_CHAT_MESSAGES: usize = 50;
const MAX_MESSAGES: usize = 128;

impl Simulator {
    pub(super) fn video_chat(&self, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        self.can_pay()?;
        let analysis = self.find_job(Kind::VideoAnalysis, ask.id)?;
        if analysis.status(self.now()) != Status::Completed {
            return Err(ApiError::not_completed(match ask.quirks.not_completed {
                NotCompleted::Conflict => 409,
                NotCompleted::BadRequest => 400,
                NotCompleted::Unprocessable => 422,
            }));
        }
        let messages = ask.list("messages", MAX_CHAT_MESSAGES)?;
        let prompt = Prompt {
            text: json!(messages).to_string(),
            form: ask.quirks.generation,
            layout: Layout::Documented,
            wants: Wants::Text,
        };
        let stream = ask.stream()?;
        Ok(self.reply(prompt, stream, ask, call))
    }

    /// The new form, whatever the generation.
    pub(super) fn responses(&self, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        self.can_pay()?;
        check_model(ask.required("model")?)?;
        let text = match ask.member("input") {
            Some(Value::String(text)) if text.chars().count() <= MAX_INPUT => text.clone(),
            Some(items @ Value::Array(_)) => items.to_string(),
            _ => return Err(ApiError::invalid("invalid_field", "input", "input must be text or items.")),
        };
        let stream = ask.stream()?;
        let format = ask.member("text").and_then(|text| text.get("format"));
        let wants = wanted(ask, format);
        let layout = Layout::OpenAi(repeated(ask));
        let prompt = Prompt { text, form: Generation::New, layout, wants };
        if ask.member("background").and_then(Value::as_bool) == Some(true) {
            return Ok(self.background(prompt, ask, call));
        }
        Ok(self.reply(prompt, stream, ask, call))
    }

    /// The old form, whatever the generation.
    pub(super) fn chat_completions(&self, ask: &Ask<'_>, call: &mut Call) -> Result<Said, ApiError> {
        self.can_pay()?;
        ask.member("model").map_or(Ok(()), check_model)?;
        let messages = ask.list("messages", MAX_MESSAGES)?;
        let stream = ask.stream()?;
        let prompt = Prompt {
            text: json!(messages).to_string(),
            form: Generation::Old,
            layout: Layout::OpenAi(Map::new()),
            wants: wanted(ask, ask.member("response_format")),
        };
        Ok(self.reply(prompt, stream, ask, call))
    }

    fn reply(&self, prompt: Prompt, stream: bool, ask: &Ask<'_>, call: &mut Call) -> Said {
        let reply = self.next_reply(prompt, ask);
        let fails = ask.quirks.fault != Fault::None && stream;
        call.owes(reply.credits, ask.quirks, fails);
        call.answered(200, Some(&reply.id));
        if stream { Said::Stream(reply.stream(ask.quirks)) } else { Said::Paid(200, reply.json(ask.quirks)) }
    }

    /// An answer that is to come: nothing is documented about where it could be fetched, nor about what it
    /// costs, so that all of this is invented.
    fn background(&self, prompt: Prompt, ask: &Ask<'_>, call: &mut Call) -> Said {
        let reply = self.next_reply(prompt, ask);
        call.owes(reply.credits, ask.quirks, false);
        call.answered(200, Some(&reply.id));
        Said::Paid(200, reply.response("in_progress", &json!([]), None).to_string().into())
    }

    fn next_reply(&self, prompt: Prompt, ask: &Ask<'_>) -> Reply {
        let index = self.state().next();
        Reply::new(index, self.now().as_second(), prompt, ask.quirks)
    }
}

fn check_model(model: &Value) -> Result<(), ApiError> {
    if model == MODEL {
        return Ok(());
    }
    Err(ApiError::invalid("invalid_model", "model", "The only model is mavera-1."))
}

/// A call of the first function among the tools, JSON where the format is a schema's, or text.
fn wanted(ask: &Ask<'_>, format: Option<&Value>) -> Wants {
    let tools = ask.member("tools").and_then(Value::as_array);
    let function = tools.into_iter().flatten().find(|tool| tool["type"] == "function");
    if let Some(function) = function {
        let name = function.get("name").or_else(|| function["function"].get("name"));
        return Wants::Call(name.and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    if format.is_some_and(|format| format["type"] == "json_schema") { Wants::Json } else { Wants::Text }
}

/// The members of a response object that repeat the request, or the usual where it says nothing.
fn repeated(ask: &Ask<'_>) -> Map<String, Value> {
    let usual = json!({
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    });
    let Value::Object(mut members) = usual else { return Map::new() };
    for (name, value) in &mut members {
        if let Some(said) = ask.member(name).filter(|_| !matches!(&**name, "error" | "incomplete_details")) {
            *value = said.clone();
        }
    }
    members
}
