//! What is in force: the configuration with all that was made from it, and how a running gateway gets a new one.

pub mod members;
pub mod directory;
pub mod tls;
pub mod snapshot;
pub mod watch;

pub use self::snapshot::Snapshot;
pub use self::watch::Live;
pub(crate) use self::watch::warn_of_oddities;
