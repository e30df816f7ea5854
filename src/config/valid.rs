//! The configuration that is valid. What stands here needs no further check anywhere.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::file::{LogLevel, NotifyFormat, OnDisconnect};
use super::identity::{Identity, Member};
use super::ledger::Ledger;
use super::team::{CallerKey, Team};
use crate::credits::Credits as Amount;
use crate::credits::budget::Budget;
use crate::secret::SecretSource;

/// A whole valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The callers' listener.
    pub server: Server,
    /// The operators' listener.
    pub admin: Admin,
    /// The Mavera API.
    pub upstream: Upstream,
    /// Where every credit is booked.
    pub ledger: Ledger,
    /// Holds and the organisation's budget.
    pub credits: Credits,
    /// How calls wait for a place in the organisation's window.
    pub queue: Queue,
    /// What becomes of a call that is made again.
    pub retries: Retries,
    /// How caller keys are replaced at run time.
    pub keys: Keys,
    /// Who is told what operators have to know, if anybody is.
    pub notify: Option<Notify>,
    /// Whose word on who calls is taken.
    pub identities: Vec<Identity>,
    /// In the order of the file.
    pub teams: Vec<Team>,
    /// The file says that there are none, where it could have said nothing.
    pub is_meant_without_teams: bool,
    /// Diagnostics, beside the records.
    pub log_level: LogLevel,
    /// Where spans go; no spans without it.
    pub tracing: Option<Tracing>,
}

/// Spans for a collector.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Base URL of an OTLP/HTTP receiver.
    pub endpoint: Uri,
    /// Share of calls that are traced where the caller does not decide.
    pub sample_ratio: f64,
    /// The resource's `service.name`.
    pub service_name: String,
}

/// How a key stands that has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It is refused.
    Past,
    /// It will be within two weeks.
    Soon,
}

/// How long before its end a key is told of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Expiry {
    /// How a key stands that ends then; nothing where that is far off.
    #[must_use]
    pub fn of(expires: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        let left = expires?.duration_since(now);
        if left <= SignedDuration::ZERO { Some(Self::Past) } else { (left <= SOON).then_some(Self::Soon) }
    }
}

impl Config {
    /// Keys that have expired, or will soon, with their teams.
    pub fn expiring_keys(&self, now: Timestamp) -> impl Iterator<Item = (&str, &CallerKey, Expiry)> {
        self.teams.iter().flat_map(move |team| {
            team.keys
                .iter()
                .filter_map(move |key| Some((team.name.as_str(), key, Expiry::of(key.expires, now)?)))
        })
    }
}

/// The callers' listener and its bounds.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Clear text without it.
    pub tls: Option<TlsFiles>,
    /// Grace for calls in flight at shutdown.
    pub drain_timeout: Duration,
    /// Bound on idleness between two requests.
    pub keep_alive: Duration,
    /// Bound on one request head.
    pub head_timeout: Duration,
    /// Bound on one request body.
    pub body_timeout: Duration,
    /// Bound on a write that the caller does not take.
    pub write_timeout: Duration,
    /// Bytes of one request head.
    pub max_head: usize,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one address, if that is bounded.
    pub max_connections_per_address: Option<usize>,
    /// Keys that are not valid, of one address in a minute, if that is bounded.
    pub bad_keys_per_minute: Option<u32>,
    /// Whose word on who calls is taken.
    pub trusted_proxies: Proxies,
    /// HTTP/2 streams per connection.
    pub max_streams: u32,
    /// Worker threads.
    pub workers: usize,
}

/// Proxies whose word on who calls is taken. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Arc<[IpNet]>);

impl Proxies {
    pub(super) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is the address of one.
    #[must_use]
    pub fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Those of these networks.
    #[cfg(test)]
    pub(crate) fn of(networks: &[&str]) -> Self {
        Self::new(networks.iter().map(|text| text.parse().expect("a network")).collect())
    }
}

/// PEM files of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// The operators' listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where to listen.
    pub listen: SocketAddr,
    /// TLS of this listener, or clear text.
    pub tls: Option<TlsFiles>,
    /// Where the token for the credits page is read from; loopback alone without it.
    pub token: Option<SecretSource>,
    /// Where the token is read from that may change caller keys.
    pub keys_token: Option<SecretSource>,
    /// Who may do so by tokens of an identity.
    pub operators: Vec<Member>,
}

