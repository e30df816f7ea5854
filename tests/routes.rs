//! The matrix of routes: every row of the table in every way a call of it can go. A row without its cases here fails.

use http::Method;
use mavera_gateway::route::{Class, Cost, Ids, Route};
use mavera_sim::DEMO_ANALYSIS;
use serde_json::{Value, json};

use crate::support::chat_body;
use crate::support::rig::{Rig, Setup};

/// What calls of a route look like.
struct Cases {
    /// A target that is served.
    target: String,
    /// A body that is served, given what the upstream is to do with it; empty where a body has no meaning.
    body: fn(stream: bool, quirks: &str) -> String,
    /// Bodies that are refused, with the code and the field that is named.
    wrong: &'static [(&'static str, &'static str, &'static str)],
    /// Targets that are refused, with the code.
    off: &'static [(&'static str, &'static str)],
}

fn no_body(_: bool, _: &str) -> String {
    String::new()
}

/// The cases of a row. What is new in the table is new here.
fn cases(route: Route) -> Cases {
    let (target, body, wrong, off): (_, fn(bool, &str) -> String, &'static [_], &'static [_]) = match route
        .label()
    {
        "video_chat" => (
            format!("/api/v1/video-analyses/{DEMO_ANALYSIS}/chat"),
            chat_body,
            &[
                ("", "invalid_json", ""),
                ("{}", "missing_field", "messages"),
                (r#"{"messages":[]}"#, "invalid_field", "messages"),
                (r#"{"messages":[{"content":"x"}]}"#, "missing_field", "messages[0].role"),
                (r#"{"messages":[{"role":1,"content":"x"}]}"#, "invalid_field", "messages[0].role"),
                (r#"{"messages":[{"role":"user","content":"x"}],"stream":1}"#, "invalid_field", "stream"),
            ],
            &[
                ("/api/v1/video-analyses/a%2fb/chat", "invalid_field"),
                ("/api/v1/video-analyses/a/chat?x=1", "invalid_request"),
            ],
        ),
        "video_list" => (
            "/api/v1/video-analyses?limit=5&offset=0&status=completed".into(),
            no_body,
            &[],
            &[
                ("/api/v1/video-analyses?limit=5&limit=6", "invalid_field"),
                ("/api/v1/video-analyses?key=1", "invalid_field"),
                ("/api/v1/video-analyses?limit=%31", "invalid_field"),
            ],
        ),
        "video_get" => (
            format!("/api/v1/video-analyses/{DEMO_ANALYSIS}"),
            no_body,
            &[],
            &[
                ("/api/v1/video-analyses/a.b", "invalid_field"),
                ("/api/v1/video-analyses/a?x=1", "invalid_request"),
            ],
        ),
        "me" => ("/gateway/v1/me".into(), no_body, &[], &[("/gateway/v1/me?x=1", "invalid_request")]),
        "explain" => {
            ("/gateway/v1/explain".into(), chat_body, &[], &[("/gateway/v1/explain?x=1", "invalid_request")])
        }
        other => panic!("{other} is a route without cases: say here how it is called, and how it goes wrong"),
    };
    Cases { target, body, wrong, off }
}

fn wide(team: &str) -> Setup {
    let wide = Setup::default();
    Setup { team: format!("{}\n{team}", wide.team), ..wide }
}

#[tokio::test(start_paused = true)]
async fn every_route_is_served_as_its_row_says() {
    for route in Route::all() {
        let (row, Cases { target, body, .. }) = (route.row(), cases(route));
        let (rig, simulator) = Rig::with_simulator(&wide(""));
        let answer = rig.send(rig.request(row.method.clone(), &target, body(false, ""))).await;
        assert_eq!(answer.status(), 200, "{}", row.label);
        let record = rig.record().await;
        assert_eq!((record["route"].as_str(), record["team"].as_str()), (Some(row.label), Some("growth")));
        let received = simulator.books(|books| books.received.clone());
        if row.class != Class::Upstream {
            assert!(received.is_empty(), "{} is answered here", row.label);
            continue;
        }
        let [received] = &received[..] else { panic!("{}: {received:?}", row.label) };
        assert_eq!(Some(&*received.target), target.strip_prefix("").filter(|_| true), "{}", row.label);
        assert_eq!(received.method, row.method.as_str());
        // What it costs is booked where its row says that it stands.
        assert_eq!(record["booked"].is_null(), row.cost == Cost::Free, "{}", row.label);
        assert_eq!(record["credits"].as_u64().unwrap_or(0), received.charged, "{}", row.label);
    }
}

#[tokio::test(start_paused = true)]
async fn every_route_has_one_method() {
    let (rig, _) = Rig::with_simulator(&wide(""));
    for route in Route::all() {
        let (row, Cases { target, .. }) = (route.row(), cases(route));
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            if method == row.method {
                continue;
            }
            let answer = rig.send(rig.request(method.clone(), &target, "")).await;
            assert_eq!((answer.status().as_u16(), answer.code().as_str()), (405, "method_not_allowed"));
            let allow = if row.method == Method::GET { "GET, HEAD" } else { row.method.as_str() };
            assert_eq!(answer.header("allow"), allow, "{method} {target}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_routes_targets_and_bodies_are_judged_before_anything_is_sent() {
    let (rig, simulator) = Rig::with_simulator(&wide(""));
    for route in Route::all() {
        let (row, Cases { target, body, wrong, off }) = (route.row(), cases(route));
        assert!(!off.is_empty(), "{}: how its target goes wrong", row.label);
        assert_eq!(row.body.is_some(), !wrong.is_empty(), "{}: how its body goes wrong", row.label);
        for (target, code) in off {
            let answer = rig.send(rig.request(row.method.clone(), target, body(false, ""))).await;
            assert_eq!(answer.code(), *code, "{target}");
        }
        for (body, code, param) in wrong {
            let answer = rig.send(rig.request(row.method.clone(), &target, *body)).await;
            assert_eq!((answer.status().as_u16(), answer.code().as_str()), (400, *code), "{body}");
            assert_eq!(answer.json()["error"]["param"].as_str().unwrap_or_default(), *param, "{body}");
        }
    }
    assert_eq!(simulator.books(|books| books.received.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_team_that_may_not_use_a_route_learns_nothing_but_that() {
    for route in Route::all() {
        let (row, Cases { target, body, .. }) = (route.row(), cases(route));
        let others: Vec<_> = Route::all()
            .filter(|other| other.row().is_upstream() && *other != route)
            .map(Route::label)
            .collect();
        let (rig, simulator) = Rig::with_simulator(&wide(&format!("routes = {others:?}")));
        let answer = rig.send(rig.request(row.method.clone(), &target, body(false, ""))).await;
        if row.class == Class::Upstream {
            assert_eq!((answer.status().as_u16(), answer.code().as_str()), (403, "route_not_allowed"));
            let message = format!(
                "Team growth may not use {}. Ask the gateway's operators to extend `routes`.",
                row.label
            );
            assert_eq!(answer.json()["error"]["message"], message);
            // It comes before any word on the body.
            let wrong = rig.send(rig.request(row.method.clone(), &target, "nonsense")).await;
            assert_eq!(wrong.code(), "route_not_allowed");
        } else {
            assert_eq!(answer.status(), 200, "{}: what is answered here is for all", row.label);
        }
        assert_eq!(simulator.books(|books| books.received.len()), 0, "{}", row.label);
        // Everything everyday is allowed with a star, and by a reload.
        rig.reconfigure(&wide("routes = [\"*\"]"));
        let answer = rig.send(rig.request(row.method.clone(), &target, body(false, ""))).await;
        assert_eq!(answer.status().as_u16(), if row.is_everyday() { 200 } else { 403 }, "{}", row.label);
    }
}

#[tokio::test(start_paused = true)]
async fn a_team_is_kept_from_analyses_that_are_not_its_own() {
    for route in Route::all() {
        let (row, Cases { target, body, .. }) = (route.row(), cases(route));
        let (rig, _) = Rig::with_simulator(&wide("analyses = [\"somebody-elses-*\"]"));
        let answer = rig.send(rig.request(row.method.clone(), &target, body(false, ""))).await;
        let expected = if row.ids == Ids::None { 200 } else { 403 };
        assert_eq!(answer.status().as_u16(), expected, "{}", row.label);
    }
}

#[tokio::test(start_paused = true)]
async fn what_costs_is_held_to_a_budget_and_what_is_free_is_not() {
    for route in Route::all() {
        let (row, Cases { target, body, .. }) = (route.row(), cases(route));
        let setup =
            Setup { credits: "reserve = 5\nbudget = { credits = 4, period = \"month\" }".into(), ..wide("") };
        let (rig, _) = Rig::with_simulator(&setup);
        let answer = rig.send(rig.request(row.method.clone(), &target, body(false, ""))).await;
        assert_eq!(answer.status().as_u16(), if row.costs() { 402 } else { 200 }, "{}", row.label);
    }
}

/// How a call that costs can go at the upstream, and what is booked then: the credits, and on what they rest.
const WAYS: [(bool, &str, Option<u64>, &str); 8] = [
    (false, "", None, "final"),
    (true, "", None, "final"),
    (false, "usage=absent", Some(5), "estimated"),
    (true, "usage=absent", Some(5), "estimated"),
    (true, "fault=reset", Some(5), "estimated"),
    (true, "fault=close", Some(5), "estimated"),
    (false, "answer=500", Some(5), "estimated"),
    (false, "answer=429", Some(0), ""),
];

#[tokio::test(start_paused = true)]
async fn what_a_call_costs_is_booked_however_it_goes() {
    for route in Route::all().filter(|route| route.row().costs()) {
        let (row, Cases { target, body, .. }) = (route.row(), cases(route));
        for (stream, quirks, credits, basis) in WAYS {
            let (rig, simulator) = Rig::with_simulator(&wide(""));
            rig.send(rig.request(row.method.clone(), &target, body(stream, quirks))).await;
            let record = rig.record().await;
            let charged = simulator.books(|books| books.received[0].charged);
            assert_eq!(record["booked"], json!(credits.unwrap_or(charged)), "{}: {quirks:?}", row.label);
            assert_eq!(
                record["basis"],
                if basis.is_empty() { Value::Null } else { basis.into() },
                "{quirks:?}"
            );
        }
    }
}
