//! What the connections of callers have in common: how many there may be, and how they end.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use tokio::sync::Semaphore;

use super::farewell::Parting;
use crate::gateway::Gateway;
use crate::limit::by_address::Connections;
use crate::live::Live;
use crate::shutdown::Shutdown;

/// What all connections share, over all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door {
    pub(super) live: Arc<Live>,
    pub(super) shutdown: Shutdown,
    /// How connections end.
    pub(super) parting: Parting,
    /// How many each address has.
    pub(super) by_address: Connections,
    turned_away: IntCounter,
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
            by_address: Connections::default(),
            turned_away: gateway.metrics.counter(
                "connections_turned_away_total",
                "Connections closed at once because their address had as many as server.max_connections_per_address allows.",
            ),
            parting: Parting::new(max_connections, shutdown.closing.clone(), gateway.recorder.clock()),
            shutdown,
            room: Arc::new(Semaphore::new(max_connections)),
            open: gateway.metrics.level("connections", "Open connections of callers."),
        }
    }

    /// What comes of `work` within a time, and before connections without a call close.
    pub(super) async fn within<T>(&self, time: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = tokio::time::timeout(time, work) => done.ok(),
            () = self.shutdown.closing.cancelled() => None,
        }
    }

    /// A connection is closed, for its address has as many as it may.
    pub(super) fn turned_away(&self, address: IpAddr) {
        self.turned_away.inc();
        tracing::debug!(%address, "it has as many connections as it may");
    }
}
