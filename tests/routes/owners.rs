//! Whose things are: what a team makes through the gateway is its own, beside what it may see anyway.

use http::Method;
use serde_json::{Value, json};

use super::cases::analysis;
use super::{all_routes, new_key, with};
use crate::support::rig::{Answer, Rig, Setup};

/// Two teams that may see nothing but their own.
fn two_teams() -> Setup {
    let team =
        format!("requests_per_minute = 100000000\nburst = 1000000\nanalyses = []\nroutes = {}", all_routes());
    Setup {
        others: vec![("rival", team.clone())],
        ..with(&format!("analyses = []\nroutes = {}", all_routes()))
    }
}

async fn send(rig: &Rig, team: &str, method: Method, path: &str, body: &Value) -> Answer {
    let mut request =
        rig.request(method, path, if body.is_null() { String::new() } else { body.to_string() });
    if team == "rival" {
        let key = rig.chat_of("rival", "").headers()["authorization"].clone();
        request.headers_mut().insert("authorization", key);
    }
    request.headers_mut().insert("idempotency-key", new_key());
    rig.send(request).await
}

#[tokio::test(start_paused = true)]
async fn what_a_team_makes_is_its_own_and_nobody_elses() {
    let (rig, simulator) = Rig::with_simulator(&two_teams());
    let begun = send(&rig, "growth", Method::POST, "/api/v1/video-analyses", &analysis()).await;
    let analysis_id = begun.json()["id"].as_str().unwrap().to_owned();
    let group = send(&rig, "growth", Method::POST, "/api/v1/focus-groups", &json!({})).await;
    let group_id = group.json()["id"].as_str().unwrap().to_owned();
    let message = json!({"message": "Who watches this?"});
    let mave = send(&rig, "growth", Method::POST, "/api/v1/mave/chat", &message).await;
    let thread_id = mave.json()["thread_id"].as_str().unwrap().to_owned();
    let file = send(&rig, "growth", Method::POST, "/api/v1/files/upload-url", &json!({})).await;
    let file_id = file.json()["file_id"].as_str().unwrap().to_owned();
    for path in [
        format!("/api/v1/video-analyses/{analysis_id}"),
        format!("/api/v1/focus-groups/{group_id}"),
        format!("/api/v1/mave/threads/{thread_id}"),
    ] {
        assert_eq!(send(&rig, "growth", Method::GET, &path, &Value::Null).await.status(), 200, "{path}");
        let other = send(&rig, "rival", Method::GET, &path, &Value::Null).await;
        assert_eq!((other.status().as_u16(), other.code().as_str()), (403, "analysis_not_allowed"), "{path}");
    }
    // What a body names is looked at too.
    let received = simulator.books(|books| books.received.len());
    let mut by_file = analysis();
    by_file.as_object_mut().unwrap().remove("video_url");
    by_file["asset_id"] = file_id.as_str().into();
    let follow_up = json!({"message": "And why?", "thread_id": thread_id});
    for (path, body) in [("/api/v1/video-analyses", &by_file), ("/api/v1/mave/chat", &follow_up)] {
        let other = send(&rig, "rival", Method::POST, path, body).await;
        assert_eq!((other.status().as_u16(), other.code().as_str()), (403, "analysis_not_allowed"), "{path}");
    }
    assert_eq!(simulator.books(|books| books.received.len()), received, "nothing of it was sent");
    assert_eq!(send(&rig, "growth", Method::POST, "/api/v1/mave/chat", &follow_up).await.status(), 200);
    assert_eq!(send(&rig, "growth", Method::POST, "/api/v1/video-analyses", &by_file).await.status(), 201);
    for path in ["/api/v1/video-analyses", "/api/v1/files", "/api/v1/mave/threads", "/api/v1/generations"] {
        assert_eq!(send(&rig, "growth", Method::GET, path, &Value::Null).await.status(), 403, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_with_anothers_thread_does_not_take_it_over() {
    let setup = two_teams();
    let (rig, _) = Rig::with_simulator(&setup);
    let message = json!({"message": "Who watches this?"});
    let mave = send(&rig, "growth", Method::POST, "/api/v1/mave/chat", &message).await;
    let thread = mave.json()["thread_id"].as_str().unwrap().to_owned();
    // The other team may see everything for a while, and asks in the thread.
    let wide = Setup { others: vec![("rival", format!("routes = {}", all_routes()))], ..setup.clone() };
    rig.reconfigure(&wide);
    let follow_up = json!({"message": "And why?", "thread_id": thread});
    assert_eq!(send(&rig, "rival", Method::POST, "/api/v1/mave/chat", &follow_up).await.status(), 200);
    rig.reconfigure(&setup);
    let path = format!("/api/v1/mave/threads/{thread}");
    assert_eq!(send(&rig, "rival", Method::GET, &path, &Value::Null).await.status(), 403);
    assert_eq!(send(&rig, "growth", Method::GET, &path, &Value::Null).await.status(), 200);
}
