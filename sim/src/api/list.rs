//! Lists. The older ones go by offset and say their total, the newer ones go by cursor: which is which
//! changed between snapshots of the documentation.

use serde_json::{Value, json};

use super::ask::Ask;

/// A page by `limit` and `offset`.
pub(super) fn by_offset(ask: &Ask<'_>, items: &[Value]) -> Value {
    let (limit, offset) = (ask.number("limit", 20).clamp(1, 100), ask.number("offset", 0));
    let data: Vec<_> = items.iter().skip(offset).take(limit).collect();
    let has_more = offset + data.len() < items.len();
    json!({"object": "list", "data": data, "has_more": has_more, "total": items.len()})
}

/// A page by `limit` and `cursor`, which here is the id of the last item of the page before.
pub(super) fn by_cursor(ask: &Ask<'_>, items: &[Value]) -> Value {
    let limit = ask.number("limit", 50).clamp(1, 100);
    let start = match ask.parameter("cursor") {
        Some(cursor) => items.iter().position(|item| item["id"] == cursor).map_or(items.len(), |at| at + 1),
        None => 0,
    };
    let rest = &items[start..];
    let data = &rest[..rest.len().min(limit)];
    let has_more = rest.len() > limit;
    let next = data.last().filter(|_| has_more).map(|item| &item["id"]);
    json!({"object": "list", "data": data, "has_more": has_more, "next_cursor": next})
}
