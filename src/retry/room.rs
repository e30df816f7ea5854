//! Memory that recordings may take: of all teams, and of each.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// So many bytes of recordings.
#[derive(Debug)]
pub(super) struct Room {
    used: AtomicUsize,
    most: AtomicUsize,
    /// What is told of it.
    told: Option<IntGauge>,
}

impl Room {
    /// Empty, of no size yet.
    pub(super) fn new(told: Option<IntGauge>) -> Self {
        Self { used: AtomicUsize::new(0), most: AtomicUsize::new(0), told }
    }

    /// Of this size from now on.
    pub(super) fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.tell(self.used.fetch_add(bytes, Ordering::Relaxed) + bytes);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.tell(self.used.fetch_sub(bytes, Ordering::Relaxed) - bytes);
    }

    fn tell(&self, used: usize) {
        if let Some(told) = &self.told {
            told.set(i64::try_from(used).unwrap_or(i64::MAX));
        }
    }

    /// More is taken than there is.
    pub(super) fn is_over(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.most.load(Ordering::Relaxed)
    }

    /// So much is taken that what is kept of answers that are over should go: a quarter is for those to come.
    pub(super) fn is_tight(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.most.load(Ordering::Relaxed) / 4 * 3
    }
}
