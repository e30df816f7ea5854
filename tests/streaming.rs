//! A stream passes through as it comes: at once, unchanged, and no faster than the caller reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::support::chat_body;
use crate::support::rig::{Answer, Rig, Setup};
use crate::support::script::{STREAM_HEAD, chunk, completed, json_answer, read_request, write};

#[tokio::test(start_paused = true)]
async fn the_first_event_reaches_the_caller_before_the_second_is_sent() {
    let first_read = Arc::new(Notify::new());
    let go_on = Arc::clone(&first_read);
    let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
        let go_on = Arc::clone(&go_on);
        async move {
            read_request(&mut io).await;
            write(&mut io, STREAM_HEAD).await;
            write(&mut io, chunk("data: {\"n\":1}\n\n")).await;
            go_on.notified().await;
            write(&mut io, chunk(completed(3))).await;
            write(&mut io, "0\r\n\r\n").await;
        }
    });
    let response = rig.connect().await.send_request(rig.chat(chat_body(true, ""))).await.unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "data: {\"n\":1}\n\n");
    first_read.notify_one();
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, completed(3));
    let record = rig.record().await;
    assert_eq!((&record["outcome"], &record["credits"]), (&"completed".into(), &3.into()));
}

/// The clock stands still until nothing has anything to do: had anything waited for company, it would have moved.
#[tokio::test(start_paused = true)]
async fn events_that_are_ready_together_leave_together_and_a_lone_one_waits_for_nobody() {
    let go_on = Arc::new(Notify::new());
    let next = Arc::clone(&go_on);
    let event = |n: usize| format!("data: {{\"n\":{n}}}\n\n");
    let burst = |from: usize| (from..from + 200).map(event).collect::<String>();
    let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
        let next = Arc::clone(&next);
        async move {
            read_request(&mut io).await;
            write(&mut io, STREAM_HEAD).await;
            for part in [vec![event(0)], (1..201).map(event).collect(), vec![event(201)]] {
                next.notified().await;
                let chunks: Vec<_> = part.iter().flat_map(chunk).collect();
                write(&mut io, chunks).await;
            }
            next.notified().await;
            write(&mut io, [chunk(completed(3)), b"0\r\n\r\n".to_vec()].concat()).await;
        }
    });
    let response = rig.connect().await.send_request(rig.chat(chat_body(true, ""))).await.unwrap();
    let mut body = response.into_body();
    let began = tokio::time::Instant::now();
    for (expected, frames) in [(event(0), 1), (burst(1), 2), (event(201), 1)] {
        go_on.notify_one();
        let (mut came, mut count) = (String::new(), 0);
        while came.len() < expected.len() {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            came += std::str::from_utf8(&frame).unwrap();
            count += 1;
        }
        assert_eq!(came, expected);
        assert!(count <= frames, "{count} frames of what came at once");
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing waits");
    }
    go_on.notify_one();
    assert_eq!(body.collect().await.unwrap().to_bytes(), completed(3));
    assert_eq!(rig.record().await["credits"], 3);
}

