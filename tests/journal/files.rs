//! Files as a crash, a power cut or an operator leaves them.

use mavera_gateway::ledger::entry::Entry;
use mavera_gateway::ledger::journal::{Journal, Position, Progress, Unreadable, entries, paths, recover};
use mavera_gateway::ledger::{NewEnding, NewHold};

use super::{Place, ending, hold, journal_in, write};

/// Calls one after the other, each held and ended.
fn calls(count: i64) -> (Vec<NewHold>, Vec<NewEnding>) {
    (
        (1..=count).map(|call| hold(call, "growth")).collect(),
        (1..=count).map(|call| ending(call, "growth", 1)).collect(),
    )
}

fn in_order<'a>((holds, endings): &'a (Vec<NewHold>, Vec<NewEnding>)) -> Vec<Entry<'a>> {
    let pairs = holds.iter().zip(endings);
    pairs.flat_map(|(hold, ending)| [Entry::Hold(hold.into()), Entry::End(ending.into())]).collect()
}

/// A file of some entries, where each ends in it, and what reads it.
fn written(all: &[Entry<'_>]) -> (Vec<u8>, Vec<usize>, Progress) {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, progress, path) = journal_in(folder.path());
    let ends =
        all.iter().map(|entry| write(&mut journal, std::slice::from_ref(entry)).offset as usize).collect();
    (std::fs::read(path).unwrap(), ends, progress)
}

#[test]
fn every_prefix_of_a_file_has_the_whole_frames_before_the_cut() {
    let calls = calls(4);
    let all = in_order(&calls);
    let (bytes, ends, progress) = written(&all);
    assert_eq!(ends.last(), Some(&bytes.len()));
    for cut in 0..=bytes.len() {
        let found = recover(&bytes[..cut], progress).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(entries(&found.frames.bytes).collect::<Vec<_>>(), all[..whole], "cut at {cut}");
        assert!(found.damage.is_empty(), "a file that was cut is not damaged in its midst");
        if let Some(last) = whole.checked_sub(1) {
            assert_eq!(found.frames.end, Position { generation: 1, offset: ends[last] as u64 });
        }
    }
}

#[test]
fn what_is_merged_already_is_not_found_again() {
    let calls = calls(4);
    let all = in_order(&calls);
    let (bytes, ends, mut progress) = written(&all);
    for (merged, end) in (1..).zip(ends) {
        progress.merged = Position { generation: 1, offset: end as u64 };
        let found = recover(&bytes, progress).unwrap();
        assert_eq!(entries(&found.frames.bytes).collect::<Vec<_>>(), all[merged..]);
    }
    progress.merged = Position { generation: 2, offset: 0 };
    assert!(recover(&bytes, progress).unwrap().frames.bytes.is_empty());
}

#[test]
fn damage_costs_the_frame_it_is_in_and_is_told_of() {
    let calls = calls(3);
    let all = in_order(&calls);
    let (bytes, ends, progress) = written(&all);
    let header = bytes.len() - (ends.last().unwrap() - 36);
    for at in 0..bytes.len() {
        for bit in [0, 7] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let found = recover(&damaged, progress);
            if at < header {
                assert_eq!(found.unwrap_err(), Unreadable::Header, "at {at}");
                continue;
            }
            let found = found.unwrap();
            let hit = ends.iter().filter(|end| **end <= at).count();
            let mut left = all.clone();
            left.remove(hit);
            assert_eq!(entries(&found.frames.bytes).collect::<Vec<_>>(), left, "at {at}");
            let from = if hit == 0 { header } else { ends[hit - 1] };
            // Of the last frame nobody can know that it ever was whole.
            let told = (hit + 1 < ends.len()).then_some(from..ends[hit]);
            assert_eq!(found.damage, Vec::from_iter(told), "at {at}");
        }
    }
    // A page that never reached the disk, over the ends of two frames.
    let mut damaged = bytes;
    damaged[ends[0] + 3..ends[2] - 3].fill(0);
    let found = recover(&damaged, progress).unwrap();
    assert_eq!(entries(&found.frames.bytes).collect::<Vec<_>>(), [&all[..1], &all[3..]].concat());
}

#[test]
fn frames_of_an_older_generation_behind_the_last_are_not_taken() {
    let calls = calls(6);
    let all = in_order(&calls);
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut progress, path) = journal_in(folder.path());
    write(&mut journal, &all);
    let before = std::fs::metadata(&path).unwrap().len();
    // Two generations on it is the same file.
    progress.merged = Position { generation: 2, offset: 100 };
    let mut journal = Journal::open(&folder.path().join("ledger.db"), progress).unwrap();
    write(&mut journal, &all[..2]);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, before, "what was there is still there");
    let found = recover(&bytes, progress).unwrap();
    assert_eq!(
        (entries(&found.frames.bytes).collect::<Vec<_>>(), found.damage.len()),
        (all[..2].to_vec(), 0)
    );
}

