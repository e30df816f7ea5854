//! Commands whose words and effects agree.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use mavera_gateway::config::parse;

use crate::support::CANARY;
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup, binary, get, start_gateway};
use crate::support::rig::sample;

fn run(arguments: &[&str], folder: &Path, text: &str) -> Output {
    std::fs::write(folder.join("gateway.toml"), text).unwrap();
    binary()
        .args(arguments)
        .args(["--config", "gateway.toml"])
        .current_dir(folder)
        .env("MAVERA_API_KEY", CANARY)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn silence_in_a_stream_is_borne_as_long_as_before_its_first_byte() {
    let timeouts = parse(Path::new("f"), "").unwrap().upstream.timeouts;
    assert!(timeouts.idle >= timeouts.first_byte, "{timeouts:?}");
}

#[test]
fn a_command_that_reads_or_corrects_makes_no_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let team = "[credits]\nbudget = { credits = 50, period = \"month\" }\n";
    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    std::fs::write(folder.path().join("list.csv"), "id,1\n").unwrap();
    for arguments in [
        &["credits", "grant", "--team", "organisation", "--credits", "20", "--until", &until, "--why", "x"][..],
        &["credits", "revoke-grant"],
        &["credits", "report"],
        &["credits", "verify"],
        &["credits", "reconcile", "--csv", "list.csv", "--book"],
        &["credits", "prune", "--before", "2020-01-01", "--export", "out.csv"],
        &["credits", "backup", "copy.db"],
        &["check"],
    ] {
        let output = run(arguments, folder.path(), team);
        let expected = if arguments == ["check"] { 0 } else { 64 };
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains("data/ledger.db"), "{arguments:?}: {}", said(&output));
        assert!(!folder.path().join("data").exists(), "{arguments:?}");
    }
}

#[test]
fn what_a_file_names_is_looked_at_whatever_else_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\
[server]
listem = \"127.0.0.1:1\"
tls = { cert = \"cert.pem\", key = 7 }
[upstream]
api_key = { file = \"no-such-key\" }
[credits]
budget = 500
";
    let output = run(&["check"], folder.path(), text);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    for expected in [
        "gateway.toml:2: server.listem: unknown key",
        "gateway.toml:3: server.tls.key: is 7, and has to be",
        "gateway.toml:5: upstream.api_key: cannot read no-such-key",
        "gateway.toml:7: credits.budget: is a number",
    ] {
        assert!(said.contains(expected), "missing: {expected}\nin:\n{said}");
    }
    // What is wrong itself names nothing that could be looked at.
    assert_eq!(said.matches("server.tls.key").count(), 1, "{said}");
}

#[test]
fn a_gateway_that_is_started_elsewhere_has_the_same_ledger() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, "").unwrap();
    let output = binary()
        .args(["check", "--config"])
        .arg(&file)
        .current_dir(elsewhere.path())
        .env("MAVERA_API_KEY", CANARY)
        .output()
        .unwrap();
    let ledger = folder.path().join("data/ledger.db");
    assert!(said(&output).contains(&format!("The ledger is {}", ledger.display())), "{}", said(&output));
}

