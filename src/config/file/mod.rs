//! The configuration as it is written in TOML: every key, its meaning and its default, and nothing
//! about whether the values make sense together. The doc comments become the descriptions in the
//! JSON Schema that `mavera-gateway schema` prints.

pub(super) mod identity;
mod ledger;
mod notify;

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use self::identity::{Identity, Member};
pub use self::ledger::{Durability, Ledger, Postgres};
pub use self::notify::{Notify, NotifyFormat};
use super::team_route::TeamRoute;
pub(super) use super::values::Leaf;
use super::values::{Budget, CreditsText, DurationText, ReserveText, SizeText, TimestampText};

/// Configuration of mavera-gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct File {
    /// The listener that internal teams call.
    pub(super) server: Server,
    /// The listener for operators: metrics, probes and the credits page.
    pub(super) admin: Admin,
    /// The Mavera API and the organisation's key for it.
    pub(super) upstream: Upstream,
    /// Where every credit is booked.
    pub(super) ledger: Ledger,
    /// What a team gets unless it says otherwise.
    pub(super) limits: Limits,
    /// Holds and the organisation's budget.
    pub(super) credits: Credits,
    /// How calls wait for a place in the organisation's window.
    pub(super) queue: Queue,
    /// What becomes of a call that is made again.
    pub(super) retries: Retries,
    /// What is written to standard output besides the record of each request.
    pub(super) log: Log,
    /// Spans for a collector.
    pub(super) tracing: Tracing,
    /// How caller keys are made and replaced while the gateway runs.
    pub(super) keys: Keys,
    /// Who is told what operators have to know.
    pub(super) notify: Option<Notify>,
    /// Whose word on who calls is taken, for callers without a key: one table each.
    pub(super) identity: Vec<Identity>,
    /// One table per internal team.
    pub(super) team: Option<Vec<Team>>,
}

/// The listener that internal teams call.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Server {
    /// Address and port to accept connections on. Default "127.0.0.1:8080". Read at start only.
    pub(super) listen: Leaf<SocketAddr>,
    /// Certificate chain and private key, both PEM. With them the listener speaks TLS (HTTP/1.1 and
    /// HTTP/2 by ALPN), without them clear text. Changed files are picked up within a second.
    pub(super) tls: Option<Tls>,
    /// How long calls in flight may go on after SIGTERM. Default "30s".
    pub(super) drain_timeout: Leaf<DurationText>,
    /// How long a connection may stay idle between requests. Longer than what stands in front keeps one, or it sends on a
    /// connection that is just being closed. Default "120s".
    pub(super) keep_alive: Leaf<DurationText>,
    /// How long a caller may take to send a request head. Default "30s".
    pub(super) head_timeout: Leaf<DurationText>,
    /// How long a caller may take to send a request body. Default "30s".
    pub(super) body_timeout: Leaf<DurationText>,
    /// How long a caller may leave written bytes unread before it is cut off. Default "60s".
    pub(super) write_timeout: Leaf<DurationText>,
    /// Largest request head, target and fields together. Default "16KiB".
    pub(super) max_head: Leaf<SizeText>,
    /// Connections open at the same time, over all callers. Default 10000. Read at start only.
    pub(super) max_connections: Leaf<u32>,
    /// Connections of one address open at the same time. Default 0, which is no bound.
    pub(super) max_connections_per_address: Leaf<u32>,
    /// Requests with a key that is not valid, of one address in a minute; beyond that its keys are not looked at.
    /// Default 0, which is no bound.
    pub(super) bad_keys_per_minute: Leaf<u32>,
    /// Networks or addresses of proxies in front, whose word on who calls is taken: by the PROXY protocol, v1 or v2, by
    /// `X-Forwarded-For`, or by `Forwarded`. Default none.
    pub(super) trusted_proxies: Leaf<Vec<String>>,
    /// Concurrent HTTP/2 streams of one connection. Default 100.
    pub(super) max_streams: Leaf<u32>,
    /// Worker threads. Default: one per available core. Read at start only.
    pub(super) workers: Leaf<u16>,
}

