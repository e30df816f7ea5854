//! How answers end, and what an end of input means.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::chat_body;
use crate::support::process::{PATIENCE, Pair, PairSetup, get};
use crate::support::recorder::answers;
use crate::support::rig::{Answer, Rig, Setup, chat_path, sample};
use crate::support::script::{STREAM_HEAD, chunk, completed, read_request, write};

fn request(key: &str, version: &str, body: &str) -> String {
    format!(
        "POST {} HTTP/{version}\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        chat_path(),
        body.len()
    )
}

fn connect(pair: &Pair, request: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(pair.address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(request.as_bytes()).unwrap();
    tcp
}

#[test]
fn an_answer_without_framing_that_breaks_is_a_reset_and_one_that_does_not_is_whole() {
    let pair = Pair::start(&PairSetup::default());
    for (quirk, whole) in [("pace=50ms", true), ("pace=50ms; fault=reset; at=3", false)] {
        let mut tcp = connect(&pair, &request(&pair.key, "1.0", &chat_body(true, quirk)));
        let mut said = Vec::new();
        let ended = tcp.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.0 200 ") && !said.contains("transfer-encoding"), "{said}");
        assert_eq!(ended.is_ok(), whole, "{ended:?} {said}");
        assert!(said.contains("event: response.created"), "what came before the break is there: {said}");
        assert_eq!(said.ends_with("data: [DONE]\n\n"), whole);
    }
}

#[test]
fn a_drain_that_cuts_an_answer_without_framing_resets_it() {
    let server = "drain_timeout = \"1s\"";
    let mut pair = Pair::start(&PairSetup { server, ..PairSetup::default() });
    let mut tcp = connect(&pair, &request(&pair.key, "1.0", &chat_body(true, "pace=10s")));
    let mut piece = [0; 4096];
    assert!(tcp.read(&mut piece).unwrap() > 0);
    pair.gateway.signal("TERM");
    let ended = tcp.read_to_end(&mut Vec::new());
    assert!(ended.is_err(), "{ended:?}");
    pair.gateway.wait();
}

#[test]
fn who_half_closes_behind_a_whole_request_gets_its_answer() {
    let pair = Pair::start(&PairSetup::default());
    for (stream, quirk) in [(false, ""), (true, "pace=20ms"), (false, "delay=300ms")] {
        for version in ["1.0", "1.1"] {
            let mut tcp = connect(&pair, &request(&pair.key, version, &chat_body(stream, quirk)));
            tcp.shutdown(Shutdown::Write).unwrap();
            let mut said = String::new();
            tcp.read_to_string(&mut said).unwrap();
            assert!(said.starts_with(&format!("HTTP/{version} 200 ")), "{said}");
            assert!(said.contains("\"credits_used\":"), "{said}");
        }
    }
    let metrics = get(pair.admin, "/metrics").1;
    assert_eq!(
        sample(&metrics, "mavera_gateway_streams_total{outcome=\"client_gone\",team=\"growth\"}"),
        0.0
    );
}

/// A caller that closes looks like one that half-closes until something is written to it. It is asked, so that one that
/// has left while it waits for its turn is not charged.
#[test]
fn who_leaves_while_its_call_waits_is_told_from_who_half_closes() {
    let upstream = "[queue]\nreserve = 0.9\nwait = \"60s\"";
    let setup = PairSetup { requests_per_minute: Some(60), upstream, ..PairSetup::default() };
    let pair = Pair::start(&setup);
    let call = request(&pair.key, "1.1", &chat_body(false, ""));
    // More than go at once: the rest wait, the last of them for many seconds.
    let mut waiting: Vec<_> = (0..20).map(|_| connect(&pair, &call)).collect();
    let metric = |name: &str| sample(&get(pair.admin, "/metrics").1, &format!("mavera_gateway_{name}"));
    while metric("requests_in_flight") < 5.0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let stays = waiting.pop().unwrap();
    stays.shutdown(Shutdown::Write).unwrap();
    drop(waiting.split_off(10));
    let (mut stays, mut said) = (stays, String::new());
    stays.read_to_string(&mut said).unwrap();
    let said = answers(said.as_bytes()).unwrap();
    let statuses: Vec<_> = said.iter().map(|answer| answer.status).collect();
    assert!(statuses == [100, 200] || statuses == [200], "{statuses:?}");
    while metric("requests_in_flight") > 0.0 {
        std::thread::sleep(Duration::from_millis(20));
        drop(waiting.pop());
    }
    let made = pair.books()["received"].as_array().unwrap().len();
    assert!(made < 20, "{made}: some left before their turn, and were not charged");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_over_when_it_says_so() {
    // The upstream holds its connection for a minute behind the terminal event, or ends it soon.
    for (held, reused) in [(60, 0), (1, 1)] {
        let rig = Rig::with_upstream(
            &Setup { team: "concurrency = 1\nburst = 100".into(), ..Setup::default() },
            move |mut io, _| async move {
                while read_request(&mut io).await.is_some() {
                    write(&mut io, STREAM_HEAD).await;
                    write(&mut io, chunk(completed(3))).await;
                    tokio::time::sleep(Duration::from_secs(held)).await;
                    write(&mut io, "0\r\n\r\n").await;
                }
            },
        );
        let mut sender = rig.connect().await;
        let mut body = sender.send_request(rig.chat(chat_body(true, ""))).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        // Nothing is held any more, though the caller is still there and the upstream too.
        assert_eq!(rig.gauge("ledger_open_holds"), 0.0);
        let records = rig.records();
        assert_eq!((&records[0]["outcome"], &records[0]["credits"]), (&"completed".into(), &3.into()));
        let second = rig.connect().await.send_request(rig.chat(chat_body(true, ""))).await.unwrap();
        assert_eq!(second.status(), 200, "the team's one call at a time is free");
        drop((body, sender, second));
        rig.settle().await;
        assert!(rig.records().iter().all(|record| record["outcome"] == "completed"));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(rig.pool.idle_count(), 2 * reused, "read on to its end, and good for another call");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_over_at_done_and_at_the_terminal_event_with_its_cost() {
    let last = completed(2);
    let (terminal, done) = last.split_once("data: [DONE]").unwrap();
    let old = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"credits_used\":2}}\n\n";
    for (events, credits) in [
        (terminal.to_owned(), 2),
        (format!("{old}data: [DONE]{done}"), 2),
        (terminal.replace("completed", "incomplete"), 2),
        (terminal.replace("completed", "failed"), 2),
    ] {
        let sent = events.clone();
        let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
            let sent = sent.clone();
            async move {
                read_request(&mut io).await;
                write(&mut io, STREAM_HEAD).await;
                write(&mut io, chunk(sent)).await;
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
        });
        let mut sender = rig.connect().await;
        let mut body = sender.send_request(rig.chat(chat_body(true, ""))).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop((body, sender));
        let record = rig.record().await;
        assert_eq!(
            (&record["outcome"], &record["credits"]),
            (&"completed".into(), &credits.into()),
            "{events}"
        );
    }
    // A terminal event without a cost is not the last word: `[DONE]` is.
    let rig = Rig::with_upstream(&Setup::default(), |mut io, _| async move {
        read_request(&mut io).await;
        write(&mut io, STREAM_HEAD).await;
        write(&mut io, chunk("data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\"}}\n\n"))
            .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        write(&mut io, chunk(completed(4))).await;
        write(&mut io, "0\r\n\r\n").await;
    });
    let answer =
        Answer::read(rig.connect().await.send_request(rig.chat(chat_body(true, ""))).await.unwrap()).await;
    assert!(answer.whole);
    assert_eq!(rig.record().await["credits"], 4);
}

/// The last bytes are written when the answer is over for everybody else.
#[tokio::test(start_paused = true)]
async fn who_half_closes_and_reads_slowly_gets_all_of_its_answer() {
    let setup = Setup { server: "keep_alive = \"1s\"".into(), ..Setup::default() };
    let (rig, _) = Rig::with_simulator(&setup);
    for version in ["1.0", "1.1"] {
        let (mut read, mut write) = tokio::io::split(rig.raw());
        let call = request(&rig.key, version, &chat_body(true, "events=3; bytes=20000"));
        write.write_all(call.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
        let (mut said, mut piece) = (Vec::new(), [0; 512]);
        while let length @ 1.. = read.read(&mut piece).await.unwrap() {
            said.extend_from_slice(&piece[..length]);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let text = String::from_utf8_lossy(&said);
        assert!(text.contains("data: [DONE]\n\n"), "{version}: {} bytes", said.len());
        assert!(version == "1.0" || text.ends_with("0\r\n\r\n"), "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_from_the_end_of_its_answer_however_that_came() {
    let setup = Setup {
        upstream: "requests_per_minute = 1000\nfirst_byte_timeout = \"40s\"".into(),
        ..Setup::default()
    };
    let (rig, _) = Rig::recording(&setup, 0);
    let rig_that_hangs = Rig::with_upstream(&setup, |mut io, _| async move {
        read_request(&mut io).await;
        std::future::pending::<()>().await;
    });
    for (rig, body, status, after) in
        [(&rig_that_hangs, chat_body(false, ""), 504, 160), (&rig, "{}".into(), 400, 120)]
    {
        let mut io = rig.raw();
        io.write_all(request(&rig.key, "1.1", &body).as_bytes()).await.unwrap();
        let began = tokio::time::Instant::now();
        let mut said = Vec::new();
        io.read_to_end(&mut said).await.unwrap();
        assert_eq!(answers(&said).unwrap()[0].status, status);
        assert_eq!(began.elapsed().as_secs(), after, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_longer_than_a_head_may_take() {
    let setup = Setup { server: "head_timeout = \"5s\"".into(), ..Setup::default() };
    let (rig, _) = Rig::with_simulator(&setup);
    let mut io = rig.raw();
    let call = request(&rig.key, "1.1", &chat_body(false, ""));
    for idle in [31, 61, 91, 119] {
        io.write_all(call.as_bytes()).await.unwrap();
        let mut said = vec![0; 4096];
        let length = io.read(&mut said).await.unwrap();
        assert!(said[..length].starts_with(b"HTTP/1.1 200 "));
        tokio::time::sleep(Duration::from_secs(idle)).await;
    }
    io.write_all(call.as_bytes()).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut said = Vec::new();
    io.read_to_end(&mut said).await.unwrap();
    let said = answers(&said).unwrap();
    assert_eq!(
        (said.len(), said[0].status, began.elapsed().as_secs()),
        (1, 200, 120),
        "closed without a word"
    );
}
