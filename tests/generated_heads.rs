//! Thousands of requests from a grammar with mutations, several on a connection and `/evil` between them. Whatever
//! they are, the upstream receives as many well-formed requests of ours as there are answers of its own, and the
//! books are whole.
//!
//! `GENERATED_HEADS` says how many, and `GENERATED_SEED` which is the first; the seed of one that fails is printed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::grammar::{Script, script};
use crate::support::recorder::{Recorder, answers, ours, shown};
use crate::support::rig::{Rig, Setup};

/// So many on one gateway: enough that what one leaves behind is met by others.
const BATCH: u64 = 250;
/// Longer than any deadline of a caller's connection.
const PATIENCE: Duration = Duration::from_mins(2);

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect(name))
}

/// What came of some.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    served: u64,
    /// Given the answer of another.
    shared: u64,
    refused: u64,
    silent: u64,
}

#[test]
fn the_upstream_receives_requests_of_ours_and_nothing_else() {
    let (count, first) = (number("GENERATED_HEADS", 6000), number("GENERATED_SEED", 1));
    let (next, total) = (AtomicU64::new(first), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(BATCH, Ordering::Relaxed);
                    let to = (from + BATCH).min(first + count);
                    if from >= to {
                        return;
                    }
                    let mut builder = tokio::runtime::Builder::new_current_thread();
                    let runtime = builder.enable_all().start_paused(true).build().unwrap();
                    let tally = runtime.block_on(batch(from..to));
                    let mut total = total.lock().unwrap();
                    total.served += tally.served;
                    total.shared += tally.shared;
                    total.refused += tally.refused;
                    total.silent += tally.silent;
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{count} from seed {first}: {total:?}");
    // A grammar of nothing but noise, or of nothing but what is right, would show nothing.
    assert!(total.served > count / 3 && total.refused > count / 3, "{total:?}");
}

async fn batch(seeds: std::ops::Range<u64>) -> Tally {
    let server = "keep_alive = \"30s\"".into();
    let (rig, upstream) = Recorder::behind(&Setup { server, ..Setup::default() });
    let mut tally = Tally::default();
    for seed in seeds {
        let script = script(seed, &rig.key);
        match tried(&rig, &upstream, &script).await {
            Ok(one) => {
                tally.served += one.served;
                tally.shared += one.shared;
                tally.refused += one.refused;
                tally.silent += one.silent;
            }
            Err(why) => panic!("GENERATED_SEED={seed}: {why}\n  sent: {}", shown(&script.bytes)),
        }
    }
    rig.settle().await;
    assert_eq!(rig.gauge("ledger_open_holds"), 0.0);
    let records = rig.records();
    let reached = records.iter().filter(|record| !record["upstream_seconds"].is_null()).count();
    assert_eq!(reached as u64, tally.served, "each call that reached the upstream has its record");
    tally
}

/// Writes a script on a connection of its own, and compares what the upstream received with what came back.
async fn tried(rig: &Rig, upstream: &Recorder, script: &Script) -> Result<Tally, String> {
    let (mut read, mut write) = tokio::io::split(rig.raw());
    let (bytes, piece) = (script.bytes.clone(), script.piece);
    let writer = tokio::spawn(async move {
        for piece in bytes.chunks(piece) {
            // What is refused may not be read to its end.
            if write.write_all(piece).await.is_err() {
                break;
            }
            // A turn of the event loop, so that the pieces arrive apart.
            tokio::task::yield_now().await;
        }
        write
    });
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match tokio::time::timeout(PATIENCE, read.read(&mut piece)).await {
            Ok(Ok(length @ 1..)) => heard.extend_from_slice(&piece[..length]),
            Ok(_) => break,
            Err(_) => return Err("the connection is never closed".into()),
        }
    }
    writer.abort();
    let said = answers(&heard).map_err(|why| format!("{why}: {}", shown(&heard)))?;
    let received = upstream.take();
    let mut tally = Tally { silent: u64::from(said.is_empty()), ..Tally::default() };
    for answer in &said {
        match answer.status {
            100 => {}
            // Of one thing, a moment ago: it was asked for once.
            200 if answer.field("x-gateway-original-request-id").is_some() => tally.shared += 1,
            200 if answer.whole && answer.is_from_upstream() => tally.served += 1,
            400..=505 if answer.whole && !answer.is_from_upstream() => tally.refused += 1,
            508 if answer.whole => tally.refused += 1,
            _ => return Err(format!("an answer that nobody gave: {answer:?}")),
        }
        if answer.field("x-request-id") == Some("evil") && answer.status == 200 {
            return Err("/evil got another's answer".into());
        }
    }
    if !upstream.rest().is_empty() {
        return Err(format!("the upstream received what is no request: {}", shown(&upstream.rest())));
    }
    if received.len() as u64 != tally.served || received.len() > script.requests {
        return Err(format!("{} requests upstream for {} answers", received.len(), tally.served));
    }
    received.iter().try_for_each(|request| is_one_we_serve(request))?;
    Ok(tally)
}

/// A request of ours, for one of the three routes, with a body that the route has.
fn is_one_we_serve(request: &[u8]) -> Result<(), String> {
    let ours = ours(request).map_err(|why| format!("{why}: {}", shown(request)))?;
    let words: Vec<_> = ours.line.split(' ').collect();
    let path = words[1].strip_prefix("/api/v1/video-analyses").unwrap_or("elsewhere");
    let is_id = |text: &str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    let is_query = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-&=".contains(&b));
    let (served, has_body) = match (words[0], path.strip_prefix('/'), path.strip_prefix('?')) {
        ("POST", Some(rest), _) => (rest.strip_suffix("/chat").is_some_and(is_id), true),
        ("GET", Some(id), _) => (is_id(id), false),
        ("GET", None, Some(query)) => (is_query(query), false),
        ("GET", None, None) => (path.is_empty(), false),
        _ => (false, false),
    };
    let body: Option<serde_json::Value> = serde_json::from_slice(&ours.body).ok();
    let is_chat =
        body.is_some_and(|body| body["messages"].as_array().is_some_and(|messages| messages.len() == 1));
    if served && (is_chat || !has_body && ours.body.is_empty()) {
        return Ok(());
    }
    Err(format!("{:?} {}", ours.line, shown(&ours.body)))
}
