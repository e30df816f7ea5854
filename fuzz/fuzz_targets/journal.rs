//! The ledger's journal, as a file that a crash, a failing disk or another program left. Whatever stands in it, what is
//! found are the frames that were written under its header, in their order, and nothing else. An input is bytes as they
//! are, and then a script: frames, and what stands between them.
#![no_main]

use std::hash::{DefaultHasher, Hash, Hasher};

use libfuzzer_sys::fuzz_target;
use mavera_gateway::ledger::entry::{EndEntry, Entry, HoldEntry, Kind};
use mavera_gateway::ledger::journal::frame::{HEADER, Header, Seal, entries};
use mavera_gateway::ledger::journal::{Position, Progress, Unreadable, recover};

/// The header of the process that wrote the file. Its number comes of the input, as a real one comes of chance: a fuzzer that
/// sees the checksums compared would else write frames of this very process, which nobody else can.
fn here(input: &[u8]) -> Header {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    Header { ledger: 7, generation: 3, nonce: hasher.finish() }
}

const PROGRESS: Progress = Progress { ledger: 7, merged: Position { generation: 2, offset: 900 } };

fuzz_target!(|input: &[u8]| {
    as_it_is(input);
    // Behind a sound header it is damage, all of it.
    let mut file = here(input).bytes().to_vec();
    file.extend_from_slice(input);
    let found = recover(&file, PROGRESS).expect("its header is sound");
    assert!(found.frames.bytes.is_empty() && found.damage.is_empty());
    scripted(Script(input));
});

/// A file of which nobody knows what it is.
fn as_it_is(input: &[u8]) {
    let header = input.first_chunk::<HEADER>().and_then(Header::read);
    let blank = input.first_chunk::<HEADER>().is_none_or(|start| *start == [0; HEADER]);
    match recover(input, PROGRESS) {
        Ok(found) => match header {
            Some(header) => {
                assert_eq!(header.ledger, PROGRESS.ledger);
                // The same entries; another writer's numbers may be longer than ours.
                let again = written_again(&header.seal(), &found.frames.bytes);
                assert!(entries(&again).eq(entries(&found.frames.bytes)));
            }
            None => assert!(blank && found.frames.bytes.is_empty()),
        },
        Err(Unreadable::Header) => assert!(header.is_none() && !blank),
        Err(Unreadable::Foreign) => assert!(header.is_some_and(|header| header.ledger != PROGRESS.ledger)),
    }
}

/// Frames, and what else a file may hold.
fn scripted(mut script: Script<'_>) {
    let here = here(script.0);
    let (seal, older) = (here.seal(), Header { generation: 1, ..here }.seal());
    let process = Header { nonce: here.nonce ^ 1, ..here }.seal();
    let mut file = here.bytes().to_vec();
    let (mut frames, mut damaged, mut between) = (Vec::new(), 0, false);
    while let Some(step) = script.byte() {
        match step % 8 {
            // What another generation or another process has left.
            0 => older.frame(&mut file, &script.entry()),
            1 => process.frame(&mut file, &script.entry()),
            // What somebody has written over.
            2 => {
                let count = script.byte().unwrap_or_default().into();
                file.extend_from_slice(script.bytes(count));
            }
            // The beginning of a frame, and not what followed.
            3 => {
                let mut frame = Vec::new();
                seal.frame(&mut frame, &script.entry());
                let kept = usize::from(script.byte().unwrap_or_default()).min(frame.len() - 1);
                file.extend_from_slice(&frame[..kept]);
                file.resize(file.len() + 64, !frame[kept]);
            }
            _ => {
                damaged += usize::from(std::mem::take(&mut between));
                let entry = script.entry();
                let mut frame = Vec::new();
                seal.frame(&mut frame, &entry);
                assert_eq!(seal.read(&frame), Some((frame.len(), entry)), "what is read is what was written");
                assert_eq!(older.read(&frame), None);
                frames.extend_from_slice(&frame);
                file.extend_from_slice(&frame);
                continue;
            }
        }
        between = file.len() > HEADER;
    }
    let found = recover(&file, PROGRESS).expect("its header is sound");
    assert_eq!(found.frames.bytes, frames);
    assert!(found.damage.len() <= damaged);
    assert_eq!(written_again(&seal, &frames), frames);
    // The database has some of it already.
    let offset = file.len() as u64 / 2;
    let merged = Position { generation: here.generation, offset };
    let rest = recover(&file, Progress { merged, ..PROGRESS }).expect("its header is sound");
    assert!(frames.ends_with(&rest.frames.bytes));
}

fn written_again(seal: &Seal, frames: &[u8]) -> Vec<u8> {
    let mut again = Vec::new();
    for entry in entries(frames) {
        seal.frame(&mut again, &entry);
    }
    again
}

/// What is left of the input.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.0.split_off_first().copied()
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> i64 {
        let count = usize::from(self.byte().unwrap_or_default() % 9);
        self.bytes(count).iter().fold(0, |number, byte| (number << 8) | i64::from(*byte))
    }

    fn text(&mut self) -> &'a str {
        let count = usize::from(self.byte().unwrap_or_default() % 129);
        let bytes = self.bytes(count);
        std::str::from_utf8(bytes)
            .unwrap_or_else(|error| std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default())
    }

    fn perhaps<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte()? % 2 == 1).then(|| some(self))
    }

    fn entry(&mut self) -> Entry<'a> {
        if self.byte().unwrap_or_default().is_multiple_of(2) {
            return Entry::Hold(HoldEntry {
                call: self.number(),
                at: self.number(),
                day: (2026, 11, 23),
                team: self.text(),
                key_id: self.text(),
                route: self.text(),
                request_id: self.text(),
                reserve: self.number(),
            });
        }
        let kinds = [Kind::Final, Kind::Estimated, Kind::Voided];
        Entry::End(EndEntry {
            call: self.number(),
            at: self.number(),
            kind: kinds[usize::from(self.byte().unwrap_or_default() % 3)],
            credits: self.number(),
            reason: self.perhaps(Self::text),
            outcome: self.text(),
            response_id: self.perhaps(Self::text),
            input_tokens: self.perhaps(Self::number),
            output_tokens: self.perhaps(Self::number),
            sent_at: self.perhaps(Self::number),
        })
    }
}
