//! Files as a crash, a power cut or an operator leaves them.

use mavera_gateway::ledger::entry::Entry;
use mavera_gateway::ledger::journal::frame::{HEADER, PREFIX};
use mavera_gateway::ledger::journal::{
    Journal, Position, Progress, Unreadable, paths, recover, set_aside_count,
};
use mavera_gateway::ledger::{NewEnding, NewHold};

use super::{Place, ending, hold, journal_in, read, write};

/// Calls one after the other, each held and ended.
fn calls(count: i64) -> (Vec<NewHold>, Vec<NewEnding>) {
    (
        (1..=count).map(|call| hold(call, "growth")).collect(),
        (1..=count).map(|call| ending(call, "growth", 1)).collect(),
    )
}

fn in_order((holds, endings): &(Vec<NewHold>, Vec<NewEnding>)) -> Vec<Entry<'_>> {
    let pairs = holds.iter().zip(endings);
    pairs.flat_map(|(hold, ending)| [Entry::Hold(hold.into()), Entry::End(ending.into())]).collect()
}

/// A file of some entries in groups of so many, where each group ends in it, and what reads it.
fn written(all: &[Entry<'_>], group: usize) -> (Vec<u8>, Vec<usize>, Progress) {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, progress, path) = journal_in(folder.path());
    let ends = all.chunks(group).map(|group| write(&mut journal, group).offset as usize).collect();
    (std::fs::read(path).unwrap(), ends, progress)
}

#[test]
fn every_prefix_of_a_file_has_the_whole_groups_before_the_cut() {
    let calls = calls(6);
    let all = in_order(&calls);
    for group in [1, 3] {
        let (bytes, ends, progress) = written(&all, group);
        assert_eq!(ends.last(), Some(&bytes.len()));
        for cut in 0..=bytes.len() {
            let found = recover(&bytes[..cut], progress).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(read(&found.unmerged), all[..group * whole], "cut at {cut}");
            assert!(found.damage.is_empty(), "a file that was cut is not damaged in its midst");
            if let Some(last) = whole.checked_sub(1) {
                assert_eq!(found.unmerged.end, Position { generation: 1, offset: ends[last] as u64 });
            }
        }
    }
}

#[test]
fn what_is_merged_already_is_not_found_again() {
    let calls = calls(4);
    let all = in_order(&calls);
    let (bytes, ends, mut progress) = written(&all, 1);
    for (merged, end) in (1..).zip(ends) {
        progress.merged = Position { generation: 1, offset: end as u64 };
        let found = recover(&bytes, progress).unwrap();
        assert_eq!(read(&found.unmerged), all[merged..]);
    }
    progress.merged = Position { generation: 2, offset: 0 };
    assert!(recover(&bytes, progress).unwrap().unmerged.entries.is_empty());
}

#[test]
fn damage_costs_the_group_it_is_in_and_is_told_of() {
    let calls = calls(6);
    let all = in_order(&calls);
    let (bytes, ends, progress) = written(&all, 3);
    for at in 0..bytes.len() {
        for bit in [0, 7] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let found = recover(&damaged, progress);
            if at < HEADER {
                // A version that is higher by a bit is one that this program cannot know to be damaged.
                let expected = if (8..12).contains(&at) && damaged[at] > bytes[at] {
                    Unreadable::Newer
                } else {
                    Unreadable::Header
                };
                assert_eq!(found.unwrap_err(), expected, "at {at}");
                continue;
            }
            let hit = ends.iter().filter(|end| **end <= at).count();
            let start = if hit == 0 { HEADER } else { ends[hit - 1] };
            if (start + 5..start + 8).contains(&at) {
                // Kept free, and looked at by nobody.
                assert_eq!(read(&found.unwrap().unmerged), all);
                continue;
            }
            if at == start + 4 && damaged[at] > bytes[at] {
                assert_eq!(found.unwrap_err(), Unreadable::Newer, "at {at}");
                continue;
            }
            let found = found.unwrap();
            if at == start + 4 {
                // Of no version that ever was, and read as one of this.
                continue;
            }
            let left = [&all[..3 * hit], &all[3 * hit + 3..]].concat();
            assert_eq!(read(&found.unmerged), left, "at {at}");
            // Of the last group nobody can know that it ever was whole.
            let told = (hit + 1 < ends.len()).then_some(start..ends[hit]);
            assert_eq!(found.damage, Vec::from_iter(told), "at {at}");
        }
    }
}

