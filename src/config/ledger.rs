//! Where every credit is booked: in a file of one gateway's, or in PostgreSQL, by several.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::file::Durability;
use crate::secret::SecretSource;

/// Where every credit is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// In a file: one gateway, no server.
    File(LedgerFile),
    /// In a database, which several gateways have in common.
    Postgres(Postgres),
}

/// A ledger in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerFile {
    /// The SQLite file.
    pub path: PathBuf,
    /// What a hold survives.
    pub durability: Durability,
}

/// A ledger in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Where the database's URL is read from.
    pub url: SecretSource,
    /// The only roots to trust for it.
    pub ca_file: Option<PathBuf>,
    /// The schema that the tables are in.
    pub schema: String,
    /// How long a gateway may be silent before it counts as lost.
    pub lease: Duration,
    /// The folder of what waits for the database.
    pub journal: PathBuf,
}

impl Ledger {
    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&LedgerFile> {
        match self {
            Self::File(file) => Some(file),
            Self::Postgres(_) => None,
        }
    }

    /// The folder that this gateway writes to: of its file, or of what waits for the database.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        match self {
            Self::File(file) => match file.path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            },
            Self::Postgres(Postgres { journal, .. }) => journal.clone(),
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(LedgerFile { path, .. }) => {
                std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().fmt(f)
            }
            Self::Postgres(Postgres { url, schema, .. }) => {
                write!(f, "in PostgreSQL, schema {schema}, by the URL in {url}")
            }
        }
    }
}