/// Certificate and key of a listener.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain, the server's own first.
    pub(super) cert: Leaf<PathBuf>,
    /// PEM file with the private key.
    pub(super) key: Leaf<PathBuf>,
}

/// The listener for operators.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Admin {
    /// Address and port of the credits page, `/metrics`, `/livez` and `/readyz`. Default "127.0.0.1:9464".
    /// Whoever can connect can read the metrics: keep it on loopback or a private network. Read at start only.
    pub(super) listen: Leaf<SocketAddr>,
    /// Certificate chain and private key, both PEM, as of `server`. With them this listener speaks TLS (HTTP/1.1), probes and
    /// scrapes too. Changed files are picked up within a second.
    pub(super) tls: Option<Tls>,
    /// Where the token for the credits page is: `{ env = "NAME" }` or `{ file = "PATH" }`, 32 visible characters or
    /// more. Default: none, and then the page answers connections from loopback alone. Read again on every reload.
    pub(super) token: Option<Leaf<Secret>>,
    /// Where the token is that may make, replace and revoke caller keys (`/admin/v1/keys`): as `token`, and another. Default:
    /// none, and then only `operators` may, and the command line. Read again on every reload.
    pub(super) keys_token: Option<Leaf<Secret>>,
    /// Who may do so without that token, by the tokens of an `[[identity]]`: as `members` of a team, without a budget.
    pub(super) operators: Vec<Member>,
}

/// The Mavera API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Upstream {
    /// Where the API is. Default `https://app.mavera.io/api/v1`. `http://` is accepted for loopback only.
    pub(super) base_url: Leaf<String>,
    /// Where the organisation's key is: `{ env = "NAME" }` or `{ file = "PATH" }`; never the key
    /// itself. Default `{ env = "MAVERA_API_KEY" }`. Read again on every reload, used from the next
    /// request on.
    pub(super) api_key: Leaf<Secret>,
    /// The plan's window for the whole key: requests per sliding 60 seconds. Default 60, the
    /// smallest plan's.
    pub(super) requests_per_minute: Leaf<u32>,
    /// PEM file with the only roots to trust for the upstream. Default: the system's.
    pub(super) ca_file: Leaf<PathBuf>,
    /// An HTTP proxy on the way to it, `"http://HOST:PORT"`: it is asked to CONNECT, and sees no more than names and lengths.
    /// Default: none; `HTTPS_PROXY` in the environment is not heeded.
    pub(super) proxy: Leaf<String>,
    /// How long connecting, with the TLS handshake, may take. Default "5s".
    pub(super) connect_timeout: Leaf<DurationText>,
    /// How long the upstream may take from the request to the head of its answer. Default "2m".
    pub(super) first_byte_timeout: Leaf<DurationText>,
    /// How long the upstream may pause between two reads of an answer. Default "2m".
    pub(super) idle_timeout: Leaf<DurationText>,
    /// How long one exchange may take in all. Default "10m".
    pub(super) total_timeout: Leaf<DurationText>,
    /// What happens upstream when a caller leaves: "drain" reads on to learn the cost, "cancel"
    /// closes the connection. Default "drain".
    pub(super) on_disconnect: Leaf<OnDisconnect>,
    /// How often the upstream's usage is read and compared with the ledger; "0s" never. Default "5m". Each reading
    /// is one request of the window.
    pub(super) usage_interval: Leaf<DurationText>,
    /// How long an idle upstream connection is kept for reuse. Default "30s".
    pub(super) keep_alive_idle: Leaf<DurationText>,
    /// The age past which an upstream connection is not used again. Default "10m".
    pub(super) keep_alive_lifetime: Leaf<DurationText>,
}

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// Name of an environment variable, of A-Z, 0-9 and "_".
    Env(String),
    /// Path of a file that holds the secret alone.
    File(PathBuf),
}

/// What to do with an exchange whose caller has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// Read on to the usage, within bounds.
    Drain,
    /// Close the upstream connection.
    Cancel,
}

