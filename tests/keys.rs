//! Caller keys that are made, replaced and revoked while the gateway runs: by the command line, the operators' API, and teams.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mavera_gateway::key::NewKey;
use serde_json::{Value, json};

use crate::support::chat_body;
use crate::support::issuer::{ISSUER, TestIssuer};
use crate::support::process::{Pair, PairSetup, binary, get};
use crate::support::rig::{chat_path, sample};

const TOKEN: &str = "plainly-fake-keys-token-of-a-test-000";

/// A pair whose admin listener takes the keys token.
fn pair(team: &str) -> Pair {
    let pair = Pair::start(&PairSetup { team, ..PairSetup::default() });
    let token = pair.folder.path().join("keys-token");
    std::fs::write(&token, TOKEN).unwrap();
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let admin = format!("[admin]\nkeys_token = {{ file = '{}' }}\n", token.display());
    std::fs::write(pair.config_path(), text.replacen("[admin]\n", &admin, 1)).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    pair
}

/// One request with curl: status, and what came as JSON.
fn ask(url: &str, method: &str, bearer: &str, body: Option<&str>, more: &[&str]) -> (u16, Value) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-w", "\n%{http_code}", "-X", method]).args(more);
    if !bearer.is_empty() {
        curl.args(["-H", &format!("authorization: Bearer {bearer}")]);
    }
    if let Some(body) = body {
        curl.args(["-H", "content-type: application/json", "-d", body]);
    }
    let output = curl.arg(url).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn change(admin: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let body = body.map(Value::to_string);
    ask(&format!("http://{admin}/admin/v1/keys{path}"), method, TOKEN, body.as_deref(), &[])
}

fn chat(pair: &Pair, key: &str) -> u16 {
    ask(&pair.url(&chat_path()), "POST", key, Some(&chat_body(false, "")), &[]).0
}

