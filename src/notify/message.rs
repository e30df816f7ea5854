//! What is sent: one JSON object, in a form that its receiver reads, and its signature.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::outstanding::Event;
use crate::config::NotifyFormat;
use crate::digest::sha256;

/// The body, in the form that is configured.
pub(super) fn body(event: &Event, format: NotifyFormat, at: Timestamp) -> Vec<u8> {
    let text = in_words(event);
    let value = match format {
        NotifyFormat::Json => plain(event, at),
        // Source: Slack's "Sending messages using incoming webhooks".
        NotifyFormat::Slack => json!({ "text": text }),
        // Source: Microsoft's "Create incoming webhooks with Workflows for Microsoft Teams", which take adaptive cards.
        NotifyFormat::Teams => json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [{ "type": "TextBlock", "text": text, "wrap": true }],
                },
            }],
        }),
    };
    // Of text and numbers: this cannot fail.
    serde_json::to_vec(&value).unwrap_or_default()
}

fn plain(event: &Event, at: Timestamp) -> Value {
    let condition = &event.condition;
    json!({
        "version": 1,
        "id": id(event),
        "event": if event.is_over { "over" } else { "began" },
        "kind": condition.kind.as_str(),
        "subject": condition.subject,
        "level": condition.level,
        "severity": severity(event),
        "message": condition.message,
        "at": format!("{at:.0}"),
    })
}

fn severity(event: &Event) -> &'static str {
    match (event.is_over, event.condition.is_critical) {
        (true, _) => "resolved",
        (false, true) => "critical",
        (false, false) => "warning",
    }
}

/// The same for the same event, whoever tells it, and however often.
fn id(event: &Event) -> String {
    let condition = &event.condition;
    let text =
        format!("{} {} {} {}", condition.kind.as_str(), condition.subject, condition.level, event.is_over);
    hex::encode(&sha256(text.as_bytes())[..8])
}

fn in_words(event: &Event) -> String {
    let message = &event.condition.message;
    match severity(event) {
        "resolved" => format!("Over: {message}"),
        "critical" => format!("Critical: {message}"),
        _ => format!("Warning: {message}"),
    }
}
