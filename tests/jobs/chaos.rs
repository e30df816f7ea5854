//! All routes at once, by callers that race, leave and meet every fault, through gateways that are killed: the books equal the
//! upstream's, and no bound of the upstream's is ever passed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use mavera_gateway::key::NewKey;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::http::send;
use crate::support::process::{PairSetup, binary, config, get, start_gateway, start_simulator_with, team};
use crate::support::rig::sample;
use crate::support::{CANARY, checker};

const ROUNDS: u64 = 10;

/// What is asked for, and how it goes.
fn calls() -> Vec<(&'static str, Value)> {
    let story = "/api/v1/news/stories/cstory0000000000000000001";
    let story = |rest: &str| -> &'static str { format!("{story}/{rest}").leak() };
    let mut calls = vec![
        ("/api/v1/focus-groups", json!({"sim": "job_price=charged"})),
        ("/api/v1/focus-groups", json!({})),
        ("/api/v1/personas", json!({})),
        ("/api/v1/brand-voices", json!({"label": "House", "usage_context": "All that we write."})),
        (story("analyze"), json!({})),
        (story("chat"), json!({"message": "So what?"})),
    ];
    for price in ["get", "silent", "top"] {
        calls.push(("/api/v1/video-analyses", super::analysis(&format!("job_price={price}"))));
    }
    for quirks in ["", "usage=absent", "answer=500", "answer=reset_before", "fault=close", "pace=2ms"] {
        for stream in [false, true] {
            let with = |mut body: Value| {
                (body["stream"], body["sim"]) = (stream.into(), quirks.into());
                body
            };
            let message = json!([{"role": "user", "content": "Why?"}]);
            calls.extend([
                ("/api/v1/responses", with(json!({"model": "mavera-1", "input": "Why?"}))),
                ("/api/v1/chat/completions", with(json!({"messages": message}))),
                ("/api/v1/mave/chat", with(json!({"message": "Why?"}))),
                ("/api/v1/generations", with(json!({"app_id": "a", "input_data": {}}))),
            ]);
        }
    }
    calls
}

fn request(
    address: SocketAddr,
    key: &str,
    method: &str,
    path: &str,
    body: String,
) -> Request<Full<bytes::Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string())
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

async fn rage(address: SocketAddr, key: String, stop: Arc<AtomicBool>, mut seed: u64) {
    let calls = calls();
    while !stop.load(Ordering::Relaxed) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (path, body) = &calls[(seed >> 33) as usize % calls.len()];
        let mut request = request(address, &key, "POST", path, body.to_string());
        request.headers_mut().insert("idempotency-key", format!("{seed:x}").parse().unwrap());
        request.headers_mut().insert("x-gateway-max-wait", "0.2".parse().unwrap());
        let call = send(address, request);
        if (seed >> 41).is_multiple_of(5) {
            let _ = tokio::time::timeout(Duration::from_millis(seed >> 50 & 15), call).await;
        } else {
            let _ = call.await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_equal_the_upstreams_over_all_routes_and_kills() {
    let (_simulator, simulator) =
        start_simulator_with(&["--analysis-time", "120ms", "--focus-group-time", "60ms"]);
    let (folder, key) = (tempfile::tempdir().unwrap(), NewKey::generate().unwrap());
    std::fs::write(folder.path().join("key"), CANARY).unwrap();
    let base_url = format!("base_url = \"http://{simulator}/api/v1\"");
    let teams = format!("{}{}\n", team("growth", &key), super::ROUTES.replace(']', ", \"brand_voices\"]"));
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, config(folder.path(), &PairSetup::default(), &base_url, &teams)).unwrap();
    let ledger = folder.path().join("ledger.db");
    for round in 0..ROUNDS {
        let (mut gateway, address, _) = start_gateway(&path);
        checker::check(&ledger, &checker::Budgets::default());
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..12)
            .map(|n| tokio::spawn(rage(address, key.text.to_string(), Arc::clone(&stop), round * 12 + n)));
        let callers: Vec<_> = callers.collect();
        tokio::time::sleep(Duration::from_millis(150 + round * 37 % 120)).await;
        stop.store(true, Ordering::Relaxed);
        gateway.signal("KILL");
        gateway.wait();
        for caller in callers {
            caller.await.unwrap();
        }
    }
    // Once more, without faults: whatever has an id is asked about, as whoever began it would.
    let (mut last, address, admin) = start_gateway(&path);
    let books = || -> Value { serde_json::from_str(&get(simulator, "/sim/books").1).unwrap() };
    let received = books()["received"].clone();
    for job in received.as_array().unwrap() {
        let target = job["target"].as_str().unwrap();
        if let (true, Some(id)) = (
            ["/api/v1/video-analyses", "/api/v1/focus-groups"].contains(&target),
            job["response_id"].as_str(),
        ) {
            let poll = request(address, &key.text, "GET", &format!("{target}/{id}"), String::new());
            assert_eq!(send(address, poll).await.unwrap().status, 200);
        }
    }
    while sample(&get(admin, "/metrics").1, "mavera_gateway_ledger_open_holds") > 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    last.signal("TERM");
    assert_eq!(last.wait(), Some(0));
    checker::check(&ledger, &checker::Budgets::default());
    let verified = binary().args(["credits", "verify", "--config"]).arg(&path).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    let books = books();
    let empty = serde_json::Map::new();
    assert_eq!(
        books["over_cap"].as_object().unwrap(),
        &empty,
        "the upstream had no cause to refuse one for its bounds"
    );
    for (route, most) in [("/video-analyses", 3), ("/focus-groups", 5)] {
        let peak = books["jobs_peak"][route].as_u64().unwrap_or(0);
        assert!((1..=most).contains(&peak), "{route}: {peak}");
    }
    assert!(books["peak"]["/mave/chat"].as_u64().unwrap() <= 10);
    let connection = Connection::open(&ledger).unwrap();
    let mut statement =
        connection.prepare("SELECT request_id, coalesce(credits, 0), route FROM calls").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).unwrap();
    let booked: HashMap<String, (f64, String)> = rows.map(Result::unwrap).collect();
    let (mut billed, mut routes) = (0.0, HashMap::<&str, usize>::new());
    for received in books["received"].as_array().unwrap() {
        let charged = received["charged"].as_f64().unwrap();
        if charged == 0.0 {
            continue;
        }
        let fields = received["headers"].as_array().unwrap();
        let id = fields.iter().find(|field| field[0] == "x-request-id").unwrap()[1].as_str().unwrap();
        let (credits, route) = &booked[id];
        assert!(*credits >= charged, "{route}: {credits} are booked, and {charged} were billed");
        *routes.entry(route).or_default() += 1;
        billed += charged;
    }
    assert!(routes.len() >= 8, "{routes:?}");
    let sums = "SELECT sum(final) / 1e6, sum(estimated) / 1e6 FROM day_sums";
    let (settled, doubt): (f64, f64) =
        connection.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert!(settled <= billed && billed <= settled + doubt, "{settled} ≤ {billed} ≤ {settled} + {doubt}");
    let settled_jobs: i64 = connection
        .query_row("SELECT count(*) FROM jobs WHERE credits IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    assert!(settled_jobs > 0);
}
