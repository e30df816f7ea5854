//! The writer's threads, and a database that takes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mavera_gateway::clock::Clock;
use mavera_gateway::config::Durability;
use mavera_gateway::ledger::counts::Counts;
use mavera_gateway::ledger::file::{SqliteLedger, lock};
use mavera_gateway::ledger::{CallId, Ledger, Receipt};
use mavera_gateway::metrics::Metrics;
use rusqlite::Connection;

use super::{Place, ending, hold};
use crate::support::rig::sample;

fn start(place: &Place, durability: Durability) -> (SqliteLedger, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let store = place.store();
    let lock = lock(store.path()).unwrap();
    let ledger =
        SqliteLedger::start(store, durability, lock, Clock::system(), Arc::new(Counts::new(&metrics)))
            .unwrap();
    (ledger, metrics)
}

fn read(metrics: &Metrics, name: &str) -> f64 {
    sample(&String::from_utf8(metrics.render().1).unwrap(), name)
}

#[test]
fn every_hold_is_answered_whoever_writes_it_and_every_flush_returns() {
    for durability in [Durability::Os, Durability::Fsync] {
        let place = Place::new();
        let (ledger, _) = start(&place, durability);
        let over = AtomicBool::new(false);
        let calls: CallId = if durability == Durability::Os { 1000 } else { 200 };
        std::thread::scope(|scope| {
            // A flush makes the writer write at once, and many endings keep it at that for a while: then holds wait
            // for it, and whoever comes the moment it is done writes them along with its own.
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for first in (1 << 40..).step_by(100) {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let others = first..first + 100;
                    for call in others.clone() {
                        runtime.block_on(ledger.hold(hold(call, "growth"))).unwrap();
                    }
                    for call in others {
                        ledger.end(ending(call, "growth", 1));
                    }
                    ledger.flush();
                }
            });
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let ledger = &ledger;
                    scope.spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                        let all: Vec<_> = (thread * calls + 1..=(thread + 1) * calls).collect();
                        for some in all.chunks(50) {
                            let receipts: Vec<_> =
                                some.iter().map(|call| ledger.hold(hold(*call, "growth"))).collect();
                            for (call, receipt) in some.iter().zip(receipts) {
                                runtime.block_on(receipt).unwrap();
                                ledger.end(ending(*call, "growth", 1));
                            }
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        ledger.flush();
        let count = "SELECT count(*) FROM bookings WHERE end_seq IS NOT NULL AND call < 1 << 40";
        let ended: CallId =
            Connection::open(place.path()).unwrap().query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(ended, 4 * calls);
    }
}

#[test]
fn a_database_that_takes_nothing_closes_the_ledger_before_memory_is_full_and_opens_it_again() {
    let place = Place::new();
    let (ledger, metrics) = start(&place, Durability::Os);
    let blocker = Connection::open(place.path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let team = "t".repeat(3900);
    let refused = (1..100_000).find(|call| matches!(ledger.hold(hold(*call, &team)), Receipt::Refused(_)));
    let written = refused.expect("memory is not without end") - 1;
    let waiting = read(&metrics, "mavera_gateway_ledger_unmerged_bytes");
    assert!(waiting > f64::from(64 << 20), "all that waits is told: {waiting}");
    assert_eq!(
        read(&metrics, "mavera_gateway_ledger_closed"),
        1.0,
        "whoever asks is told that it is not ready"
    );
    blocker.execute_batch("ROLLBACK").unwrap();
    ledger.flush();
    assert_eq!(read(&metrics, "mavera_gateway_ledger_unmerged_bytes"), 0.0);
    assert_eq!(read(&metrics, "mavera_gateway_ledger_closed"), 0.0);
    assert!(matches!(ledger.hold(hold(written + 1, &team)), Receipt::Written));
    let count = "SELECT count(*) FROM bookings";
    let booked: CallId = blocker.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(booked, written);
}
