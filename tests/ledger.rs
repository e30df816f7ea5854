//! The ledger: durable before sending, exact after kill -9, closed for money when it cannot write, and plain to
//! read.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mavera_gateway::books::open::Books;
use mavera_gateway::clock::Clock;
use mavera_gateway::config::parse;
use mavera_gateway::key::NewKey;
use mavera_gateway::ledger::counts::Counts;
use mavera_gateway::metrics::Metrics;
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::http::{chat, chat_request, send};
use crate::support::process::{
    PATIENCE, Pair, PairSetup, Process, binary, config, get, start_gateway, start_simulator,
    start_simulator_with, team,
};
use crate::support::{CANARY, chat_body, checker};

/// Runs a `credits` command on a configuration.
/// `credits` with these arguments: its exit status, and what it says.
pub fn credits(config: &Path, arguments: &[&str]) -> (i32, String) {
    let output = binary().arg("credits").args(arguments).arg("--config").arg(config).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

/// Gives the team a budget of one credit a month.
pub fn allow_one_credit(pair: &Pair) {
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let text = text.replace("[[team]]", "[credits]\nreserve = 1\nwait = \"0s\"\n[[team]]")
        + "budget = { credits = 1, period = \"month\" }\n";
    std::fs::write(pair.config_path(), text).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
}

fn report(config: &Path, by: &str) -> Value {
    let (code, said) = credits(config, &["report", "--by", by, "--format", "json"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Every sample of a metric, by its labels.
fn samples(admin: std::net::SocketAddr, metric: &str) -> HashMap<String, f64> {
    let metrics = get(admin, "/metrics").1;
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(metric)?.rsplit_once(' '));
    lines.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

/// Waits until every call has ended, and that is durable.
async fn ended(pair: &Pair) {
    while samples(pair.admin, "mavera_gateway_ledger_open_holds").values().any(|open| *open > 0.0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the database has it, too.
async fn settled(pair: &Pair) {
    ended(pair).await;
    let path = pair.config_path();
    let config = parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    tokio::task::block_in_place(|| mavera_gateway::ledger::home::catch_up(&config.ledger).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_counters_and_the_upstreams_bill_agree_also_over_a_restart() {
    let mut pair = Pair::start(&PairSetup::default());
    for n in 0..20 {
        chat(pair.address, &pair.key, chat_body(n % 2 == 0, if n % 5 == 0 { "usage=absent" } else { "" }))
            .await
            .unwrap();
    }
    settled(&pair).await;
    let config = pair.config_path();
    let before = samples(pair.admin, "mavera_gateway_credits_used_total");
    let billed: u64 = pair.books()["charged"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let total = &report(&config, "team")["total"];
    let (booked, doubt) = (total["credits"].as_u64().unwrap(), total["in_doubt"].as_u64().unwrap());
    assert_eq!((total["calls"].as_u64(), doubt), (Some(20), 4 * 5), "four calls told no figure");
    assert!(booked - doubt <= billed && billed <= booked, "settled ≤ billed ≤ settled + in doubt");
    assert_eq!(booked as f64, before.values().sum::<f64>());

    pair.gateway.signal("KILL");
    pair.gateway.wait();
    let (gateway, _, admin) = start_gateway(&config);
    let after = samples(admin, "mavera_gateway_credits_used_total");
    assert_eq!(before, after, "no credit counter fell");
    assert_eq!(after.values().sum::<f64>(), report(&config, "day")["total"]["credits"].as_f64().unwrap());
    for by in ["team", "route", "key", "day", "outcome"] {
        for format in ["table", "csv", "json"] {
            let (code, said) = credits(&config, &["report", "--by", by, "--format", format]);
            assert!(code == 0 && said.contains(&booked.to_string()), "{by} {format}: {said}");
        }
    }
    let (code, said) =
        credits(&config, &["report", "--since", "2020-01-01", "--until", "2020-12-31", "--format", "csv"]);
    assert_eq!((code, said.lines().count()), (0, 1), "nothing was spent then: {said}");
    let (code, said) = credits(&config, &["verify"]);
    assert_eq!(code, 0, "{said}");
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_open_holds_are_booked_in_doubt_and_listed() {
    let mut pair = Pair::start(&PairSetup::default());
    let (address, key) = (pair.address, pair.key.clone());
    let hanging = tokio::spawn(async move { chat(address, &key, chat_body(true, "pace=60s")).await });
    while samples(pair.admin, "mavera_gateway_ledger_open_holds").values().all(|open| *open < 1.0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pair.gateway.signal("KILL");
    pair.gateway.wait();
    assert!(hanging.await.unwrap().is_err());
    let (gateway, address, _) = start_gateway(&pair.config_path());
    assert!(gateway.output().contains("a call was in flight when the gateway ended"), "{}", gateway.output());
    let total = &report(&pair.config_path(), "outcome")["lines"][0];
    assert_eq!((total["name"].as_str(), total["in_doubt"].as_u64()), (Some("crashed"), Some(5)));
    assert_eq!(chat(address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_doubt_that_no_list_knows_is_settled_by_its_request() {
    let mut pair = Pair::start(&PairSetup {
        team: "budget = { credits = 100, period = \"month\" }\n",
        ..PairSetup::default()
    });
    let (address, key) = (pair.address, pair.key.clone());
    let hanging: Vec<_> = (0..3)
        .map(|_| {
            let key = key.clone();
            tokio::spawn(async move { chat(address, &key, chat_body(true, "pace=60s")).await })
        })
        .collect();
    while samples(pair.admin, "mavera_gateway_ledger_open_holds").values().all(|open| *open < 3.0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pair.gateway.signal("KILL");
    pair.gateway.wait();
    for call in hanging {
        assert!(call.await.unwrap().is_err());
    }
    pair.start_again();
    let config = pair.config_path();
    let (code, said) = credits(&config, &["settle"]);
    assert!(code == 0 && said.contains("15 credits are booked in doubt."), "{said}");
    let ids: Vec<_> =
        said.lines().filter(|line| line.contains("(crash)")).map(|line| line[..36].to_owned()).collect();
    assert_eq!(ids.len(), 3, "{said}");
    for (id, figure, left) in [(&ids[0], "2", "10"), (&ids[1], "0", "5"), (&ids[2], "4.5", "0")] {
        let (code, said) =
            credits(&config, &["settle", "--request", id, "--credits", figure, "--why", "their list"]);
        assert!(
            code == 0 && said.contains(&format!("is settled at {figure} credits, where 5 were")),
            "{said}"
        );
        assert!(said.contains(&format!("\n{left} credits are booked in doubt.")), "{said}");
    }
    // A running gateway takes it up.
    let used = |credits: f64| {
        samples(pair.admin, "mavera_gateway_budget_used_credits").values().any(|used| *used == credits)
    };
    while !used(6.5) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(report(&config, "team")["total"]["in_doubt"], 0);
    assert_eq!(credits(&config, &["verify"]).0, 0);
    for (arguments, why) in [
        (&["settle", "--request", &ids[0], "--credits", "3", "--why", "again"] as &[&str], "is in doubt"),
        (&["settle", "--request", "nobody", "--credits", "3", "--why", "x"], "is in doubt"),
        (&["settle", "--request", &ids[0], "--credits", "-3", "--why", "x"], "unexpected argument"),
        (&["settle", "--request", &ids[0], "--credits", "many", "--why", "x"], "not an amount"),
        (&["settle", "--request", &ids[0]], "--credits"),
    ] {
        let (code, said) = credits(&config, arguments);
        assert!(code == 64 && said.contains(why), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_somebody_has_locked_stops_nobody_and_catches_up() {
    let mut pair = Pair::start(&PairSetup::default());
    assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
    settled(&pair).await;
    // Another process holds the write lock for longer than the gateway waits for it.
    let blocker = Connection::open(pair.folder.path().join("ledger.db")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..50 {
        assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
    }
    let told =
        pair.gateway.wait_for_message("the ledger's database cannot be written; entries wait in the journal");
    assert!(told["error"].as_str().unwrap().contains("locked"), "{told}");
    let unmerged = samples(pair.admin, "mavera_gateway_ledger_unmerged_bytes")[""];
    assert!(unmerged > 50.0 * 100.0, "what waits behind what is tried counts too: {unmerged}");
    assert_eq!(get(pair.admin, "/readyz").0, 200, "what is promised stands in the journal");
    // What only the journal has survives the process.
    ended(&pair).await;
    pair.gateway.signal("KILL");
    pair.gateway.wait();
    blocker.execute_batch("ROLLBACK").unwrap();
    assert_eq!(
        report(&pair.config_path(), "team")["total"]["calls"],
        51,
        "reading takes the journal up first"
    );
    let (_gateway, _, admin) = start_gateway(&pair.config_path());
    assert_eq!(samples(admin, "mavera_gateway_credits_used_total").values().sum::<f64>(), 51.0);
    assert_eq!(credits(&pair.config_path(), &["verify"]).0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_cannot_write_forwards_nothing_and_recovers_without_a_restart() {
    for durability in ["os", "fsync"] {
        let (_simulator, simulator_address) = start_simulator("");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        std::fs::write(folder.path().join("key"), CANARY).unwrap();
        let key = NewKey::generate().unwrap();
        let base_url = format!("base_url = \"http://{simulator_address}/api/v1\"");
        let text = config(folder.path(), &PairSetup::default(), &base_url, &team("growth", &key));
        let text = text.replace("durability = \"os\"", &format!("durability = \"{durability}\""));
        assert!(text.contains(durability), "{text}");
        std::fs::write(&path, text).unwrap();
        // The limit is soft, and its signal is ignored, as a full disk sends none.
        let mut shell = std::process::Command::new("bash");
        shell.args([
            "-c",
            "trap '' XFSZ; exec \"$0\" serve --config \"$1\"",
            binary().get_program().to_str().unwrap(),
        ]);
        let gateway = Process::start(shell.arg(&path));
        let serving = gateway.wait_for_message("serving");
        let [address, admin] =
            ["listen", "admin"].map(|name| serving[name].as_str().unwrap().parse().unwrap());
        let no_file_may_grow_past = |bytes: &str| {
            let limit = format!("--fsize={bytes}:");
            let limits = ["--pid", &gateway.id().to_string(), &limit];
            assert!(std::process::Command::new("prlimit").args(limits).status().unwrap().success());
        };
        no_file_may_grow_past("4096");
        let mut served = 0;
        let refused = loop {
            let outcome = chat(address, &key.text, chat_body(false, "")).await.unwrap();
            if outcome.status != 200 {
                break outcome;
            }
            served += 1;
            assert!(served < 1000, "the disk never got full");
        };
        let books: Value = serde_json::from_str(&get(simulator_address, "/sim/books").1).unwrap();
        assert_eq!(books["received"].as_array().unwrap().len(), served, "nothing is sent unrecorded");
        assert!(served > 1, "the disk was full at once");
        assert_eq!(refused.status, 503);
        let error: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(error["error"]["code"], "ledger_unavailable");
        // Nothing at all from now on: the journal's other file may have had room for what waits.
        no_file_may_grow_past("1");
        let many: Vec<_> = (0..50)
            .map(|_| {
                let key = key.text.to_string();
                tokio::spawn(async move { chat(address, &key, chat_body(false, "")).await.unwrap().status })
            })
            .collect();
        for call in many {
            assert_eq!(call.await.unwrap(), 503, "every one is refused, none is left hanging");
        }
        gateway.wait_for_message("the ledger cannot be written: nothing is forwarded until it can");
        assert_eq!(samples(admin, "mavera_gateway_ledger_closed")[""], 1.0);
        assert_eq!(get(admin, "/readyz"), (503, "the ledger cannot be written\n".into()));
        assert_eq!(get(admin, "/livez").0, 200, "a restart would mend nothing");
        no_file_may_grow_past("unlimited");
        // By itself: nobody calls a gateway that says it is not ready.
        while get(admin, "/readyz").0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(chat(address, &key.text, chat_body(false, "")).await.unwrap().status, 200);
        gateway.signal("TERM");
        gateway.wait_for_message("stopped");
        drop(gateway);
        checker::check(&folder.path().join("ledger.db"), &checker::Budgets::default());
        assert_eq!(credits(&path, &["verify"]).0, 0);
        let total = &report(&path, "outcome")["total"];
        assert_eq!(total["in_doubt"], 0, "what was answered while the disk was full is booked");
        assert_eq!(total["calls"], served + 1);
    }
}

#[test]
fn a_ledger_that_is_not_one_is_refused_in_clear_words_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("key"), CANARY).unwrap();
    let text = config(folder.path(), &PairSetup::default(), "base_url = \"http://127.0.0.1:1/api/v1\"", "");
    std::fs::write(path("gateway.toml"), text).unwrap();
    let starts = || {
        let output = binary().arg("serve").arg("--config").arg(path("gateway.toml")).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    std::fs::write(path("ledger.db"), "this is not a database, whatever its name says".repeat(100)).unwrap();
    let (code, said) = starts();
    assert!(code == 1 && said.contains("is damaged"), "{said}");
    std::fs::remove_file(path("ledger.db")).unwrap();
    Connection::open(path("ledger.db")).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let (code, said) = starts();
    assert!(code == 1 && said.contains("not a ledger of this program"), "{said}");
    std::fs::remove_file(path("ledger.db")).unwrap();
    let newer = Connection::open(path("ledger.db")).unwrap();
    newer
        .execute_batch(
            "CREATE TABLE entries (x); PRAGMA user_version = 99; PRAGMA application_id = 0x4d764777",
        )
        .unwrap();
    drop(newer);
    let (code, said) = starts();
    assert!(code == 1 && said.contains("written by a newer version (schema 99"), "{said}");
}

#[test]
fn two_gateways_do_not_share_a_ledger() {
    let pair = Pair::start(&PairSetup::default());
    let output = binary().arg("serve").arg("--config").arg(pair.config_path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("in use by another gateway"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_from_the_command_line_is_in_force_within_two_seconds() {
    let pair = Pair::start(&PairSetup::default());
    allow_one_credit(&pair);
    assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
    assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 402);
    for wrong in [
        ["--team", "nobody", "--credits", "2", "--until", "2099-12-31"],
        ["--team", "growth", "--credits", "-2", "--until", "2099-12-31"],
        ["--team", "growth", "--credits", "2", "--until", "2020-12-31"],
        ["--team", "organisation", "--credits", "2", "--until", "2099-12-31"],
    ] {
        let (code, said) = credits(&pair.config_path(), &[&["grant", "--why", "x"][..], &wrong].concat());
        assert_eq!(code, 64, "{wrong:?}: {said}");
    }
    let grant =
        ["grant", "--team", "growth", "--credits", "2", "--until", "2099-12-31", "--why", "launch week"];
    assert_eq!(credits(&pair.config_path(), &grant).0, 0);
    let began = std::time::Instant::now();
    while chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status != 200 {
        assert!(began.elapsed() < PATIENCE, "a grant is not in force");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let by_hand = Connection::open(pair.folder.path().join("ledger.db")).unwrap();
    let why: String =
        by_hand.query_row("SELECT why FROM grants WHERE team = 'growth'", [], |row| row.get(0)).unwrap();
    assert_eq!(why, "launch week");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstreams_list_of_charges_is_reconciled_by_id() {
    let pair = Pair::start(&PairSetup::default());
    for _ in 0..4 {
        chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    }
    settled(&pair).await;
    let received = pair.books()["received"].as_array().unwrap().clone();
    let line = |index: usize, credits: u64| {
        format!("{},{credits}\n", received[index]["response_id"].as_str().unwrap())
    };
    let csv = pair.folder.path().join("charges.csv");
    let reconcile = |text: String| {
        std::fs::write(&csv, text).unwrap();
        credits(&pair.config_path(), &["reconcile", "--csv", csv.to_str().unwrap()])
    };
    let (code, said) =
        reconcile(format!("id,credits\n{}{}{}{}", line(0, 1), line(1, 1), line(2, 1), line(3, 1)));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("4 match, 0 differ, 0 are missing here, 0 are missing upstream"), "{said}");
    let (code, said) = reconcile(format!("{}{}resp_of_somebody_else,7\n", line(0, 1), line(1, 3)));
    assert_eq!(code, 1);
    assert!(said.contains("1 match, 1 differ, 1 are missing here, 2 are missing upstream"), "{said}");
    assert!(
        said.contains("upstream 3, ledger 1") && said.contains("missing  resp_of_somebody_else"),
        "{said}"
    );
    // Booked at their figures, they agree.
    let theirs = format!("{}{}{}{}", line(0, 1), line(1, 3), line(2, 1), line(3, 1));
    std::fs::write(&csv, theirs).unwrap();
    let book = ["reconcile", "--book", "--csv", csv.to_str().unwrap()];
    let (code, said) = credits(&pair.config_path(), &book);
    assert!(code == 0 && said.contains("1 call is booked at the upstream's figures now"), "{said}");
    assert_eq!(report(&pair.config_path(), "team")["total"]["credits"], 6);
    assert_eq!(credits(&pair.config_path(), &["verify"]).0, 0);
    assert_eq!(credits(&pair.config_path(), &book).1.matches("4 match").count(), 1, "and only once");
    // A list may come by a pipe, where no file can be put.
    let piped = std::process::Command::new("sh")
        .args(["-c", "printf 'resp_of_somebody_else,7\n' | \"$0\" credits reconcile --csv - --config \"$1\""])
        .arg(binary().get_program())
        .arg(pair.config_path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(said.contains("missing  resp_of_somebody_else"), "{said}");
    // Whoever reads what it says may stop; what was asked for is done.
    let theirs = format!("{}{}", line(0, 2), line(1, 3));
    std::fs::write(&csv, theirs).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let unread = binary()
        .args(["credits", "reconcile", "--book", "--csv", csv.to_str().unwrap(), "--config"])
        .arg(pair.config_path())
        .stdout(writer)
        .output()
        .unwrap();
    assert!(unread.status.success() && unread.stderr.is_empty(), "{unread:?}");
    assert_eq!(report(&pair.config_path(), "team")["total"]["credits"], 7);
    let (code, said) = reconcile("id,credits\nresp_x\n".into());
    assert!(code == 64 && said.contains("charges.csv:2"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubt_goes_to_zero_by_reconciliation() {
    let mut pair = Pair::start(&PairSetup::default());
    chat(pair.address, &pair.key, chat_body(true, "usage=absent")).await.unwrap();
    settled(&pair).await;
    assert_eq!(report(&pair.config_path(), "team")["total"]["in_doubt"], 5);
    let (code, said) = credits(&pair.config_path(), &["reconcile"]);
    assert_eq!(code, 0, "five in doubt explain a bill of one: {said}");
    let books = pair.books();
    let chats =
        books["received"].as_array().unwrap().iter().filter(|received| !received["response_id"].is_null());
    let list: Vec<_> =
        chats.map(|chat| format!("{},{}", chat["response_id"].as_str().unwrap(), chat["charged"])).collect();
    let csv = pair.folder.path().join("charges.csv");
    std::fs::write(&csv, list.join("\n")).unwrap();
    let (code, said) = credits(&pair.config_path(), &["reconcile", "--book", "--csv", csv.to_str().unwrap()]);
    assert!(code == 0 && said.contains("0 credits are booked in doubt"), "{said}");
    let total = &report(&pair.config_path(), "team")["total"];
    assert_eq!((total["credits"].as_u64(), total["in_doubt"].as_u64()), (Some(1), Some(0)));
    assert_eq!(credits(&pair.config_path(), &["verify"]).0, 0);
    // A correction is no reason for a counter to fall: what was counted stays counted.
    let before = samples(pair.admin, "mavera_gateway_credits_used_total");
    pair.gateway.signal("KILL");
    pair.gateway.wait();
    let (_gateway, _, admin) = start_gateway(&pair.config_path());
    assert_eq!(samples(admin, "mavera_gateway_credits_used_total"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstreams_usage_is_read_while_serving_and_drift_is_exported() {
    let pair = Pair::start(&PairSetup { reads_usage: true, ..PairSetup::default() });
    for _ in 0..3 {
        chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    }
    let pool = || samples(pair.admin, "mavera_gateway_upstream_pool_credits");
    while pool().get("{kind=\"api_used\"}") != Some(&3.0) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((pool()["{kind=\"ours\"}"], pool()["{kind=\"included\"}"]), (3.0, 1_000_000.0));
    assert_eq!(samples(pair.admin, "mavera_gateway_upstream_drift_credits")[""], 0.0);
    // Somebody spends with the key past the gateway.
    chat(pair.simulator_address, CANARY, chat_body(false, "")).await.unwrap();
    while samples(pair.admin, "mavera_gateway_upstream_drift_credits")[""] != 1.0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (code, said) = credits(&pair.config_path(), &["reconcile"]);
    assert!(code == 1 && said.contains("They differ by 1 credits"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_detail_is_exported_and_pruned_without_changing_a_sum() {
    let pair = Pair::start(&PairSetup::default());
    for _ in 0..5 {
        chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    }
    settled(&pair).await;
    // Yesterday's calls, by a hand that takes the lock off first.
    let by_hand = Connection::open(pair.folder.path().join("ledger.db")).unwrap();
    by_hand
        .execute_batch(
            "DROP TRIGGER bookings_are_ended_once; DROP TRIGGER bookings_are_never_edited;
             UPDATE bookings SET day = unixepoch('2026-01-01') / 86400;
             UPDATE day_sums SET day = unixepoch('2026-01-01') / 86400;",
        )
        .unwrap();
    let before = report(&pair.config_path(), "team");
    let export = pair.folder.path().join("old.csv");
    let future = ["prune", "--before", "2999-01-01", "--export", export.to_str().unwrap()];
    assert_eq!(credits(&pair.config_path(), &future).0, 64, "nothing is pruned before it is past");
    let prune = ["prune", "--before", "2026-01-02", "--export", export.to_str().unwrap()];
    let (code, said) = credits(&pair.config_path(), &prune);
    assert!(code == 0 && said.starts_with("4 calls are in"), "all but the latest call: {said}");
    let exported = std::fs::read_to_string(&export).unwrap();
    assert!(exported.starts_with("call,day,held_at,ended_at,team,"), "{exported}");
    let mut lines = csv::Reader::from_reader(exported.as_bytes());
    let amount = |line: &csv::StringRecord| line[11].parse::<f64>().unwrap();
    let lines: Vec<_> = lines.records().map(Result::unwrap).collect();
    assert_eq!(
        (lines.len(), lines.iter().map(amount).sum::<f64>()),
        (4, 4.0),
        "it can be summed: {exported}"
    );
    assert_eq!(report(&pair.config_path(), "team"), before);
    assert_eq!(credits(&pair.config_path(), &["verify"]).0, 0);
    assert_eq!(credits(&pair.config_path(), &prune).0, 64, "an export is never overwritten");
    chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    settled(&pair).await;
    assert_eq!(credits(&pair.config_path(), &["verify"]).0, 0, "numbers go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tampered_ledger_is_found_out() {
    let pair = Pair::start(&PairSetup::default());
    chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    settled(&pair).await;
    let by_hand = Connection::open(pair.folder.path().join("ledger.db")).unwrap();
    let edit = by_hand.execute("UPDATE bookings SET credits = 0 WHERE kind = 1", []);
    assert!(edit.unwrap_err().to_string().contains("never edited"));
    by_hand.execute("UPDATE day_sums SET final = final + 1000000", []).unwrap();
    let (code, said) = credits(&pair.config_path(), &["verify"]);
    assert_eq!(code, 1);
    assert!(said.contains("are 2000000 millionths, the entries say 1000000"), "{said}");
}

/// Callers of two teams that race, leave, and meet every fault, until told to stop.
/// Calls that were made with a key, by the team's key: a third of all calls repeat one of them.
type Made = Arc<Mutex<HashMap<String, Vec<String>>>>;

async fn rage(
    address: std::net::SocketAddr,
    key: String,
    stop: Arc<AtomicBool>,
    mut seed: u64,
    made: Option<Made>,
) {
    const QUIRKS: [&str; 9] = [
        "",
        "pace=2ms",
        "answer=500",
        "answer=reset_before",
        "fault=close",
        "fault=reset",
        "usage=absent",
        "answer=slow_body",
        "fault=failed",
    ];
    while !stop.load(Ordering::Relaxed) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let quirk = QUIRKS[(seed >> 33) as usize % QUIRKS.len()];
        let mut request = chat_request(address, &key, chat_body(seed >> 40 & 1 == 0, quirk));
        // After a 500 a key is free, and its call made again.
        if let Some(made) = made.as_ref().filter(|_| quirk != "answer=500") {
            let mut made = made.lock().unwrap();
            let made = made.entry(key.clone()).or_default();
            let body = if !made.is_empty() && (seed >> 44).is_multiple_of(2) {
                made[(seed >> 20) as usize % made.len()].clone()
            } else {
                // Each is another call, to the byte.
                let call = chat_body(seed >> 40 & 1 == 0, quirk);
                let call = call.replace("viewers", &format!("viewers {seed:016x}"));
                made.push(call.clone());
                call
            };
            let digest = hex::encode(Sha256::digest(&body));
            request = chat_request(address, &key, body);
            request.headers_mut().insert("idempotency-key", digest.parse().unwrap());
        }
        let call = send(address, request);
        if (seed >> 41).is_multiple_of(4) {
            let _ = tokio::time::timeout(Duration::from_millis(seed >> 50 & 15), call).await;
        } else {
            let _ = call.await;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_moved_replaced_or_removed_closes_for_money_until_it_is_back() {
    let pair = Pair::start(&PairSetup::default());
    let ask = async || chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status;
    assert_eq!(ask().await, 200);
    for name in ["ledger.db", "ledger.db.journal-a", "ledger.db.journal-b"] {
        let (path, aside) = (pair.folder.path().join(name), pair.folder.path().join("aside"));
        for replaced in [false, true] {
            std::fs::rename(&path, &aside).unwrap();
            if replaced {
                std::fs::copy(&aside, &path).unwrap();
            }
            while get(pair.admin, "/readyz").0 != 503 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(ask().await, 503, "{name}");
            assert_eq!(samples(pair.admin, "mavera_gateway_ledger_closed").values().sum::<f64>(), 1.0);
            std::fs::rename(&aside, &path).unwrap();
            while get(pair.admin, "/readyz").0 != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(ask().await, 200, "{name}: without a restart");
        }
    }
}

#[test]
fn a_second_gateway_by_a_symbolic_link_is_refused() {
    let pair = Pair::start(&PairSetup::default());
    let link = pair.folder.path().join("link.db");
    std::os::unix::fs::symlink(pair.folder.path().join("ledger.db"), &link).unwrap();
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let second = pair.folder.path().join("second.toml");
    std::fs::write(&second, text.replace("ledger.db'", "link.db'")).unwrap();
    let output = binary().arg("serve").arg("--config").arg(&second).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("in use") || said.contains("another gateway"), "{said}");
}

/// How often the chaos test kills the gateway: a dozen and a half in the suite, a thousand in `make chaos`.
fn rounds() -> usize {
    std::env::var("CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(24)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_never_loses_a_credit() {
    chaos(rounds(), &PairSetup::default(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_with_a_third_of_the_calls_repeated_charges_each_once() {
    let made = Made::default();
    let books = chaos(rounds() / 2, &PairSetup::default(), Some(Arc::clone(&made))).await;
    let mut asked: HashMap<&str, u32> = HashMap::new();
    for received in books["received"].as_array().unwrap() {
        *asked.entry(received["body_sha256"].as_str().unwrap()).or_default() += 1;
    }
    let made = made.lock().unwrap();
    let digests = made.values().flatten().map(|call| hex::encode(Sha256::digest(call)));
    let counts: Vec<u32> = digests.map(|digest| asked.get(&*digest).copied().unwrap_or(0)).collect();
    let sent = counts.iter().filter(|count| **count > 0).count();
    assert!(sent > 20, "only {sent} calls with a key came through");
    assert!(counts.iter().all(|count| *count <= 1), "a call was made twice: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_while_calls_wait_their_turn_never_loses_a_credit() {
    // Beyond a tenth of the window, every twentieth of a second one.
    let upstream = "[queue]\nreserve = 0.9";
    let setup = PairSetup { requests_per_minute: Some(1200), upstream, ..PairSetup::default() };
    chaos(rounds() / 2, &setup, None).await;
}

/// Kills a gateway so many times under load, and holds its ledger against the upstream's books, which it returns.
async fn chaos(rounds: usize, setup: &PairSetup<'_>, made: Option<Made>) -> Value {
    let plan = setup.requests_per_minute.unwrap_or(1_000_000).to_string();
    let (_simulator, simulator_address) = start_simulator_with(&["--requests-per-minute", &plan]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(folder.path().join("key"), CANARY).unwrap();
    let keys = [NewKey::generate().unwrap(), NewKey::generate().unwrap()];
    // One team has plenty, the other races on a budget that it spends before the end.
    let budgets = [("growth", 100_000 * rounds), ("research", 30 * rounds)];
    let teams: Vec<_> = keys
        .iter()
        .zip(budgets)
        .map(|(key, (name, credits))| {
            format!("{}budget = {{ credits = {credits}, period = \"month\" }}\n", team(name, key))
        })
        .collect();
    let teams = format!("[credits]\nwait = \"100ms\"\n\n{}", teams.concat());
    let budgets = checker::Budgets {
        organisation: None,
        teams: budgets
            .map(|(name, credits)| (name.to_owned(), credits.cast_signed() as i64 * 1_000_000))
            .into(),
    };
    let base_url = format!("base_url = \"http://{simulator_address}/api/v1\"");
    std::fs::write(&path, config(folder.path(), setup, &base_url, &teams)).unwrap();
    let books = || -> Value { serde_json::from_str(&get(simulator_address, "/sim/books").1).unwrap() };
    let ledger = folder.path().join("ledger.db");
    let mut gateway: Option<Process> = None;
    for round in 0..rounds {
        let (mut started, address, _) = start_gateway(&path);
        checker::check(&ledger, &budgets);
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..8)
            .map(|n| {
                tokio::spawn(rage(
                    address,
                    keys[n % 2].text.to_string(),
                    Arc::clone(&stop),
                    (round * 8 + n) as u64,
                    made.clone(),
                ))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(60 + (round as u64 * 37) % 120)).await;
        stop.store(true, Ordering::Relaxed);
        started.signal("KILL");
        started.wait();
        for caller in callers {
            caller.await.unwrap();
        }
        gateway = Some(started);
    }
    drop(gateway);
    // Once more, without faults: what was left open is settled.
    let (last, address, admin) = start_gateway(&path);
    assert_eq!(chat(address, &keys[0].text, chat_body(false, "")).await.unwrap().status, 200);
    let racing = chat(address, &keys[1].text, chat_body(false, "")).await.unwrap().status;
    assert!([200, 402].contains(&racing), "{racing}: served, or its budget is spent");
    while samples(admin, "mavera_gateway_ledger_open_holds").values().any(|open| *open > 0.0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    checker::check(&ledger, &budgets);
    let (code, said) = credits(&path, &["verify"]);
    assert_eq!(code, 0, "{said}");

    // Each chat that the upstream saw is in the ledger exactly once, and never settled for less than its bill.
    let connection = Connection::open(&ledger).unwrap();
    let mut statement =
        connection.prepare("SELECT request_id, state, coalesce(credits, 0), basis FROM calls").unwrap();
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, f64>(2)?,
            row.get::<_, Option<String>>(3)?,
        ))
    });
    let mut booked = HashMap::new();
    for (id, state, credits, basis) in rows.unwrap().map(Result::unwrap) {
        assert!(booked.insert(id, (state, credits, basis)).is_none(), "a request id twice");
    }
    let books = books();
    assert_eq!(books["over_window"], 0, "the window is what it was, also over a kill");
    let (mut billed, mut settled, mut doubt, mut seen) = (0.0, 0.0, 0.0, HashSet::new());
    for received in books["received"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| r["target"].as_str().unwrap().ends_with("/chat"))
    {
        let field = |name: &str| {
            received["headers"].as_array().unwrap().iter().find(|field| field[0] == name).unwrap()[1]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let id = field("x-request-id");
        let charged = received["charged"].as_f64().unwrap();
        let (state, credits, basis) =
            booked.get(&id).unwrap_or_else(|| panic!("{id} was sent without a hold"));
        assert!(seen.insert(id.clone()), "{id} was sent twice");
        assert!(*credits >= charged, "{id}: {credits} booked ({state}, {basis:?}), {charged} billed");
        billed += charged;
    }
    for (state, credits, basis) in booked.values() {
        assert_ne!(state, "open");
        match basis.as_deref() {
            Some("final") => settled += credits,
            Some("estimated") => doubt += credits,
            _ => assert_eq!(*credits, 0.0),
        }
    }
    assert!(settled <= billed && billed <= settled + doubt, "{settled} ≤ {billed} ≤ {settled} + {doubt}");
    assert!(seen.len() > rounds * 3, "only {} calls came through", seen.len());
    drop(last);
    books
}

#[test]
fn a_start_reads_sums_and_not_five_million_entries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(folder.path().join("key"), CANARY).unwrap();
    let text = config(folder.path(), &PairSetup::default(), "base_url = \"http://127.0.0.1:1/api/v1\"", "");
    std::fs::write(&path, text).unwrap();
    drop(start_gateway(&path));
    let calls = 2_500_000;
    let connection = Connection::open(folder.path().join("ledger.db")).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF; BEGIN;
             INSERT INTO names (name) VALUES ('growth'), ('k7f3a9c2'), ('video_chat'), ('completed');
             CREATE TEMP TABLE the AS SELECT t.id AS team, k.id AS key, r.id AS route, o.id AS outcome FROM names t, names k, names r, names o
               WHERE t.name = 'growth' AND k.name = 'k7f3a9c2' AND r.name = 'video_chat' AND o.name = 'completed';
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {calls})
             INSERT INTO bookings (call, hold_seq, held_at, day, team, key, member, route, request_id, reserve, replica, end_seq,
                                   ended_at, kind, credits, outcome, sent_at)
               SELECT i, 2 * i - 1, i * 1000000, 20454, team, key, 0, route,
                      '0197f3a0-0000-7000-8000-000000000000', 5000000, 0, 2 * i, i * 1000000 + 1, 1, 3000000,
                      outcome, i * 1000000 FROM n, the;
             UPDATE progress SET last_seq = 2 * {calls};
             UPDATE rolled SET before = -9999999;
             INSERT INTO day_sums (day, team, key, member, route, outcome, calls, final, estimated, input_tokens, output_tokens)
               SELECT 20454, team, key, 0, route, outcome, {calls}, {calls} * 3000000, 0, 0, 0 FROM the;
             -- Ten thousand days of sums, as nobody will ever have.
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
             INSERT INTO day_sums (day, team, key, member, route, outcome, calls, final, estimated, input_tokens, output_tokens)
               SELECT 20454 - i, team, key, 0, route, outcome, 1, 3000000, 0, 0, 0 FROM n, the;
             COMMIT;"
        ))
        .unwrap();
    drop(connection);
    // Work is counted, not time: what the start reads does not grow with the entries, and of the days' sums each is read
    // once ever, by the first start that looks back no further.
    let config = parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
    let open = || {
        let metrics = Metrics::new();
        let counts = Arc::new(Counts::new(&metrics));
        Books::open(&config, Clock::system(), &counts, &metrics).unwrap()
    };
    drop(open());
    let before = bytes_read();
    let books = open();
    let read = bytes_read() - before;
    drop(books);
    let size = std::fs::metadata(folder.path().join("ledger.db")).unwrap().len();
    assert!(size > 200 << 20 && read < 1 << 20, "{read} of {size} bytes were read");
    let (_gateway, _, admin) = start_gateway(&path);
    assert_eq!(
        samples(admin, "mavera_gateway_credits_used_total").values().sum::<f64>(),
        f64::from(calls + 10_000) * 3.0
    );
}

/// Bytes that this thread has read so far, from wherever.
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap()
}