#[test]
fn a_generation_that_is_begun_anew_does_not_take_what_was_there_of_it() {
    let calls = calls(6);
    let all = in_order(&calls);
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, progress, path) = journal_in(folder.path());
    write(&mut journal, &all);
    // A power cut took the first page and left others; the next process begins the same generation.
    let (mut journal, ..) = journal_in(folder.path());
    write(&mut journal, &all[..2]);
    let found = recover(&std::fs::read(path).unwrap(), progress).unwrap();
    assert_eq!(
        (entries(&found.frames.bytes).collect::<Vec<_>>(), found.damage.len()),
        (all[..2].to_vec(), 0)
    );
}

#[test]
fn what_a_write_that_failed_left_is_not_found() {
    const FOLDER: &str = "JOURNAL_OF_A_CHILD";
    let calls = calls(12);
    let all = in_order(&calls);
    if let Some(folder) = std::env::var_os(FOLDER) {
        let (mut journal, ..) = journal_in(folder.as_ref());
        write(&mut journal, &all[..3]);
        all[3..].iter().for_each(|entry| journal.stage(entry));
        assert!(journal.write(false).is_err(), "the file may not grow as far");
        // What fits may be written: it goes to the same place.
        write(&mut journal, &all[3..5]);
        all[5..].iter().for_each(|entry| journal.stage(entry));
        assert!(journal.write(false).is_err(), "the file may not grow as far");
        return;
    }
    // A process of its own, of which no file may become larger than a kibibyte.
    let folder = tempfile::tempdir().unwrap();
    let name = "journal::files::what_a_write_that_failed_left_is_not_found";
    let child = std::process::Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let (_, progress, path) = journal_in(folder.path());
    let found = recover(&std::fs::read(path).unwrap(), progress).unwrap();
    assert_eq!(entries(&found.frames.bytes).collect::<Vec<_>>(), all[..5]);
}

#[test]
fn merging_the_same_journal_again_books_nothing_twice() {
    let calls = calls(9);
    let all = in_order(&calls);
    let place = Place::new();
    let mut store = place.store();
    let mut journal = Journal::open(place.path(), store.progress().unwrap()).unwrap();
    // The process ends between any two steps: written and not merged, merged in part, merged, gone on.
    let mut copies = vec![place.copy()];
    for group in all.chunks(6) {
        let end = write(&mut journal, group);
        copies.push(place.copy());
        store.merge(group, end, false).unwrap();
        copies.push(place.copy());
        journal.turn(end, true);
    }
    let expected = place.books();
    let [a, b] = paths(place.path());
    for (step, copy) in copies.iter().enumerate() {
        if step == 0 {
            // What no database has, the journal has from the beginning only as long as it is not written over.
            continue;
        }
        copy.take_up().unwrap();
        let booked = copy.books();
        copy.take_up().unwrap();
        assert_eq!(copy.books(), booked, "step {step}: a second time");
        let calls = booked.len() - 2;
        assert_eq!(calls, 3 * step.div_ceil(2), "step {step}");
        assert_eq!(booked[..calls], expected[..calls], "step {step}");
        // The database of this moment with the journal of the end: what it lacks is there, or was in it before.
        if step + 2 >= copies.len() - 2 {
            for from in [&a, &b] {
                std::fs::copy(from, copy.folder.path().join(from.file_name().unwrap())).unwrap();
            }
            copy.take_up().unwrap();
            assert_eq!(copy.books(), expected, "step {step} with the last journal");
        }
    }
}

#[test]
fn the_journal_of_another_ledger_is_refused_in_words_and_left_alone() {
    let (ours, theirs) = (Place::new(), Place::new());
    let calls = calls(2);
    for place in [&ours, &theirs] {
        let store = place.store();
        let mut journal = Journal::open(place.path(), store.progress().unwrap()).unwrap();
        write(&mut journal, &in_order(&calls));
    }
    for (from, to) in paths(theirs.path()).iter().zip(paths(ours.path())) {
        std::fs::copy(from, to).unwrap();
    }
    let before = paths(ours.path()).map(|path| std::fs::read(path).unwrap());
    let told = ours.take_up().unwrap_err().to_string();
    assert!(told.contains("journal-b: it is the journal of another ledger"), "{told}");
    assert_eq!(paths(ours.path()).map(|path| std::fs::read(path).unwrap()), before);
    assert_eq!(ours.books().len(), 1, "nothing is booked but the number of the last entry, which is none");
}
