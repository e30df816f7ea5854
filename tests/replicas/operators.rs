//! What operators do to a ledger that several gateways write: it is in force at all of them, and the way from a file and back.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fleet::{Fleet, FleetSetup};
use crate::support::browser::Page;
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::postgres::run;
use crate::support::process::{binary, get};

async fn ask(fleet: &Fleet, n: usize, key: &str) -> u16 {
    chat(fleet.address(n), key, chat_body(false, "")).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_grants_and_corrections_are_in_force_at_every_gateway_within_a_second() {
    let setup = FleetSetup {
        teams: &[("growth", "budget = { credits = 5, period = \"month\" }\n")],
        ..FleetSetup::default()
    };
    let fleet = Fleet::start(&setup);
    let key = fleet.key("growth").to_owned();
    assert_eq!(ask(&fleet, 0, &key).await, 200);
    fleet.settled().await;
    // One credit of five is spent, and a chat holds five.
    assert_eq!(ask(&fleet, 1, &key).await, 402);
    fleet.command(&[
        "credits",
        "grant",
        "--team",
        "growth",
        "--credits",
        "40",
        "--until",
        "2099-12-31",
        "--why",
        "a test",
    ]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for n in 0..3 {
        assert_eq!(ask(&fleet, n, &key).await, 200, "the grant is in force at gateway {n}");
    }
    fleet.settled().await;
    let id = key.split('_').nth(1).unwrap();
    fleet.command(&["key", "revoke", id, "--why", "a test"]);
    let revoked = Instant::now();
    for n in 0..3 {
        while ask(&fleet, n, &key).await != 401 {
            assert!(revoked.elapsed() < Duration::from_secs(2), "gateway {n} takes a revoked key");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    fleet.settled().await;
    fleet.assert_books();
    // Who is idle looks once a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (settled, doubt) = fleet.booked();
    assert_eq!(fleet.spent(), vec![settled + doubt; 3]);
    // Reports and the page read the same ledger, whichever is asked.
    let report = fleet.command(&["credits", "report"]);
    assert!(report.contains("growth"), "{report}");
    let look = |query: &str| -> serde_json::Value {
        let (status, page) = get(fleet.gateways[2].admin, &format!("/credits/look?{query}"));
        assert_eq!(status, 200, "{page}");
        serde_json::from_str(&page).unwrap()
    };
    assert_eq!(look("")["overview"]["replicas"].as_array().unwrap().len(), 3);
    let all = (settled + doubt) as f64 / 1e6;
    for (query, by, name) in [
        ("range=7d", "team", "growth"),
        ("range=7d&team=growth", "caller", id),
        (&format!("range=7d&team=growth&caller={id}"), "route", "video_chat"),
    ] {
        let booked = look(query)["booked"].take();
        let series = &booked["spend"]["series"][0];
        assert_eq!((&booked["spend"]["by"], &series["name"]), (&by.into(), &name.into()), "{booked}");
        assert_eq!(series["credits"][6].as_f64(), Some(all), "{booked}");
        let calls = booked["requests"]["requests"].as_array().unwrap();
        let found: f64 = calls.iter().map(|call| call["credits"].as_f64().unwrap()).sum();
        assert_eq!(found, all, "{booked}");
        let spent = booked["callers"]["keys"].as_array().unwrap().iter().find(|key| key["id"] == id);
        assert_eq!(spent.unwrap()["spent"].as_f64(), Some(all), "{booked}");
        assert_eq!(booked["this_period"]["credits"].as_f64(), Some(all), "{booked}");
    }
    let before = look("range=2020-01-01..2020-01-31")["booked"].take();
    assert_eq!((&before["spend"]["series"], &before["requests"]["requests"]), (&json!([]), &json!([])));
    assert_eq!(before["requests"]["complete"], true, "{before}");
    let status = fleet.command(&["ledger", "status"]);
    assert!(status.contains("3 running"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_never_left_is_none_in_a_report_or_a_statement() {
    let mut fleet = Fleet::start(&FleetSetup { gateways: 1, ..FleetSetup::default() });
    let key = fleet.key("growth").to_owned();
    assert_eq!(ask(&fleet, 0, &key).await, 200);
    fleet.upstream.signal("KILL");
    fleet.upstream.wait_for_end();
    assert_eq!(ask(&fleet, 0, &key).await, 502);
    fleet.settled().await;
    assert_eq!(fleet.server.number("SELECT count(*) FROM bookings"), 2);
    let month = jiff::Timestamp::now().strftime("%Y-%m").to_string();
    for arguments in
        [&["report", "--by", "outcome"][..], &["statement", "--team", "growth", "--month", &month]]
    {
        let told = fleet.command(&[&["credits"], arguments, &["--format", "json"]].concat());
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (&told["total"]["calls"], told["lines"].as_array().unwrap().len()),
            (&1.into(), 1),
            "{told:#}"
        );
    }
    let look = get(fleet.gateways[0].admin, "/credits/look?range=7d").1;
    let look: serde_json::Value = serde_json::from_str(&look).unwrap();
    let series = &look["booked"]["spend"]["series"];
    assert_eq!((&series[0]["calls"][6], series.as_array().unwrap().len()), (&1.into(), 1), "{look:#}");
    assert!(fleet.command(&["credits", "verify"]).contains("fine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_is_taken_up_once_by_all_gateways_together() {
    let fleet = Fleet::start(&FleetSetup::default());
    let key = fleet.key("growth").to_owned();
    let answer = chat(fleet.address(0), &key, chat_body(false, "usage=absent")).await.unwrap();
    assert_eq!(answer.status, 200);
    fleet.settled().await;
    assert_eq!(fleet.booked(), (0, 5_000_000));
    let id = fleet.server.ask("SELECT request_id FROM bookings");
    fleet.command(&["credits", "settle", "--why", "a test", "--request", &id, "--credits", "1"]);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(fleet.booked(), (1_000_000, 0));
    assert_eq!(fleet.spent(), vec![1_000_000; 3]);
    fleet.assert_books();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_an_operator_puts_out_sends_nothing_more_under_its_number_and_begins_anew() {
    let fleet = Fleet::start(&FleetSetup { gateways: 2, ..FleetSetup::default() });
    let key = fleet.key("growth").to_owned();
    let id = fleet.server.ask("SELECT min(id) FROM replicas");
    let said = fleet.command(&["ledger", "fence", &id]);
    assert!(!said.is_empty());
    while fleet.server.number("SELECT count(*) FROM replicas WHERE gone_at IS NULL") != 2
        || fleet.server.number(&format!("SELECT count(*) FROM replicas WHERE id = {id} AND gone_at IS NULL"))
            != 0
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for n in 0..2 {
        assert_eq!(ask(&fleet, n, &key).await, 200);
    }
    fleet.settled().await;
    fleet.assert_books();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_each_shows_all_of_them_and_what_they_have_under_way() {
    let fleet = Fleet::start(&FleetSetup::default());
    let admin = fleet.gateways[0].admin;
    let mut page = Page::open(admin);
    let shown = page.shows(&json!({ "replicas/summary": "3 gateways", "replicas/rows/2/in_flight": "0" }));
    let rows = shown["replicas"]["rows"].as_array().unwrap();
    // They were started one after the other, and are listed by number.
    let own: Vec<_> = rows.iter().map(|row| row["own"].as_str().unwrap()).collect();
    assert_eq!(own, ["no. 1, this one", "no. 2", "no. 3"]);
    assert!(rows.iter().all(|row| row["version"] == env!("CARGO_PKG_VERSION")), "{rows:?}");

    // What another has under way shows here, and counts among its team's.
    let (address, key) = (fleet.address(1), fleet.key("growth").to_owned());
    let call = tokio::spawn(async move { chat(address, &key, chat_body(true, "pace=2s")).await });
    page.shows(&json!({ "replicas/rows/1/in_flight": "1", "teams/growth/flight": { "matches": "^1 " } }));
    for width in [320, 1440] {
        let overflow = page.does("overflow", json!({ "width": width, "height": 900 }));
        assert_eq!(overflow["overflows"], false, "at {width} px: {overflow}");
        let name = format!("gateways-{width}");
        page.does("screenshot", json!({ "name": name, "width": width, "height": 900, "scheme": "light" }));
        assert_eq!(page.does("audit", json!({})), json!([]), "at {width} px");
    }
    assert_eq!(call.await.unwrap().unwrap().status, 200);
    page.shows(&json!({ "replicas/rows/1/in_flight": "0", "teams/growth/flight": { "matches": "^0 " } }));

    // One that is silent for longer than its lease is not one of them any more.
    fleet.gateways[2].process.signal("KILL");
    page.shows(&json!({ "replicas/summary": "2 gateways", "replicas/rows/2": null }));
    page.stayed_clean(admin, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_files_ledger_of_a_million_bookings_comes_over_whole_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let file = place.join("ledger.db");
    super::million(&file);
    let original = place.join("original.toml");
    std::fs::write(&original, format!("[ledger]\npath = '{}'\n", file.display())).unwrap();
    let credits = |config: &std::path::Path, arguments: &[&str]| {
        let output = run(binary().arg("credits").args(arguments).arg("--config").arg(config));
        String::from_utf8(output.stdout).unwrap()
    };
    let in_doubt = "0197f3a0-0000-7000-8000-000000000100";
    credits(&original, &["settle", "--request", in_doubt, "--credits", "1", "--why", "a test"]);
    let fleet = Fleet::start(&FleetSetup { gateways: 0, ..FleetSetup::default() });
    let began = Instant::now();
    let said = fleet.command(&["ledger", "import", file.to_str().unwrap()]);
    let took = began.elapsed();
    assert!(said.contains("1,000,000") || said.contains("1000000"), "{said}");
    assert!(took < Duration::from_mins(1), "{took:?}");
    let verified = fleet.command(&["credits", "verify"]);
    assert!(verified.contains("fine"), "{verified}");
    let back = place.join("back.db");
    fleet.command(&["ledger", "export", back.to_str().unwrap()]);
    let config = place.join("file.toml");
    std::fs::write(&config, format!("[ledger]\npath = '{}'\n", back.display())).unwrap();
    let report =
        |config: &std::path::Path| credits(config, &["report", "--since", "2000-01-01", "--format", "csv"]);
    assert_eq!(report(&config), report(&original), "the same on both sides of the way");
    assert_eq!(report(&fleet.config(0)), report(&original));
    assert!(credits(&config, &["verify"]).contains("fine"));

    // What is taken out of either is written out in the same words, and no sum has changed.
    let prune =
        |config: &std::path::Path| credits(config, &["prune", "--before", "2026-01-02", "--export", "-"]);
    let taken = prune(&fleet.config(0));
    assert_eq!(taken.lines().count(), 1 + 10_000);
    let corrected = taken.lines().find(|line| line.contains(in_doubt)).unwrap();
    assert!(corrected.contains(",5,1,-4,final,"), "{corrected}");
    assert_eq!(taken, prune(&original), "out of PostgreSQL, and out of a file");
    assert_eq!(report(&fleet.config(0)), report(&original));
    assert!(credits(&fleet.config(0), &["verify"]).contains("fine"));
}
