//! Members by tokens, over in-memory pipes and a paused clock.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{INVALID, chat_with, refusal};
use crate::support::issuer::{ISSUER, TestIssuer};
use crate::support::rig::{Answer, Rig, Setup, sample};
use crate::support::script::{STREAM_HEAD, chunk, completed, read_request, write};

/// An issuer whose keys stand in a file, and a setup with members of it.
struct Built {
    issuer: TestIssuer,
    _folder: tempfile::TempDir,
    keys: PathBuf,
    setup: Setup,
}

fn built(members: &str) -> Built {
    let (issuer, folder) = (TestIssuer::new("a"), tempfile::tempdir().unwrap());
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, issuer.key_set()).unwrap();
    let usual = Setup::default();
    let setup = Setup {
        tables: format!(
            "[[identity]]\nname = \"build\"\njwt = {{ issuer = \"{ISSUER}\", audience = [\"mavera-gateway\"], jwks_file = '{}' }}",
            keys.display()
        ),
        team: format!("{}\nmembers = [{members}]", usual.team),
        ..usual
    };
    Built { issuer, _folder: folder, keys, setup }
}

const CI: &str = r#"{ id = "growth-ci", identity = "build", claims = { repository = "acme/growth-*", protected = "true" }, budget = { credits = 7, period = "month" } }"#;

