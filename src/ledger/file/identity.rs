//! One ledger, one writer, and the same files from start to end: a second writer would keep sums without the first one's,
//! and a file that is moved, replaced or removed is written to all the same, and nobody finds what is in it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::failure::system;
use crate::ledger::error::LedgerError;
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

/// What keeps a ledger to one writer, for as long as it is held: by the process, so that a crash releases it.
#[derive(Debug)]
pub struct Lock {
    /// The database itself, whatever it is called: no link and no lost lock file leads around it. Of another kind than
    /// SQLite's own locks, which it does not touch.
    _database: File,
    /// Beside it, for gateways of releases that know only this one.
    _beside: File,
}

/// Takes a ledger's lock, which must be there.
///
/// # Errors
/// That somebody else has it, or what the system says.
pub fn lock(path: &Path) -> Result<Lock, LedgerError> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = real.clone().into_os_string();
    name.push(".lock");
    let held = |file: std::io::Result<File>| {
        let file = file.map_err(|error| system(path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(LedgerError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(system(path, &error)),
        }
    };
    let database = held(File::options().read(true).write(true).open(real))?;
    Ok(Lock { _database: database, _beside: held(File::create(name))? })
}
