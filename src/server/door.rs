//! What the connections of callers have in common: how many there may be, and how they end.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::Semaphore;

use super::farewell::Parting;
use crate::gateway::Gateway;
use crate::live::Live;
use crate::shutdown::Shutdown;

/// What all connections share, over all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door {
    pub(super) live: Arc<Live>,
    pub(super) shutdown: Shutdown,
    /// How connections end.
    pub(super) parting: Parting,
    /// For connections.
    pub(super) room: Arc<Semaphore>,
    /// Connections that are open.
    pub(super) open: IntGauge,
}

impl Door {
    /// The way into a gateway.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Self {
        let max_connections = gateway.live.current().config.server.max_connections;
        let shutdown = gateway.shutdown.clone();
        Self {
            live: Arc::clone(&gateway.live),
            parting: Parting::new(max_connections, shutdown.closing.clone()),
            shutdown,
            room: Arc::new(Semaphore::new(max_connections)),
            open: gateway.metrics.level("connections", "Open connections of callers."),
        }
    }
}
