//! `[notify]` as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Leaf, Secret};

/// Who is told what operators have to know: budgets that are spent, a pool that runs out, the upstream's state, keys that expire,
/// books that do not agree, a ledger that closed. One POST when it begins, and one when it is over.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Notify {
    /// Where the URL is: `{ file = "PATH" }` or `{ env = "NAME" }`; never the URL itself, for whoever has it can send there. It is
    /// https://, or http:// to loopback. Default `{ env = "MAVERA_GATEWAY_WEBHOOK" }`.
    pub(in crate::config) webhook: Leaf<Secret>,
    /// Where the key is that each POST is signed with (HMAC-SHA256), 32 characters or more. Default: none, and no signature.
    pub(in crate::config) secret: Leaf<Secret>,
    /// What the receiver reads: "json", or "slack" or "teams" for their incoming webhooks. Default "json".
    pub(in crate::config) format: Leaf<NotifyFormat>,
    /// PEM file with the only roots to trust for it. Default: the system's.
    pub(in crate::config) ca_file: Leaf<PathBuf>,
    /// An HTTP proxy on the way to it, `"http://HOST:PORT"`: it is asked to CONNECT, and sees no more than names and lengths.
    /// Default: none; `HTTPS_PROXY` in the environment is not heeded.
    pub(in crate::config) proxy: Leaf<String>,
}

/// What a receiver reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyFormat {
    /// All of it, as an object.
    Json,
    /// As incoming webhooks of Slack, and of whatever imitates them, take it.
    Slack,
    /// As workflows of Microsoft Teams take it.
    Teams,
}
