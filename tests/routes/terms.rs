//! What a team's `routes` say of each: a budget, a bound and a reserve of their own; what a caller says a call may cost; and what
//! `explain` says of all of it.

use http::Method;
use serde_json::{Value, json};

use super::cases::analysis;
use super::{all_routes, call, matrix, new_key, wide, with};
use crate::support::rig::{Answer, Rig};

async fn explain(rig: &Rig, route: &str, body: &str, fields: &[(&'static str, &str)]) -> Value {
    let mut request =
        rig.request(Method::POST, &format!("/gateway/v1/explain?route={route}"), body.to_owned());
    for (name, value) in fields {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let answer = rig.send(request).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()
}

fn codes(explained: &Value) -> Vec<&str> {
    explained["refusals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refusal| refusal["code"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn any_route_is_explained_with_what_it_would_hold() {
    for (route, case) in matrix().filter(|(route, _)| route.row().is_upstream()) {
        let (row, (rig, simulator)) = (route.row(), Rig::with_simulator(&wide()));
        let key: &[(&str, &str)] = if row.requires_key { &[("idempotency-key", "k")] } else { &[] };
        let explained = explain(&rig, row.label, &(case.body)(false, ""), key).await;
        assert_eq!(
            (&explained["admitted"], &explained["route"]),
            (&json!(true), &json!(row.label)),
            "{explained}"
        );
        assert_eq!(explained["holds"], json!(row.reserve), "{}", row.label);
        assert_eq!(explained["needs_idempotency_key"], json!(row.requires_key), "{}", row.label);
        if row.requires_key {
            let without = explain(&rig, row.label, &(case.body)(false, ""), &[]).await;
            assert_eq!(codes(&without), ["idempotency_key_required"], "{}", row.label);
        }
        if let Some((body, code, _)) = case.wrong.first() {
            let wrong = explain(&rig, row.label, body, key).await;
            assert_eq!(codes(&wrong), [*code], "{}", row.label);
        }
        assert_eq!(simulator.books(|books| books.received.len()), 0);
    }
    let (rig, _) = Rig::with_simulator(&with(""));
    let kept = explain(&rig, "responses", "{\"model\":\"mavera-1\",\"input\":\"x\"}", &[]).await;
    assert_eq!(codes(&kept), ["route_not_allowed"]);
    // Nothing is told of a route to who may not use it: not what it holds, nor how many others use it.
    let (rig, _) = Rig::with_simulator(&with("routes = [\"*\"]\nanalyses = [\"clx*\"]"));
    for (route, code) in [("mave_chat", "route_not_allowed"), ("files_list", "analysis_not_allowed")] {
        let kept = explain(&rig, route, "{\"message\":1}", &[]).await;
        assert_eq!((codes(&kept), kept.as_object().unwrap().len()), (vec![code], 3), "{kept}");
    }
    // A key that is none is told of too.
    let (rig, _) = Rig::with_simulator(&wide());
    let wrong = explain(&rig, "brand_voices", "{}", &[("idempotency-key", " ")]).await;
    assert_eq!(codes(&wrong), ["invalid_field"], "{wrong}");
}

fn analyses(terms: &str) -> crate::support::rig::Setup {
    with(&format!("routes = [\"video_get\", \"responses\", {{ name = \"video_analyses\", {terms} }}]"))
}

async fn create(rig: &Rig, fields: &[(&'static str, &str)]) -> Answer {
    let mut request = rig.request(Method::POST, "/api/v1/video-analyses", analysis().to_string());
    request.headers_mut().insert("idempotency-key", new_key());
    for (name, value) in fields {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    rig.send(request).await
}

#[tokio::test(start_paused = true)]
async fn a_route_can_have_a_budget_of_its_own() {
    let (rig, _) =
        Rig::with_simulator(&analyses("budget = { credits = 600, period = \"month\" }, reserve = 250"));
    for _ in 0..2 {
        assert_eq!(create(&rig, &[]).await.status(), 201);
    }
    let refused = create(&rig, &[]).await;
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (402, "budget_exceeded"));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Team growth, on video_analyses,") && message.contains("250"), "{message}");
    // It binds nothing else.
    let other = rig.request(Method::POST, "/api/v1/responses", "{\"model\":\"mavera-1\",\"input\":\"x\"}");
    assert_eq!(rig.send(other).await.status(), 200);
    let explained =
        explain(&rig, "video_analyses", &analysis().to_string(), &[("idempotency-key", "k")]).await;
    assert_eq!((codes(&explained), &explained["holds"]), (vec!["budget_exceeded"], &json!(250)));
    let own = explained["limits"]["budgets"].as_array().unwrap().last().unwrap();
    assert_eq!((&own["of"], &own["left"]), (&json!("video_analyses"), &json!(100)));
    // What was used survives a reload.
    rig.reconfigure(&analyses("budget = { credits = 900, period = \"month\" }, reserve = 250"));
    assert_eq!(create(&rig, &[]).await.status(), 201);
    assert_eq!(create(&rig, &[]).await.status().as_u16() / 100, 4);
}

#[tokio::test(start_paused = true)]
async fn a_team_has_no_more_jobs_under_way_than_it_may() {
    let (rig, simulator) = Rig::with_simulator(&analyses("jobs = 1"));
    assert_eq!(create(&rig, &[]).await.status(), 201);
    let refused = create(&rig, &[("x-gateway-max-wait", "0s")]).await;
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (429, "job_limit_reached"));
    assert_eq!(refused.header("retry-after"), "30");
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("Team growth has 1 jobs of video_analyses under way, as many as it may have."),
        "{message}"
    );
    let fields = [("idempotency-key", "k"), ("x-gateway-max-wait", "0s")];
    let explained = explain(&rig, "video_analyses", &analysis().to_string(), &fields).await;
    assert_eq!(codes(&explained), ["job_limit_reached"]);
    assert_eq!(simulator.books(|books| books.received.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_can_say_what_a_call_may_cost() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    for (route, case) in matrix().filter(|(route, _)| route.row().costs()) {
        let most = route.row().reserve.saturating_sub(mavera_gateway::credits::Credits::whole(1)).to_string();
        let mut request = call(&rig, route, &case.target, (case.body)(false, ""));
        request.headers_mut().insert("x-credits-max", most.parse().unwrap());
        let refused = rig.send(request).await;
        assert_eq!((refused.status().as_u16(), refused.code().as_str()), (402, "reserve_above_max"));
        assert_eq!(refused.header("x-should-retry"), "false");
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&route.row().reserve.to_string()) && message.contains(&most), "{message}");
    }
    for wrong in ["", "many", "-5", "1,2"] {
        assert_eq!(create(&rig, &[("x-credits-max", wrong)]).await.code(), "invalid_field", "{wrong}");
    }
    assert_eq!(simulator.books(|books| books.received.len()), 0);
    assert_eq!(create(&rig, &[("x-credits-max", "500")]).await.status(), 201);
}

#[tokio::test(start_paused = true)]
async fn me_lists_the_routes_that_a_team_may_use() {
    let (rig, _) = Rig::with_simulator(&with(""));
    let me = rig.send(rig.request(Method::GET, "/gateway/v1/me", "")).await.json();
    let names: Vec<_> = me["routes"].as_array().unwrap().iter().map(|route| route["name"].clone()).collect();
    assert_eq!(names, ["video_chat", "video_list", "video_get", "me", "explain", "key_rotate"]);
    rig.reconfigure(&with(&format!("routes = {}", all_routes())));
    let me = rig.send(rig.request(Method::GET, "/gateway/v1/me", "")).await.json();
    assert_eq!(me["routes"].as_array().unwrap().len(), mavera_gateway::route::Route::COUNT);
}
