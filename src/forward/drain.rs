//! Exchanges whose caller has left: read on, within bounds, so that the books learn the cost.
//!
//! Bounded in number, in bytes, and in time by the exchange's own deadlines. An exchange for which there is no room ends as
//! it is.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use prometheus::IntGauge;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::metrics::{Counted, Metrics};
use crate::shutdown::Shutdown;

/// Exchanges read on at the same time.
const MAX_EXCHANGES: usize = 1024;
/// Bytes read of one of them. Answers are text: this is far above any.
const MAX_BYTES: usize = 16 << 20;
/// How long an upstream may take to end the body of an answer that has said that it is over. Longer costs more than a new
/// connection.
const TAIL: Duration = Duration::from_secs(5);

/// Takes over exchanges without a caller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    shutdown: Shutdown,
    room: Arc<Semaphore>,
    /// For what is read on behind the end of an answer.
    tails: Arc<Semaphore>,
    draining: IntGauge,
}

impl Drain {
    /// A drain whose tasks are waited for at a shutdown, and end at once when its grace is over.
    #[must_use]
    pub fn new(shutdown: Shutdown, metrics: &Metrics) -> Self {
        let help = "Exchanges whose caller has left, read on to learn their cost.";
        let draining = metrics.level("exchanges_draining", help);
        let room = || Arc::new(Semaphore::new(MAX_EXCHANGES));
        Self { shutdown, room: room(), tails: room(), draining }
    }

    /// Exchanges that are being read on.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.draining.get()
    }

    /// Reads a body on to its end.
    pub(super) fn read_on<B>(&self, body: B)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.wait_on(async move { Some(body) });
    }

    /// Reads what is left of a body behind the end of its answer, for as long as that is worth a connection.
    pub(crate) fn read_tail<B>(&self, body: B)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        if body.is_end_stream() {
            return;
        }
        // The call is over, and nobody is told of it any more; without room the connection is not used again.
        let Ok(room) = Arc::clone(&self.tails).try_acquire_owned() else { return };
        self.spawn(room, async move {
            let _ = timeout(TAIL, finish(body)).await;
        });
    }

    /// Waits for a body, and reads it to its end.
    pub(crate) fn wait_on<B>(&self, body: impl Future<Output = Option<B>> + Send + 'static)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        // Without room, or without a runtime to run on, the work is dropped, which ends its record.
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::warn!(limit = MAX_EXCHANGES, "too many exchanges without a caller; one was cut");
            return;
        };
        let held = (room, Counted::new(&self.draining));
        self.spawn(held, async move {
            if let Some(body) = body.await {
                finish(body).await;
            }
        });
    }

    /// Runs work to its end, or until calls are cut; `held` is held meanwhile.
    fn spawn(&self, held: impl Send + 'static, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return };
        let cut = self.shutdown.cut.clone();
        self.shutdown.tasks.spawn_on(
            async move {
                let _held = held;
                cut.run_until_cancelled(work).await;
            },
            &runtime,
        );
    }
}

async fn finish<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = MAX_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