#[tokio::test(start_paused = true)]
async fn a_member_calls_with_a_token_and_is_booked_under_its_id() {
    let Built { issuer, setup, .. } = &built(CI);
    let (rig, received) = Rig::recording(setup, 10);
    let now = rig.gateway.recorder.clock().wall();
    let token = issuer.token(now, &json!({"sub": "x", "repository": "acme/growth-api", "protected": true}));
    let answer = rig.send(chat_with(&rig, &token)).await;
    assert_eq!(answer.status(), 200);
    // Its own budget binds it.
    assert_eq!(answer.header("x-credits-remaining"), "2");
    let record = rig.record().await;
    assert_eq!((&record["team"], &record["key_id"]), (&json!("growth"), &json!("growth-ci")));
    // The upstream sees the organisation's key, and nothing of the token.
    let sent = received.requests().concat();
    assert!(sent.contains("authorization: Bearer mvra_live_") && !sent.contains(&token[..20]), "{sent}");
    let metrics = rig.metrics();
    let accepted = "mavera_gateway_identity_total{identity=\"build\",result=\"accepted\"}";
    assert_eq!(sample(&metrics, accepted), 1.0);
    for text in [&metrics, &format!("{:?}", rig.gateway)] {
        assert!(!text.contains(&token[..20]));
    }
    // With its own budget spent it is refused as a key would be, and told whose that was.
    for _ in 0..2 {
        assert_eq!(rig.send(chat_with(&rig, &token)).await.status(), 200);
        rig.settle().await;
    }
    let over = rig.send(chat_with(&rig, &token)).await;
    assert_eq!(over.code(), "budget_exceeded");
    assert!(over.json()["error"]["message"].as_str().unwrap().contains("growth-ci"));
    rig.settle().await;
    assert!(!rig.records().iter().any(|line| line.to_string().contains(&token[..20])));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_nobodys_is_forbidden_and_sent_nowhere() {
    let Built { issuer, setup, .. } = &built(CI);
    let (rig, received) = Rig::recording(setup, 10);
    let now = rig.gateway.recorder.clock().wall();
    for claims in [
        json!({"repository": "acme/growth-api"}),
        json!({"repository": "acme/growth-api", "protected": "false"}),
        json!({"repository": "acme/growth-a/b", "protected": "true"}),
        json!({"repository": "evil/growth-api", "protected": "true"}),
        json!({"repository": {"acme/growth-api": 1}, "protected": "true"}),
        json!({"repository": [["acme/growth-api"]], "protected": "true"}),
    ] {
        let answer = rig.send(chat_with(&rig, &issuer.token(now, &claims))).await;
        let expected = "Bearer realm=\"mavera-gateway\", error=\"insufficient_scope\"";
        assert_eq!(refusal(&answer), (403, "identity_not_allowed".into(), expected.into()), "{claims}");
    }
    assert!(received.requests().is_empty());
    let listed = issuer.token(now, &json!({"repository": ["b", "acme/growth-api"], "protected": ["true"]}));
    assert_eq!(rig.send(chat_with(&rig, &listed)).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn of_two_teams_the_caller_says_which_and_of_one_team_the_first_member_is_meant() {
    let first = r#"{ id = "growth-main", identity = "build", claims = { sub = "a" } }"#;
    let Built { issuer, mut setup, keys, _folder } = built(&format!(
        "{first}, {{ id = \"growth-any\", identity = \"build\", claims = {{ sub = \"*\" }} }}"
    ));
    let other = "members = [{ id = \"search-any\", identity = \"build\", claims = { sub = \"b*\" } }]";
    setup.others = vec![("search", other.into())];
    assert!(keys.exists());
    let (rig, _) = Rig::recording(&setup, 10);
    let now = rig.gateway.recorder.clock().wall();
    let ask = async |sub: &str, team: Option<&str>| {
        let mut request = chat_with(&rig, &issuer.token(now, &json!({"sub": sub})));
        if let Some(team) = team {
            request.headers_mut().insert("x-gateway-team", team.parse().unwrap());
        }
        rig.send(request).await
    };
    assert_eq!(ask("a", None).await.status(), 200);
    let several = ask("b", None).await;
    assert_eq!(several.code(), "identity_not_allowed");
    let message = several.json()["error"]["message"].to_string();
    assert!(message.contains("growth, search") && message.contains("x-gateway-team"), "{message}");
    assert_eq!(ask("b", Some("search")).await.status(), 200);
    assert_eq!(ask("b", Some("growth")).await.status(), 200);
    assert_eq!(ask("a", Some("search")).await.code(), "identity_not_allowed");
    assert_eq!(ask("b", Some("")).await.code(), "identity_not_allowed");
    // Of whoever has a key it is asked too.
    let mut by_key = rig.chat(crate::support::chat_body(false, ""));
    by_key.headers_mut().insert("x-gateway-team", "search".parse().unwrap());
    assert_eq!(rig.send(by_key).await.code(), "identity_not_allowed");
    rig.settle().await;
    let who: Vec<_> = rig
        .records()
        .iter()
        .filter(|line| line["status"] == 200)
        .map(|line| line["key_id"].clone())
        .collect();
    assert_eq!(who, ["growth-main", "search-any", "growth-any"]);
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_not_valid_is_told_the_same() {
    let Built { issuer, setup, .. } = &built(CI);
    let (rig, received) = Rig::recording(setup, 10);
    let now = rig.gateway.recorder.clock().wall();
    let fine = json!({"repository": "acme/growth-api", "protected": "true"});
    let mut said = std::collections::HashSet::new();
    for (token, result) in [
        ("a.b.c".to_owned(), Some(("other", "malformed"))),
        (TestIssuer::new("a").token(now, &fine), Some(("build", "signature"))),
        (TestIssuer::new("b").token(now, &fine), Some(("build", "unknown_key"))),
        (issuer.token(now, &json!({"iss": "https://other.example"})), Some(("other", "issuer"))),
        (issuer.token(now, &json!({"aud": "other"})), Some(("build", "audience"))),
        (issuer.token(now - jiff::SignedDuration::from_mins(11), &fine), Some(("build", "expired"))),
        ("mvgw_abcd2345_plainly-fake-plainly-fake-plainly-fake-plainly".to_owned(), None),
        ("neither".to_owned(), None),
    ] {
        let answer = rig.send(chat_with(&rig, &token)).await;
        assert_eq!(refusal(&answer), (401, "invalid_api_key".into(), INVALID.into()), "{token}");
        said.insert(answer.json()["error"]["message"].to_string());
        if let Some((identity, result)) = result {
            let series =
                format!("mavera_gateway_identity_total{{identity=\"{identity}\",result=\"{result}\"}}");
            assert_eq!(sample(&rig.metrics(), &series), 1.0, "{token}");
        }
    }
    assert_eq!(said.len(), 1, "{said:?}");
    let mut nothing = rig.chat(crate::support::chat_body(false, ""));
    nothing.headers_mut().remove("authorization");
    let answer = rig.send(nothing).await;
    assert_eq!(refusal(&answer), (401, "missing_api_key".into(), "Bearer realm=\"mavera-gateway\"".into()));
    // Not in the field for keys.
    let mut request = rig.chat(crate::support::chat_body(false, ""));
    request.headers_mut().remove("authorization");
    request.headers_mut().insert("x-api-key", issuer.token(now, &fine).parse().unwrap());
    assert_eq!(rig.send(request).await.code(), "invalid_api_key");
    assert!(received.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_found_of_a_token_holds_until_it_ends_or_the_configuration_or_the_keys_change() {
    let Built { issuer, setup, keys, .. } = &built(CI);
    let (rig, _) = Rig::recording(setup, 100);
    let clock = rig.gateway.recorder.clock();
    let token = issuer.token(clock.wall(), &json!({"repository": "acme/growth-api", "protected": "true"}));
    let status = async || rig.send(chat_with(&rig, &token)).await.status().as_u16();
    assert_eq!(status().await, 200);
    // Nobody's from the next request on, and somebody's again.
    rig.reconfigure(&Setup { team: Setup::default().team, ..setup.clone() });
    assert_eq!(status().await, 403);
    rig.reconfigure(setup);
    assert_eq!(status().await, 200);
    // Those issued before a moment are refused: what to do when some have leaked.
    let revoked = setup
        .tables
        .replace(" }", &format!(", not_before = {} }}", clock.wall() + jiff::SignedDuration::from_secs(1)));
    rig.reconfigure(&Setup { tables: revoked, ..setup.clone() });
    assert_eq!(status().await, 401);
    // Other keys.
    std::fs::write(keys, TestIssuer::new("a").key_set()).unwrap();
    rig.reconfigure(setup);
    assert_eq!(status().await, 401);
    std::fs::write(keys, issuer.key_set()).unwrap();
    rig.reconfigure(setup);
    assert_eq!(status().await, 200);
    tokio::time::advance(Duration::from_secs(629)).await;
    rig.settle().await;
    assert_eq!(status().await, 402, "its budget is spent, and it is known yet");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(status().await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_refused_configuration_leaves_the_keys_as_they_are_too() {
    let Built { issuer, setup, keys, .. } = &built(CI);
    let (rig, _) = Rig::recording(setup, 10);
    let token = issuer.token(
        rig.gateway.recorder.clock().wall(),
        &json!({"repository": "acme/growth-api", "protected": "true"}),
    );
    assert_eq!(rig.send(chat_with(&rig, &token)).await.status(), 200);
    // Other keys, in the same moment as a mistake elsewhere.
    std::fs::write(keys, TestIssuer::new("a").key_set()).unwrap();
    let text = std::fs::read_to_string(rig.config_path()).unwrap();
    let wrong = "[[identity]]\nname = \"late\"\njwt = { issuer = \"x\", audience = [\"y\"], jwks_file = \"/nowhere\" }\n";
    std::fs::write(rig.config_path(), format!("{text}{wrong}")).unwrap();
    let problems = rig.gateway.live.reload().unwrap_err().to_string();
    assert!(problems.contains("identity[1].jwt.jwks_file"), "{problems}");
    let fresh = issuer.token(
        rig.gateway.recorder.clock().wall(),
        &json!({"repository": "acme/growth-api", "protected": "true", "jti": "2"}),
    );
    assert_eq!(rig.send(chat_with(&rig, &fresh)).await.status(), 200);
    std::fs::write(rig.config_path(), text).unwrap();
    rig.gateway.live.reload().unwrap();
    assert_eq!(rig.send(chat_with(&rig, &fresh)).await.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_with_its_callers_leave_to_call_only_where_that_is_asked_for() {
    for cuts in [false, true] {
        let built = built(CI);
        let (issuer, mut setup) = (&built.issuer, built.setup.clone());
        setup.tables = format!("[keys]\nrevoke_cuts_streams = {cuts}\n{}", setup.tables);
        let rig = Rig::with_upstream(&setup, |mut io, _| async move {
            read_request(&mut io).await;
            write(&mut io, STREAM_HEAD).await;
            write(&mut io, chunk("data: {\"type\":\"response.created\"}\n\n")).await;
            tokio::time::sleep(Duration::from_mins(1)).await;
            write(&mut io, chunk(completed(3))).await;
            write(&mut io, "0\r\n\r\n").await;
        });
        let now = rig.gateway.recorder.clock().wall();
        let token = issuer.token(now, &json!({"repository": "acme/growth-api", "protected": "true"}));
        let began = rig.gateway.recorder.clock().now();
        let mut sender = rig.connect().await;
        let response = sender.send_request(chat_with(&rig, &token)).await.unwrap();
        let reading = tokio::spawn(Answer::read(response));
        // Of another it is nothing, and of this one not yet.
        rig.reconfigure(&setup);
        tokio::time::sleep(Duration::from_secs(10)).await;
        rig.reconfigure(&Setup { team: Setup::default().team, ..setup.clone() });
        let answer = reading.await.unwrap();
        let took = (rig.gateway.recorder.clock().now() - began).as_secs();
        assert_eq!((answer.whole, took), (!cuts, if cuts { 10 } else { 60 }));
        // What it cost is known all the same.
        let record = rig.record().await;
        assert_eq!(
            (&record["credits"], &record["outcome"]),
            (&json!(3), &json!(if cuts { "client_gone" } else { "completed" }))
        );
    }
}
