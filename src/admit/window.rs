//! The stage that holds all teams together to the organisation's window.

use std::sync::Arc;

use crate::limit::window::Window;
use crate::refuse::Refusal;
use crate::stage::{Admitted, Check, Judged, Refused};

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
