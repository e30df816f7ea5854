use jiff::Timestamp;
use jiff::civil::date;

use super::*;
use crate::credits::Credits;
use crate::ledger::{Account, Basis, Ending, Span, file};
use crate::meter::Usage;
use crate::metrics::Metrics;
use crate::route::Route;

fn account() -> Account {
    Account { team: "growth".into(), key_id: "k7f3a9c2".into(), route: Route::named("video_chat") }
}

fn hold(call: i64) -> NewHold {
    let (reserve, at, day) = (Credits::whole(5), Timestamp::UNIX_EPOCH, date(2026, 1, 1));
    NewHold { call, account: account(), request_id: "r".into(), reserve, at, day, retry: None }
}

fn ending(call: i64) -> NewEnding {
    NewEnding {
        call,
        account: account(),
        reserve: Credits::whole(5),
        at: Timestamp::UNIX_EPOCH,
        sent_at: Some(Timestamp::UNIX_EPOCH),
        outcome: "completed",
        response_id: None,
        usage: Usage::default(),
        ending: Ending::Settled { credits: Credits::whole(1), basis: Basis::Final, reason: "" },
    }
}

fn start(folder: &std::path::Path, durability: Durability) -> SqliteLedger {
    let path = folder.join("ledger.db");
    let store = Store::open(&path, durability).unwrap();
    let lock = crate::ledger::file::identity::lock(&path).unwrap();
    SqliteLedger::start(store, durability, lock, Clock::system(), Arc::new(Counts::new(&Metrics::new())))
        .unwrap()
}

#[tokio::test]
async fn a_hold_that_another_takes_along_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = start(folder.path(), Durability::Os);
    // As if it had come while the writer was at work.
    let (asker, answer) = Asker::new();
    let receipt = {
        let mut state = ledger.shared.state();
        state.waiting.push_back((Command::Hold(hold(1)), Some(asker)));
        ledger.shared.write_now(state, hold(2)).unwrap_or_else(|_| panic!("nobody else writes"))
    };
    assert!(matches!(receipt, Receipt::Written));
    answer.await.expect("it is answered").expect("it is written");
    ledger.flush();
}

#[tokio::test(start_paused = true)]
#[expect(clippy::await_holding_lock, reason = "it stands for a write that does not come back")]
async fn a_disk_that_hangs_holds_up_who_writes_and_no_other_and_it_is_told() {
    for durability in [Durability::Os, Durability::Fsync] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = start(folder.path(), durability);
        ledger.hold(hold(1)).await.unwrap();
        assert!(!ledger.shared.counts.is_closed());
        // As if a write did not come back.
        let journal = ledger.shared.journal();
        ledger.shared.state().inline = true;
        ledger.shared.counts.disk.begins(ledger.shared.clock);
        let first = ledger.hold(hold(2));
        assert!(matches!(first, Receipt::Waiting(_)), "it does not wait for the disk itself");
        ledger.end(ending(1));
        tokio::time::advance(crate::ledger::disk::STUCK * 2).await;
        assert!(ledger.shared.counts.is_closed());
        assert!(matches!(ledger.hold(hold(3)), Receipt::Refused(_)), "told at once");
        ledger.shared.counts.disk.ends();
        let mut state = ledger.shared.state();
        (state.inline, state.avoided) = (false, false);
        drop((state, journal));
        first.await.unwrap();
        assert!(!ledger.shared.counts.is_closed());
        ledger.hold(hold(4)).await.unwrap();
        ledger.flush();
    }
}

#[test]
fn callers_on_many_threads_lose_no_entry() {
    const CALLS: i64 = 1500;
    for durability in [Durability::Os, Durability::Fsync] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = start(folder.path(), durability);
        std::thread::scope(|scope| {
            for caller in 0..4 {
                let ledger = &ledger;
                scope.spawn(move || {
                    for call in (1 + caller * CALLS)..=((caller + 1) * CALLS) {
                        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                        runtime.block_on(ledger.hold(hold(call))).expect("the disk has room");
                        ledger.end(ending(call));
                        // Now and then so long that the writer takes the endings itself.
                        if call % 64 == caller {
                            std::thread::sleep(LINGER);
                        }
                    }
                });
            }
        });
        ledger.flush();
        let settings = crate::config::LedgerFile { path: folder.path().join("ledger.db"), durability };
        let reader = file::reads(&settings).open().unwrap();
        assert_eq!(reader.verify().unwrap(), Vec::<String>::new());
        let spends = reader.spends(Span::ALL).unwrap();
        assert_eq!(spends.iter().map(|spend| spend.calls).sum::<u64>(), 4 * CALLS.unsigned_abs());
    }
}

/// Of commands that were written, as they are counted.
fn open_holds(ledger: &SqliteLedger) -> i64 {
    ledger.shared.counts.open_holds.get()
}

#[tokio::test]
async fn a_hold_that_was_refused_has_no_ending_and_the_gauge_of_open_holds_never_falls_below_zero() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = start(folder.path(), Durability::Os);
    ledger.hold(hold(1)).await.unwrap();
    assert_eq!(open_holds(&ledger), 1);
    // The disk refuses a hold that waits, and whoever asked has left: the ending comes behind the refusal, or waits too.
    for ends_at_once in [true, false] {
        let (asker, _) = Asker::new();
        let mut state = ledger.shared.state();
        state.open.insert(2);
        state.waiting.push_back((Command::Hold(hold(2)), Some(asker)));
        drop(state);
        if ends_at_once {
            ledger.end(ending(2));
        }
        let mut state = ledger.shared.state();
        let group = state.waiting.drain(..).collect();
        state.refuse_holds(group, &"the disk is full".into());
        drop(state);
        ledger.end(ending(2));
    }
    ledger.end(ending(1));
    ledger.end(ending(1));
    ledger.flush();
    assert_eq!(open_holds(&ledger), 0);
}