#[test]
fn check_tries_the_addresses_as_a_start_does() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let with = |listen: &str, admin: &str| {
        let text = format!("[server]\nlisten = \"{listen}\"\n[admin]\nlisten = \"{admin}\"\n");
        run(&["check"], folder.path(), &text)
    };
    let taken = taken.local_addr().unwrap().to_string();
    let output = with(&taken, "127.0.0.1:0");
    assert!(
        output.status.success() && said(&output).contains(&format!("server.listen = \"{taken}\" is in use"))
    );
    let output = with("192.0.2.1:8080", "127.0.0.1:0");
    assert_eq!(output.status.code(), Some(64));
    assert!(said(&output).contains("server.listen: cannot listen on 192.0.2.1:8080"), "{}", said(&output));
    let output = with("127.0.0.1:18999", "127.0.0.1:18999");
    assert!(
        output.status.code() == Some(64) && said(&output).contains("would both connect to 127.0.0.1:18999")
    );
    let output = run(&["check"], folder.path(), "[server]\nlisten = \"127.0.0.1:9464\"\n");
    assert!(
        said(&output).contains("gateway.toml:2: server.listen: callers and operators"),
        "{}",
        said(&output)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_a_full_disk_takes_are_counted() {
    let mut pair = Pair::start(&PairSetup::default());
    pair.stop();
    let mut command = binary();
    command.arg("serve").arg("--config").arg(pair.config_path());
    // Its addresses would be said on the output that is full: they are fixed instead.
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let [address, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let text = text.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""), 1).replacen(
        "listen = \"127.0.0.1:0\"",
        &format!("listen = \"{admin}\""),
        1,
    );
    std::fs::write(pair.config_path(), text).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut gateway = command.stdout(Stdio::from(full)).stderr(Stdio::null()).spawn().unwrap();
    while std::net::TcpStream::connect(admin).is_err() || get(admin, "/readyz").0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let dropped = || sample(&get(admin, "/metrics").1, "mavera_gateway_log_lines_dropped_total");
    let before = dropped();
    for _ in 0..5 {
        assert_eq!(chat(address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
    }
    while dropped() < before + 5.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    (pair.gateway, pair.address, pair.admin) = start_gateway(&pair.config_path());
}

#[test]
fn small_things_say_what_they_are_and_how_to_mend_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // A byte order mark in front of a key is no part of it.
    std::fs::write(file("key"), format!("\u{feff}{CANARY}\r\n")).unwrap();
    let output = run(&["check"], folder.path(), "[upstream]\napi_key = { file = 'key' }\n");
    assert!(output.status.success(), "{}", said(&output));
    // The prefix that is expected is told whole, and what was found is not told.
    std::fs::write(file("key"), "mvra_test_plainly_fake_0123456789abcdef").unwrap();
    let output = run(&["check"], folder.path(), "[upstream]\napi_key = { file = 'key' }\n");
    assert!(said(&output).contains("expected `mvra_live_` and at least 22"), "{}", said(&output));
    assert!(!said(&output).contains("plainly_fake"));
    let mut command = binary();
    command.args(["check", "--config", "gateway.toml"]).current_dir(folder.path());
    let bytes = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff, 0xfe]);
    std::fs::write(file("gateway.toml"), "").unwrap();
    let output = command.env::<_, std::ffi::OsString>("MAVERA_API_KEY", bytes).output().unwrap();
    assert!(said(&output).contains("MAVERA_API_KEY holds bytes that are no text"), "{}", said(&output));
    // A budget that admits nothing.
    let team = |budget: u32| {
        let sha256 = "0f".repeat(32);
        format!(
            "[[team]]\nname = \"small\"\nbudget = {{ credits = {budget}, period = \"day\" }}\nkeys = [{{ id = \"abcdefgh\", \
             sha256 = \"{sha256}\", budget = {{ credits = 4, period = \"day\" }} }}]\n"
        )
    };
    let output = run(&["check"], folder.path(), &team(3));
    for odd in
        ["the budget of team small: 3 credits are less than the 5", "the budget of key abcdefgh: 4 credits"]
    {
        assert!(output.status.success() && said(&output).contains(odd), "{}", said(&output));
    }
    assert!(!said(&run(&["check"], folder.path(), &team(0))).contains("the budget of team small"));
    let output =
        run(&["credits", "report", "--since", "2026-02-01", "--until", "2026-01-01"], folder.path(), "");
    assert!(output.status.code() == Some(64) && said(&output).contains("there are no such days"));
    let output = binary().args(["key", "new", "--team", "growth"]).output().unwrap();
    assert!(said(&output).contains("add the line in `keys` to its own; if not, all of this:\n[[team]]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_of_another_name_is_told_that_it_begins_anew() {
    let pair = Pair::start(&PairSetup::default());
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    std::fs::write(pair.config_path(), text.replace("name = \"growth\"", "name = \"expansion\"")).unwrap();
    let warned = pair.gateway.wait_for(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["message"].as_str()?.starts_with("a team has another name").then_some(line)
    });
    assert_eq!((&warned["before"], &warned["team"]), (&"growth".into(), &"expansion".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_export_is_in_nobodys_way() {
    let pair = Pair::start(&PairSetup::default());
    chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    let export = pair.folder.path().join("no-such-folder/old.csv");
    let prune = |export: &Path| {
        let mut command = binary();
        command.args(["credits", "prune", "--before", "2020-01-01", "--export"]).arg(export);
        command.arg("--config").arg(pair.config_path()).output().unwrap()
    };
    assert_eq!(prune(&export).status.code(), Some(64));
    let export = pair.folder.path().join("old.csv");
    // Of an earlier attempt that was killed.
    std::fs::write(pair.folder.path().join("old.csv.part"), "half").unwrap();
    let output = prune(&export);
    assert!(output.status.success() && export.exists(), "{}", said(&output));
    assert!(!pair.folder.path().join("old.csv.part").exists());
    assert_eq!(prune(&export).status.code(), Some(64), "an export is never overwritten");
}