/// Limits of a team.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Requests per minute, evenly refilled. Default 60.
    pub(super) requests_per_minute: Leaf<u32>,
    /// Requests that may come at once. Default 10.
    pub(super) burst: Leaf<u32>,
    /// Calls in flight at the same time, streams counted until they say that they are over. Default 16.
    pub(super) concurrency: Leaf<u32>,
    /// Largest request body. Default "1MiB".
    pub(super) max_body: Leaf<SizeText>,
}

/// Holds and the organisation's budget.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Credits {
    /// The zone of days, weeks and months, as in the tz database. Default "UTC".
    pub(super) time_zone: Leaf<String>,
    /// Credits held for a chat until its cost is known: a number, or "learned", which is what the dearest of
    /// a hundred recent calls cost. Default 5, the most a chat is documented to cost.
    pub(super) reserve: Leaf<ReserveText>,
    /// The least that a learned reserve holds. Default 5.
    pub(super) reserve_floor: Leaf<CreditsText>,
    /// How long a call waits for credits that other calls hold, before it is refused. Default "10s".
    pub(super) wait: Leaf<DurationText>,
    /// The whole organisation's budget, like { credits = 5000, period = "month" }. Default: none.
    pub(super) budget: Option<Budget>,
    /// What a credit costs the organisation, like { amount = 0.04, currency = "EUR" }: statements and the page say amounts in
    /// money too. Default: none.
    pub(super) price: Option<Price>,
}

/// What a credit costs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Price {
    /// In the currency's own unit, to the sixth place. Required.
    pub(super) amount: Leaf<CreditsText>,
    /// Three letters (ISO 4217). Required.
    pub(super) currency: Leaf<String>,
}

/// How calls wait for a place in the organisation's window.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Queue {
    /// How long a call waits for its turn when the window is full, before it is refused. A caller can ask for less with
    /// `x-gateway-max-wait`. "0s": refused at once. Default "20s".
    pub(super) wait: Leaf<DurationText>,
    /// Calls of one team that may wait at the same time. Default 64.
    pub(super) waiting: Leaf<u32>,
    /// The part of the window that is kept for whoever comes anew: 0 to 0.9. Default 0.1.
    pub(super) reserve: Leaf<f64>,
}

/// What becomes of a call that is made again.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Retries {
    /// How long an `Idempotency-Key` names the call that it was first sent with. Default "24h".
    pub(super) keep: Leaf<DurationText>,
    /// What is kept of answers, for copies of their calls.
    pub(super) bodies: Bodies,
    /// Whether the retry of an OpenAI SDK is given the answer of the call that it repeats, where that has no key and nobody
    /// has received any of it. Default true.
    pub(super) adopt: Leaf<bool>,
}

/// What is kept of answers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Bodies {
    /// "memory": for `keep`, until the gateway ends. "ledger": also in the ledger's file, for as long as the key, sealed so
    /// that only who has the key can have it opened. Default "memory".
    pub(super) store: Leaf<BodyStore>,
    /// How long an answer is kept in memory once it is over. Default "10m".
    pub(super) keep: Leaf<DurationText>,
    /// The largest answer that is kept. Default "2MiB".
    pub(super) max_body: Leaf<SizeText>,
    /// Answers kept in memory, and, sealed, in the ledger's file: so many bytes each. A team has a quarter of it at most.
    /// Default "256MiB".
    pub(super) total: Leaf<SizeText>,
    /// Where the gateway's part of what seals answers is: `{ env = "NAME" }` or `{ file = "PATH" }`, 32 visible characters
    /// or more. Required for the store "ledger". Read again on every reload.
    pub(super) pepper: Option<Leaf<Secret>>,
}

/// Where answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BodyStore {
    /// In memory alone.
    Memory,
    /// In the ledger's file too, sealed.
    Ledger,
}

/// What is logged besides request records.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Log {
    /// "error", "warn", "info" or "debug". Default "info". Read at start only.
    pub(super) level: Leaf<LogLevel>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what needs somebody.
    Error,
    /// And what may soon.
    Warn,
    /// And what happened: start, reload, drain.
    Info,
    /// And details for finding a fault.
    Debug,
}

