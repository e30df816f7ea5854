//! Hours in small: streams open at all times, faults all along, keys and configurations that change. Memory and
//! descriptors do not grow, and when it is over nothing is left and the books are the upstream's.
//!
//! Twenty seconds and a hundred streams in the suite; half an hour and five hundred in `make soak`, on a release build.

mod callers;
mod changes;
mod vitals;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;
use tokio::task::JoinHandle;

use self::callers::{Load, Seen};
use self::changes::{Changes, SECOND_KEY};
use self::vitals::{Sample, growth};
use crate::slow_callers::allow_descriptors;
use crate::support::checker;
use crate::support::process::{binary, get, start_gateway, start_simulator_with};

/// Looks in all.
const LOOKS: u32 = 60;
/// Of these, how many are warm-up: connections open, caches fill, the allocator takes its arenas.
const WARM_UP: usize = 20;
/// What memory may grow by after that. A stream takes 45 KiB: in the short form, some three hundred calls that each
/// leave theirs behind are more; in the long one, a hundred thousand that each leave a hundred bytes.
const MEMORY: f64 = (10 << 20) as f64;
/// Threads that come and go: they read files when something changes.
const PASSING_THREADS: f64 = 8.0;
/// Two of the ledger's readers, opened when something is first read and while another replays what new limits would have made of
/// the last day, and what looks at its keys, opened at the first look: for each the file and its log.
const OPENED_LATER: f64 = 6.0;
/// How long what is left may take to go: a stream that is drained and a connection kept idle take seconds.
const PATIENCE: Duration = Duration::from_mins(2);

fn from_environment(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_leaves_nothing_behind_and_its_books_are_the_upstreams() {
    allow_descriptors();
    let duration = Duration::from_secs(from_environment("SOAK_SECONDS", 20).into());
    let streams = from_environment("SOAK_STREAMS", 100) as usize;

    // The organisation's other key is good too. What is charged is counted, and no request remembered.
    let options = ["--other-key", &format!("live={SECOND_KEY}"), "--remember", "0"];
    let (_simulator, simulator) = start_simulator_with(&options);
    let folder = tempfile::tempdir().unwrap();
    let mut changes = Changes::new(folder.path(), simulator);
    let (mut gateway, address, admin) = start_gateway(&changes.path);
    gateway.discard_output();
    let idle = Sample::take(admin);
    println!("   idle   {idle}");

    let load = Arc::new(Load {
        address,
        keys: changes.keys().into(),
        tight_key: changes.tight_key(),
        over: AtomicBool::new(false),
        seen: Seen::default(),
    });
    let callers = callers::start(&load, streams);
    let most = callers.len() as f64;
    // The clock starts when every stream is open, however long a slow machine takes.
    let open = || load.seen.open.load(Ordering::Relaxed);
    while open() < streams * 9 / 10 {
        none_has_failed(&callers);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (began, mut samples) = (Instant::now(), Vec::new());
    for look in 1..=LOOKS {
        tokio::time::sleep_until((began + duration * look / LOOKS).into()).await;
        changes.next(&load, admin).await;
        none_has_failed(&callers);
        let (sample, seconds) = (Sample::take(admin), began.elapsed().as_secs_f64());
        println!("{seconds:7.1} s {sample}; {}", load.seen);
        samples.push((seconds, sample));
    }
    load.over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    let over = |pick: fn(&Sample) -> f64| {
        samples[WARM_UP..].iter().map(|(seconds, sample)| (*seconds, pick(sample))).collect::<Vec<_>>()
    };
    let grown = growth(&over(|sample| sample.resident));
    let descriptors = growth(&over(|sample| sample.descriptors));
    println!("grown by {:.2} MiB and {descriptors:.1} descriptors", grown / f64::from(1 << 20));
    assert!(grown < MEMORY, "memory grew by {grown} bytes after the warm-up");
    // The line through what comes and goes is never quite flat; one left behind by each call would be hundreds.
    assert!(descriptors < most, "descriptors grew by {descriptors}");
    for (_, sample) in &samples {
        // A caller's connection, one upstream, one that a caller has left to be drained, and one that is kept idle.
        assert!(sample.descriptors <= idle.descriptors + 4.0 * most, "{sample}");
        assert!(sample.threads <= idle.threads + PASSING_THREADS, "{sample}");
    }

    // What callers have left is read to its end, and what is kept idle is let go.
    let over = Instant::now();
    loop {
        let sample = Sample::take(admin);
        println!("   over   {sample}");
        if sample.nothing_is_left() && sample.descriptors <= idle.descriptors + OPENED_LATER {
            break;
        }
        assert!(over.elapsed() < PATIENCE, "idle it was {idle}; now it stays {sample}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    the_books_are_right(&changes, simulator);
    let seen = &load.seen;
    for (what, count) in
        [("whole", &seen.whole), ("broken", &seen.broken), ("left", &seen.left), ("refused", &seen.refused)]
    {
        assert!(count.load(Ordering::Relaxed) > 0, "no call was {what}: {seen}");
    }
}

fn none_has_failed(callers: &[JoinHandle<()>]) {
    assert!(!callers.iter().any(JoinHandle::is_finished), "a caller has failed, and said why above");
}

/// Each call has one ending, no budget was exceeded, and what was settled and what is in doubt enclose the bill.
fn the_books_are_right(changes: &Changes, simulator: std::net::SocketAddr) {
    let ledger = changes.path.with_file_name("ledger.db");
    // The budget only ever rose.
    let tight = i64::try_from(changes.budget()).unwrap() * 1_000_000;
    let teams = [("research".to_owned(), tight)].into();
    checker::check(&ledger, &checker::Budgets { organisation: None, teams });
    let verified = binary().args(["credits", "verify", "--config"]).arg(&changes.path).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    let books: Value = serde_json::from_str(&get(simulator, "/sim/books").1).unwrap();
    let billed: f64 = books["charged"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
    assert!(books["charged"].as_object().unwrap().len() == 2, "both of the organisation's keys were used");
    let (open, settled, in_doubt) = sums(&ledger);
    println!("{settled} credits settled, {in_doubt} in doubt; {billed} billed");
    assert_eq!(open, 0);
    assert!(settled <= billed && billed <= settled + in_doubt, "{settled}, {billed}, {in_doubt}");
}

/// Calls that are open; credits settled, and in doubt.
fn sums(ledger: &Path) -> (i64, f64, f64) {
    let of = "SELECT count(*) FILTER (WHERE state = 'open'), total(credits) FILTER (WHERE basis = 'final'), \
              total(credits) FILTER (WHERE basis = 'estimated') FROM calls";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    Connection::open(ledger).unwrap().query_row(of, [], row).unwrap()
}
