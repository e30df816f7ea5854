//! Whether the disk takes what is written to it: a write that does not come back is no failure that anybody is told of, and
//! nothing that costs may be sent meanwhile.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;

/// A write that takes longer than this is stuck. The slowest disk that works needs a tenth of it.
pub const STUCK: Duration = Duration::from_secs(2);

/// The disk under the ledger, as its last write shows it.
#[derive(Debug, Default)]
pub(super) struct Disk {
    clock: OnceLock<Clock>,
    /// When the write in progress began, in milliseconds since the clock's origin, and one more; 0 while there is none.
    began: AtomicU64,
    /// That it is stuck has been told.
    told: AtomicBool,
}

impl Disk {
    /// A write begins.
    pub(super) fn begins(&self, clock: Clock) {
        let clock = self.clock.get_or_init(|| clock);
        let now = u64::try_from(clock.since_origin().as_millis()).unwrap_or(u64::MAX - 1);
        self.began.store(now + 1, Ordering::Relaxed);
    }

    /// It is over.
    pub(super) fn ends(&self) {
        self.began.store(0, Ordering::Relaxed);
    }

    /// Whether a write is stuck.
    pub(super) fn is_stuck(&self) -> bool {
        let began = self.began.load(Ordering::Relaxed);
        let (Some(began), Some(clock)) = (began.checked_sub(1), self.clock.get()) else { return false };
        clock.since_origin() > Duration::from_millis(began) + STUCK
    }

    /// Whether a write is stuck; when that begins and when it is over, it is told.
    pub(super) fn look(&self) -> bool {
        let stuck = self.is_stuck();
        if self.told.load(Ordering::Relaxed) != stuck && self.told.swap(stuck, Ordering::Relaxed) != stuck {
            if stuck {
                tracing::error!(
                    "the ledger's disk hangs: nothing that costs is forwarded until it takes writes again"
                );
            } else {
                tracing::info!("the ledger's disk takes writes again");
            }
        }
        stuck
    }
}

/// The room of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// What this program may still write.
    pub free_bytes: u64,
    /// All there is.
    pub total_bytes: u64,
}

/// The room of the disk that a folder is on, if it can be told. May take as long as the disk does.
#[must_use]
pub fn room(folder: &Path) -> Option<Room> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some(Room { free_bytes: bytes(stat.f_bavail), total_bytes: bytes(stat.f_blocks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_does_not_come_back_is_stuck_until_it_does() {
        let clock = Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap());
        let disk = Disk::default();
        assert!(!disk.look());
        for _ in 0..2 {
            disk.begins(clock);
            tokio::time::advance(STUCK).await;
            assert!(!disk.look());
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(disk.look());
            disk.ends();
            assert!(!disk.look());
        }
    }
}
