//! Where a desk lives.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::shared::Shared;

/// Where a desk lives.
#[derive(Debug)]
pub(super) enum Home {
    /// Here: in memory, of a gateway that is alone on its ledger.
    Local(Alarm),
    /// In a ledger that several gateways have in common.
    Shared(Arc<Shared>),
}

/// What wakes a gateway that is alone when something is due to calls that wait.
#[derive(Debug)]
pub(super) struct Alarm {
    /// It is to ring earlier than it was set to.
    pub(super) earlier: Notify,
    /// Where it rings: not on an event loop that writes the ledger, and may hang with its disk.
    pub(super) runtime: Option<Handle>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { earlier: Notify::new(), runtime: Handle::try_current().ok() }
    }
}
