//! A changed configuration, key or certificate is in force within a second, and no call notices. How long that takes
//! is asked where the clock is ours; real processes are given the time that their machine leaves them.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mavera_gateway::key::NewKey;

use crate::support::http::chat;
use crate::support::process::{PATIENCE, Pair, PairSetup, config, get, start_gateway, start_simulator, team};
use crate::support::rig::{Rig, Setup, sample};
use crate::support::{CANARY, chat_body};

/// Writes a file the way a careful operator does: whole, by renaming.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

/// Calls without pause until told to stop. Returns how many, and what went wrong.
async fn load(
    pair_address: std::net::SocketAddr,
    key: String,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let turn = done.fetch_add(1, Ordering::Relaxed);
        match chat(pair_address, &key, chat_body(turn.is_multiple_of(2), "pace=1ms")).await {
            Ok(outcome) if outcome.status == 200 => {}
            Ok(outcome) => wrong.push(format!("{outcome:?}")),
            Err(error) => wrong.push(error),
        }
    }
    wrong
}

/// Waits until a call with `key` gets `status`.
async fn in_force(address: std::net::SocketAddr, key: &str, status: u16) {
    let began = std::time::Instant::now();
    loop {
        let got = chat(address, key, chat_body(false, "")).await.unwrap().status;
        if got == status {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "still {got}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_rotated_and_teams_come_go_and_change_under_load() {
    const SECOND_KEY: &str = "mvra_live_canary_plainly_fake_0123456789_second";
    let pair = Pair::start(&PairSetup::default());
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(load(pair.address, pair.key.clone(), Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    let original = std::fs::read_to_string(pair.config_path()).unwrap();

    // A team is added.
    let research = NewKey::generate().unwrap();
    in_force(pair.address, &research.text, 401).await;
    replace(&pair.config_path(), &format!("{original}\n{}", team("research", &research)));
    in_force(pair.address, &research.text, 200).await;
    // It is changed: nothing may be asked about but what does not exist.
    replace(
        &pair.config_path(),
        &format!("{original}\n{}analyses = [\"none\"]\n", team("research", &research)),
    );
    in_force(pair.address, &research.text, 403).await;
    // A bad file changes nothing, and is told.
    replace(&pair.config_path(), "[server]\nlisten = 7\n");
    pair.gateway.wait_for_message("configuration refused; the running one is kept");
    assert_eq!(sample(&get(pair.admin, "/metrics").1, "mavera_gateway_config_reload_success"), 0.0);
    in_force(pair.address, &research.text, 403).await;
    // It is removed.
    replace(&pair.config_path(), &original);
    in_force(pair.address, &research.text, 401).await;
    assert_eq!(sample(&get(pair.admin, "/metrics").1, "mavera_gateway_config_reload_success"), 1.0);

    // The organisation's key is rotated: the simulator takes the new one too from here on, by way of a
    // second simulator process that knows only the new one.
    let (other, other_address) = {
        let simulator = crate::support::process::Process::start(crate::support::process::binary().args([
            "sim",
            "--listen",
            "127.0.0.1:0",
            "--key",
            SECOND_KEY,
            "--requests-per-minute",
            "1000000",
            "--credits",
            "1000000",
            "--other-key",
            &format!("live={CANARY}"),
        ]));
        let address = simulator.wait_for(|line| {
            line.split("http://").nth(1)?.split('/').next()?.parse::<std::net::SocketAddr>().ok()
        });
        (simulator, address)
    };
    replace(
        &pair.config_path(),
        &original.replace(&pair.simulator_address.to_string(), &other_address.to_string()),
    );
    let used_key = |index: u64| {
        let books: serde_json::Value = serde_json::from_str(&get(other_address, "/sim/books").1).unwrap();
        books["received"].as_array().unwrap().iter().any(|received| received["key"] == index)
    };
    let wait_until_used = async |index: u64| {
        let began = std::time::Instant::now();
        while !used_key(index) {
            assert!(began.elapsed() < PATIENCE, "key {index} is not in use");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait_until_used(1).await;
    assert!(!used_key(0));
    replace(&pair.folder.path().join("key"), SECOND_KEY);
    wait_until_used(0).await;

    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        let wrong = caller.await.unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    assert!(done.load(Ordering::Relaxed) > 100);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_in_force_within_a_second() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let live = Arc::clone(&rig.gateway.live);
    let watching = tokio::spawn(async move { live.watch().await });
    let text = std::fs::read_to_string(rig.config_path()).unwrap();
    for (more, status) in [("analyses = [\"none\"]\n", 403), ("", 200)] {
        tokio::time::sleep(Duration::from_secs(10)).await;
        replace(&rig.config_path(), &format!("{text}{more}"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), status);
    }
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn a_file_that_lost_every_team_is_refused_unless_that_is_what_it_says() {
    let (rig, _) = Rig::with_simulator(&Setup::default());
    let text = std::fs::read_to_string(rig.config_path()).unwrap();
    let without_teams = text.split_once("[[team]]").unwrap().0;
    for empty in ["", "\n", without_teams] {
        std::fs::write(rig.config_path(), empty).unwrap();
        let refused = rig.gateway.live.reload().unwrap_err().to_string();
        let said = refused.contains("has no [[team]]") && refused.contains("write `team = []`");
        assert!(said || refused.contains("upstream.api_key"), "{refused}");
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    }
    assert_eq!(sample(&rig.metrics(), "mavera_gateway_config_reload_success"), 0.0);
    std::fs::write(rig.config_path(), format!("team = []\n{without_teams}")).unwrap();
    rig.gateway.live.reload().unwrap();
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 401);
    std::fs::write(rig.config_path(), text).unwrap();
    rig.gateway.live.reload().unwrap();
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
}

#[tokio::test]
async fn a_kubernetes_mount_swapped_by_symlink_is_picked_up() {
    let (_simulator, simulator_address) = start_simulator("");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (first, second) = (NewKey::generate().unwrap(), NewKey::generate().unwrap());
    std::fs::write(path("key"), CANARY).unwrap();
    let base_url = format!("base_url = \"http://{simulator_address}/api/v1\"");
    for (version, key) in [("..v1", &first), ("..v2", &second)] {
        std::fs::create_dir(path(version)).unwrap();
        let text = config(folder.path(), &PairSetup::default(), &base_url, &team("growth", key));
        std::fs::write(path(version).join("gateway.toml"), text).unwrap();
    }
    symlink("..v1", path("..data")).unwrap();
    symlink("..data/gateway.toml", path("gateway.toml")).unwrap();
    let (_gateway, address, _) = start_gateway(&path("gateway.toml"));
    in_force(address, &first.text, 200).await;
    symlink("..v2", path("..data_next")).unwrap();
    std::fs::rename(path("..data_next"), path("..data")).unwrap();
    in_force(address, &second.text, 200).await;
    in_force(address, &first.text, 401).await;
}

#[tokio::test]
async fn a_file_that_a_refused_configuration_names_is_waited_for() {
    let pair = Pair::start(&PairSetup::default());
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let (key, later) = (pair.folder.path().join("key"), pair.folder.path().join("later"));
    replace(&pair.config_path(), &text.replace(key.to_str().unwrap(), later.to_str().unwrap()));
    let refused = pair.gateway.wait_for_message("configuration refused; the running one is kept");
    assert!(refused["problem"].as_str().unwrap().contains("cannot read"), "{refused}");
    in_force(pair.address, &pair.key, 200).await;
    std::fs::write(&later, CANARY).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    in_force(pair.address, &pair.key, 200).await;
}

#[tokio::test]
async fn sighup_reloads() {
    let pair = Pair::start(&PairSetup::default());
    pair.gateway.signal("HUP");
    pair.gateway.wait_for_message("configuration reloaded");
    in_force(pair.address, &pair.key, 200).await;
}

#[test]
fn a_budget_that_is_taken_away_has_no_series_any_more() {
    let pair = Pair::start(&PairSetup::default());
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let budget = "mavera_gateway_budget_credits{team=\"growth\"}";
    let has_budget = || get(pair.admin, "/metrics").1.contains(budget);
    for (more, expected) in [("budget = { credits = 7, period = \"day\" }\n", true), ("", false)] {
        replace(&pair.config_path(), &format!("{text}{more}"));
        pair.gateway.wait_for_message("configuration reloaded");
        assert_eq!(has_budget(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_accrued_survives_a_reload() {
    let setup = |team: &str| Setup { team: team.into(), ..Setup::default() };
    let (rig, _) = Rig::with_simulator(&setup("requests_per_minute = 6\nburst = 3\nconcurrency = 1"));
    for _ in 0..2 {
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    }
    let mut sender = rig.connect().await;
    let streaming = sender.send_request(rig.chat(chat_body(true, "pace=1s"))).await.unwrap();
    rig.reconfigure(&setup("requests_per_minute = 6\nburst = 3\nconcurrency = 1"));
    let refused = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!(refused.code(), "rate_limit_exceeded", "the burst is not given anew");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let refused = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!(refused.code(), "concurrency_limit_exceeded", "calls in flight still count");
    assert_eq!(rig.gateway.books.desk.window_used(), 3);
    drop(streaming);
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_keeps_the_configuration_it_began_under() {
    let setup = |upstream: &str| Setup {
        upstream: format!("requests_per_minute = 1000\n{upstream}"),
        ..Setup::default()
    };
    let (rig, _) = Rig::with_simulator(&setup("first_byte_timeout = \"60s\""));
    let mut sender = rig.connect().await;
    let call = tokio::spawn(sender.send_request(rig.chat(chat_body(false, "delay=30s"))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.reconfigure(&setup("first_byte_timeout = \"1s\""));
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(rig.send(rig.chat(chat_body(false, "delay=30s"))).await.status(), 504);
}
