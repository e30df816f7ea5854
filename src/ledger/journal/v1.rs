//! Files as the first release wrote them: a header without a version, and a frame for each entry. They are read, and never
//! written.

use crc32fast::Hasher;

use super::found::{Recovered, Unreadable};
use super::position::{Position, Progress};
use crate::ledger::entry::Entry;

const MAGIC: &[u8; 8] = b"MVGWjrnl";
const HEADER: usize = 36;
/// Length and checksum in front of an entry.
const PREFIX: usize = 8;
const MAX_ENTRY: usize = 4 << 10;

/// Whether a file is one of these.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// As [`super::recover()`]: identity, generation and nonce stand behind the magic, then a CRC-32 of all that.
pub(super) fn recover(bytes: &[u8], progress: Progress) -> Result<Recovered, Unreadable> {
    let mut found = Recovered::nothing(progress);
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Err(Unreadable::Header) };
    let (stated, checksum) = header.split_at(HEADER - 4);
    if crc32fast::hash(stated).to_le_bytes() != checksum {
        return Err(Unreadable::Header);
    }
    let number = |at| header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let (ledger, generation) = (number(8), number(16));
    if ledger != progress.ledger {
        return Err(Unreadable::Foreign);
    }
    if generation < progress.merged.generation {
        return Ok(found);
    }
    let mut seal = Hasher::new();
    seal.update(stated);
    let (mut at, mut sound) = (HEADER, HEADER);
    while at < bytes.len() {
        let Some((length, entry)) = frame(&seal, &bytes[at..]) else {
            at += 1;
            continue;
        };
        if at > sound {
            found.damage.push(sound..at);
        }
        at += length;
        sound = at;
        found.take(Position { generation, offset: at as u64 }, progress, |out| entry.write(out));
    }
    Ok(found)
}

/// The sound frame that `bytes` begin with: its length, and what it says.
fn frame<'b>(seal: &Hasher, bytes: &'b [u8]) -> Option<(usize, Entry<'b>)> {
    let number = |at: usize| bytes[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let length = usize::try_from(number(0)?).ok().filter(|length| (1..=MAX_ENTRY).contains(length))?;
    let entry = bytes.get(PREFIX..PREFIX + length)?;
    let mut hasher = seal.clone();
    hasher.update(entry);
    (hasher.finalize() == number(4)?).then_some(())?;
    Some((PREFIX + length, Entry::read_v1(entry)?))
}
