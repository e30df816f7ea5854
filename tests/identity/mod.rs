//! Callers that hold no key: tokens, their issuers, and certificates.

mod certificates;
mod configured;
mod issuers;
mod libraries;
mod recipes;
mod tokens;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::support::chat_body;
use crate::support::rig::{Answer, Rig};

/// A chat with a token in place of the key.
pub fn chat_with(rig: &Rig, token: &str) -> Request<Full<Bytes>> {
    let mut request = rig.chat(chat_body(false, ""));
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// What a refusal comes to: status, code and challenge.
pub fn refusal(answer: &Answer) -> (u16, String, String) {
    (answer.status().as_u16(), answer.code(), answer.header("www-authenticate").to_owned())
}

/// The one challenge for everything that is not valid.
pub const INVALID: &str = "Bearer realm=\"mavera-gateway\", error=\"invalid_token\", error_description=\"The key or token is not valid here\"";
