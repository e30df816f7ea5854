//! The journal: where entries are durable first, in two small files beside the database that are written in turn.
//!
//! Appending some hundred bytes is all that a call waits for. The database is filled from the same bytes some moments
//! later, many entries at a time; after a crash, by the next start. A file is written over only when everything
//! in it stands in the database at the configured durability.

pub mod position;
pub mod frame;
mod found;
mod v1;
mod recover;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use self::found::{Recovered, Unreadable};
use self::frame::{HEADER, Header, LARGE_GROUP, PREFIX, Seal};
pub use self::position::{Position, Progress, Unmerged};
pub use self::recover::recover;
use crate::ledger::entry::Entry;

/// From this size on the other file is written next.
const TURN: u64 = 4 << 20;
/// Room for some hundred entries: what has to fit before a disk that was full counts as one that is not. Zeros, which are
/// no frames.
static ROOM: [u8; 64 << 10] = [0; 64 << 10];
/// What the name of a file that was set aside goes on with, before when that was.
const DAMAGED: &str = ".damaged-";

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
    /// Where the frame that is being staged begins.
    group: Option<usize>,
}

/// Where the files are.
#[must_use]
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
        let _ = File::open(folder_of(ledger)).and_then(|folder| folder.sync_all());
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let generation = progress.merged.generation + 1;
        let header = Header { ledger: progress.ledger, generation, nonce: u64::from_le_bytes(nonce) };
        let end = Position { generation, offset: 0 };
        let staged = Vec::with_capacity(4096);
        Ok(Self { files, end, header, seal: header.seal(), torn: false, staged, group: None })
    }

    /// Adds an entry to the group that the next [`Journal::write`] takes.
    pub fn stage(&mut self, entry: &Entry<'_>) {
        if self.group.is_some_and(|start| self.staged.len() - start > LARGE_GROUP) {
            self.close_group();
        }
        if self.end.offset == 0 && self.staged.is_empty() {
            self.staged.extend_from_slice(&self.header.bytes());
        }
        if self.group.is_none() {
            self.group = Some(self.staged.len());
            Seal::open(&mut self.staged);
        }
        entry.write(&mut self.staged);
    }

    fn close_group(&mut self) {
        if let Some(start) = self.group.take() {
            self.seal.close(&mut self.staged, start);
        }
    }

    /// Writes what is staged, and with `sync` waits until it is on the disk. Nothing is staged afterwards but for
    /// [`Journal::hand_over`].
    ///
    /// # Errors
    /// What the system says. What was staged counts as not written: it is cut off again, as far as the system lets us,
    /// and the next write goes to the same place.
    pub fn write(&mut self, sync: bool) -> io::Result<()> {
        self.close_group();
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

    /// Moves the entries that were just written behind others that wait to be merged.
    pub fn hand_over(&mut self, unmerged: &mut Unmerged) {
        let mut rest = &self.staged[..];
        if self.end.offset == rest.len() as u64 {
            rest = &rest[HEADER.min(rest.len())..];
        }
        while let Some(frame) = frame::cut(rest) {
            unmerged.entries.extend_from_slice(frame.entries);
            rest = &rest[PREFIX + frame.entries.len()..];
        }
        unmerged.end = self.end;
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

/// One of the two files, as it was found.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// What in it is not merged.
    pub unmerged: Unmerged,
    /// What is wrong with it, in words: it is to be set aside, not written over.
    pub damage: Option<String>,
}

/// The files beside `ledger`, in the order of what is not merged.
///
/// What is damaged is passed over: a frame that was cut off by a power cut is followed by nothing, and a page that never
/// reached the disk by frames that did.
///
/// # Errors
/// When a file is there and cannot be read, is another ledger's, or a newer version's: it may have entries that stand
/// nowhere else.
pub fn find(ledger: &Path, progress: Progress) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for path in paths(ledger) {
        let failed =
            |kind, why: &dyn std::fmt::Display| io::Error::new(kind, format!("{}: {why}", path.display()));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error.kind(), &error)),
        };
        let (Recovered { unmerged, damage }, header) = match recover(&bytes, progress) {
            Ok(recovered) => (recovered, None),
            Err(Unreadable::Header) => (
                Recovered {
                    unmerged: Unmerged { entries: Vec::new(), end: progress.merged },
                    damage: Vec::new(),
                },
                Some(format!(
                    "its beginning is damaged, so nothing of its {} bytes can be taken up",
                    bytes.len()
                )),
            ),
            Err(unreadable) => return Err(failed(io::ErrorKind::InvalidData, &unreadable)),
        };
        let midst = || {
            let lost: usize = damage.iter().map(ExactSizeIterator::len).sum();
            damage.first().map(|first| {
                format!(
                    "{lost} bytes from byte {} on are damaged; what is sound around them is taken up",
                    first.start
                )
            })
        };
        found.push(Found { damage: header.or_else(midst), unmerged, path });
    }
    found.sort_by_key(|file| file.unmerged.end);
    Ok(found)
}

/// Gives a damaged file another name, so that it is not written over. Returns the name.
///
/// # Errors
/// What the system says.
pub fn set_aside(path: &Path, at: jiff::Timestamp) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("{DAMAGED}{}", at.as_microsecond()));
    let aside = PathBuf::from(name);
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

/// How many files of a ledger's journal lie there set aside.
#[must_use]
pub fn set_aside_count(ledger: &Path) -> usize {
    let beginnings = paths(ledger).map(|path| {
        path.file_name().map(|name| format!("{}{DAMAGED}", name.to_string_lossy())).unwrap_or_default()
    });
    let entries = std::fs::read_dir(folder_of(ledger)).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| beginnings.iter().any(|beginning| name.starts_with(beginning))).count()
}

fn folder_of(ledger: &Path) -> &Path {
    ledger.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
