//! Before a request comes to its endpoint: its quirks, its key, the books, the window.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::header;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::books::{Received, Standing};
use crate::call::Call;
use crate::errors::ApiError;
use crate::quirks::Quirks;
use crate::state::Payer;
use crate::{KeyState, Simulator};

impl Simulator {
    /// A call that the books know nothing of.
    pub(super) fn unrecorded(&self) -> Call {
        Call::new(self.clone(), Payer { key: 0, index: None }, "", Arc::default())
    }

    pub(super) fn quirks_for(&self, head: &Parts, body: Option<&Value>) -> Quirks {
        let mut quirks = self.state().settings.quirks.clone();
        let field = head.headers.get("x-sim-quirks").and_then(|value| value.to_str().ok());
        let member = body.and_then(|body| body.get("sim")).and_then(Value::as_str);
        for text in field.into_iter().chain(member) {
            quirks = quirks.with(text).unwrap_or(quirks);
        }
        quirks
    }

    pub(super) fn key_of(&self, head: &Parts) -> Result<usize, ApiError> {
        let Some(authorization) = head.headers.get(header::AUTHORIZATION) else {
            return Err(ApiError::authentication("missing_api_key"));
        };
        let presented = authorization.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
        let state = self.state();
        let known = state.settings.keys.iter().position(|key| key.text.as_bytes() == presented);
        let index = known.ok_or_else(|| ApiError::authentication("invalid_api_key"))?;
        match state.settings.keys[index].state {
            KeyState::Revoked => Err(ApiError::authentication("revoked_api_key")),
            KeyState::Expired => Err(ApiError::authentication("expired_api_key")),
            KeyState::Live | KeyState::Lapsed => Ok(index),
        }
    }

    pub(super) fn receive(
        &self,
        head: &Parts,
        body: &Bytes,
        began: Timestamp,
        key: Option<usize>,
        route: &str,
        reset: Arc<AtomicBool>,
    ) -> Call {
        let mut state = self.state();
        state.books.began(route);
        let index = state.books.received.len();
        let remembered = index < state.settings.remember;
        if remembered {
            let headers = head.headers.iter().map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            });
            let received = Received {
                index,
                method: head.method.to_string(),
                target: head.uri.to_string(),
                headers: headers.collect(),
                body_sha256: hex::encode(Sha256::digest(body)),
                body_bytes: body.len(),
                key,
                began,
                ended: None,
                status: None,
                hung_up: false,
                response_id: None,
                charged: 0,
            };
            state.books.received.push(received);
        }
        drop(state);
        let payer = Payer { key: key.unwrap_or(0), index: remembered.then_some(index) };
        Call::new(self.clone(), payer, route, reset)
    }

    pub(super) fn enter_window(&self, key: usize) -> Standing {
        let now = self.now();
        let mut state = self.state();
        let limit = state.settings.requests_per_minute;
        let standing = state.windows[key].enter(now, limit);
        let length = state.windows[key].len();
        state.books.busiest_window = state.books.busiest_window.max(length);
        state.books.over_window += usize::from(!standing.allowed);
        standing
    }

    /// The window, the subscription and the pool, in the order in which they are assumed to be asked.
    pub(super) fn may(&self, key: usize, standing: Option<Standing>) -> Result<(), ApiError> {
        let now = self.now();
        if let Some(standing) = standing.filter(|standing| !standing.allowed) {
            let wait = standing.reset.duration_since(now).as_secs().max(0);
            return Err(ApiError::rate_limited(Some(u64::try_from(wait).unwrap_or(0) + 1)));
        }
        match self.state().settings.keys[key].state {
            KeyState::Lapsed => Err(ApiError::lapsed()),
            _ => Ok(()),
        }
    }

    /// Whether there is a credit left. Whatever is paid for asks this first.
    pub(super) fn can_pay(&self) -> Result<(), ApiError> {
        self.state().can_pay()
    }
}
