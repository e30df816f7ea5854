//! An answer that is ready before the body of its request has come: the connection is usable behind it, or the answer
//! says that it is not.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{KEY, chunked, converse, good, head_with, hear, with_key};
use crate::support::recorder::{Recorder, Said, answers};
use crate::support::rig::{Rig, Setup};

/// What is read for nothing at most.
const SMALL: usize = 64 << 10;

fn stranger(fields: &str) -> String {
    head_with(fields).replace(KEY, "wrong")
}

fn of_length(length: usize) -> String {
    format!("content-length: {length}\r\n")
}

/// Sends a head, hears its one answer, and then sends the body, and a good request behind it.
async fn body_after_the_answer(rig: &Rig, head: &str, body: &[u8]) -> (Said, Vec<Said>) {
    let mut io = rig.raw();
    io.write_all(&with_key(rig, head)).await.unwrap();
    let mut first = answers(&hear(&mut io).await).unwrap();
    assert_eq!(first.len(), 1, "{head}");
    for bytes in [body, &with_key(rig, good())] {
        // It may have been closed on us.
        let _ = io.write_all(bytes).await;
    }
    (first.remove(0), answers(&hear(&mut io).await).unwrap())
}

async fn goes_on(rig: &Rig, head: &str, length: usize, statuses: [u16; 2]) {
    let (first, behind) = body_after_the_answer(rig, head, &vec![b' '; length]).await;
    assert!(!first.says_close(), "{first:?}");
    let said: Vec<_> = [&first].into_iter().chain(&behind).map(|answer| answer.status).collect();
    assert_eq!(said, statuses, "{head}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_on_behind_an_answer_that_came_before_a_small_body() {
    let (rig, _) = Recorder::behind(&Setup::default());
    let team = "requests_per_minute = 1\nburst = 1\nconcurrency = 1".into();
    let server = "keep_alive = \"30s\"".into();
    let (limited, _) = Recorder::behind(&Setup { server, team, ..Setup::default() });
    converse(&limited, good()).await;
    for length in [1, 45, SMALL] {
        let fields = of_length(length);
        goes_on(&rig, &stranger(&fields), length, [401, 200]).await;
        goes_on(&limited, &head_with(&fields), length, [429, 429]).await;
        // What comes with a GET has no meaning, and is not waited for.
        let lookup = head_with(&fields).replacen("POST", "GET", 1).replacen("/chat ", " ", 1);
        goes_on(&rig, &lookup, length, [200, 200]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_before_a_large_body_or_one_in_chunks_says_that_the_connection_closes() {
    let (rig, _) = Recorder::behind(&Setup::default());
    let large = "x".repeat(SMALL + 1);
    for (fields, body) in [
        (of_length(large.len()), large.clone()),
        ("transfer-encoding: chunked\r\n".into(), chunked("x")),
        (format!("expect: 100-continue\r\n{}", of_length(1)), "x".into()),
    ] {
        let (first, behind) = body_after_the_answer(&rig, &stranger(&fields), body.as_bytes()).await;
        assert_eq!((first.status, first.says_close(), behind.len()), (401, true, 0), "{fields}");
    }
}

/// As long as the next head would have, and not for a shutdown.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_wanted_is_not_waited_for_without_end() {
    let (rig, _) = Recorder::behind(&Setup::default());
    let head = stranger(&of_length(500));
    let mut io = rig.raw();
    io.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    io.read_to_end(&mut said).await.unwrap();
    assert_eq!(answers(&said).unwrap()[0].status, 401);
    assert_eq!(began.elapsed().as_secs(), 30);

    let mut io = rig.raw();
    io.write_all(head.as_bytes()).await.unwrap();
    hear(&mut io).await;
    let began = Instant::now();
    rig.gateway.shutdown.draining.cancel();
    rig.gateway.shutdown.closing.cancel();
    assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
    rig.gateway.shutdown.tasks.close();
    rig.gateway.shutdown.tasks.wait().await;
    assert!(began.elapsed() < Duration::from_secs(1));
}
