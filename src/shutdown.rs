//! How a gateway ends: what is told when, and the tasks that are waited for.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The stages of a shutdown, for whoever takes part in it. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Every task that belongs to a call.
    pub tasks: TaskTracker,
    /// Cancelled when the shutdown begins: not ready, no new connections, and those there are close after the answer
    /// to their next request.
    pub draining: CancellationToken,
    /// Cancelled soon after that: no new calls, and connections without one close.
    pub closing: CancellationToken,
    /// Cancelled when the grace is over: calls in flight are cut.
    pub cut: CancellationToken,
}
