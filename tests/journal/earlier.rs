//! What the release before this one has written is taken up, journal and all, and reads as it did. The files in
//! `tests/fixtures/ledger-v1` were written by that release, and `views.json` is what its views said after it had taken up
//! its own journal.

use std::path::{Path, PathBuf};

use mavera_gateway::config::Durability;
use mavera_gateway::ledger::file::Store;
use mavera_gateway::ledger::journal::{Progress, Unreadable, recover, set_aside_count};
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

use super::{Place, read};

const STATES: [&str; 4] = ["merged", "unmerged", "merged_in_part", "turned"];

fn fixture(state: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ledger-v1").join(state)
}

/// The files of the earlier release, in a place of their own.
fn place(state: &str) -> Place {
    let place = Place::new();
    for name in ["ledger.db", "ledger.db.journal-a", "ledger.db.journal-b"] {
        std::fs::copy(fixture(state).join(name), place.folder.path().join(name)).unwrap();
    }
    place
}

/// What the views say of the columns that the earlier release had.
fn views(place: &Place, expected: &Value) -> Value {
    let connection = Connection::open(place.path()).unwrap();
    let mut said = serde_json::Map::new();
    for (view, table) in expected.as_object().unwrap() {
        let columns: Vec<_> =
            table["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let order = match view.as_str() {
            "entries" => "call, at, seq",
            "spend_by_day" => "day, team",
            "grants" => "team",
            _ => "call",
        };
        let query = format!("SELECT {} FROM {view} ORDER BY {order}", columns.join(", "));
        let mut statement = connection.prepare(&query).unwrap();
        let rows = statement.query_map([], |row| {
            (0..columns.len()).map(|at| row.get::<_, Cell>(at)).collect::<Result<Vec<_>, _>>()
        });
        let cell = |cell| match cell {
            Cell::Null => Value::Null,
            Cell::Integer(number) => number.into(),
            Cell::Real(number) => number.into(),
            Cell::Text(text) => text.into(),
            Cell::Blob(_) => panic!("no view has one"),
        };
        let rows: Vec<Value> =
            rows.unwrap().map(|row| row.unwrap().into_iter().map(cell).collect()).collect();
        said.insert(view.clone(), json!({ "columns": columns, "rows": rows }));
    }
    said.into()
}

/// What the views of the earlier release said, but that calls count no longer that never left.
fn expected(state: &str) -> Value {
    let text = std::fs::read_to_string(fixture(state).join("views.json")).unwrap();
    let mut views: Value = serde_json::from_str(&text).unwrap();
    let calls = views["calls"]["rows"].as_array().unwrap().clone();
    assert_eq!(calls.len(), 12, "{state}");
    for sum in views["spend_by_day"]["rows"].as_array_mut().unwrap() {
        let [day, team, counted, ..] = sum.as_array_mut().unwrap().as_mut_slice() else { panic!("{state}") };
        let never_left = calls
            .iter()
            .filter(|call| (&call[3], &call[4], &call[13]) == (&*day, &*team, &Value::from("never_sent")));
        *counted = json!(counted.as_i64().unwrap() - i64::try_from(never_left.count()).unwrap());
    }
    views
}

#[test]
fn a_ledger_of_the_earlier_release_is_taken_up_and_reads_as_it_did() {
    for state in STATES {
        let place = place(state);
        place.take_up().unwrap();
        let expected = expected(state);
        assert_eq!(views(&place, &expected), expected, "{state}");
        assert_eq!(set_aside_count(place.path()), 0, "{state}");
        let reading = mavera_gateway::ledger::home::reading(&place.config.ledger).unwrap();
        assert_eq!(reading.verify().unwrap(), Vec::<String>::new(), "{state}");
        // And once more, from what this release has made of it.
        place.take_up().unwrap();
        assert_eq!(views(&place, &expected), expected, "{state}");
    }
}

/// Of a file of the earlier release: how it reads as a whole, and with what.
fn whole_file() -> (Vec<u8>, Progress) {
    let bytes = std::fs::read(fixture("unmerged").join("ledger.db.journal-b")).unwrap();
    let store = Store::open(place("unmerged").path(), Durability::Os).unwrap();
    (bytes, store.progress().unwrap())
}

#[test]
fn a_journal_of_the_earlier_release_is_read_up_to_wherever_it_was_cut() {
    let (bytes, progress) = whole_file();
    let whole = recover(&bytes, progress).unwrap();
    let all = read(&whole.unmerged);
    assert_eq!((all.len(), whole.damage.len()), (22, 0));
    let mut before = 0;
    for cut in 36..=bytes.len() {
        let found = recover(&bytes[..cut], progress).unwrap();
        let some = read(&found.unmerged);
        assert_eq!(some, all[..some.len()], "cut at {cut}");
        assert!(some.len() >= before && some.len() <= before + 1, "cut at {cut}");
        before = some.len();
    }
    assert_eq!(before, all.len());
}

#[test]
fn damage_to_a_journal_of_the_earlier_release_costs_the_entry_it_is_in_and_is_told_of() {
    let (bytes, progress) = whole_file();
    let whole = recover(&bytes, progress).unwrap();
    let all = read(&whole.unmerged);
    let mut told = 0;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        match recover(&damaged, progress) {
            Err(Unreadable::Header) => assert!(at < 36, "at {at}"),
            Err(other) => panic!("at {at}: {other}"),
            Ok(found) => {
                assert!(at >= 36, "at {at}");
                let left = read(&found.unmerged);
                assert_eq!(left.len(), all.len() - 1, "at {at}");
                assert!(left.iter().all(|entry| all.contains(entry)), "at {at}");
                told += usize::from(found.damage.len() == 1);
            }
        }
    }
    assert!(told > bytes.len() / 2, "damage in the midst is told of");
}

#[test]
fn a_correction_is_in_the_sums_or_comes_behind_them_and_never_both() {
    let place = place("merged");
    place.take_up().unwrap();
    let mut store = place.store();
    let clock = mavera_gateway::clock::Clock::starting_at("2026-11-25T00:00:00Z".parse().unwrap());
    let opening = store.begin(mavera_gateway::books::open::look_back(&place.config, clock)).unwrap();
    let reading = mavera_gateway::ledger::home::reading(&place.config.ledger).unwrap();
    let behind = |seq| reading.changes(jiff::civil::date(2026, 11, 20), seq).unwrap().adjusted;
    // One correction, by two credits less, is in the fixture.
    assert_eq!(behind(0).len(), 1);
    assert_eq!(behind(opening.last_change), []);
    let spent: u64 = opening.spent.iter().map(|spend| spend.credits().millionths()).sum();
    let total = |sum: &mavera_gateway::ledger::Total| {
        sum.counted.iter().map(|credits| credits.millionths()).sum::<u64>()
    };
    let counted: u64 = opening.totals.iter().map(total).sum();
    assert_eq!(counted - spent, 2_000_000, "counters never fall, budgets do");
}
