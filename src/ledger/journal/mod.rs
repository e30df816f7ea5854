//! The journal: where entries are durable first, in two small files beside the database that are written in turn.
//!
//! Appending some hundred bytes is all that a call waits for. The database is filled from the same bytes some moments
//! later, many entries at a time; after a crash, by the next start. A file is written over only when everything
//! in it stands in the database at the configured durability.

pub mod frame;
mod recover;

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use self::frame::entries;
use self::frame::{HEADER, Header, Seal};
pub use self::recover::{Recovered, Unreadable, recover};
use super::entry::Entry;

/// From this size on the other file is written next.
const TURN: u64 = 4 << 20;
/// Room for some hundred entries: what has to fit before a disk that was full counts as one that is not. Zeros, which are
/// no frames.
const ROOM: [u8; 64 << 10] = [0; 64 << 10];

/// A place between two frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Counts the turns from one file to the other.
    pub generation: u64,
    /// Bytes from the beginning of the file.
    pub offset: u64,
}

/// What the database says of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The ledger's identity, drawn when it was made; its journal carries it too.
    pub ledger: u64,
    /// How far the journal has been merged.
    pub merged: Position,
}

/// The two files, open for appending.
#[derive(Debug)]
pub struct Journal {
    files: [File; 2],
    end: Position,
    header: Header,
    seal: Seal,
    /// A write has failed, and what it left behind the end has not been cut off.
    torn: bool,
    /// Frames that the next write takes along, behind a header if they are the first of their generation.
    staged: Vec<u8>,
}

/// Frames that were written and are not merged.
#[derive(Debug)]
pub struct Frames {
    /// The frames, one behind the other.
    pub bytes: Vec<u8>,
    /// Where each ends.
    pub end: Position,
}

/// Where the files are.
pub fn paths(ledger: &Path) -> [PathBuf; 2] {
    [".journal-a", ".journal-b"].map(|suffix| {
        let mut name = OsString::from(ledger);
        name.push(suffix);
        name.into()
    })
}

impl Journal {
    /// Opens the files, or makes them, and begins a generation after what is merged: whatever they hold must have been.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(ledger: &Path, progress: Progress) -> io::Result<Self> {
        let open = |path: PathBuf| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        let [a, b] = paths(ledger);
        let files = [open(a)?, open(b)?];
        // So that a power cut does not take the new files out of their folder. Where a folder cannot be synchronised,
        // the file system sees to that itself; SQLite does the same.
        let folder =
            ledger.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let generation = progress.merged.generation + 1;
        let header = Header { ledger: progress.ledger, generation, nonce: u64::from_le_bytes(nonce) };
        let end = Position { generation, offset: 0 };
        Ok(Self { files, end, header, seal: header.seal(), torn: false, staged: Vec::with_capacity(4096) })
    }

    /// Adds an entry to what the next [`Journal::write`] takes.
    pub fn stage(&mut self, entry: &Entry<'_>) {
        if self.end.offset == 0 && self.staged.is_empty() {
            self.staged.extend_from_slice(&self.header.bytes());
        }
        self.seal.frame(&mut self.staged, entry);
    }

    /// Writes what is staged, and with `sync` waits until it is on the disk. Nothing is staged afterwards but for
    /// [`Journal::hand_over`].
    ///
    /// # Errors
    /// What the system says. What was staged counts as not written: it is cut off again, as far as the system lets us,
    /// and the next write goes to the same place.
    pub fn write(&mut self, sync: bool) -> io::Result<()> {
        let written = self.cut_off().and_then(|()| {
            let file = self.file();
            file.write_all_at(&self.staged, self.end.offset)?;
            if sync { file.sync_data() } else { Ok(()) }
        });
        if written.is_ok() {
            self.end.offset += self.staged.len() as u64;
        } else {
            self.staged.clear();
            self.torn = true;
            // If not now, then before the next write.
            let _ = self.cut_off();
        }
        written
    }

    /// Takes away what a write that failed has left: whole frames of it would be found after a crash, and calls be
    /// booked that were refused.
    fn cut_off(&mut self) -> io::Result<()> {
        if self.torn {
            self.file().set_len(self.end.offset)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Moves the frames that were just written behind others that wait to be merged.
    pub fn hand_over(&mut self, frames: &mut Frames) {
        let header =
            if self.end.offset == self.staged.len() as u64 { HEADER.min(self.staged.len()) } else { 0 };
        frames.bytes.extend_from_slice(&self.staged[header..]);
        frames.end = self.end;
        self.staged.clear();
    }

    /// Whether the disk takes some hundred entries more: as many bytes, which are no frames.
    ///
    /// # Errors
    /// What the system says.
    pub fn probe(&mut self, sync: bool) -> io::Result<()> {
        self.cut_off()?;
        let file = self.file();
        file.write_all_at(&ROOM, self.end.offset)?;
        if sync { file.sync_data() } else { Ok(()) }
    }

    /// Goes on in the other file where this one is large, or takes no more, and all that stands in the other is `merged`.
    pub fn turn(&mut self, merged: Position, takes_no_more: bool) {
        let large = self.end.offset >= TURN || (takes_no_more && self.end.offset > 0);
        if large && !self.torn && merged.generation == self.end.generation {
            self.end = Position { generation: self.end.generation + 1, offset: 0 };
            self.header.generation = self.end.generation;
            self.seal = self.header.seal();
        }
    }

    fn file(&self) -> &File {
        &self.files[usize::from(self.end.generation % 2 == 1)]
    }
}

/// The frames in the files beside `ledger` that are not merged, in order; nothing where there is none.
///
/// What is damaged is passed over, with a word: a frame that was cut off by a power cut is followed by nothing, and a
/// page that never reached the disk by frames that did.
///
/// # Errors
/// When a file is there and cannot be read, or is another ledger's.
pub fn unmerged(ledger: &Path, progress: Progress) -> io::Result<Vec<Frames>> {
    let mut found = Vec::new();
    for path in paths(ledger) {
        let failed = |kind, why: &dyn Display| io::Error::new(kind, format!("{}: {why}", path.display()));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error.kind(), &error)),
        };
        match recover(&bytes, progress) {
            Ok(Recovered { frames, damage }) => {
                for Range { start, end } in damage {
                    tracing::error!(
                        file = %path.display(), bytes = end - start, position = start,
                        "the ledger's journal is damaged in its midst; what is sound behind that is taken up"
                    );
                }
                found.extend((!frames.bytes.is_empty()).then_some(frames));
            }
            Err(Unreadable::Header) => tracing::error!(
                file = %path.display(), bytes = bytes.len(),
                "the ledger's journal is damaged at its beginning, and nothing in this file can be taken up"
            ),
            // Left as it is: it may have entries that stand nowhere else, and would be written over.
            Err(foreign) => return Err(failed(io::ErrorKind::InvalidData, &foreign)),
        }
    }
    found.sort_by_key(|frames: &Frames| frames.end);
    Ok(found)
}
