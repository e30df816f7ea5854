//! Any interleaving of holds and endings, split anywhere, comes to the same as one entry after the other.

use mavera_gateway::ledger::entry::{
    EndEntry, Entry, HoldEntry, JobEntry, JobStep, Kind, SavingEntry, ThingEntry,
};
use mavera_gateway::ledger::journal::Position;
use mavera_gateway::ledger::{CallId, Retry, Upkeep};
use proptest::prelude::*;

use super::Place;

/// An entry of one of a few calls: held twice, ended before, twice or never, of whichever team.
fn entry() -> impl Strategy<Value = Entry<'static>> {
    let call = 1..6 as CallId;
    let team = prop::sample::select(vec!["growth", "support"]);
    let hold = (call.clone(), team, 0i64..9).prop_map(|(call, team, reserve)| {
        Entry::Hold(HoldEntry {
            call,
            at: 10 * call,
            day: 20_777 + (call % 2) as i32,
            team,
            key_id: "abcd2345",
            member: "",
            route: "video_chat",
            request_id: "r",
            reserve,
            retry: (reserve == 8).then_some(Retry { key: [7; 32], fingerprint: [8; 32] }),
            replica: 0,
        })
    });
    let kind = prop::sample::select(vec![Kind::Final, Kind::Estimated, Kind::Voided, Kind::Derived]);
    let outcome = prop::sample::select(vec!["complete", "cut"]);
    let end = (call, kind, 0i64..9, outcome, prop::option::of(0i64..9)).prop_map(
        |(call, kind, credits, outcome, tokens)| {
            Entry::End(EndEntry {
                call,
                at: 10 * call + 1,
                kind,
                credits: if kind == Kind::Voided { 0 } else { credits },
                reason: (!matches!(kind, Kind::Final | Kind::Derived)).then_some("why"),
                outcome,
                response_id: tokens.map(|_| "resp"),
                input_tokens: tokens,
                output_tokens: tokens.map(|tokens| tokens / 2),
                sent_at: None,
            })
        },
    );
    let saved = (prop::sample::select(vec!["growth", "support"]), 1u32..9, 1i64..9).prop_map(
        |(team, copies, credits)| {
            Entry::Saved(SavingEntry {
                day: 20_777,
                team,
                key_id: "abcd2345",
                route: "video_chat",
                copies,
                credits,
            })
        },
    );
    let event = prop::sample::select(vec![
        JobStep::Begun { upstream_id: Some("c1"), day: 20_777, reserve: 5 },
        JobStep::Over,
        JobStep::GivenUp,
    ]);
    let job = (1..6 as CallId, event).prop_map(|(call, event)| job(call, event));
    let made = (prop::sample::select(vec!["growth", "support"]), prop::sample::select(vec!["c1", "c2"]))
        .prop_map(|(team, id)| Entry::Made(ThingEntry { kind: "analysis", id, team, at: 7 }));
    prop_oneof![2 => hold, 3 => end, 1 => saved, 1 => job, 1 => made]
}

fn job(call: CallId, event: JobStep<'static>) -> Entry<'static> {
    Entry::Job(JobEntry {
        call,
        at: 10 * call,
        team: "growth",
        key_id: "abcd2345",
        route: "video_analyses",
        event,
    })
}

/// What jobs come to, which is told behind everything else of their calls.
fn settled() -> impl Strategy<Value = Entry<'static>> {
    (1..6 as CallId, 0i64..9, any::<bool>(), any::<bool>()).prop_map(|(call, credits, derived, after_all)| {
        job(call, JobStep::Settled { credits, derived, after_all })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_split_comes_to_the_same_bookings_sums_and_numbers(
        entries in prop::collection::vec((entry(), any::<bool>()), 1..24),
        settled in prop::collection::vec((settled(), any::<bool>()), 0..6),
    ) {
        // A call is held once; a second hold says that somebody else writes, and is no entry to merge.
        let mut held = std::collections::HashSet::new();
        let first = |(entry, _): &(Entry<'static>, bool)| match entry {
            Entry::Hold(hold) => held.insert(hold.call),
            _ => true,
        };
        let entries: Vec<_> = entries.into_iter().filter(first).chain(settled).collect();
        let (one_by_one, in_batches) = (Place::new(), Place::new());
        let mut store = one_by_one.store();
        for (entry, _) in &entries {
            store.merge(std::slice::from_ref(entry), Position::default(), false).unwrap();
        }
        let mut store = in_batches.store();
        for batch in entries.chunk_by(|(_, ends_here), _| !ends_here) {
            let batch: Vec<_> = batch.iter().map(|(entry, _)| entry.clone()).collect();
            store.merge(&batch, Position::default(), false).unwrap();
        }
        prop_assert_eq!(in_batches.books(), one_by_one.books());
    }
}

#[test]
fn a_merge_waits_for_whoever_else_writes_and_is_never_refused() {
    let place = Place::new();
    let mut store = place.store();
    let (begun, begins) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        // As `credits prune` does: a short transaction of another process.
        scope.spawn(|| {
            let mut other = rusqlite::Connection::open(place.path()).unwrap();
            let behavior = rusqlite::TransactionBehavior::Immediate;
            let change = other.transaction_with_behavior(behavior).unwrap();
            change.execute("INSERT INTO pruned VALUES ('2020-01-01')", []).unwrap();
            begun.send(()).unwrap();
            // The merge begins meanwhile. One that reads before it may write is refused at once, however long it would wait.
            std::thread::sleep(std::time::Duration::from_millis(300));
            change.commit().unwrap();
        });
        begins.recv().unwrap();
        let hold = super::hold(1, "growth");
        store.merge(&[Entry::Hold((&hold).into())], Position::default(), false).unwrap();
    });
}

#[test]
fn a_call_is_not_pruned_while_its_key_names_it() {
    let place = Place::new();
    let mut store = place.store();
    for call in 1..=4 {
        let mut hold = super::hold(call, "growth");
        // Microseconds: the number of the call.
        hold.retry = (call % 2 == 0).then(|| Box::new(Retry { key: [7; 32], fingerprint: [8; 32] }));
        let end = super::ending(call, "growth", 3);
        store
            .merge(&[Entry::Hold((&hold).into()), Entry::End((&end).into())], Position::default(), false)
            .unwrap();
    }
    // The last call of all always stays.
    let last = super::hold(5, "growth");
    store.merge(&[Entry::Hold((&last).into())], Position::default(), false).unwrap();
    let (tomorrow, mut export) = (super::DAY.tomorrow().unwrap(), Vec::new());
    let known_since = jiff::Timestamp::from_microsecond(3).unwrap();
    store.export(tomorrow, known_since, &mut export).unwrap();
    store.prune(tomorrow).unwrap();
    let calls: Vec<i64> = rusqlite::Connection::open(place.path())
        .unwrap()
        .prepare("SELECT call FROM bookings ORDER BY call")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(calls, [4, 5], "with a key, and held since: the second was held before");
}
