//! What jobs cost: told by the first figure that goes by, or derived from the bill, or in doubt.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{at_work, booked, create, id, poll, setup, start, used};
use crate::support::rig::{Rig, Setup, sample};

fn counted(rig: &Rig, basis: &str) -> f64 {
    let series = format!(
        "mavera_gateway_credits_used_total{{basis=\"{basis}\",route=\"video_analyses\",team=\"growth\"}}"
    );
    let metrics = rig.metrics();
    if metrics.contains(&series) { sample(&metrics, &series) } else { 0.0 }
}

#[tokio::test(start_paused = true)]
async fn the_first_figure_that_goes_by_is_its_cost_wherever_it_stands() {
    for price in ["create", "get", "charged", "top"] {
        for case in ["lower", "upper"] {
            let (rig, simulator) = at_work(&setup());
            let quirks = format!("job_takes=60s;job_cost=150;job_price={price};status_case={case}");
            let made = create(&rig, "growth", &quirks).await;
            let at_once = price == "create";
            let expected = if at_once { (150.0, 0.0) } else { (500.0, 500.0) };
            assert_eq!(booked(&rig).await, expected, "{price}");
            assert_eq!((used(&rig), counted(&rig, "final")), (expected.0, if at_once { 150.0 } else { 0.0 }));
            poll(&rig, &id(&made)).await;
            assert_eq!(booked(&rig).await, expected, "{price}: it goes on");
            tokio::time::sleep(Duration::from_secs(61)).await;
            for _ in 0..2 {
                poll(&rig, &id(&made)).await;
                assert_eq!((booked(&rig).await, used(&rig)), ((150.0, 0.0), 150.0), "{price}");
                assert_eq!((counted(&rig, "final"), counted(&rig, "estimated")), (150.0, 0.0), "once");
            }
            assert_eq!(simulator.books(mavera_sim::books::Books::total_charged), 150);
            // Whoever asks is told what it has come to.
            let me = rig.send(rig.request(Method::GET, "/gateway/v1/me", "")).await.json();
            let charge = &me["last_charges"][0];
            let told = (&charge["credits"], &charge["basis"], &charge["route"]);
            assert_eq!(told, (&json!(150), &json!("final"), &json!("video_analyses")), "{me}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_gateway_hears_of_it_where_nobody_polls() {
    let (rig, _) = at_work(&setup());
    create(&rig, "growth", "job_takes=60s;job_cost=180;job_price=get").await;
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert_eq!((booked(&rig).await, used(&rig)), ((180.0, 0.0), 180.0));
}

#[tokio::test(start_paused = true)]
async fn a_lone_job_that_says_nothing_is_derived_from_the_bill() {
    let (rig, simulator) = at_work(&Setup { upstream: "usage_interval = \"30s\"".into(), ..setup() });
    tokio::time::sleep(Duration::from_mins(2)).await;
    create(&rig, "growth", "job_takes=60s;job_cost=230").await;
    // Other calls that say what they cost are in the way of nothing.
    rig.send(rig.chat(crate::support::chat_body(false, ""))).await;
    let chats = simulator.books(|books| books.received.iter().map(|r| r.charged).sum::<u64>());
    #[expect(clippy::cast_precision_loss, reason = "a few credits")]
    let chats = chats as f64;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!((booked(&rig).await, used(&rig)), ((230.0 + chats, 0.0), 230.0 + chats));
    assert_eq!(
        (counted(&rig, "derived"), counted(&rig, "estimated"), counted(&rig, "final")),
        (230.0, 0.0, 0.0)
    );
    let basis = rig.send(rig.request(Method::GET, "/gateway/v1/me", "")).await.json();
    let charges = basis["last_charges"].as_array().unwrap();
    assert!(charges.iter().any(|charge| charge["basis"] == "derived"), "{basis}");
    // The next is told from it.
    create(&rig, "growth", "job_takes=60s;job_cost=110").await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(booked(&rig).await, (340.0 + chats, 0.0));
}

#[tokio::test(start_paused = true)]
async fn two_silent_jobs_that_overlap_stay_in_doubt() {
    for (what, second) in [
        ("another job", Some(("/api/v1/video-analyses", super::analysis("job_takes=60s;job_cost=120")))),
        (
            "a call in doubt",
            Some(("/api/v1/responses", json!({"model": "mavera-1", "input": "x", "sim": "usage=absent"}))),
        ),
        ("a cost that no job has", None),
    ] {
        let (rig, _) = at_work(&Setup { upstream: "usage_interval = \"30s\"".into(), ..setup() });
        tokio::time::sleep(Duration::from_mins(2)).await;
        let cost = if second.is_some() { 230 } else { 700 };
        create(&rig, "growth", &format!("job_takes=60s;job_cost={cost}")).await;
        if let Some((path, body)) = second {
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert!(start(&rig, "growth", path, &body, &[]).await.status().is_success());
        }
        let before = booked(&rig).await;
        tokio::time::sleep(Duration::from_mins(6)).await;
        assert_eq!(booked(&rig).await, before, "{what}");
        assert!(before.1 >= 500.0 && counted(&rig, "derived") == 0.0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_corrected_by_hand_does_not_make_another_as_dear_as_both() {
    let (rig, _) = at_work(&Setup { upstream: "usage_interval = \"30s\"".into(), ..setup() });
    tokio::time::sleep(Duration::from_mins(2)).await;
    create(&rig, "growth", "job_takes=60s;job_cost=120").await;
    create(&rig, "growth", "job_takes=60s;job_cost=130").await;
    let corrected = rig.gateway.books.desk.clone();
    let calls = rig.gateway.books.reads.look(|reading| reading.recent_charges("growth", 2)).await.unwrap();
    assert_eq!(calls.len(), 2);
    // As the ledger numbers them, from one.
    corrected.job_corrected(1);
    tokio::time::sleep(Duration::from_mins(6)).await;
    assert_eq!(counted(&rig, "derived"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_settled_all_the_same_when_it_says_its_cost() {
    let (rig, _) = at_work(&setup());
    let made = id(&create(&rig, "growth", "job_takes=40m;job_cost=300;job_price=get").await);
    tokio::time::sleep(Duration::from_mins(32)).await;
    assert_eq!((counted(&rig, "estimated"), booked(&rig).await), (500.0, (500.0, 500.0)));
    tokio::time::sleep(Duration::from_mins(10)).await;
    poll(&rig, &made).await;
    assert_eq!((booked(&rig).await, used(&rig)), ((300.0, 0.0), 300.0));
    assert_eq!(
        (counted(&rig, "estimated"), counted(&rig, "final")),
        (500.0, 0.0),
        "a counter takes nothing back"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_the_background_is_in_doubt() {
    let (rig, _) = at_work(&setup());
    let body = json!({"model": "mavera-1", "input": "x", "background": true});
    assert_eq!(start(&rig, "growth", "/api/v1/responses", &body, &[]).await.status(), 200);
    rig.settle().await;
    let record = rig.records().pop().unwrap();
    assert_eq!((&record["booked"], &record["basis"]), (&json!(5), &json!("estimated")));
}
