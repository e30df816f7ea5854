//! The stage that holds all teams together to the organisation's window.

use std::sync::Arc;

use super::body::Judged;
use crate::arrival::Refused;
use crate::limit::window::{Slot, Window};
use crate::refuse::Refusal;
use crate::stage::Check;

/// A request that fits the upstream's window.
pub struct Admitted {
    /// What came before.
    pub judged: Judged,
    /// Its place in the window.
    pub slot: Slot,
}

/// The stage that holds all teams together to the organisation's window.
#[derive(Clone, Debug)]
pub struct UpstreamWindow(pub Arc<Window>);

impl Check<Judged> for UpstreamWindow {
    type Out = Admitted;

    fn check(&self, judged: Judged) -> Result<Admitted, Refused> {
        let limit = judged.snapshot.config.upstream.requests_per_minute.get();
        match self.0.take(limit) {
            Ok(slot) => Ok(Admitted { judged, slot }),
            Err((retry_after, per_minute)) => {
                Err(Refused::new(judged.exchange, Refusal::UpstreamWindowFull { per_minute, retry_after }))
            }
        }
    }
}
