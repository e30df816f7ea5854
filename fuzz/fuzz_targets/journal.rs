//! The ledger's journal, as a file that a crash, a failing disk or another program left. Whatever stands in it, what is
//! found are the groups that were written under its header, in their order, each as a whole, and nothing else. An input is
//! bytes as they are, and then a script: groups, and what stands between them.
#![no_main]

use std::hash::{DefaultHasher, Hash, Hasher};

use libfuzzer_sys::fuzz_target;
use mavera_gateway::ledger::Retry;
use mavera_gateway::ledger::entry::{EndEntry, Entry, HoldEntry, Kind, SavingEntry};
use mavera_gateway::ledger::journal::frame::{HEADER, Header, PREFIX, Seal, VERSION, cut};
use mavera_gateway::ledger::journal::position::{Position, Progress};
use mavera_gateway::ledger::journal::{Unreadable, recover};

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
    assert!(found.unmerged.entries.is_empty() && found.damage.is_empty());
    scripted(Script(input));
});

/// A file of which nobody knows what it is.
fn as_it_is(input: &[u8]) {
    let header = input.first_chunk::<HEADER>().and_then(Header::read);
    let first_release = input.starts_with(b"MVGWjrnl");
    let blank = input.len() < HEADER || input.iter().all(|byte| *byte == 0);
    match recover(input, PROGRESS) {
        // Whatever version they are of, they are this version's entries now.
        Ok(found) => {
            assert!(Entry::are_whole(&found.unmerged.entries));
            assert!(first_release || header.is_some_and(|header| header.ledger == PROGRESS.ledger) || blank);
            assert!(header.is_some() || first_release || found.unmerged.entries.is_empty());
        }
        Err(Unreadable::Header) => assert!(header.is_none() && (first_release || !blank)),
        Err(Unreadable::Foreign) => {
            assert!(first_release || header.is_some_and(|header| header.ledger != PROGRESS.ledger));
        }
        Err(Unreadable::Newer) => {
            let newer = Header::version(input).is_some_and(|version| version > VERSION);
            assert!(
                newer || header.is_some_and(|header| has_frame_of_a_newer_version(&header.seal(), input))
            );
        }
    }
}

fn has_frame_of_a_newer_version(seal: &Seal, file: &[u8]) -> bool {
    let ours = mavera_gateway::ledger::entry::VERSION;
    (HEADER..file.len())
        .filter_map(|at| cut(&file[at..]))
        .any(|frame| frame.version > ours && seal.holds(&frame))
}

/// Groups, and what else a file may hold.
fn scripted(mut script: Script<'_>) {
    let here = here(script.0);
    let (seal, older) = (here.seal(), Header { generation: 1, ..here }.seal());
    let process = Header { nonce: here.nonce ^ 1, ..here }.seal();
    let mut file = here.bytes().to_vec();
    let (mut entries, mut damaged, mut between) = (Vec::new(), 0, false);
    while let Some(step) = script.byte() {
        match step % 8 {
            // What another generation or another process has left.
            0 => file.extend_from_slice(&frame(&older, &script.group())),
            1 => file.extend_from_slice(&frame(&process, &script.group())),
            // What somebody has written over.
            2 => {
                let count = script.byte().unwrap_or_default().into();
                file.extend_from_slice(script.bytes(count));
            }
            // The beginning of a group, and not what followed: none of it is there.
            3 => {
                let frame = frame(&seal, &script.group());
                let kept = usize::from(script.byte().unwrap_or_default()).min(frame.len() - 1);
                file.extend_from_slice(&frame[..kept]);
                file.resize(file.len() + 64, !frame[kept]);
            }
            _ => {
                damaged += usize::from(std::mem::take(&mut between));
                let group = script.group();
                let frame = frame(&seal, &group);
                let read = cut(&frame).expect("what was written is a frame");
                assert!(seal.holds(&read) && !older.holds(&read) && !process.holds(&read));
                assert!(Entry::read_all(read.entries).eq(group), "what is read is what was written");
                entries.extend_from_slice(&frame[PREFIX..]);
                file.extend_from_slice(&frame);
                continue;
            }
        }
        between = file.len() > HEADER;
    }
    let found = recover(&file, PROGRESS).expect("its header is sound");
    assert_eq!(found.unmerged.entries, entries);
    assert!(found.damage.len() <= damaged);
    // The database has some of it already.
    let offset = file.len() as u64 / 2;
    let merged = Position { generation: here.generation, offset };
    let rest = recover(&file, Progress { merged, ..PROGRESS }).expect("its header is sound");
    assert!(entries.ends_with(&rest.unmerged.entries));
}

fn frame(seal: &Seal, group: &[Entry<'_>]) -> Vec<u8> {
    let mut frame = Vec::new();
    Seal::open(&mut frame);
    for entry in group {
        entry.write(&mut frame);
    }
    seal.close(&mut frame, 0);
    frame
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

    fn digest(&mut self) -> [u8; 32] {
        let mut digest = [0; 32];
        let bytes = self.bytes(32);
        digest[..bytes.len()].copy_from_slice(bytes);
        digest
    }

    fn group(&mut self) -> Vec<Entry<'a>> {
        (0..=self.byte().unwrap_or_default() % 4).map(|_| self.entry()).collect()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "any number will do")]
    fn entry(&mut self) -> Entry<'a> {
        let which = self.byte().unwrap_or_default();
        if which % 16 == 15 {
            return Entry::Saved(SavingEntry {
                day: self.number() as i32,
                team: self.text(),
                key_id: self.text(),
                route: self.text(),
                copies: self.number() as u32,
                credits: self.number(),
            });
        }
        if which.is_multiple_of(2) {
            return Entry::Hold(HoldEntry {
                call: self.number(),
                at: self.number(),
                day: self.number() as i32,
                team: self.text(),
                key_id: self.text(),
                member: self.text(),
                route: self.text(),
                request_id: self.text(),
                reserve: self.number(),
                retry: self.perhaps(|script| Retry { key: script.digest(), fingerprint: script.digest() }),
                replica: self.number() as u32,
            });
        }
        let kinds = [Kind::Final, Kind::Estimated, Kind::Voided, Kind::Derived];
        Entry::End(EndEntry {
            call: self.number(),
            at: self.number(),
            kind: kinds[usize::from(self.byte().unwrap_or_default() % 4)],
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
