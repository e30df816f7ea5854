//! What the tests stand on: a gateway over in-memory pipes with a paused clock ([`rig`]), scripted
//! upstreams ([`script`]), and the real thing in processes of its own ([`process`]).
//!
//! All of them give the gateway the same organisation key, [`CANARY`], and look for it in everything
//! that comes out.

pub mod authority;
pub mod browser;
pub mod checker;
pub mod grammar;
pub mod h2;
pub mod http;
pub mod issuer;
pub mod month;
pub mod postgres;
pub mod process;
pub mod queue;
pub mod recorder;
pub mod rig;
pub mod script;
pub mod wire;

/// The organisation's key in every test. It may stand in the upstream's received head and nowhere
/// else.
pub const CANARY: &str = "mvra_live_canary_plainly_fake_0123456789";

/// A chat body.
pub fn chat_body(stream: bool, quirks: &str) -> String {
    serde_json::json!({
        "messages": [{"role": "user", "content": "Which moment loses viewers?"}],
        "stream": stream,
        "sim": quirks,
    })
    .to_string()
}

/// Fails if the organisation's key, or a part of it long enough to be one, is in `output`.
pub fn assert_no_canary(what: &str, output: &[u8]) {
    let found = output.windows(20).any(|window| window == &CANARY.as_bytes()[10..30]);
    assert!(!found, "the organisation's key is in {what}");
}
