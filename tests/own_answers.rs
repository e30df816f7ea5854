//! What a caller can ask about itself: how it stands, and whether a chat would be admitted.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use mavera_gateway::arrival::Call;
use mavera_gateway::ledger::{Reads, home};
use mavera_gateway::peer::Peer;

use crate::support::chat_body;
use crate::support::rig::{PEER, Rig, Setup};

fn setup() -> Setup {
    Setup {
        credits: "reserve = 2\nwait = \"0s\"\nbudget = { credits = 100, period = \"month\" }".into(),
        team: "requests_per_minute = 60\nburst = 50\nconcurrency = 2\nbudget = { credits = 5, period = \"day\" }".into(),
        ..Setup::default()
    }
}

#[tokio::test(start_paused = true)]
async fn me_tells_limits_budgets_and_the_last_charges() {
    let (rig, simulator) = Rig::with_simulator(&setup());
    rig.send(rig.chat(chat_body(false, ""))).await;
    rig.send(rig.chat(chat_body(false, "answer=500"))).await;
    let me = rig.send(rig.request(Method::GET, "/gateway/v1/me", "")).await;
    assert_eq!((me.status().as_u16(), me.header("cache-control")), (200, "no-store"));
    let me = me.json();
    assert_eq!((me["team"].as_str(), me["limits"]["concurrency"].as_u64()), (Some("growth"), Some(2)));
    let [organisation, team] = &me["budgets"].as_array().unwrap()[..] else { panic!("{me}") };
    assert_eq!(
        (organisation["of"].as_str(), organisation["left"].as_u64()),
        (Some("organisation"), Some(97))
    );
    assert_eq!(
        (team["used"].as_u64(), team["held"].as_u64(), team["left"].as_u64()),
        (Some(3), Some(0), Some(2))
    );
    assert_eq!(team["resets"], "2030-01-16T00:00:00Z");
    let charges = me["last_charges"].as_array().unwrap();
    assert_eq!(charges.len(), 2);
    assert_eq!(
        (charges[0]["credits"].as_u64(), charges[0]["reason"].as_str()),
        (Some(2), Some("upstream_error"))
    );
    assert_eq!((charges[1]["credits"].as_u64(), charges[1]["basis"].as_str()), (Some(1), Some("final")));
    assert_eq!(simulator.books(|books| books.received.len()), 2, "asking costs the upstream nothing");
}

#[tokio::test(start_paused = true)]
async fn explain_says_what_binds_without_sending_or_holding_anything() {
    let (rig, simulator) = Rig::with_simulator(&setup());
    let explain = async |body: String| {
        let answer = rig.send(rig.request(Method::POST, "/gateway/v1/explain", body)).await;
        assert_eq!(answer.status(), 200);
        answer.json()
    };
    let codes = |said: &serde_json::Value| -> Vec<String> {
        said["refusals"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap().to_owned()).collect()
    };
    let free = explain(chat_body(false, "")).await;
    assert_eq!((free["admitted"].as_bool(), free["holds"].as_u64()), (Some(true), Some(2)));
    assert_eq!(codes(&explain("{}".into()).await), ["missing_field"]);
    // Two streams in flight hold two credits each: concurrency and the team's budget bind.
    let mut senders = Vec::new();
    for _ in 0..2 {
        let mut sender = rig.connect().await;
        let response = sender.send_request(rig.chat(chat_body(true, "pace=10s"))).await.unwrap();
        senders.push((sender, response));
    }
    let bound = explain(chat_body(false, "")).await;
    assert_eq!(bound["admitted"], false);
    assert_eq!(codes(&bound), ["concurrency_limit_exceeded", "credits_held"]);
    assert_eq!(bound["limits"]["budgets"][1]["held"], 4);
    assert_eq!(simulator.books(|books| books.received.len()), 2);
    drop(senders);
    for wrong in [Method::GET, Method::DELETE] {
        assert_eq!(rig.send(rig.request(wrong, "/gateway/v1/explain", "")).await.status(), 405);
    }
    let mut stranger = rig.request(Method::GET, "/gateway/v1/me", "");
    stranger.headers_mut().remove("authorization");
    assert_eq!(rig.send(stranger).await.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_await_of_the_whole_path_ends_its_hold_once() {
    use tower::Service;
    let peer = || Arc::new(Peer::new(PEER, PEER.ip(), None));
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let mut finished = 0;
    for polls in 0..60 {
        let mut stack = rig.gateway.stack(&rig.pool);
        let mut call = Box::pin(stack.call(Call {
            peer: peer(),
            request: rig.chat(chat_body(polls % 2 == 0, "pace=1ms; delay=2ms")),
        }));
        let mut done = false;
        for _ in 0..polls {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            if call.as_mut().poll(&mut context).is_ready() {
                done = true;
                break;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        finished += usize::from(done);
        drop(call);
        rig.settle().await;
        assert_eq!(rig.gateway.books.desk.open_holds(), 0, "after {polls} polls");
    }
    assert!(finished > 5 && finished < 60, "{finished}");
    let sent = simulator.books(|books| books.received.len());
    let records = rig.records();
    let counted = records.iter().filter(|record| !record["upstream_seconds"].is_null()).count();
    assert_eq!(counted, sent, "what was sent is on record, and nothing else");
}

#[tokio::test]
async fn asking_the_ledger_keeps_no_other_call_of_the_worker_waiting() {
    let (mut rig, _) = Rig::with_simulator(&Setup::default());
    let (opened, wait) = std::sync::mpsc::sync_channel(0);
    let wait = std::sync::Mutex::new(wait);
    let settings = rig.gateway.live.current().config.ledger.clone();
    rig.gateway.books.reads = Reads::new(move || {
        // As long as a disk that hangs.
        wait.lock().unwrap().recv().unwrap();
        home::reads(&settings).open()
    });
    let mut asking = rig.connect().await;
    let asked = tokio::spawn(asking.send_request(rig.request(Method::GET, "/gateway/v1/me", "")));
    // One event loop serves both: it would stand still if the first read there.
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    assert!(!asked.is_finished());
    opened.send(()).unwrap();
    assert_eq!(asked.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn questions_to_the_gateway_have_a_bound_of_their_own() {
    let (rig, _) = Rig::with_simulator(&setup());
    // Bodies that never come to their end.
    let slow = format!(
        "POST /gateway/v1/explain HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n{{",
        rig.key
    );
    let mut asking = Vec::new();
    for _ in 0..4 {
        let mut io = rig.raw();
        tokio::io::AsyncWriteExt::write_all(&mut io, slow.as_bytes()).await.unwrap();
        asking.push(io);
    }
    while rig.gauge("requests_in_flight") < 4.0 {
        tokio::task::yield_now().await;
    }
    let refused = rig.send(rig.request(Method::POST, "/gateway/v1/explain", chat_body(false, ""))).await;
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (429, "concurrency_limit_exceeded"));
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("4 questions to the gateway in flight"), "{message}");
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200, "calls are another matter");
    drop(asking);
    rig.settle().await;
    let again = rig.send(rig.request(Method::POST, "/gateway/v1/explain", chat_body(false, ""))).await;
    assert_eq!(again.status(), 200);
}
