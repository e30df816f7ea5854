//! Exchanges whose caller has left: read on, within bounds, so that the books learn the cost.
//!
//! Bounded in number, in bytes, and in time by the exchange's own deadlines. An exchange for which
//! there is no room ends as it is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use prometheus::IntGauge;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Flown;
use super::body::AnswerBody;
use crate::metrics::Counted;
use crate::outbound::connect::Connect;

/// Exchanges read on at the same time.
const MAX_EXCHANGES: usize = 1024;
/// Bytes read of one of them. Answers are text: this is far above any.
const MAX_BYTES: usize = 16 << 20;

/// Takes over exchanges without a caller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    tasks: TaskTracker,
    room: Arc<Semaphore>,
    cut: CancellationToken,
    draining: IntGauge,
}

/// The response of an exchange whose caller left before it came.
pub(super) type Pending<C> = Pin<Box<dyn Future<Output = Result<Response<AnswerBody<C>>, Flown>> + Send>>;

impl Drain {
    /// A drain whose tasks are tracked by `tasks` and end at once when `cut` is cancelled.
    #[must_use]
    pub fn new(tasks: TaskTracker, cut: CancellationToken, draining: IntGauge) -> Self {
        Self { tasks, room: Arc::new(Semaphore::new(MAX_EXCHANGES)), cut, draining }
    }

    /// Reads a body on to its end.
    pub(super) fn read_on<C: Connect>(&self, body: AnswerBody<C>) {
        self.run(async move { finish(body).await });
    }

    /// Waits for a response, and reads its body to the end.
    pub(super) fn wait_on<C: Connect>(&self, response: Pending<C>) {
        self.run(async move {
            match response.await {
                Ok(response) => {
                    let mut body = response.into_body();
                    body.caller_left();
                    finish(body).await;
                }
                Err(Flown::Refused(mut refused)) => {
                    refused.exchange.caller_left();
                    refused.exchange.refused(&refused.refusal);
                }
                // It was not written, and nobody waits for it any more: the record ends with the drop.
                Err(Flown::NotWritten(_)) => {}
            }
        });
    }

    fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        // Without room, or without a runtime to run on, the work is dropped, which ends its record.
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::warn!(limit = MAX_EXCHANGES, "too many exchanges without a caller; one was cut");
            return;
        };
        let Ok(runtime) = Handle::try_current() else { return };
        let cut = self.cut.clone();
        let draining = Counted::new(&self.draining);
        self.tasks.spawn_on(
            async move {
                let _room = (room, draining);
                cut.run_until_cancelled_owned(work).await;
            },
            &runtime,
        );
    }
}

async fn finish<C: Connect>(mut body: AnswerBody<C>) {
    let mut left = MAX_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
