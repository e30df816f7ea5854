//! Calls on HTTP/2 that are reset as soon as they are admitted (case 102).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::http2::{PREFACE, good};
use crate::support::h2::{RST_STREAM, SETTINGS, frame};
use crate::support::recorder::ANSWER;
use crate::support::rig::{Rig, Setup};
use crate::support::script::{json_answer, read_request, write};

/// Whoever asks and leaves at once, ten thousand times, is bound by its limits like anybody else: those calls are in
/// flight until their answers have come, and each hold ends.
#[tokio::test(start_paused = true)]
async fn calls_that_are_reset_as_soon_as_they_are_admitted_are_no_flood_upstream() {
    let (now, most, all) =
        (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (current, peak, total) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&all));
    let setup = Setup {
        team: "requests_per_minute = 100000000\nburst = 1000000\nconcurrency = 16".into(),
        ..Setup::default()
    };
    let rig = Rig::with_upstream(&setup, move |mut io, _| {
        let (now, most, all) = (Arc::clone(&current), Arc::clone(&peak), Arc::clone(&total));
        async move {
            while read_request(&mut io).await.is_some() {
                all.fetch_add(1, Ordering::Relaxed);
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                write(&mut io, json_answer(ANSWER)).await;
            }
        }
    });
    let (mut read, mut caller) = tokio::io::split(rig.raw());
    let reader = tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
    caller.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    for number in 0..10_000 {
        let stream = 2 * number + 1;
        caller.write_all(&good(&rig.key, stream)).await.unwrap();
        // The clock stands still until all that can be done has been done: it is admitted by then, or refused.
        tokio::time::sleep(Duration::from_millis(1)).await;
        caller.write_all(&frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())).await.unwrap();
    }
    drop(caller);
    rig.settle().await;
    reader.abort();
    let (most, all) = (most.load(Ordering::Relaxed), all.load(Ordering::Relaxed));
    assert_eq!(most, 16, "as many as its limit at the same time");
    assert!((1000..=2000).contains(&all), "{all}");
    let records = rig.records();
    let final_ = records.iter().filter(|record| record["basis"] == "final").count();
    assert_eq!((records.len(), final_), (10_000, all), "each was booked at what it cost");
    assert_eq!(rig.gauge("ledger_open_holds"), 0.0);
}