#[test]
fn a_power_cut_that_reorders_pages_leaves_none_of_a_group_that_was_never_acknowledged() {
    const PAGE: usize = 64;
    let calls = calls(12);
    let all = in_order(&calls);
    // The first group was acknowledged, and is on the disk; of the second some pages are, in whatever order.
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, progress, path) = journal_in(folder.path());
    let safe = write(&mut journal, &all[..4]).offset as usize;
    write(&mut journal, &all[4..]);
    let bytes = std::fs::read(path).unwrap();
    let pages: Vec<_> = (safe..bytes.len()).step_by(PAGE).collect();
    assert!(pages.len() > 10);
    for lost in 0..1u32 << pages.len().min(14) {
        let mut left = bytes.clone();
        for (page, start) in pages.iter().enumerate().filter(|(page, _)| lost & 1 << page != 0) {
            assert!(page < 14);
            let end = (start + PAGE).min(left.len());
            left[*start..end].fill(0);
        }
        let found = recover(&left, progress).unwrap();
        let expected = if left == bytes { &all[..] } else { &all[..4] };
        assert_eq!(read(&found.unmerged), expected, "{lost:b}");
        assert!(found.damage.is_empty());
    }
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
    assert_eq!((read(&found.unmerged), found.damage.len()), (all[..2].to_vec(), 0));
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
    assert_eq!((read(&found.unmerged), found.damage.len()), (all[..2].to_vec(), 0));
}

#[test]
fn what_a_write_that_failed_left_is_not_found() {
    const FOLDER: &str = "JOURNAL_OF_A_CHILD";
    let calls = calls(30);
    let all = in_order(&calls);
    if let Some(folder) = std::env::var_os(FOLDER) {
        let (mut journal, ..) = journal_in(folder.as_ref());
        write(&mut journal, &all[..3]);
        for entry in &all[3..] {
            journal.stage(entry);
        }
        assert!(journal.write(false).is_err(), "the file may not grow as far");
        // What fits may be written: it goes to the same place.
        write(&mut journal, &all[3..5]);
        for entry in &all[5..] {
            journal.stage(entry);
        }
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
    assert_eq!(read(&found.unmerged), all[..5]);
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
        let calls = copy.count("bookings");
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
    assert_eq!(ours.count("bookings"), 0, "nothing is booked");
}

/// Does something to a file's bytes.
type Damage<'d> = &'d dyn Fn(&mut Vec<u8>);

#[test]
fn a_damaged_file_is_set_aside_under_another_name_with_all_that_it_holds() {
    let calls = calls(4);
    let all = in_order(&calls);
    // What is damaged, and how many entries are booked all the same.
    let damages: [(&str, Damage<'_>, usize); 4] = [
        ("nothing", &|_| {}, 8),
        ("a zeroed header with sound frames behind", &|bytes| bytes[..HEADER].fill(0), 0),
        ("a header that reads otherwise", &|bytes| bytes[HEADER - 1] ^= 1, 0),
        ("a group in the midst", &|bytes| bytes[HEADER + PREFIX] ^= 1, 6),
    ];
    for (what, damage, kept) in damages {
        let place = Place::new();
        let store = place.store();
        let mut journal = Journal::open(place.path(), store.progress().unwrap()).unwrap();
        for group in all.chunks(2) {
            write(&mut journal, group);
        }
        drop(store);
        let [_, path] = paths(place.path());
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        place.take_up().unwrap();
        assert_eq!(2 * place.count("bookings"), kept, "{what}");
        let whole = kept == all.len();
        assert_eq!(path.exists(), whole, "{what}");
        assert_eq!(set_aside_count(place.path()), usize::from(!whole), "{what}");
        let mut aside = std::fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let aside = aside.find(|path| path.to_string_lossy().contains(".damaged-"));
        assert_eq!(aside.map(|path| std::fs::read(path).unwrap()), (!whole).then_some(bytes), "{what}");
        // It goes on in a new file, and is set aside no second time.
        place.take_up().unwrap();
        assert_eq!(set_aside_count(place.path()), usize::from(!whole), "{what}");
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let calls = calls(2);
    let place = Place::new();
    let store = place.store();
    let mut journal = Journal::open(place.path(), store.progress().unwrap()).unwrap();
    write(&mut journal, &in_order(&calls));
    let [_, path] = paths(place.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 3;
    std::fs::write(&path, &bytes).unwrap();
    let told = place.take_up().unwrap_err().to_string();
    assert!(told.contains("journal-b: it was written by a newer version"), "{told}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
