//! What one connection of a caller may take, and how its end is told.

use std::time::Duration;

use crate::config::Server;

/// Fields of one request head.
pub(super) const MAX_FIELDS: usize = 100;

/// What one connection may take, as configured when it was accepted.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) server: Server,
    /// How long one exchange with the upstream may take.
    pub(super) exchange: Duration,
}

/// What ends a connection is the caller's affair; the calls on it have their own records.
pub(super) fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
