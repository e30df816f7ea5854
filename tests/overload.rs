//! Three times what fits: what is admitted is served, the rest is shed at once with a time to come back, memory stays
//! bounded, and it is over when it is over.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::support::chat_body;
use crate::support::http::chat_request;
use crate::support::process::{Pair, PairSetup, get};
use crate::support::rig::sample;

const FITS: usize = 32;

/// How long it lasts: `OVERLOAD_SECONDS`, or ten.
fn duration() -> Duration {
    let seconds = std::env::var("OVERLOAD_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

#[derive(Default)]
struct Seen {
    served: AtomicUsize,
    shed: AtomicUsize,
    over: AtomicBool,
    /// How long refusals took, and how long served calls.
    shedding: Mutex<Vec<Duration>>,
    serving: Mutex<Vec<Duration>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_times_what_fits_is_shed_at_once_and_leaves_nothing() {
    let mut pair = Pair::start(&PairSetup { discards_output: true, ..PairSetup::default() });
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    std::fs::write(pair.config_path(), text.replace("concurrency = 10000", &format!("concurrency = {FITS}")))
        .unwrap();
    pair.stop();
    pair.start_again();
    let before = pair.resident_bytes();
    let seen = Arc::new(Seen::default());
    let callers: Vec<_> = (0..3 * FITS)
        .map(|_| tokio::spawn(call_again_and_again(pair.address, pair.key.clone(), Arc::clone(&seen))))
        .collect();
    tokio::time::sleep(duration()).await;
    let during = pair.resident_bytes();
    seen.over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let (served, shed) = (seen.served.load(Ordering::Relaxed), seen.shed.load(Ordering::Relaxed));
    assert!(served > FITS && shed > FITS, "{served} served, {shed} shed");
    assert!(during < before + f64::from(96 << 20), "{before} bytes before, {during} under load");
    // Milliseconds where nothing else runs. Whatever the machine, no refusal waits for a call that is served: those are
    // eighty milliseconds of pauses alone, and as slow as everything else beyond that.
    let (shedding, serving) = (median(&seen.shedding), median(&seen.serving));
    assert!(
        shedding < serving,
        "half of the refusals took longer than {shedding:?}, served calls {serving:?}"
    );
    // Over at once: as many as fit are served, and not one is refused.
    let calls: Vec<_> = (0..FITS)
        .map(|_| {
            let (address, key) = (pair.address, pair.key.clone());
            tokio::spawn(async move { crate::support::http::chat(address, &key, chat_body(false, "")).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status, 200);
    }
    while sample(&get(pair.admin, "/metrics").1, "mavera_gateway_ledger_open_holds") > 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn median(times: &Mutex<Vec<Duration>>) -> Duration {
    let mut times = std::mem::take(&mut *times.lock().unwrap());
    times.sort_unstable();
    times[times.len() / 2]
}

/// A caller that does not heed what it is told.
async fn call_again_and_again(address: std::net::SocketAddr, key: String, seen: Arc<Seen>) {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    while !seen.over.load(Ordering::Relaxed) {
        let request = chat_request(address, &key, chat_body(true, "pace=5ms; events=10"));
        let began = Instant::now();
        let response = sender.send_request(request).await.expect("an answer, whichever");
        let took = began.elapsed();
        let (status, retry) = (response.status().as_u16(), response.headers().get("retry-after").cloned());
        let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
        if status == 200 {
            assert!(body.ends_with(b"data: [DONE]\n\n"));
            seen.serving.lock().unwrap().push(began.elapsed());
            seen.served.fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(status, 429, "{body:?}");
            assert!(retry.is_some_and(|retry| retry.to_str().unwrap().parse::<u32>().is_ok_and(|s| s >= 1)));
            seen.shed.fetch_add(1, Ordering::Relaxed);
            seen.shedding.lock().unwrap().push(took);
            // Not a flood, but three times what fits.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
