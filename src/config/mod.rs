//! Configuration that is valid. Every bound has been held against the file, and every problem was reported with its line.
//!
//! [`mod@file`] is the TOML as written, [`problem`] what can be wrong with it, `validate` the way from one to the other,
//! [`valid`] where it leads.

pub mod values;
mod team_route;
pub mod file;
pub mod problem;
pub mod identity;
mod ledger;
mod schema;
pub mod team;
pub mod valid;
mod oddities;
mod validate;

pub use self::file::{Durability, LogLevel, NotifyFormat, OnDisconnect};
pub use self::ledger::{Ledger, LedgerFile, Postgres};
pub use self::oddities::{Oddity, in_environment};
pub use self::schema::schema;
pub(crate) use self::team::budgets;
pub use self::team::{Analyses, CallerKey, Limits, OfRoute, Team};
pub use self::valid::{
    Admin, Bodies, Config, Credits, Expiry, Keys, Notify, Price, Proxies, Queue, Reserve, Retries, Server,
    Timeouts, TlsFiles, Tracing, Upstream,
};
pub(crate) use self::validate::{Parsed, read};
pub use self::validate::{is_reserved, is_team_name, parse};

/// A length of time as the file has it, like `30s` or `1h 30m`.
///
/// # Errors
/// In words.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    text.parse().map(|values::DurationText(duration)| duration)
}

/// Whether the host of a URL is this machine, by an address of it or as `localhost`.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
