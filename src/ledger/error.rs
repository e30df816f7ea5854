//! Why a ledger cannot be opened, read or written, in words for its operator.

use std::path::PathBuf;

/// What is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Its store or the system refused.
    #[error("the ledger {path}: {what}", path = path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What it said.
        what: String,
    },
    /// There is none where one must be.
    #[error("{path}: there is no ledger yet: it is made when the gateway first starts; a relative `ledger.path` is looked for beside the configuration", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else's database.
    #[error("{path} is a database, but not a ledger of this program; name another file in `ledger.path`", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// From the future.
    #[error("{path} was written by a newer version ({what}); run that version, or restore a backup", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What of it is newer.
        what: String,
    },
    /// Of an older version that runs and keeps it from being brought up to date.
    #[error("{path} is written by a gateway of an older version, which runs; stop or upgrade that first", path = path.display())]
    Older {
        /// The file.
        path: PathBuf,
    },
    /// Damaged.
    #[error("{path} is damaged: {what}; keep the damaged file, and restore a backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// It can be written, and does not take what is to be written.
    #[error("the ledger {path} does not take an entry: {what}; has another program written to it? Compare it with the upstream's list of charges", path = path.display())]
    Unmergeable {
        /// The file.
        path: PathBuf,
        /// What it said.
        what: String,
    },
    /// Two gateways on one ledger would each keep sums without the other's.
    #[error("the ledger {path} is in use by another gateway; give each its own `ledger.path`", path = path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The database refused, or cannot be reached.
    #[error("the ledger in {place}: {what}")]
    Database {
        /// Which, without a password.
        place: String,
        /// What it said.
        what: String,
    },
    /// Nothing is in it yet.
    #[error("there is no ledger in {place} yet: `mavera-gateway ledger migrate` makes it")]
    DatabaseEmpty {
        /// Which.
        place: String,
    },
    /// Its tables are of an older version.
    #[error(
        "the ledger in {place} has version {has}, and this program needs {needs}: run `mavera-gateway ledger migrate`; gateways of the version before go on meanwhile"
    )]
    DatabaseOlder {
        /// Which.
        place: String,
        /// Its version.
        has: i64,
        /// The one that is needed.
        needs: i64,
    },
    /// Its tables are of a version that this program knows nothing of.
    #[error("the ledger in {place} has version {has}, and this program knows {knows}: upgrade the program")]
    DatabaseNewer {
        /// Which.
        place: String,
        /// Its version.
        has: i64,
        /// The last one that is known.
        knows: i64,
    },
    /// What gateways say to each other in it cannot be read.
    #[error(
        "the gateways of this ledger write in a form that this program does not know: run the release that they run"
    )]
    UnknownForm,
    /// It is no file that could be copied.
    #[error(
        "the ledger is in PostgreSQL: back it up with the database's own means, like `pg_dump --schema={schema}`"
    )]
    NotInAFile {
        /// Its schema.
        schema: String,
    },
    /// What was to be written elsewhere could not be.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}
