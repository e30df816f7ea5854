//! What is in force: the configuration with all that was made from it, and how a running gateway gets a new one.

pub mod members;
pub mod in_force;
pub mod directory;
pub mod tls;
pub mod hook;
pub mod snapshot;
mod warnings;
mod changes;
mod files;
mod watch;

pub use self::snapshot::Snapshot;
pub(crate) use self::warnings::warn_of_oddities;
pub use self::watch::Live;
