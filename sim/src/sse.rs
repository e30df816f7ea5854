//! Event streams as they are written: numbered events, the opaque events of Mave and generations, and the
//! cuts between writes.

use bytes::Bytes;
use serde_json::{Value, json};

use super::quirks::{Fault, Framing, Opaque, Quirks};

/// Events with their type and number, as `OpenAI` writes them.
#[derive(Default)]
pub(super) struct Numbered(pub(super) Vec<String>);

impl Numbered {
    pub(super) fn push(&mut self, kind: &str, members: Value) {
        let mut event = json!({"type": kind, "sequence_number": self.0.len()});
        if let (Some(event), Value::Object(members)) = (event.as_object_mut(), members) {
            event.extend(members);
        }
        self.0.push(format!("event: {kind}\ndata: {event}\n\n"));
    }
}

/// A stream of which nothing is documented but that it is one: all of it is invented. `end` is in its last
/// named event.
pub(super) fn opaque(pieces: &[String], end: &Value, usage: Option<&Value>, quirks: &Quirks) -> Vec<Bytes> {
    let named = |name: &str, data: &Value| format!("event: {name}\ndata: {data}\n\n");
    let mut events = vec![named("thinking", &json!({"step": "Reading the question"}))];
    events.extend(pieces.iter().map(|piece| named("chunk", &json!({ "text": piece }))));
    events.push(named("end", end));
    if let (Opaque::Usage, Some(usage)) = (quirks.opaque, usage) {
        events.push(format!("data: {}\n\n", json!({ "usage": usage })));
    }
    if breaks_off(quirks) {
        events.truncate(quirks.at);
    }
    cut_into_writes(&events, quirks.framing)
}

/// Whether streams stop in their middle, without a word.
pub(super) fn breaks_off(quirks: &Quirks) -> bool {
    matches!(quirks.fault, Fault::Close | Fault::Reset | Fault::Stall)
}

pub(super) fn cut_into_writes(events: &[String], framing: Framing) -> Vec<Bytes> {
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
