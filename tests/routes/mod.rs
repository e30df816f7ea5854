//! The matrix of routes: every row of the table in every way a call of it can go.

mod cases;
mod costs;
mod owners;
mod passage;
mod terms;

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request};
use http_body_util::Full;
use mavera_gateway::route::{Class, Cost, Ids, Route};

use self::cases::{Case, cases};
use crate::support::rig::{Rig, Setup};

/// Every route, its row's rules beside its case.
fn matrix() -> impl Iterator<Item = (Route, Case)> {
    Route::all()
        .zip(cases())
        .inspect(|(route, case)| assert_eq!(route.label(), case.label, "in the order of the table"))
}

/// Every route that a team can be kept from, by name.
fn all_routes() -> String {
    let names: Vec<_> = Route::all().filter(|route| route.row().is_upstream()).map(Route::label).collect();
    format!("{names:?}")
}

/// A team that may use everything.
fn wide() -> Setup {
    with(&format!("routes = {}", all_routes()))
}

fn with(team: &str) -> Setup {
    let wide = Setup::default();
    Setup { team: format!("{}\nself_service_keys = true\n{team}", wide.team), ..wide }
}

/// An `Idempotency-Key` that no other call has.
fn new_key() -> http::HeaderValue {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    LAST.fetch_add(1, Ordering::Relaxed).into()
}

/// A call of a route, with a key of its own where one is wanted.
fn call(rig: &Rig, route: Route, target: &str, body: impl Into<bytes::Bytes>) -> Request<Full<bytes::Bytes>> {
    let mut request = rig.request(route.row().method.clone(), target, body);
    if route.row().requires_key {
        request.headers_mut().insert("idempotency-key", new_key());
    }
    request
}

