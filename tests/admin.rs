//! The operators' listener.

use crate::support::chat_body;
use crate::support::process::{Pair, PairSetup, get};
use crate::support::rig::{Rig, Setup};

#[test]
fn probes_and_metrics_are_there_and_nothing_else() {
    let pair = Pair::start(&PairSetup::default());
    assert_eq!(get(pair.admin, "/livez"), (200, "ok\n".into()));
    assert_eq!(get(pair.admin, "/readyz"), (200, "ok\n".into()));
    assert_eq!(get(pair.admin, "/api/v1/video-analyses").0, 404);
    let (status, metrics) = get(pair.admin, "/metrics");
    assert_eq!(status, 200);
    for series in [
        "mavera_gateway_build_info",
        "mavera_gateway_config_reload_success 1",
        "mavera_gateway_upstream_window_limit 1000000",
    ] {
        assert!(metrics.contains(series), "{series}");
    }
    // On the callers' port there is none of it.
    for path in ["/metrics", "/livez", "/readyz", "/", "/debug"] {
        assert_eq!(get(pair.address, path).0, 404, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_series_of_a_team_exists_before_its_first_call() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let metrics = rig.metrics();
    for series in [
        "mavera_gateway_credits_used_total{basis=\"final\",route=\"video_chat\",team=\"growth\"} 0",
        "mavera_gateway_tokens_total{direction=\"input\",route=\"video_chat\",team=\"growth\"} 0",
        "mavera_gateway_requests_total{route=\"video_chat\",status=\"200\",team=\"growth\"} 0",
        "mavera_gateway_refusals_total{code=\"rate_limit_exceeded\",team=\"growth\"} 0",
        "mavera_gateway_streams_total{outcome=\"truncated\",team=\"growth\"} 0",
        "mavera_gateway_request_duration_seconds_count{route=\"video_chat\",stream=\"true\"} 0",
        "mavera_gateway_overhead_seconds_bucket{route=\"video_chat\",le=\"0.000025\"} 0",
    ] {
        assert!(metrics.contains(series), "{series} is not in\n{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_are_exact_and_strangers_add_no_series() {
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    let lines = || rig.metrics().lines().count();
    let before = lines();
    for n in 0..30 {
        rig.send(rig.chat(chat_body(n % 2 == 0, ""))).await;
        let mut stranger = rig.request(format!("M{n}").parse().unwrap(), &format!("/path/{n}"), "");
        stranger.headers_mut().insert("authorization", format!("Bearer key-{n}").parse().unwrap());
        rig.send(stranger).await;
    }
    rig.settle().await;
    assert_eq!(lines(), before);
    let metrics = rig.metrics();
    let charged = simulator.books(mavera_gateway::sim::books::Books::total_charged);
    for series in [
        "mavera_gateway_requests_total{route=\"video_chat\",status=\"200\",team=\"growth\"} 30".to_owned(),
        "mavera_gateway_requests_total{route=\"other\",status=\"404\",team=\"other\"} 30".to_owned(),
        "mavera_gateway_streams_total{outcome=\"completed\",team=\"growth\"} 15".to_owned(),
        format!(
            "mavera_gateway_credits_used_total{{basis=\"final\",route=\"video_chat\",team=\"growth\"}} {charged}"
        ),
        "mavera_gateway_time_to_first_byte_seconds_count{route=\"video_chat\",stream=\"true\"} 15".to_owned(),
    ] {
        assert!(metrics.contains(&series), "{series} is not in\n{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_splits_the_time_between_caller_upstream_and_gateway() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    rig.send(rig.chat(chat_body(true, "delay=3s; pace=1s; events=1"))).await;
    let record = rig.record().await;
    let seconds = |name: &str| record[name].as_f64().unwrap();
    assert!((3.0..3.1).contains(&seconds("upstream_seconds")), "{record}");
    assert!((3.0..3.1).contains(&seconds("first_byte_seconds")), "{record}");
    assert!(seconds("gateway_seconds") < 0.1 && seconds("total_seconds") > 9.0, "{record}");
    let names: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
    for name in [
        "request_id",
        "team",
        "key_id",
        "route",
        "status",
        "outcome",
        "response_id",
        "credits",
        "input_tokens",
        "output_tokens",
    ] {
        assert!(names.contains(&name) && !record[name].is_null(), "{name}");
    }
}
