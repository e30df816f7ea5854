//! What a crash has left of a file: every frame that is whole, wherever it stands.

use super::found::{Recovered, Unreadable};
use super::frame::{HEADER, Header, PREFIX, VERSION, cut, next_mark};
use super::position::{Position, Progress};
use super::v1;
use crate::ledger::entry;

/// The entries in a file's bytes that are not merged.
///
/// # Errors
/// When none can be taken up. A file that was never written, or not as far as its first frame, has none.
pub fn recover(bytes: &[u8], progress: Progress) -> Result<Recovered, Unreadable> {
    if v1::is_one(bytes) {
        return v1::recover(bytes, progress);
    }
    let mut found = Recovered::nothing(progress);
    // Zeros to the end: it was made, and room was tried for, and nothing was written. A cut header is as good.
    if bytes.len() < HEADER || bytes.iter().all(|byte| *byte == 0) {
        return Ok(found);
    }
    if Header::version(bytes).is_some_and(|version| version > VERSION) {
        return Err(Unreadable::Newer);
    }
    let header = bytes.first_chunk().and_then(Header::read).ok_or(Unreadable::Header)?;
    if header.ledger != progress.ledger {
        return Err(Unreadable::Foreign);
    }
    let (generation, seal) = (header.generation, header.seal());
    if generation < progress.merged.generation {
        return Ok(found);
    }
    let (mut at, mut sound) = (HEADER, HEADER);
    while let Some(mark) = next_mark(&bytes[at..]) {
        at += mark;
        let Some(frame) = cut(&bytes[at..]).filter(|frame| seal.holds(frame)) else {
            at += 1;
            continue;
        };
        if frame.version > entry::VERSION {
            return Err(Unreadable::Newer);
        }
        if at > sound {
            found.damage.push(sound..at);
        }
        at += PREFIX + frame.entries.len();
        sound = at;
        let end = Position { generation, offset: at as u64 };
        found.take(end, progress, |out| out.extend_from_slice(frame.entries));
    }
    Ok(found)
}
