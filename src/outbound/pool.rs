//! Idle connections, kept for the next request. One pool per worker, so that a connection stays on
//! the event loop it was made on.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::time::timeout;

use super::connect::Connect;
use super::connection::{ConnectError, Connection};
use super::origin::Origin;
use crate::clock::Clock;
use crate::config::Upstream;
use crate::metrics::{Counted, Metrics};

/// Idle connections kept at most. More calls than this can be in flight; their connections are
/// closed when they come back.
const MAX_IDLE: usize = 512;

/// The idle connections of one worker.
pub struct Pool<C: Connect> {
    connect: C,
    clock: Clock,
    open: IntGauge,
    /// Boxed: a connection goes through many hands in a call.
    idle: Mutex<Vec<Box<Connection<C::Io>>>>,
}

/// What the connections of all pools are counted in.
pub(crate) fn open_connections(metrics: &Metrics) -> IntGauge {
    metrics.level("upstream_connections", "Open connections to the upstream, busy or idle.")
}

/// A connection, and whether it has served before.
pub(crate) struct Obtained<C: Connect> {
    pub(crate) connection: Box<Connection<C::Io>>,
    pub(crate) reused: bool,
}

impl<C: Connect> Pool<C> {
    /// An empty pool that makes its connections with `connect`.
    pub(crate) fn new(connect: C, clock: Clock, open: IntGauge) -> Self {
        Self { connect, clock, open, idle: Mutex::default() }
    }

    /// A connection to `origin` that can take a request now: the one used last, which is the likeliest to be open still,
    /// or a new one. Dropping the future gives up without a trace.
    pub(crate) async fn obtain(
        &self,
        origin: &Arc<Origin>,
        terms: &Upstream,
        fresh: bool,
    ) -> Result<Obtained<C>, ConnectError> {
        if !fresh && let Some(connection) = poll_fn(|cx| Poll::Ready(self.reuse(origin, terms, cx))).await {
            return Ok(Obtained { connection, reused: true });
        }
        // Boxed: it is rare, and large where there is a handshake.
        let connection = Box::pin(self.open(origin, terms.timeouts.connect)).await?;
        Ok(Obtained { connection, reused: false })
    }

    async fn open(
        &self,
        origin: &Arc<Origin>,
        bound: Duration,
    ) -> Result<Box<Connection<C::Io>>, ConnectError> {
        timeout(bound, async {
            let io = self.connect.connect(origin).await?;
            let open = Counted::new(&self.open);
            Ok(Box::new(Connection::new(io, Arc::clone(origin), self.clock.now(), Some(open)).await?))
        })
        .await
        .unwrap_or(Err(ConnectError::TimedOut(bound)))
    }

    fn reuse(
        &self,
        origin: &Arc<Origin>,
        terms: &Upstream,
        cx: &mut Context<'_>,
    ) -> Option<Box<Connection<C::Io>>> {
        loop {
            let mut connection = self.idle().pop()?;
            if self.is_fit(&connection, origin, terms) && connection.is_ready(cx) {
                return Some(connection);
            }
        }
    }

    /// Takes a connection back whose exchange has come to its end.
    pub(crate) fn give_back(&self, mut connection: Box<Connection<C::Io>>) {
        // Driven once without a waker: hyper settles the end of the body it has just delivered.
        if connection.is_ready(&mut Context::from_waker(Waker::noop())) {
            connection.idle_since = self.clock.now();
            let mut idle = self.idle();
            if idle.len() < MAX_IDLE {
                idle.push(connection);
            }
        }
    }

    /// Closes the connections that are too old, lead elsewhere, or that the upstream has closed.
    pub fn reap(&self, origin: &Arc<Origin>, terms: &Upstream) {
        let mut cx = Context::from_waker(Waker::noop());
        let connections = std::mem::take(&mut *self.idle());
        let mut fit: Vec<_> =
            connections.into_iter().filter(|connection| self.is_fit(connection, origin, terms)).collect();
        fit.retain_mut(|connection| connection.is_ready(&mut cx));
        let mut idle = self.idle();
        // Whatever came back meanwhile was used last and goes on top.
        fit.append(&mut idle);
        *idle = fit;
    }

    /// What makes its connections.
    pub fn connect(&self) -> &C {
        &self.connect
    }

    /// Idle connections now.
    #[must_use]
    pub fn idle_count(&self) -> usize {
        self.idle().len()
    }

    fn is_fit(&self, connection: &Connection<C::Io>, origin: &Arc<Origin>, terms: &Upstream) -> bool {
        let now = self.clock.now();
        Arc::ptr_eq(&connection.origin, origin)
            && now.saturating_duration_since(connection.idle_since) < terms.keep_alive_idle
            && now.saturating_duration_since(connection.born) < terms.keep_alive_lifetime
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Box<Connection<C::Io>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
