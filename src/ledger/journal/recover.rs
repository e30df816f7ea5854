//! What a crash has left of a file: every frame that is whole, wherever it stands.

use std::ops::Range;

use super::frame::{HEADER, Header};
use super::{Frames, Position, Progress};

/// What a file of the journal holds.
#[derive(Debug)]
pub struct Recovered {
    /// The frames that are not merged.
    pub frames: Frames,
    /// Where it is damaged with sound frames behind.
    pub damage: Vec<Range<usize>>,
}

/// Why nothing in a file can be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No frame can be told from what is none.
    #[error("its header is damaged")]
    Header,
    /// Calls of others.
    #[error(
        "it is the journal of another ledger than the database beside it; restore that ledger's database, or move the \
         journal files away"
    )]
    Foreign,
}

/// The frames in a file's bytes that are not merged.
///
/// # Errors
/// When none can be taken up. A file that was never written, or not as far as its first frame, has none.
pub fn recover(bytes: &[u8], progress: Progress) -> Result<Recovered, Unreadable> {
    let none = Frames { bytes: Vec::new(), end: progress.merged };
    let mut found = Recovered { frames: none, damage: Vec::new() };
    let Some(header) = bytes.first_chunk().filter(|header| **header != [0; HEADER]) else { return Ok(found) };
    let header = Header::read(header).ok_or(Unreadable::Header)?;
    if header.ledger != progress.ledger {
        return Err(Unreadable::Foreign);
    }
    let (generation, seal) = (header.generation, header.seal());
    if generation < progress.merged.generation {
        return Ok(found);
    }
    let (mut at, mut sound) = (HEADER, HEADER);
    while at < bytes.len() {
        let Some((length, _)) = seal.read(&bytes[at..]) else {
            at += 1;
            continue;
        };
        if at > sound {
            found.damage.push(sound..at);
        }
        let frame = &bytes[at..at + length];
        at += length;
        sound = at;
        let end = Position { generation, offset: at as u64 };
        if end > progress.merged {
            found.frames.bytes.extend_from_slice(frame);
            found.frames.end = end;
        }
    }
    Ok(found)
}
