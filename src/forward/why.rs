//! What an answer shows of the upstream itself: that it serves, or why it does not.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;

use crate::books::keeper::Keeper;
use crate::desk::{Seen, Trouble};

/// Bytes of a refusal that are looked at.
const MOST: usize = 16 << 10;

/// What the head of an answer shows. A 402 has several reasons, of which the body tells; what 429 says is said of the window;
/// and an upstream that fails shows nothing of the key, the pool or the plan.
pub(super) fn seen(status: StatusCode, costs: bool) -> Option<Seen> {
    match status {
        StatusCode::UNAUTHORIZED => Some(Seen::Refused(Trouble::KeyRefused)),
        StatusCode::PAYMENT_REQUIRED | StatusCode::TOO_MANY_REQUESTS => None,
        _ if status.is_server_error() => None,
        _ => Some(Seen::Answered { worked: costs && status.is_success() }),
    }
}

/// A 402 that goes by, looked at for its reason.
pub(super) struct Why {
    desk: Arc<Keeper>,
    body: Vec<u8>,
}

impl Why {
    pub(super) fn new(desk: &Arc<Keeper>) -> Self {
        Self { desk: Arc::clone(desk), body: Vec::new() }
    }

    pub(super) fn look(&mut self, data: &[u8]) {
        let room = MOST - self.body.len();
        self.body.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// The body is over.
    pub(super) fn told(self) {
        self.desk.see(Seen::Refused(reason(&self.body)));
    }
}

/// Of the three reasons two have documented codes (source: Mavera's error and credit guides); a lapsed subscription answers
/// 402 with a code that is not documented.
fn reason(body: &[u8]) -> Trouble {
    #[derive(Deserialize)]
    struct Envelope {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        code: String,
    }
    let code = serde_json::from_slice(body).map(|Envelope { error: Error { code } }| code);
    match code.as_deref() {
        Ok("credits_exhausted") => Trouble::PoolEmpty,
        Ok("budget_exceeded") => Trouble::WorkspaceLimit,
        _ => Trouble::SubscriptionLapsed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_402_is_told_by_its_code() {
        for (body, expected) in [
            (r#"{"error":{"code":"credits_exhausted"}}"#, Trouble::PoolEmpty),
            (r#"{"error":{"code":"budget_exceeded","param":null}}"#, Trouble::WorkspaceLimit),
            (r#"{"error":{"code":"subscription_inactive"}}"#, Trouble::SubscriptionLapsed),
            ("<html>", Trouble::SubscriptionLapsed),
        ] {
            assert_eq!(reason(body.as_bytes()), expected, "{body}");
        }
    }
}
