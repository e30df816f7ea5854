//! Everything goes wrong at once, again and again: and in the end the books are within what is in doubt, and no budget was ever
//! overspent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fleet::{Fleet, FleetSetup};
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::postgres::Postgres;
use crate::support::wire::{self, Faults};

/// What the racing team may spend, which it does before the end.
const BUDGET: i64 = 150;

/// How long it goes on, in rounds of a second: half a minute in the suite.
fn rounds() -> u64 {
    std::env::var("CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(30)
}

/// Calls without an end, of which every fourth is left before its answer.
async fn rage(addresses: Arc<Mutex<Vec<SocketAddr>>>, key: String, stop: Arc<AtomicBool>, mut seed: u64) {
    while !stop.load(Ordering::Relaxed) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let address = {
            let addresses = addresses.lock().unwrap();
            addresses[usize::try_from(seed >> 33).unwrap() % addresses.len()]
        };
        let quirks = if (seed >> 20).is_multiple_of(3) { "pace=20ms" } else { "" };
        let call = chat(address, &key, chat_body((seed >> 10).is_multiple_of(2), quirks));
        let patience = if (seed >> 41).is_multiple_of(4) { seed >> 50 & 31 } else { 20_000 };
        let _ = tokio::time::timeout(Duration::from_millis(patience), call).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_stopped_gateways_and_commits_without_an_answer_never_lose_a_credit() {
    let server = Postgres::start();
    let faults = Arc::new(Faults::default());
    let address = wire::start(server.socket(), Arc::clone(&faults)).await;
    let url = format!("postgresql://postgres@{address}/postgres");
    let budget = format!("budget = {{ credits = {BUDGET}, period = \"month\" }}\n");
    let setup = FleetSetup {
        teams: &[("growth", ""), ("research", &budget)],
        more: "[credits]\nwait = \"100ms\"\n",
        ..FleetSetup::default()
    };
    let mut fleet = Fleet::start_on(server, &setup, Some(url));
    let addresses = Arc::new(Mutex::new((0..3).map(|n| fleet.address(n)).collect::<Vec<_>>()));
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let key = fleet.key(["growth", "research"][n % 2]).to_owned();
            tokio::spawn(rage(Arc::clone(&addresses), key, Arc::clone(&stop), n as u64 * 7919))
        })
        .collect();
    let mut stopped: Option<(usize, u64)> = None;
    for round in 0..rounds() {
        match round % 6 {
            0 => faults.unanswered.store(2, Ordering::Relaxed),
            1 => faults.lost.store(2, Ordering::Relaxed),
            2 => faults.held_up.store(5, Ordering::Relaxed),
            3 if stopped.is_none_or(|(n, _)| n != 0) => {
                fleet.gateways[0].process.signal("KILL");
                fleet.gateways[0].process.wait_for_end();
                fleet.start_again(0);
                addresses.lock().unwrap()[0] = fleet.address(0);
            }
            4 if stopped.is_none() => {
                fleet.gateways[1].process.signal("STOP");
                stopped = Some((1, round));
            }
            _ => {}
        }
        // Beyond its lease, which is ten seconds.
        if let Some((n, _)) = stopped.filter(|(_, since)| round >= since + 12) {
            fleet.gateways[n].process.signal("CONT");
            stopped = None;
        }
        for _ in 0..10 {
            let taken = fleet.server.number(
                "SELECT (SELECT coalesce(sum(final + estimated), 0) FROM day_sums WHERE team = 'research')
                      + (SELECT coalesce(sum(reserve), 0) FROM bookings WHERE team = 'research' AND ended_in IS NULL)",
            );
            assert!(
                taken <= BUDGET * 1_000_000,
                "{taken} of {BUDGET} credits were spent or held at a commit"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    if let Some((n, _)) = stopped {
        fleet.gateways[n].process.signal("CONT");
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    fleet.settled().await;
    // Late endings of the one that stood still are corrections by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    fleet.assert_books();
    let lost = fleet.server.number("SELECT count(*) FROM replicas WHERE is_lost");
    assert!(lost >= 2, "{lost} were lost on the way");
    let calls = fleet.server.number("SELECT count(*) FROM bookings");
    assert!(calls > 200, "only {calls} calls came through");
}
