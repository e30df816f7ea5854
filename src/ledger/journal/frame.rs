//! The bytes of the journal.
//!
//! A file begins with a header: `MVGWJRNL`, the version, four bytes, the ledger's identity, the generation and a random
//! number of the process, eight bytes each, and a CRC-32 of all that, four. Then come frames, one for each group of
//! entries that were written at once: `MVGf`, the version of the entries, three zeros, the length of the entries and a
//! CRC-32 of header and entries, four bytes each; then the entries. Numbers are little-endian. Since the checksum of a
//! frame has the header in it, frames of an older generation, of another ledger, or of a generation that was begun anew
//! after a crash, are none; and a group is there as a whole or not at all.

use crc32fast::Hasher;
use memchr::memmem;

use crate::ledger::entry::{self, Entry};

/// What version this program writes.
pub const VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"MVGWJRNL";
/// Bytes that a file begins with.
pub const HEADER: usize = 40;
/// What a frame begins with.
const MARK: &[u8; 4] = b"MVGf";
/// Bytes in front of the entries of a frame.
pub const PREFIX: usize = 16;
/// Larger than any group: a group is closed when it is a quarter as large.
const MAX_GROUP: usize = 4 << 20;
/// From this size on a group is closed, and the entries behind go into another.
pub const LARGE_GROUP: usize = MAX_GROUP / 4;

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The ledger's identity.
    pub ledger: u64,
    /// Counts the turns from one file to the other.
    pub generation: u64,
    /// Of the process: a generation whose header never reached the disk is begun anew by the next.
    pub nonce: u64,
}

impl Header {
    /// As it is written.
    #[must_use]
    pub fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let (stated, checksum) = bytes.split_at_mut(HEADER - 4);
        stated[..8].copy_from_slice(MAGIC);
        stated[8..12].copy_from_slice(&VERSION.to_le_bytes());
        for (at, number) in [(12, self.ledger), (20, self.generation), (28, self.nonce)] {
            stated[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        checksum.copy_from_slice(&crc32fast::hash(stated).to_le_bytes());
        bytes
    }

    /// As it was written; nothing if it was not, or is damaged, or of another version.
    #[must_use]
    pub fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let number = |at| bytes[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let header = Self { ledger: number(12)?, generation: number(20)?, nonce: number(28)? };
        (header.bytes() == *bytes).then_some(header)
    }

    /// The version that these first bytes of a file name, if it is one of ours.
    #[must_use]
    pub fn version(bytes: &[u8]) -> Option<u32> {
        let version = bytes.strip_prefix(MAGIC)?.first_chunk()?;
        Some(u32::from_le_bytes(*version))
    }

    /// What the checksums of its frames begin with.
    #[must_use]
    pub fn seal(self) -> Seal {
        let mut hasher = Hasher::new();
        // Without its own checksum: a text and its CRC behind it come to the same CRC whatever the text.
        hasher.update(&self.bytes()[..HEADER - 4]);
        Seal(hasher)
    }
}

/// What tells the frames of one header from those of others.
#[derive(Clone, Debug)]
pub struct Seal(Hasher);

/// A frame that was cut out of a file, not yet known to be sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut<'b> {
    /// Of the entries.
    pub version: u8,
    checksum: u32,
    /// The entries.
    pub entries: &'b [u8],
}

/// Cuts the frame out that `bytes` begin with.
#[must_use]
pub fn cut(bytes: &[u8]) -> Option<Cut<'_>> {
    let prefix: &[u8; PREFIX] = bytes.strip_prefix(MARK).and(bytes.first_chunk())?;
    let number = |at: usize| prefix[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let length = usize::try_from(number(8)?).ok().filter(|length| (1..=MAX_GROUP).contains(length))?;
    let entries = bytes.get(PREFIX..PREFIX + length)?;
    Some(Cut { version: prefix[4], checksum: number(12)?, entries })
}

/// Where the next frame may begin.
#[must_use]
pub fn next_mark(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, MARK)
}

impl Seal {
    /// Begins a frame behind others; entries may be written behind it until it is closed.
    pub fn open(out: &mut Vec<u8>) {
        out.extend_from_slice(MARK);
        out.extend_from_slice(&[entry::VERSION, 0, 0, 0]);
        out.extend_from_slice(&[0; 8]);
    }

    /// Closes the frame that begins at `start`, with the entries behind it.
    pub fn close(&self, out: &mut [u8], start: usize) {
        let (prefix, entries) = out[start..].split_at_mut(PREFIX);
        debug_assert!(
            entries.len() <= MAX_GROUP,
            "{} bytes are more than would be read again",
            entries.len()
        );
        prefix[8..12].copy_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        prefix[12..].copy_from_slice(&self.checksum(entries).to_le_bytes());
    }

    /// Whether a frame is of this header, and as it was written.
    #[must_use]
    pub fn holds(&self, cut: &Cut<'_>) -> bool {
        self.checksum(cut.entries) == cut.checksum
            && (cut.version != entry::VERSION || Entry::are_whole(cut.entries))
    }

    fn checksum(&self, entries: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(entries);
        hasher.finalize()
    }
}
