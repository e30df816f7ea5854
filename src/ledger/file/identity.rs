//! Whether the files of a ledger are the ones that were opened: one that is moved, replaced or removed is written to all the
//! same, and nobody finds what is in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ledger::journal;

/// Database and journal, as they were found at the start: device and inode.
#[derive(Debug)]
pub(super) struct Identity(Vec<(PathBuf, Option<(u64, u64)>)>);

impl Identity {
    /// The files of a ledger that has just been opened.
    pub(super) fn of(ledger: &Path) -> Self {
        let journal = journal::paths(ledger);
        let files = [ledger.to_owned()].into_iter().chain(journal);
        Self(files.map(|path| (path.clone(), found(&path))).collect())
    }

    /// What is another file by now, or is gone, if any is.
    pub(super) fn changed(&self) -> Option<&Path> {
        self.0.iter().find(|(path, was)| found(path) != *was).map(|(path, _)| path.as_path())
    }
}

fn found(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
