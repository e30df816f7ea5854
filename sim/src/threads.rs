//! Threads of Mave, the research agent. Of their documents only the cumulative `credits_used` is
//! documented; the rest is invented.

use jiff::Timestamp;
use serde_json::{Value, json};

/// One conversation.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) id: String,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) messages: Vec<Value>,
    /// What all of its answers were charged.
    pub(super) credits_used: u64,
}

impl Thread {
    pub(super) fn new(id: String, now: Timestamp) -> Self {
        Self { id, created: now, updated: now, messages: Vec::new(), credits_used: 0 }
    }

    /// As the list shows it.
    pub(super) fn summary(&self) -> Value {
        json!({
            "id": self.id,
            "object": "mave.thread",
            "created_at": format!("{:.3}", self.created),
            "updated_at": format!("{:.3}", self.updated),
            "message_count": self.messages.len(),
            "credits_used": self.credits_used,
        })
    }

    /// As it is shown alone.
    pub(super) fn json(&self) -> Value {
        let mut document = self.summary();
        document["messages"] = json!(self.messages);
        document
    }
}
