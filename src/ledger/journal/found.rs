//! What was found in a file, or why nothing can be.

use std::ops::Range;

use super::position::{Position, Progress, Unmerged};

/// What a file of the journal holds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The entries that are not merged.
    pub unmerged: Unmerged,
    /// Where it is damaged with sound frames behind.
    pub damage: Vec<Range<usize>>,
}

/// Why nothing in a file can be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No frame can be told from what is none.
    #[error("its header is damaged")]
    Header,
    /// From the future.
    #[error("it was written by a newer version; run that version")]
    Newer,
    /// Calls of others.
    #[error(
        "it is the journal of another ledger than the database beside it; restore that ledger's database, or move the \
         journal files away"
    )]
    Foreign,
}

impl Recovered {
    pub(super) fn nothing(progress: Progress) -> Self {
        let unmerged = Unmerged { entries: Vec::new(), end: progress.merged };
        Self { unmerged, damage: Vec::new() }
    }

    /// Takes what stands in front of `end`, unless that is merged.
    pub(super) fn take(&mut self, end: Position, progress: Progress, write: impl FnOnce(&mut Vec<u8>)) {
        if end > progress.merged {
            write(&mut self.unmerged.entries);
            self.unmerged.end = end;
        }
    }
}
