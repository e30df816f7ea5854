//! `[ledger]` as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Leaf, Secret};
use crate::config::values::DurationText;

/// Where every credit is booked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Ledger {
    /// The SQLite file. Default "data/ledger.db", beside the configuration; its folder is made. Read at start only.
    pub(in crate::config) path: Leaf<PathBuf>,
    /// "fsync": nothing is sent before its hold is on disk. "os": holds survive the process, but not a
    /// power cut. Default "fsync". Read at start only.
    pub(in crate::config) durability: Leaf<Durability>,
    /// In place of a file, a database that several gateways have in common. Read at start only.
    pub(in crate::config) postgres: Option<Postgres>,
}

/// A ledger in PostgreSQL 14 or newer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Postgres {
    /// Where the database's URL is: `{ file = "PATH" }` or `{ env = "NAME" }`; never the URL itself, for it has a password
    /// in it. Clear text is spoken to loopback and Unix sockets only. Default `{ env = "MAVERA_GATEWAY_LEDGER_URL" }`.
    pub(in crate::config) url: Leaf<Secret>,
    /// PEM file with the only roots to trust for the database. Default: the system's.
    pub(in crate::config) ca_file: Leaf<PathBuf>,
    /// The schema that the tables are in: one per organisation. Default "mavera".
    pub(in crate::config) schema: Leaf<String>,
    /// How long a gateway may be silent before the others book its calls in doubt. Default "15s".
    pub(in crate::config) lease: Leaf<DurationText>,
    /// The folder in which the endings of calls wait while the database is away. Default "data/outbox", beside the configuration; it is made.
    pub(in crate::config) journal: Leaf<PathBuf>,
}

/// What a hold survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A power cut.
    Fsync,
    /// The end of the process, however it comes.
    Os,
}