/// Waits until a key is answered so.
fn until(pair: &Pair, key: &str, status: u16) {
    for _ in 0..200 {
        if chat(pair, key) == status {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("never answered with {status}");
}

fn command(config: &Path, arguments: &[&str]) -> (i32, String) {
    let output = binary().arg("key").args(arguments).arg("--config").arg(config).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

#[test]
fn keys_are_registered_by_digest_replaced_and_revoked_over_the_operators_api() {
    let pair = pair("");
    let made = NewKey::generate().unwrap();
    let body = json!({"team": "growth", "sha256": made.sha256, "expires": "2099-01-01T00:00:00Z"});
    let path = format!("/{}", made.id);
    let (status, told) = change(pair.admin, "PUT", &path, Some(&body));
    assert_eq!((status, &told["id"], &told["team"]), (201, &json!(made.id), &json!("growth")));
    assert!(told.get("key").is_none() && !told.to_string().contains(&made.sha256));
    // In force here when it is told.
    assert_eq!(chat(&pair, &made.text), 200);
    // The answer may have been lost: the same again is the same.
    assert_eq!(change(pair.admin, "PUT", &path, Some(&body)), (200, told));
    for (change_of, status, code) in [
        (json!({"team": "growth", "sha256": "0".repeat(64)}), 409, "key_conflict"),
        (
            json!({"team": "growth", "sha256": made.sha256, "expires": "2098-01-01T00:00:00Z"}),
            400,
            "invalid_field",
        ),
        (json!({"team": "nobody", "sha256": made.sha256}), 400, "invalid_field"),
        (json!({"sha256": made.sha256}), 400, "missing_field"),
        (json!({"team": "growth"}), 400, "missing_field"),
        (json!({"team": "growth", "sha256": *made.text}), 400, "invalid_field"),
        (json!({"team": "growth", "sha256": made.sha256, "secret": *made.text}), 400, "invalid_json"),
        (
            json!({"team": "growth", "sha256": made.sha256, "expires": "2020-01-01T00:00:00Z"}),
            400,
            "invalid_field",
        ),
    ] {
        let (got, told) = change(pair.admin, "PUT", &path, Some(&change_of));
        assert_eq!((got, told["error"]["code"].as_str()), (status, Some(code)), "{change_of}");
        assert!(!told.to_string().contains(&made.text[14..40]), "{told}");
    }
    // Made here, for people: shown once.
    let (status, told) = change(pair.admin, "POST", "", Some(&json!({"team": "growth"})));
    assert_eq!(status, 201);
    let shown = told["key"].as_str().unwrap().to_owned();
    assert_eq!(chat(&pair, &shown), 200);
    // Replaced: both work, and a third would be too many.
    let rotate = format!("/{}/rotate", id_of(&shown));
    let (status, told) = change(pair.admin, "POST", &rotate, Some(&json!({"overlap": "1h"})));
    assert_eq!(status, 201, "{told}");
    let next = told["key"].as_str().unwrap().to_owned();
    assert_eq!((chat(&pair, &shown), chat(&pair, &next)), (200, 200));
    assert_eq!((&told["lineage"], &told["replaces"]["id"]), (&json!(id_of(&shown)), &json!(id_of(&shown))));
    let (status, told) = change(pair.admin, "POST", &rotate, None);
    assert_eq!((status, told["error"]["code"].as_str()), (409, Some("key_conflict")));
    // Revoked: at once, for good, and twice is once.
    let path = format!("/{}", id_of(&shown));
    for _ in 0..2 {
        let (status, told) = change(pair.admin, "DELETE", &path, Some(&json!({"why": "leaked"})));
        assert_eq!((status, told["revoked"].is_string()), (200, true));
        assert_eq!((chat(&pair, &shown), chat(&pair, &next)), (401, 200));
    }
    // One of the configuration too: that names it yet.
    let path = format!("/{}", id_of(&pair.key));
    assert_eq!(change(pair.admin, "DELETE", &path, None).0, 200);
    assert_eq!(chat(&pair, &pair.key), 401);
    assert!(std::fs::read_to_string(pair.config_path()).unwrap().contains(id_of(&pair.key)));
    assert_eq!(change(pair.admin, "DELETE", "/aaaaaaaa", None).0, 404);
    assert_eq!(change(pair.admin, "DELETE", &format!("/{}", *made.text), None).0, 400);
    assert_eq!(change(pair.admin, "PATCH", &path, None).0, 405);
    // What is told of all that, to whoever asks: never a key, and never a digest.
    let (status, all) = change(pair.admin, "GET", "", None);
    assert_eq!(status, 200);
    let stand: Vec<_> = all["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (key["id"].as_str().unwrap(), key["state"].as_str().unwrap()))
        .collect();
    for (key, state) in
        [(&*made.text, "valid"), (&shown, "revoked"), (&next, "valid"), (&pair.key, "revoked")]
    {
        assert!(stand.contains(&(id_of(key), state)), "{stand:?}");
    }
    let (_, events) = command(&pair.config_path(), &["list", "--events"]);
    assert!(
        events.contains(&format!("key {} of team growth revoked: leaked (keys token)", id_of(&shown))),
        "{events}"
    );
    assert!(
        events.contains(&format!("key {} of team growth replaced by {}", id_of(&shown), id_of(&next))),
        "{events}"
    );
    let metrics = get(pair.admin, "/metrics").1;
    assert_eq!(sample(&metrics, "mavera_gateway_managed_keys{team=\"growth\"}"), 2.0);
    let written = [&events, &metrics, &all.to_string(), &pair.gateway.output()].map(String::as_str).concat();
    for key in [&*made.text, &shown, &next] {
        assert!(!written.contains(&key[14..40]), "a key is written down");
    }
    let ledger = ["ledger.db", "ledger.db-wal"]
        .map(|name| std::fs::read(pair.folder.path().join(name)).unwrap_or_default())
        .concat();
    for key in [&*made.text, &shown, &next] {
        assert!(
            !ledger.windows(26).any(|window| window == &key.as_bytes()[14..40]),
            "a key is in the ledger"
        );
    }
}

#[test]
fn nobody_changes_keys_without_a_token_for_that_or_an_operators() {
    let issuer = TestIssuer::new("a");
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), issuer.key_set()).unwrap();
    let closed = Pair::start(&PairSetup::default());
    let url = |pair: &Pair| format!("http://{}/admin/v1/keys", pair.admin);
    let code = |(status, told): (u16, Value)| {
        (status, told["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    // Not from this machine either: a page in a browser is on it.
    assert_eq!(code(ask(&url(&closed), "GET", "", None, &[])), (403, "keys_not_enabled".into()));
    assert_eq!(
        code(ask(&url(&closed), "POST", TOKEN, Some("{\"team\":\"growth\"}"), &[])),
        (403, "keys_not_enabled".into())
    );

    let pair = pair("");
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let operators = "[admin]\noperators = [{ id = \"ops-ci\", identity = \"build\", claims = { environment = \"production\" } }]\n";
    let identity = format!(
        "\n[[identity]]\nname = \"build\"\njwt = {{ issuer = \"{ISSUER}\", audience = [\"mavera-gateway\"], jwks_file = '{}' }}\n",
        keys.path().display()
    );
    std::fs::write(pair.config_path(), text.replacen("[admin]\n", operators, 1) + &identity).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    let ask = |bearer: &str, more: &[&str]| code(self::ask(&url(&pair), "GET", bearer, None, more));
    assert_eq!(ask("", &[]), (401, "keys_token_required".into()));
    assert_eq!(ask(&pair.key, &[]), (401, "keys_token_invalid".into()));
    assert_eq!(ask(&TOKEN[1..], &[]), (401, "keys_token_invalid".into()));
    assert_eq!(ask(TOKEN, &["-H", "sec-fetch-site: cross-site"]), (403, "cross_site".into()));
    assert_eq!(ask(TOKEN, &["-H", "sec-fetch-site: same-site"]), (403, "cross_site".into()));
    assert_eq!(ask(TOKEN, &["-H", "sec-fetch-site: same-origin"]).0, 200);
    #[expect(clippy::disallowed_methods, reason = "a real token for a real process")]
    let now = jiff::Timestamp::now();
    assert_eq!(
        ask(&issuer.token(now, &json!({"environment": "staging"})), &[]),
        (403, "identity_not_allowed".into())
    );
    assert_eq!(ask(&TestIssuer::new("a").token(now, &json!({"environment": "production"})), &[]).0, 401);
    let operator = issuer.token(now, &json!({"environment": "production"}));
    assert_eq!(ask(&operator, &[]).0, 200);
    let (status, told) = self::ask(&url(&pair), "POST", &operator, Some("{\"team\":\"growth\"}"), &[]);
    assert_eq!(status, 201);
    let (_, events) = command(&pair.config_path(), &["list", "--events"]);
    assert!(
        events.contains(&format!(
            "key {} of team growth added (operator ops-ci)",
            told["id"].as_str().unwrap()
        )),
        "{events}"
    );
    // An operator is no caller.
    assert_eq!(chat(&pair, &operator), 403);
}

#[test]
fn the_command_line_changes_keys_of_a_running_gateway_and_of_one_that_stands() {
    let mut pair = pair("");
    let config = pair.config_path();
    let (code, said) = command(&config, &["add", "--team", "growth", "--expires", "90d"]);
    assert_eq!(code, 0, "{said}");
    let key = said.lines().next().unwrap().to_owned();
    assert!(key.starts_with("mvgw_") && said.contains("is registered, until"), "{said}");
    until(&pair, &key, 200);
    let made = NewKey::generate().unwrap();
    let by_digest = ["rotate", id_of(&key), "--id", &made.id, "--sha256", &made.sha256];
    for _ in 0..2 {
        let (code, said) = command(&config, &by_digest);
        assert!(
            code == 0 && said.contains(&format!("Key {} takes the place of {}, until", made.id, id_of(&key))),
            "{said}"
        );
        assert!(!said.contains("mvgw_"));
    }
    until(&pair, &made.text, 200);
    let (code, said) = command(&config, &["revoke", id_of(&key), "--why", "laptop lost"]);
    assert!(code == 0 && said.contains("is revoked"), "{said}");
    until(&pair, &key, 401);
    assert_eq!(chat(&pair, &made.text), 200);
    // A gateway that stands: what is revoked is never let in by the one that starts.
    pair.stop();
    assert_eq!(command(&config, &["revoke", &made.id]).0, 0);
    assert_eq!(command(&config, &["revoke", id_of(&pair.key)]).0, 0);
    pair.start_again();
    assert_eq!((chat(&pair, &made.text), chat(&pair, &pair.key)), (401, 401));
    let (_, listed) = command(&config, &["list"]);
    for id in [id_of(&key), &made.id, id_of(&pair.key)] {
        let line = listed.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(line.contains("growth") && line.contains("revoked"), "{line}");
    }
    for (arguments, why) in [
        (&["revoke", "zzzzzzzz"] as &[&str], "there is no key \"zzzzzzzz\""),
        (&["revoke", "mvgw_zzzzzzzz_plainly-fake"], "the part of the key behind `mvgw_`"),
        (&["rotate", id_of(&key)], "cannot be replaced"),
        (&["add", "--team", "nobody"], "there is no team \"nobody\""),
        (&["add", "--team", "growth", "--id", &made.id, "--sha256", &made.sha256], "one that was revoked"),
        (&["add", "--team", "growth", "--expires", "0s"], "not a time to come"),
    ] {
        let (code, said) = command(&config, arguments);
        assert!(code == 64 && said.contains(why) && !said.contains("plainly-fake"), "{arguments:?}: {said}");
    }
    let (code, said) = {
        let output = binary().arg("credits").arg("verify").arg("--config").arg(&config).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_team_replaces_its_own_key_where_it_may_and_loses_no_call() {
    let other = NewKey::generate().unwrap();
    let pair =
        pair(&format!("self_service_keys = true\n{}", crate::support::process::team("search", &other)));
    let url = pair.url("/gateway/v1/keys/rotate");
    let rotate = |key: &str, body: Option<&Value>| {
        let body = body.map(Value::to_string);
        ask(&url, "POST", key, body.as_deref(), &[])
    };
    let (status, told) = rotate(&other.text, None);
    assert_eq!((status, told["error"]["code"].as_str()), (403, Some("route_not_allowed")));
    assert!(told["error"]["message"].as_str().unwrap().contains("self_service_keys"));
    // Registered by digest: asked twice, it is done once, and no secret crosses the wire.
    let next = NewKey::generate().unwrap();
    let body = json!({"id": next.id, "sha256": next.sha256, "overlap": "2s"});
    let (status, told) = rotate(&pair.key, Some(&body));
    assert_eq!((status, told.get("key")), (201, None), "{told}");
    assert_eq!(rotate(&pair.key, Some(&body)), (200, told));
    assert_eq!((chat(&pair, &pair.key), chat(&pair, &next.text)), (200, 200));
    for (key, body, status, code) in [
        (&*next.text, None, 409, "key_not_replaced"),
        (&*next.text, Some(json!({"id": "short"})), 400, "missing_field"),
        (&*next.text, Some(json!({"id": "short", "sha256": next.sha256})), 400, "invalid_field"),
        (&*next.text, Some(json!({"overlap": "60d"})), 400, "invalid_field"),
        (&*next.text, Some(json!({"team": "search"})), 400, "invalid_json"),
    ] {
        let (got, told) = rotate(key, body.as_ref());
        assert_eq!((got, told["error"]["code"].as_str()), (status, Some(code)), "{body:?}: {told}");
    }
    // The old one ends by itself.
    until(&pair, &pair.key, 401);
    let (status, told) = rotate(&next.text, None);
    assert_eq!(status, 201, "{told}");
    let third = told["key"].as_str().unwrap();
    assert_eq!((chat(&pair, &next.text), chat(&pair, third)), (200, 200));
    let (_, events) = command(&pair.config_path(), &["list", "--events"]);
    assert!(events.contains(&format!("replaced by {} (key {})", id_of(third), next.id)), "{events}");
}

#[test]
fn a_key_that_is_revoked_under_load_is_accepted_no_second_longer_and_a_rotation_loses_no_call() {
    let pair = pair("");
    let keys: Vec<_> = (0..20).map(|_| NewKey::generate().unwrap()).collect();
    for key in &keys {
        let body = json!({"team": "growth", "sha256": key.sha256});
        assert_eq!(change(pair.admin, "PUT", &format!("/{}", key.id), Some(&body)).0, 201);
    }
    let (config, url) = (pair.config_path(), pair.url(&chat_path()));
    let done = std::sync::atomic::AtomicBool::new(false);
    let loaded = NewKey::generate().unwrap();
    let body = json!({"team": "growth", "sha256": loaded.sha256});
    assert_eq!(change(pair.admin, "PUT", &format!("/{}", loaded.id), Some(&body)).0, 201);
    std::thread::scope(|scope| {
        // Calls all the while, with a key that is replaced meanwhile.
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(ask(&url, "POST", &loaded.text, Some(&chat_body(false, "")), &[]).0, 200);
                }
            });
        }
        assert_eq!(command(&config, &["rotate", &loaded.id, "--overlap", "1h"]).0, 0);
        for key in &keys {
            // By another process, as on another machine: nobody tells the gateway.
            assert_eq!(command(&config, &["revoke", &key.id]).0, 0);
        }
        for key in &keys {
            until(&pair, &key.text, 401);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let metrics = get(pair.admin, "/metrics").1;
    let within = |bound: &str| {
        sample(&metrics, &format!("mavera_gateway_key_revocation_seconds_bucket{{le=\"{bound}\"}}"))
    };
    assert_eq!((within("1"), within("+Inf")), (20.0, 20.0), "{metrics}");
}

#[test]
fn a_line_that_is_taken_out_ends_its_key_also_where_that_was_replaced() {
    let pair = pair("");
    assert_eq!(command(&pair.config_path(), &["rotate", id_of(&pair.key), "--overlap", "30d"]).0, 0);
    assert_eq!(chat(&pair, &pair.key), 200);
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let line = text.lines().find(|line| line.starts_with("keys = ")).unwrap();
    std::fs::write(pair.config_path(), text.replace(line, "keys = []")).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    assert_eq!(chat(&pair, &pair.key), 401);
}

#[test]
fn a_key_with_a_budget_of_its_own_is_not_replaced_by_one_without() {
    let mut pair = Pair::start(&PairSetup::default());
    pair.stop();
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let with = text.replacen(
        "\" }]\n",
        "\", budget = { credits = 9, period = \"day\" } }]\nself_service_keys = true\n",
        1,
    );
    std::fs::write(pair.config_path(), with).unwrap();
    pair.start_again();
    let (status, told) = ask(&pair.url("/gateway/v1/keys/rotate"), "POST", &pair.key, None, &[]);
    assert_eq!((status, told["error"]["code"].as_str()), (409, Some("key_not_replaced")), "{told}");
    let (code, said) = command(&pair.config_path(), &["rotate", id_of(&pair.key)]);
    assert!(code == 64 && said.contains("a budget of its own"), "{said}");
}

#[test]
fn a_new_key_works_for_as_long_as_it_may_and_its_successor_for_as_long_as_it_was_made_for() {
    let pair = Pair::start(&PairSetup {
        team: "[keys]\nmax_lifetime = \"10d\"\noverlap = \"0s\"\n",
        ..PairSetup::default()
    });
    let config = pair.config_path();
    let days_left = |key: &str| {
        let (_, listed) = command(&config, &["list"]);
        let line = listed.lines().find(|line| line.starts_with(key)).unwrap();
        let until: jiff::Timestamp = line.split_whitespace().last().unwrap().parse().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a real process has real time")]
        let left = until.duration_since(jiff::Timestamp::now()).as_hours();
        (left + 12) / 24
    };
    let made = |arguments: &[&str]| {
        let (code, said) = command(&config, arguments);
        assert_eq!(code, 0, "{said}");
        id_of(said.lines().next().unwrap()).to_owned()
    };
    assert_eq!(days_left(&made(&["add", "--team", "growth"])), 10);
    let short = made(&["add", "--team", "growth", "--expires", "4d"]);
    let next = made(&["rotate", &short, "--overlap", "1h"]);
    assert_eq!((days_left(&short), days_left(&next)), (0, 4));
    // Of one that was cut short by its replacement, for as long as it was made for at first.
    assert_eq!(command(&config, &["revoke", &next]).0, 0);
    assert_eq!(days_left(&made(&["rotate", &short])), 4);
    let (code, said) = command(&config, &["add", "--team", "growth", "--expires", "11d"]);
    assert!(code == 64 && said.contains("keys.max_lifetime"), "{said}");
    let (code, said) = command(&config, &["revoke", &next, "--why", "two\nlines"]);
    assert!(code == 64 && said.contains("one line"), "{said}");
    let (code, said) = command(&config, &["add", "--team", "mvgw_plainly_fake"]);
    assert!(code == 64 && !said.contains("plainly"), "{said}");
    // What `check` and `whoami` say goes by the ledger too.
    let check = binary().arg("check").arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.contains(": `key rotate "), "{said}");
    let token = pair.folder.path().join("token");
    std::fs::write(&token, &pair.key).unwrap();
    let whoami = || {
        let output = binary()
            .arg("whoami")
            .arg("--config")
            .arg(&config)
            .arg("--token-file")
            .arg(&token)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    assert_eq!(whoami(), (Some(0), format!("Key {} of team growth.\n", id_of(&pair.key))));
    assert_eq!(command(&config, &["revoke", id_of(&pair.key)]).0, 0);
    let (code, said) = whoami();
    assert!(code == Some(1) && said.contains("Not valid"), "{said}");
    let check = binary().arg("check").arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.contains("was revoked in the ledger, and is refused: take its line out"), "{said}");
}

#[test]
fn the_same_key_registered_twice_at_once_is_one_key() {
    let pair = pair("[keys]\nmax_lifetime = \"10d\"\n");
    let made = NewKey::generate().unwrap();
    let (url, body) = (
        format!("http://{}/admin/v1/keys/{}", pair.admin, made.id),
        json!({"team": "growth", "sha256": made.sha256}).to_string(),
    );
    let answers = std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..8).map(|_| scope.spawn(|| ask(&url, "PUT", TOKEN, Some(&body), &[]))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1, "{answers:?}");
    assert!(
        answers.iter().all(|(status, told)| matches!(status, 200 | 201) && *told == answers[0].1),
        "{answers:?}"
    );
}