#[tokio::test(start_paused = true)]
async fn whatever_stands_in_front_is_told_not_to_keep_a_stream_unless_the_upstream_says_otherwise() {
    let plain = "content-type: text/event-stream\r\n";
    for (fields, stream, expected) in [
        (plain.to_owned(), true, ("no", "no-cache")),
        (format!("{plain}x-accel-buffering: yes\r\ncache-control: private\r\n"), true, ("yes", "private")),
        ("content-type: application/json\r\n".to_owned(), false, ("", "")),
    ] {
        let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\n{{}}");
            async move {
                read_request(&mut io).await;
                write(&mut io, head).await;
            }
        });
        let answer = rig.send(rig.chat(chat_body(stream, ""))).await;
        assert_eq!((answer.header("x-accel-buffering"), answer.header("cache-control")), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_labelled_as_one_is_metered_as_what_it_is_and_passed_on_as_it_came() {
    for (label, breaks) in [("", false), ("content-type: text/plain\r\n", false), ("", true)] {
        let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| async move {
            read_request(&mut io).await;
            write(&mut io, format!("HTTP/1.1 200 OK\r\n{label}transfer-encoding: chunked\r\n\r\n")).await;
            // Cut where its first bytes do not tell yet.
            write(&mut io, chunk("ev")).await;
            write(&mut io, chunk("ent: ping\ndata: {}\n\n")).await;
            if !breaks {
                write(&mut io, chunk(completed(2))).await;
            }
            write(&mut io, "0\r\n\r\n").await;
        });
        let answer = rig.send(rig.chat(chat_body(true, ""))).await;
        let expected = if breaks { String::new() } else { completed(2) };
        assert_eq!(answer.body, format!("event: ping\ndata: {{}}\n\n{expected}"));
        assert_eq!(answer.header("content-type"), label.trim().trim_start_matches("content-type: "));
        let record = rig.record().await;
        let told = (&record["booked"], &record["basis"], &record["stream"], &record["outcome"]);
        if breaks {
            assert_eq!(told, (&5.into(), &"estimated".into(), &true.into(), &"truncated".into()));
        } else {
            assert_eq!(told, (&2.into(), &"final".into(), &true.into(), &"completed".into()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_reading_stops_the_upstream_read() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
        let count = Arc::clone(&count);
        async move {
            read_request(&mut io).await;
            write(&mut io, STREAM_HEAD).await;
            let event = chunk(format!("data: {}\n\n", "x".repeat(1000)));
            while io.write_all(&event).await.is_ok() {
                count.fetch_add(event.len(), Ordering::Relaxed);
            }
        }
    });
    let mut sender = rig.connect().await;
    let response = sender.send_request(rig.chat(chat_body(true, ""))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let held = written.load(Ordering::Relaxed);
    assert!(held < 1 << 20, "{held} bytes are held for a caller that does not read");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(written.load(Ordering::Relaxed), held, "not a byte more is read");
    drop(response);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_never_reads_again_is_cut_on_its_deadline_and_recorded() {
    let setup = Setup { server: "write_timeout = \"5s\"".into(), ..Setup::default() };
    let (rig, simulator) = Rig::with_simulator(&setup);
    let mut sender = rig.connect().await;
    let response = sender.send_request(rig.chat(chat_body(true, "events=500; bytes=1000"))).await.unwrap();
    let record = rig.record().await;
    assert_eq!(record["outcome"], "client_gone");
    assert_eq!(
        record["credits"],
        simulator.books(mavera_sim::books::Books::total_charged),
        "the cost is learned all the same"
    );
    drop(response);
}

#[tokio::test(start_paused = true)]
async fn content_length_and_end_of_stream_survive() {
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        while read_request(&mut io).await.is_some() {
            write(&mut io, json_answer("{\"usage\":{\"credits_used\":2}}")).await;
        }
    });
    let response = rig.connect().await.send_request(rig.chat(chat_body(false, ""))).await.unwrap();
    assert_eq!(response.headers()["content-length"], "28");
    assert_eq!(response.body().size_hint().exact(), Some(28));
    let answer = Answer::read(response).await;
    assert_eq!(answer.body, "{\"usage\":{\"credits_used\":2}}");
    assert_eq!(rig.record().await["credits"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_ends_at_once() {
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        read_request(&mut io).await;
        write(&mut io, "HTTP/1.1 204 No Content\r\n\r\n").await;
    });
    let response = rig.connect().await.send_request(rig.chat(chat_body(false, ""))).await.unwrap();
    assert!(response.body().is_end_stream());
    assert_eq!(rig.record().await["outcome"], "completed");
}

#[tokio::test(start_paused = true)]
async fn trailers_survive() {
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        read_request(&mut io).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntrailer: x-checksum\r\ntransfer-encoding: chunked\r\n\r\n";
        write(&mut io, head).await;
        write(&mut io, chunk(completed(1))).await;
        write(&mut io, "0\r\nx-checksum: abc\r\nset-cookie: a=b\r\n\r\n").await;
    });
    let mut request = rig.chat(chat_body(true, ""));
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let response = rig.connect().await.send_request(request).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-checksum"], "abc");
    assert!(collected.trailers().unwrap().get("set-cookie").is_none());
    assert_eq!(collected.to_bytes(), completed(1));
    let record = rig.record().await;
    assert_eq!((&record["credits"], &record["outcome"]), (&1.into(), &"completed".into()));
}

#[tokio::test(start_paused = true)]
async fn events_keep_their_own_chunks_when_they_come_apart_in_time() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let response =
        rig.connect().await.send_request(rig.chat(chat_body(true, "pace=10ms; events=5"))).await.unwrap();
    let mut body = response.into_body();
    let mut frames = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.ends_with(b"\n\n"), "each frame is one whole event");
        frames += 1;
    }
    assert_eq!(frames, 3 + 5 + 3 + 2);
}

#[tokio::test(start_paused = true)]
async fn http2_callers_get_the_same_stream() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let io = hyper_util::rt::TokioIo::new(rig.raw());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let mut request = rig.chat(chat_body(true, "events=200"));
    request.headers_mut().remove("host");
    *request.uri_mut() = format!("http://gateway{}", request.uri().path()).parse().unwrap();
    let answer = Answer::read(sender.send_request(request).await.unwrap()).await;
    assert!(answer.whole && answer.body.ends_with(b"data: [DONE]\n\n"));
    let record = rig.record().await;
    assert_eq!((&record["http_version"], &record["outcome"]), (&"2".into(), &"completed".into()));
    assert_eq!(record["credits"], simulator.books(mavera_sim::books::Books::total_charged));
}

#[tokio::test(start_paused = true)]
async fn pipelined_calls_are_answered_in_order_one_at_a_time() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let body = chat_body(false, "");
    let one = format!(
        "POST {} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\nx-request-id: call-N\r\ncontent-length: {}\r\n\r\n{body}",
        crate::support::rig::chat_path(),
        rig.key,
        body.len()
    );
    let mut io = rig.raw();
    let all: String = (0..5).map(|n| one.replace("call-N", &format!("call-{n}"))).collect();
    let (mut read, mut write) = tokio::io::split(&mut io);
    let mut got = vec![0; 64 << 10];
    let mut length = 0;
    tokio::join!(async { write.write_all(all.as_bytes()).await.unwrap() }, async {
        while got[..length].windows(6).filter(|window| window == b"call-4").count() == 0 {
            length += read.read(&mut got[length..]).await.unwrap();
        }
    });
    let text = String::from_utf8_lossy(&got[..length]).into_owned();
    let order: Vec<_> =
        text.match_indices("x-request-id: call-").map(|(at, _)| &text[at + 19..at + 20]).collect();
    assert_eq!(order, ["0", "1", "2", "3", "4"]);
    assert_eq!(simulator.books(|books| books.peak["/video-analyses/{id}/chat"]), 1);
}