#[tokio::test(start_paused = true)]
async fn every_route_is_served_as_its_row_says() {
    for (route, Case { target, body, .. }) in matrix() {
        let row = route.row();
        let (rig, simulator) = Rig::with_simulator(&wide());
        let answer = rig.send(call(&rig, route, &target, body(false, ""))).await;
        let record = rig.record().await;
        assert_eq!((record["route"].as_str(), record["team"].as_str()), (Some(row.label), Some("growth")));
        let received = simulator.books(|books| books.received.clone());
        if row.class != Class::Upstream {
            assert!(answer.status().is_success(), "{}", row.label);
            assert!(received.is_empty(), "{} is answered here", row.label);
            continue;
        }
        let [received] = &received[..] else { panic!("{}: {received:?}", row.label) };
        // Where the simulator knows no such id, that is its answer.
        assert_eq!(Some(answer.status().as_u16()), received.status, "{}", row.label);
        assert!(answer.status().is_success() || answer.status() == 404, "{}: {answer:?}", row.label);
        assert_eq!((&*received.target, &*received.method), (&*target, row.method.as_str()), "{}", row.label);
        assert_eq!(record["booked"].is_null(), row.cost == Cost::Free, "{}", row.label);
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_has_the_methods_of_its_rows_and_no_other() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    for (_, Case { target, .. }) in matrix() {
        let path = target.split('?').next().unwrap();
        let of_path = |other: &Case| other.target.split('?').next() == Some(path);
        let methods: Vec<_> =
            matrix().filter(|(_, case)| of_path(case)).map(|(route, _)| route.row().method.clone()).collect();
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            if methods.contains(&method) {
                continue;
            }
            let answer = rig.send(rig.request(method.clone(), path, "")).await;
            // `/news/stories/trending` could be a story as well, which is read and nothing else.
            assert_eq!(
                (answer.status().as_u16(), answer.code().as_str()),
                (405, "method_not_allowed"),
                "{method} {path}"
            );
            let allow: Vec<_> = answer.header("allow").split(", ").collect();
            assert!(
                methods.iter().all(|method| allow.contains(&method.as_str())),
                "{method} {path}: {allow:?}"
            );
        }
    }
    assert_eq!(simulator.books(|books| books.received.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn every_routes_targets_and_bodies_are_judged_before_anything_is_sent() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    for (route, Case { target, body, wrong, off, .. }) in matrix() {
        let row = route.row();
        assert!(!off.is_empty(), "{}: how its target goes wrong", row.label);
        assert_eq!(row.body.is_some(), !wrong.is_empty(), "{}: how its body goes wrong", row.label);
        for (target, code) in off {
            let answer = rig.send(call(&rig, route, target, body(false, ""))).await;
            assert_eq!(answer.code(), code, "{target}");
        }
        for (body, code, param) in wrong {
            let answer = rig.send(call(&rig, route, &target, body.clone())).await;
            assert_eq!(
                (answer.status().as_u16(), answer.code().as_str()),
                (400, code),
                "{} {body}",
                row.label
            );
            assert_eq!(answer.json()["error"]["param"].as_str().unwrap_or_default(), param, "{body}");
        }
    }
    assert_eq!(simulator.books(|books| books.received.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_dear_is_made_with_a_key_alone() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    for (route, Case { target, body, .. }) in matrix().filter(|(route, _)| route.row().requires_key) {
        let answer = rig.send(rig.request(route.row().method.clone(), &target, body(false, ""))).await;
        assert_eq!(answer.code(), "idempotency_key_required", "{}", route.label());
    }
    assert_eq!(simulator.books(|books| books.received.len()), 0);
    let dear: Vec<_> = Route::all().filter(|route| route.row().requires_key).map(Route::label).collect();
    assert_eq!(dear, ["video_analyses", "personas", "focus_groups", "brand_voices"]);
}

#[tokio::test(start_paused = true)]
async fn a_team_that_may_not_use_a_route_learns_nothing_but_that() {
    for (route, Case { target, body, .. }) in matrix() {
        let row = route.row();
        let others: Vec<_> = Route::all()
            .filter(|other| other.row().is_upstream() && *other != route)
            .map(Route::label)
            .collect();
        let (rig, simulator) = Rig::with_simulator(&with(&format!("routes = {others:?}")));
        let answer = rig.send(rig.request(row.method.clone(), &target, body(false, ""))).await;
        if row.class == Class::Upstream {
            assert_eq!((answer.status().as_u16(), answer.code().as_str()), (403, "route_not_allowed"));
            let message = format!(
                "Team growth may not use {}. Ask the gateway's operators to extend `routes`.",
                row.label
            );
            assert_eq!(answer.json()["error"]["message"], message);
            // It comes before any word on the body, and on a key that it should have.
            let wrong = rig.send(rig.request(row.method.clone(), &target, "nonsense")).await;
            assert_eq!(wrong.code(), "route_not_allowed");
        } else {
            assert!(answer.status().is_success(), "{}: what is answered here is for all", row.label);
        }
        assert_eq!(simulator.books(|books| books.received.len()), 0, "{}", row.label);
        // Everything everyday is allowed with a star, and by a reload.
        rig.reconfigure(&with("routes = [\"*\"]"));
        let answer = rig.send(call(&rig, route, &target, body(false, ""))).await;
        assert_eq!(answer.status() != 403, row.is_everyday(), "{}", row.label);
    }
    let dear = |route: &Route| route.row().is_upstream() && !route.row().is_everyday();
    let dear: Vec<_> = Route::all().filter(dear).map(Route::label).collect();
    assert_eq!(dear, ["video_analyses", "mave_chat", "personas", "focus_groups", "brand_voices"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_closed_or_misspelt_is_never_forwarded_and_says_what_it_is() {
    let (rig, simulator) = Rig::with_simulator(&wide());
    for (method, path, hint) in [
        (Method::POST, "/api/v1/video-analysis", "does not document it"),
        (Method::POST, "/api/v1/assets", "files/upload-url"),
        (Method::GET, "/api/v1/workspaces", "administered"),
        (Method::DELETE, "/api/v1/generations/c1", "neither changed nor deleted"),
        (Method::POST, "/api/v1/meetings", "does not serve meetings"),
        (Method::GET, "/api/v1/usage", "GET /gateway/v1/me"),
        (Method::GET, "/api/v1/models", "mavera-1"),
        (Method::POST, "/v1/responses", "Did you mean /api/v1/responses?"),
        (Method::POST, "/responses", "Did you mean /api/v1/responses?"),
        (Method::POST, "/api/v1/response", "Did you mean /api/v1/responses?"),
        (Method::GET, "/api/v1/responses/resp_1", "GET /gateway/v1/me"),
    ] {
        let answer = rig.send(rig.request(method, path, "{}")).await;
        assert_eq!((answer.status().as_u16(), answer.code().as_str()), (404, "unknown_route"), "{path}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(hint), "{path}: {message}");
    }
    assert_eq!(simulator.books(|books| books.received.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_team_is_kept_from_what_is_not_its_own() {
    for (route, Case { target, body, .. }) in matrix() {
        let row = route.row();
        let team = format!("analyses = [\"somebody-elses-*\"]\nroutes = {}", all_routes());
        let (rig, _) = Rig::with_simulator(&with(&team));
        let answer = rig.send(call(&rig, route, &target, body(false, ""))).await;
        assert_eq!(answer.status() == 403, row.ids != Ids::None, "{}", row.label);
        if row.ids != Ids::None {
            assert_eq!(answer.code(), "analysis_not_allowed", "{}", row.label);
        }
    }
}
