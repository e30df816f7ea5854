//! Whole gateways on one ledger: as with one, when one is killed or stopped for a while, and when the database goes.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::fleet::{Fleet, FleetSetup};
use crate::support::chat_body;
use crate::support::http::{chat, chat_request, send};
use crate::support::process::get;

/// A stream that goes on: its status, and its bytes once it has ended.
async fn stream(
    fleet: &Fleet,
    n: usize,
    quirks: &str,
) -> (u16, tokio::task::JoinHandle<Result<Vec<u8>, String>>) {
    let address = fleet.address(n);
    let request = chat_request(address, fleet.key("growth"), chat_body(true, quirks));
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = tokio::spawn(async move {
        let _sender = sender;
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok(body.to_bytes().to_vec())
    });
    (status, body)
}

fn is_whole(body: &[u8]) -> bool {
    body.windows(18).any(|window| window == b"response.completed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_are_as_one_and_one_that_is_killed_leaves_the_others_streams_whole() {
    let mut fleet = Fleet::start(&FleetSetup::default());
    for n in 0..3 {
        let answer = chat(fleet.address(n), fleet.key("growth"), chat_body(false, "")).await.unwrap();
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }
    let mut streams = Vec::new();
    for n in 0..3 {
        // Two seconds and a half of events.
        streams.push(stream(&fleet, n, "pace=250ms").await);
    }
    assert!(streams.iter().all(|(status, _)| *status == 200));
    fleet.gateways[1].process.signal("KILL");
    let mut bodies = Vec::new();
    for (_, body) in streams {
        bodies.push(body.await.unwrap());
    }
    assert!(is_whole(bodies[0].as_ref().unwrap()) && is_whole(bodies[2].as_ref().unwrap()));
    assert!(!bodies[1].as_ref().is_ok_and(|body| is_whole(body)));
    // Its call is booked when its lease is over, in doubt, by another.
    fleet.settled().await;
    assert_eq!(
        fleet.server.ask("SELECT count(*), min(reason), min(outcome) FROM bookings WHERE kind = 2"),
        "1|replica_lost|crashed"
    );
    assert!(
        fleet
            .gateways
            .iter()
            .enumerate()
            .all(|(n, gateway)| n == 1 || gateway.metric("mavera_gateway_replicas") == 2.0)
    );
    fleet.start_again(1);
    let answer = chat(fleet.address(1), fleet.key("growth"), chat_body(false, "")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(fleet.gateways[1].metric("mavera_gateway_replicas"), 3.0);
    fleet.settled().await;
    fleet.assert_books();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_still_beyond_its_lease_comes_back_under_another_number_and_corrects_what_it_had_open()
 {
    let fleet = Fleet::start(&FleetSetup { gateways: 2, ..FleetSetup::default() });
    let (status, body) = stream(&fleet, 0, "pace=400ms").await;
    assert_eq!(status, 200);
    fleet.gateways[0].process.signal("STOP");
    fleet.settled().await;
    assert_eq!(fleet.server.ask("SELECT kind, reason FROM bookings"), "2|replica_lost");
    fleet.gateways[0].process.signal("CONT");
    let body = body.await.unwrap().unwrap();
    assert!(is_whole(&body), "what was under way goes on");
    while fleet.server.number("SELECT count(*) FROM changes WHERE basis = 'late'") == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = chat(fleet.address(0), fleet.key("growth"), chat_body(false, "")).await.unwrap();
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(fleet.gateways[0].metric("mavera_gateway_ledger_fenced_total"), 1.0);
    assert_eq!(fleet.gateways[0].metric("mavera_gateway_ledger_late_endings_total"), 1.0);
    fleet.settled().await;
    fleet.assert_books();
    let (_, doubt) = fleet.booked();
    assert_eq!(doubt, 0, "what it had open has its true figure");
}

/// One that begins a job stands still while the upstream takes it: the job has one place of its route, and one price.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_call_was_given_up_as_lost_is_one_job_at_every_gateway() {
    let teams = [("growth", "routes = [\"*\", \"video_analyses\"]\n")];
    let fleet = Fleet::start(&FleetSetup { gateways: 2, teams: &teams, ..FleetSetup::default() });
    let body = serde_json::json!({
        "video_url": "https://videos.example/launch.mp4", "title": "Launch", "brand": "Example", "product": "App",
        "primary_intent": "Persuasive", "goal": "Find what loses viewers.", "sim": "delay=2s;job_takes=16s;job_cost=150;job_price=get",
    });
    let job = |n: usize, method: &str, path: &str, body: String| {
        hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", fleet.address(n).to_string())
            .header("authorization", format!("Bearer {}", fleet.key("growth")))
            .header("content-type", "application/json")
            .header("idempotency-key", "one-film")
            .body(http_body_util::Full::new(body.into()))
            .unwrap()
    };
    let path = "/api/v1/video-analyses";
    let made = tokio::spawn(send(fleet.address(0), job(0, "POST", path, body.to_string())));
    while fleet.server.number("SELECT count(*) FROM bookings") == 0 {
        assert!(!made.is_finished(), "{:?}", made.await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    fleet.gateways[0].process.signal("STOP");
    fleet.settled().await;
    let taken = "mavera_gateway_jobs{route=\"video_analyses\",state=\"unknown\"}";
    assert_eq!(fleet.gateways[1].metric(taken), 1.0, "it may have begun one");
    fleet.gateways[0].process.signal("CONT");
    let made = made.await.unwrap().unwrap();
    assert!((200..300).contains(&made.status), "{made:?}");
    let id =
        serde_json::from_slice::<serde_json::Value>(&made.body).unwrap()["id"].as_str().unwrap().to_owned();
    // Its answer has told what it is called; whoever asks at the other gateway sees its end and its price.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let seen = send(fleet.address(1), job(1, "GET", &format!("{path}/{id}"), String::new())).await.unwrap();
    assert_eq!(seen.status, 200, "{:?}", seen.body);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for gateway in &fleet.gateways {
        for state in ["running", "unknown"] {
            let series = format!("mavera_gateway_jobs{{route=\"video_analyses\",state=\"{state}\"}}");
            assert_eq!(gateway.metric(&series), 0.0, "{state}");
        }
    }
    assert_eq!(fleet.booked(), (150_000_000, 0));
    assert_eq!(fleet.spent(), vec![150_000_000; 2]);
    fleet.assert_books();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_streams_go_on_new_calls_are_refused_and_endings_wait() {
    let fleet = Fleet::start(&FleetSetup { gateways: 2, ..FleetSetup::default() });
    let (status, body) = stream(&fleet, 0, "pace=300ms").await;
    assert_eq!(status, 200);
    fleet.server.kill();
    let refused = loop {
        let answer = chat(fleet.address(0), fleet.key("growth"), chat_body(false, "")).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 503);
    assert!(String::from_utf8_lossy(&refused.body).contains("ledger_unavailable"));
    assert!(is_whole(&body.await.unwrap().unwrap()));
    assert_eq!(get(fleet.gateways[0].admin, "/livez").0, 200);
    while get(fleet.gateways[0].admin, "/readyz").0 != 503 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let kept = std::fs::read_dir(fleet.folder.path().join("outbox0")).unwrap().count();
    assert_eq!(kept, 1, "the ending is on this machine's disk");
    fleet.server.go();
    while get(fleet.gateways[0].admin, "/readyz").0 != 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for n in 0..2 {
        let answer = loop {
            let answer = chat(fleet.address(n), fleet.key("growth"), chat_body(false, "")).await.unwrap();
            if answer.status != 503 {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(answer.status, 200);
    }
    fleet.settled().await;
    fleet.assert_books();
    assert_eq!(fleet.booked().1, 0, "nothing is in doubt");
    assert_eq!(std::fs::read_dir(fleet.folder.path().join("outbox0")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_made_at_two_gateways_with_one_key_is_made_once() {
    let fleet = Fleet::start(&FleetSetup::default());
    let request = |n: usize, body: String| {
        let mut request = chat_request(fleet.address(n), fleet.key("growth"), body);
        request.headers_mut().insert("idempotency-key", "the-same-for-all".parse().unwrap());
        request
    };
    let body = chat_body(false, "delay=600ms");
    let calls = (0..9).map(|n| send(fleet.address(n % 3), request(n % 3, body.clone())));
    let calls = calls.map(tokio::spawn).collect::<Vec<_>>();
    let (mut served, mut under_way) = (0, 0);
    for call in calls {
        let answer = call.await.unwrap().unwrap();
        match answer.status {
            200 => served += 1,
            409 => under_way += 1,
            other => panic!("{other}: {:?}", answer.body),
        }
    }
    assert!(served >= 1 && served + under_way == 9, "{served} {under_way}");
    let received = fleet.books()["received"].as_array().unwrap().len();
    assert_eq!(received, 1, "the upstream has seen it once");
    // What it came to is known to all of them.
    for n in 0..3 {
        let another = send(fleet.address(n), request(n, chat_body(false, "another"))).await.unwrap();
        assert_eq!(another.status, 422, "{:?}", another.body);
    }
    assert_eq!(fleet.books()["received"].as_array().unwrap().len(), 1);
    fleet.settled().await;
    fleet.assert_books();
}
