//! The journal: where entries are durable first, in two small files beside the database that are written in turn.
//!
//! Appending some hundred bytes is all that a call waits for. The database is filled from the same bytes some moments
//! later, many entries at a time; after a crash, by the next start. A file is written over only when everything
//! in it stands in the database at the configured durability.
//!
//! A file begins with a header (`MVGWjrnl`, the generation as eight bytes, little-endian). Then come frames: the length
//! of the entry and a CRC-32 of generation and entry, four bytes each, little-endian, and the entry as postcard
//! writes it. What is left of an older generation behind the last frame does not match in its checksum.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::entry::Entry;

const MAGIC: &[u8; 8] = b"MVGWjrnl";
const HEADER: usize = 16;
/// Length and checksum in front of an entry.
const PREFIX: usize = 8;
/// Larger than any entry: names and ids are bounded.
const MAX_ENTRY: usize = 64 << 10;
/// From this size on the other file is written next.
const TURN: u64 = 4 << 20;

/// A place between two frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Counts the turns from one file to the other.
    pub generation: u64,
    /// Bytes from the beginning of the file.
    pub offset: u64,
}

/// The two files, open for appending.
#[derive(Debug)]
pub struct Journal {
    files: [File; 2],
    end: Position,
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
    /// Opens the files, or makes them, and begins a generation after `merged`: whatever they hold must have been merged.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(ledger: &Path, merged: Position) -> io::Result<Self> {
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
        let end = Position { generation: merged.generation + 1, offset: 0 };
        Ok(Self { files: [open(a)?, open(b)?], end, staged: Vec::with_capacity(4096) })
    }

    /// Adds an entry to what the next [`Journal::write`] takes.
    pub fn stage(&mut self, entry: &Entry<'_>) {
        if self.end.offset == 0 && self.staged.is_empty() {
            self.staged.extend_from_slice(MAGIC);
            self.staged.extend_from_slice(&self.end.generation.to_le_bytes());
        }
        frame(&mut self.staged, self.end.generation, entry);
    }

    /// Writes what is staged, and with `sync` waits until it is on the disk. Nothing is staged afterwards.
    ///
    /// # Errors
    /// What the system says. What was staged counts as not written: the next write goes to the same place.
    pub fn write(&mut self, sync: bool) -> io::Result<()> {
        let file = self.file();
        let written = file
            .write_all_at(&self.staged, self.end.offset)
            .and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        match &written {
            Ok(()) => self.end.offset += self.staged.len() as u64,
            Err(_) => self.staged.clear(),
        }
        written
    }

    /// Moves the frames that were just written behind others that wait to be merged.
    pub fn hand_over(&mut self, frames: &mut Frames) {
        let header =
            if self.end.offset == self.staged.len() as u64 { HEADER.min(self.staged.len()) } else { 0 };
        frames.bytes.extend_from_slice(&self.staged[header..]);
        frames.end = self.end;
        self.staged.clear();
    }

    /// Whether the disk takes anything at all: writes the byte that comes next, which is no frame.
    ///
    /// # Errors
    /// What the system says.
    pub fn probe(&self, sync: bool) -> io::Result<()> {
        let file = self.file();
        file.write_all_at(&[0; PREFIX], self.end.offset)?;
        if sync { file.sync_data() } else { Ok(()) }
    }

    /// Goes on in the other file where this one is large, or takes no more, and all that stands in the other is `merged`.
    pub fn turn(&mut self, merged: Position, takes_no_more: bool) {
        let large = self.end.offset >= TURN || (takes_no_more && self.end.offset > 0);
        if large && merged.generation == self.end.generation {
            self.end = Position { generation: self.end.generation + 1, offset: 0 };
        }
    }

    fn file(&self) -> &File {
        &self.files[usize::from(self.end.generation % 2 == 1)]
    }
}

/// The frames in the files beside `ledger` that are not `merged`, in order; nothing where there is none.
///
/// What is damaged is passed over, with a word: a frame that was cut off by a power cut is followed by nothing, and a
/// page that never reached the disk by frames that did.
///
/// # Errors
/// When a file is there and cannot be read.
pub fn unmerged(ledger: &Path, merged: Position) -> io::Result<Vec<Frames>> {
    let mut found = Vec::new();
    for path in paths(ledger) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        if let Some(frames) = recover(&path, &bytes, merged) {
            found.push(frames);
        }
    }
    found.sort_by_key(|frames| frames.end);
    Ok(found)
}

fn recover(path: &Path, bytes: &[u8], merged: Position) -> Option<Frames> {
    let generation = bytes.strip_prefix(MAGIC)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
    if generation < merged.generation {
        return None;
    }
    let mut found = Frames { bytes: Vec::new(), end: Position { generation, offset: HEADER as u64 } };
    let (mut at, mut sound) = (HEADER, HEADER);
    while at < bytes.len() {
        let Some((length, _)) = read(&bytes[at..], generation) else {
            at += 1;
            continue;
        };
        if at > sound {
            tracing::error!(
                file = %path.display(), bytes = at - sound, position = sound,
                "the ledger's journal is damaged in its midst; what is sound behind that is taken up"
            );
        }
        let frame = &bytes[at..at + length];
        at += length;
        sound = at;
        let end = Position { generation, offset: at as u64 };
        if end > merged {
            found.bytes.extend_from_slice(frame);
            found.end = end;
        }
    }
    (!found.bytes.is_empty()).then_some(found)
}

/// The entries in frames that were written or recovered.
pub fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let length = length(bytes)?;
        let entry = postcard::from_bytes(bytes.get(PREFIX..PREFIX + length)?).ok()?;
        bytes = &bytes[PREFIX + length..];
        Some(entry)
    })
}

fn frame(out: &mut Vec<u8>, generation: u64, entry: &Entry<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    // Into memory, and of plain numbers and text: this cannot fail.
    *out = postcard::to_extend(entry, std::mem::take(out)).unwrap_or_default();
    let length = u32::try_from(out.len() - start - PREFIX).unwrap_or(u32::MAX);
    let checksum = checksum(generation, &out[start + PREFIX..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + PREFIX].copy_from_slice(&checksum.to_le_bytes());
}

/// The sound frame that `bytes` begin with: its length, and what it says.
pub fn read(bytes: &[u8], generation: u64) -> Option<(usize, Entry<'_>)> {
    let length = length(bytes)?;
    let stated = u32::from_le_bytes(bytes.get(4..PREFIX)?.try_into().ok()?);
    let entry = bytes.get(PREFIX..PREFIX + length)?;
    if checksum(generation, entry) != stated {
        return None;
    }
    Some((PREFIX + length, postcard::from_bytes(entry).ok()?))
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    (1..=MAX_ENTRY).contains(&length).then_some(length)
}

fn checksum(generation: u64, entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(entry);
    hasher.finalize()
}