/// Spans for a collector, in the OpenTelemetry protocol.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Tracing {
    /// Base URL of an OTLP/HTTP receiver, such as `http://127.0.0.1:4318`; `/v1/traces` is added. Default: none, and
    /// then no span is made. Read at start only.
    pub(super) endpoint: Leaf<String>,
    /// Share of calls that are traced, where the caller's `traceparent` does not decide: 0 to 1. Default 1. Read at
    /// start only.
    pub(super) sample_ratio: Leaf<f64>,
    /// The `service.name` of the spans. Default "mavera-gateway". Read at start only.
    pub(super) service_name: Leaf<String>,
}

/// How caller keys are made and replaced while the gateway runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Keys {
    /// How long a key goes on working beside the one that replaces it, unless asked for otherwise. Default "24h".
    pub(super) overlap: Leaf<DurationText>,
    /// How long a key that is made at run time works at most. Default: no bound.
    pub(super) max_lifetime: Leaf<DurationText>,
    /// Whether answers under way are broken off when their caller may not call any more: its key was revoked or taken out, or it is
    /// no member. What they cost is learned all the same. Default false: they go on to their end.
    pub(super) revoke_cuts_streams: Leaf<bool>,
}

/// An internal team.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Team {
    /// Name in metrics, logs and refusals: 1 to 64 of a-z, 0-9, "-" and "_", a letter first. Required.
    pub(super) name: Leaf<String>,
    /// The team's keys. Several may be valid at once, so that they overlap while rotating. Made by
    /// `mavera-gateway key new`.
    pub(super) keys: Vec<CallerKey>,
    /// Callers of the team that hold no key: workloads and pipelines that an `[[identity]]` vouches for. Where several of one
    /// team match, the first is meant.
    pub(super) members: Vec<Member>,
    /// Whether the team may replace its keys itself, with `POST /gateway/v1/keys/rotate`. Default false.
    pub(super) self_service_keys: Leaf<bool>,
    /// Overrides `limits.requests_per_minute`.
    pub(super) requests_per_minute: Leaf<u32>,
    /// Overrides `limits.burst`.
    pub(super) burst: Leaf<u32>,
    /// Overrides `limits.concurrency`.
    pub(super) concurrency: Leaf<u32>,
    /// Overrides `limits.max_body`.
    pub(super) max_body: Leaf<SizeText>,
    /// The team's share of the organisation's window beside the others': one of weight 2 has twice what one of weight 1
    /// has. 1 to 1000. Default 1.
    pub(super) weight: Leaf<u32>,
    /// How long the team's calls wait for their turn, if less than `queue.wait`.
    pub(super) max_wait: Leaf<DurationText>,
    /// The team's budget, like { credits = 1500, period = "month" }. Default: none but the organisation's.
    pub(super) budget: Option<Budget>,
    /// What the team may use, by the names that metrics and logs have, such as `"video_chat"` or `"responses"`; or `"*"`, which
    /// leaves out what holds 50 credits or more. A route can have a budget, a bound on jobs and a reserve of its own:
    /// `{ name = "video_analyses", budget = { credits = 600, period = "month" }, jobs = 1, reserve = 250 }`. Default:
    /// `["video_chat", "video_list", "video_get"]`.
    pub(super) routes: Option<Vec<TeamRoute>>,
    /// Ids of the analyses the team may ask about, as globs, beside those that it has made through the gateway. Default `["*"]`,
    /// all of them. A team without `"*"` may not list them, and of focus groups, files and threads it has its own alone.
    pub(super) analyses: Leaf<Vec<String>>,
}

/// One caller key, of which only the digest is known here.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct CallerKey {
    /// The public part of the key: 8 to 32 of a-z and 0-9. Required.
    pub(super) id: Leaf<String>,
    /// SHA-256 of the whole key as sent, 64 hexadecimal digits. Required.
    pub(super) sha256: Leaf<String>,
    /// When the key stops working. Default: never.
    pub(super) expires: Leaf<TimestampText>,
    /// A budget of this key alone. Default: none but the team's.
    pub(super) budget: Option<Budget>,
}
