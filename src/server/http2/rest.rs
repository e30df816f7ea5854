//! What has not been read of a stream's body when its answer is ready. Reset, the stream takes its answer along in some
//! clients (curl before 8.10 among them), so the body is read on and thrown away beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

use crate::server::caller_body;
use crate::shutdown::Signal;
use crate::unread::{MOST, read_while};

/// The unread bodies of one connection.
#[derive(Debug)]
pub(super) struct Rest {
    tasks: TaskTracker,
    /// When the grace is over.
    cut: Signal,
    /// Bytes that are read for nothing yet, over all streams and for as long as the connection lives.
    left: Arc<AtomicU64>,
}

impl Rest {
    pub(super) fn new(tasks: TaskTracker, cut: Signal) -> Arc<Self> {
        Arc::new(Self { tasks, cut, left: Arc::new(AtomicU64::new(MOST)) })
    }
}

impl caller_body::Rest<Incoming> for Rest {
    fn whole(&self) {}

    fn left(&self, body: Incoming) {
        let (left, cut) = (Arc::clone(&self.left), self.cut.clone());
        let read = read_while(body, move |length| {
            let take = |left: u64| left.checked_sub(length);
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
        });
        self.tasks.spawn(async move { cut.run_until_cancelled(read).await });
    }
}
