//! After anything at all: no permit, no connection, no task left behind.

use std::time::Duration;

use http_body_util::BodyExt;

use crate::support::chat_body;
use crate::support::rig::{Rig, Setup};

const QUIRKS: [&str; 14] = [
    "",
    "pace=10ms",
    "answer=500",
    "answer=html",
    "answer=reset_before",
    "answer=reset_after",
    "answer=slow_body",
    "fault=close",
    "fault=reset; pace=1ms",
    "fault=stall",
    "fault=failed",
    "generation=old",
    "terminator=neither",
    "framing=split",
];

#[tokio::test(start_paused = true)]
async fn ten_thousand_mixed_calls_leave_nothing_behind() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    for batch in 0..100 {
        let mut calls = Vec::new();
        for _ in 0..100 {
            let (quirks, stream, leaves, bad) =
                (QUIRKS[next(14) as usize], next(2) == 0, next(4) == 0, next(10) == 0);
            let body = if bad { "{}".to_owned() } else { chat_body(stream, quirks) };
            let (mut request, mut sender) = (rig.chat(body), rig.connect().await);
            match next(3) {
                // With a key, of which some are another call's: each has a call of its own.
                0 => {
                    let key = next(3000);
                    request = rig.chat(chat_body(key % 2 == 0, QUIRKS[key as usize % 14]));
                    request.headers_mut().insert("idempotency-key", key.into());
                }
                // Of an SDK, perhaps again.
                1 => drop(request.headers_mut().insert("x-stainless-retry-count", next(2).into())),
                _ => {}
            }
            let patience = Duration::from_millis(next(50));
            calls.push(tokio::spawn(async move {
                let call = async {
                    if let Ok(response) = sender.send_request(request).await {
                        let _ = response.into_body().collect().await;
                    }
                };
                if leaves {
                    let _ = tokio::time::timeout(patience, call).await;
                } else {
                    call.await;
                }
            }));
        }
        for call in calls {
            call.await.unwrap();
        }
        assert!(batch < 100);
    }
    rig.settle().await;
    let team = rig.gateway.live.current().directory.teams()[0].clone();
    assert_eq!(team.standing(&rig.gateway.books.desk).1, 0, "every permit came back");
    // Past the idle time of kept connections, past every deadline, and past the time of answers in memory.
    assert!(rig.gauge("recorded_bytes") > 0.0);
    let swept = rig.gateway.retries.watch();
    assert!(tokio::time::timeout(Duration::from_secs(700), swept).await.is_err());
    assert_eq!(rig.gauge("recorded_bytes"), 0.0, "no answer is left");
    let snapshot = rig.gateway.live.current();
    rig.pool.reap(&snapshot.origin, &snapshot.config.upstream);
    assert_eq!(rig.gauge("upstream_connections"), 0.0);
    assert_eq!(rig.gateway.shutdown.tasks.len(), 0, "no task is left");
    let records = rig.records();
    let sent = records.iter().filter(|record| !record["upstream_seconds"].is_null()).count();
    assert_eq!(sent, simulator.books(|books| books.received.len()), "each call that was sent was sent once");
    assert!(simulator.books(|books| books.in_flight.values().all(|open| *open == 0)));
    // What the records know of the costs is what was charged, but for answers that did not say.
    let ids: std::collections::HashMap<_, _> = simulator.books(|books| {
        books
            .received
            .iter()
            .filter_map(|received| Some((received.response_id.clone()?, received.charged)))
            .collect()
    });
    let mut metered = 0;
    for record in records.iter().filter(|record| !record["credits"].is_null()) {
        let id = record["response_id"].as_str().unwrap();
        assert_eq!(record["credits"].as_u64(), ids.get(id).copied(), "{record}");
        metered += 1;
    }
    assert!(metered > 3000, "{metered}");
    for repeat in ["executed", "joined", "replayed", "unknown"] {
        assert!(
            records.iter().any(|record| record["retry"] == repeat),
            "none of all these calls was {repeat}"
        );
    }
}
