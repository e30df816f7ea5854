//! The bytes of the journal.
//!
//! A file begins with a header: `MVGWjrnl`, the ledger's identity, the generation, a random number of the process, eight
//! bytes each, and a CRC-32 of all that, four. Then come frames: the length of the entry and a CRC-32 of header and
//! entry, four bytes each, and the entry as postcard writes it. Numbers are little-endian. What is left of an older
//! generation behind the last frame does not match in its checksum, nor does what another process has left in a
//! generation that it never finished.

use crc32fast::Hasher;

use crate::ledger::entry::Entry;

const MAGIC: &[u8; 8] = b"MVGWjrnl";
/// Bytes that a file begins with.
pub const HEADER: usize = 36;
/// Length and checksum in front of an entry.
const PREFIX: usize = 8;
/// Larger than any entry, some times over: names and ids are bounded.
const MAX_ENTRY: usize = 4 << 10;

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
        for (at, number) in [(8, self.ledger), (16, self.generation), (24, self.nonce)] {
            stated[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        checksum.copy_from_slice(&crc32fast::hash(stated).to_le_bytes());
        bytes
    }

    /// As it was written; nothing if it was not, or is damaged.
    #[must_use]
    pub fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let number = |at| bytes[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let header = Self { ledger: number(8)?, generation: number(16)?, nonce: number(24)? };
        (header.bytes() == *bytes).then_some(header)
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

impl Seal {
    /// Writes an entry behind others.
    pub fn frame(&self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX]);
        // Into memory, and of plain numbers and text: this cannot fail.
        *out = postcard::to_extend(entry, std::mem::take(out)).unwrap_or_default();
        let length = out.len() - start - PREFIX;
        debug_assert!(length <= MAX_ENTRY, "{length} bytes are more than would be read again");
        let checksum = self.checksum(&out[start + PREFIX..]);
        out[start..start + 4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        out[start + 4..start + PREFIX].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The sound frame that `bytes` begin with: its length, and what it says.
    #[must_use]
    pub fn read<'b>(&self, bytes: &'b [u8]) -> Option<(usize, Entry<'b>)> {
        let length = length(bytes)?;
        let stated = u32::from_le_bytes(bytes.get(4..PREFIX)?.try_into().ok()?);
        let entry = bytes.get(PREFIX..PREFIX + length)?;
        if self.checksum(entry) != stated {
            return None;
        }
        Some((PREFIX + length, postcard::from_bytes(entry).ok()?))
    }

    fn checksum(&self, entry: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(entry);
        hasher.finalize()
    }
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

fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    (1..=MAX_ENTRY).contains(&length).then_some(length)
}