/// The Mavera API: where, with which key, within which bounds.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Scheme, authority and path prefix; no query.
    pub base_url: Uri,
    /// Where the key is read from.
    pub api_key: SecretSource,
    /// The plan's sliding 60-second window.
    pub requests_per_minute: NonZeroU32,
    /// The only roots to trust, or the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy on the way there, if there is one.
    pub proxy: Option<Authority>,
    /// Deadlines of one exchange.
    pub timeouts: Timeouts,
    /// What a caller that leaves sets off.
    pub on_disconnect: OnDisconnect,
    /// How often the upstream's usage is read; zero for never.
    pub usage_interval: Duration,
    /// How long a connection may lie idle.
    pub keep_alive_idle: Duration,
    /// How old a connection may get.
    pub keep_alive_lifetime: Duration,
}

/// Deadlines of one exchange with the upstream.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Connecting, with the TLS handshake.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two reads of the answer.
    pub idle: Duration,
    /// From the request to the last byte.
    pub total: Duration,
}

/// Who is told what operators have to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Where the URL is read from.
    pub webhook: SecretSource,
    /// Where the key is read from that each POST is signed with.
    pub secret: Option<SecretSource>,
    /// What the receiver reads.
    pub format: NotifyFormat,
    /// The only roots to trust for it.
    pub ca_file: Option<PathBuf>,
    /// The proxy on the way there, if there is one.
    pub proxy: Option<Authority>,
}

/// Holds and the organisation's budget.
#[derive(Clone, Debug)]
pub struct Credits {
    /// The zone of days, weeks and months.
    pub zone: TimeZone,
    /// What is held for a call.
    pub reserve: Reserve,
    /// How long a call waits for what other calls hold.
    pub wait: Duration,
    /// The organisation's budget.
    pub budget: Option<Budget>,
    /// What a credit costs, where amounts are to be told in money too.
    pub price: Option<Price>,
}

/// What a credit costs the organisation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Price {
    /// So many units of the currency, exact to the sixth place.
    pub amount: Amount,
    /// Three letters (ISO 4217).
    pub currency: String,
}

impl Price {
    /// What some credits cost, to the hundredth of a unit, half of one rounded up.
    #[must_use]
    pub fn of(&self, credits: Amount) -> String {
        // Millionths of millionths; a hundredth is ten thousand millions of them.
        let exact = u128::from(credits.millionths()) * u128::from(self.amount.millionths());
        let hundredths = (exact + 5_000_000_000) / 10_000_000_000;
        format!("{}.{:02} {}", hundredths / 100, hundredths % 100, self.currency)
    }
}

/// How calls wait for a place in the organisation's window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Queue {
    /// How long; zero for not at all.
    pub wait: Duration,
    /// Calls of one team that may.
    pub waiting: usize,
    /// The part of the window that is kept for whoever comes anew.
    pub reserve: f64,
}

/// What becomes of a call that is made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How long a key names its call.
    pub keep: Duration,
    /// What is kept of answers.
    pub bodies: Bodies,
    /// Whether the retry of an SDK is given the answer that nobody has received.
    pub adopt: bool,
}

/// What is kept of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bodies {
    /// How long in memory, once they are over.
    pub keep: Duration,
    /// Bytes of one.
    pub max_body: usize,
    /// Bytes of all.
    pub total: usize,
    /// Where the pepper is read from that seals them in the ledger's file; in memory alone without it.
    pub pepper: Option<SecretSource>,
}

/// How caller keys are replaced at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// How long a key goes on beside its successor.
    pub overlap: Duration,
    /// How long one works at most, if that is bounded.
    pub max_lifetime: Option<Duration>,
    /// Whether answers under way end with their caller's leave to call.
    pub revoke_cuts_streams: bool,
}

/// What is held for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// Always this much.
    Fixed(Amount),
    /// What the dearest of a hundred recent calls cost, and no less than the floor.
    Learned {
        /// The least.
        floor: Amount,
    },
}
