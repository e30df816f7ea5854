//! What whoever pays asks of the ledger: statements to be filed, reports by whatever they want to know, lists that are held against
//! the bill, and detail that leaves an image without a shell.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::ledger::credits;
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup, binary};

fn json(config: &Path, arguments: &[&str]) -> Value {
    let (code, said) = credits(config, &[arguments, &["--format", "json"]].concat());
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap()
}

/// This month, in the ledger's zone.
fn month() -> String {
    jiff::Timestamp::now().strftime("%Y-%m").to_string()
}

const BUDGETED: PairSetup<'_> = PairSetup {
    team: "budget = { credits = 100, period = \"month\" }",
    server: "",
    upstream: "",
    quirks: "",
    requests_per_minute: None,
    reads_usage: false,
    discards_output: false,
};

/// Some calls, of which one is in doubt, and a grant.
async fn busy(setup: &PairSetup<'_>) -> Pair {
    let mut pair = Pair::start(setup);
    for _ in 0..4 {
        assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
    }
    let cut = chat(pair.address, &pair.key, chat_body(false, "usage=absent")).await.unwrap();
    assert_eq!(cut.status, 200);
    let until = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let grant =
        ["grant", "--team", "growth", "--credits", "20", "--until", &until, "--why", "<launch> & more"];
    assert_eq!(credits(&pair.config_path(), &grant).0, 0);
    pair.stop();
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_adds_up_to_the_report_and_its_digest_tells_whether_anything_has_changed() {
    let pair = busy(&BUDGETED).await;
    let (config, month) = (pair.config_path(), month());
    let text = std::fs::read_to_string(&config).unwrap();
    let priced = "[credits]\nprice = { amount = 0.04, currency = \"EUR\" }\n[[team]]";
    std::fs::write(&config, text.replacen("[[team]]", priced, 1)).unwrap();
    let statement = ["statement", "--team", "growth", "--month", &month];
    let bill = json(&config, &statement);
    let report = json(&config, &["report", "--team", "growth"]);
    assert_eq!(bill["total"]["total"], report["total"]["credits"]);
    assert_eq!(bill["total"]["in_doubt"], report["total"]["in_doubt"]);
    assert_eq!((&bill["total"]["calls"], &bill["total"]["in_doubt"]), (&5.into(), &5.into()), "{bill:#}");
    assert_eq!(bill["money"], "0.36 EUR");
    assert_eq!(bill["grants"][0]["why"], "<launch> & more");
    assert_eq!((&bill["budget"]["credits"], &bill["budget"]["period"]), (&100.into(), &"month".into()));
    assert_eq!(bill["lines"][0]["route"], "video_chat");
    let digest = bill["rests_on"]["sha256"].as_str().unwrap();
    let again = [&statement[..], &["--digest", digest]].concat();
    let (code, table) = credits(&config, &again);
    assert_eq!(code, 0, "{table}");
    let so_far = "The month is not over: this is what is booked so far.";
    for expected in
        ["Team growth, ", so_far, "Budget  100 credits a month", "20 credits from", "<launch> & more", digest]
    {
        assert!(table.contains(expected), "missing: {expected}\nin:\n{table}");
    }
    // In other forms.
    let (_, page) = credits(&config, &[&statement[..], &["--format", "html"]].concat());
    assert!(page.starts_with("<!doctype html>") && page.contains("&lt;launch&gt; &amp; more"), "{page}");
    assert!(page.contains(so_far) && bill["goes_on"] == true);
    // By default it is of the last month that is over.
    assert_eq!(json(&config, &["statement", "--team", "growth"])["goes_on"], false);
    assert!(!page.contains("<script") && !page.contains("http"), "nothing from anywhere: {page}");
    let (_, csv) = credits(&config, &[&statement[..], &["--format", "csv"]].concat());
    let mut lines = csv::Reader::from_reader(csv.as_bytes());
    let lines: Vec<_> = lines.records().map(Result::unwrap).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line[2].to_owned()).collect();
    assert_eq!(kinds, ["budget", "grant", "calls", "total", "unfinished", "digest"]);
    assert_eq!((&lines[3][11], &lines[3][12]), ("9", "0.36 EUR"));
    // A correction is told, and another digest.
    let doubt = credits(&config, &["settle"]).1;
    let request = doubt.split_whitespace().next().unwrap();
    let settle = ["settle", "--request", request, "--credits", "2", "--why", "the bill says so"];
    assert_eq!(credits(&config, &settle).0, 0);
    let corrected = json(&config, &statement);
    assert_eq!((&corrected["total"]["total"], &corrected["total"]["in_doubt"]), (&6.into(), &0.into()));
    assert_eq!(corrected["corrections"][0]["credits"], "-3");
    assert_eq!(corrected["corrections"][0]["request_id"], request);
    let (code, said) = credits(&config, &again);
    assert!(code == 1 && said.contains("has other entries of team growth"), "{said}");
    assert_eq!(credits(&config, &["verify"]).0, 0);
    // What cannot be is said.
    for (arguments, why) in [
        (&["statement", "--team", "nobody"][..], "there is no team \"nobody\" in the configuration"),
        (&["statement", "--team", "growth", "--month", "2999-01"], "is to come"),
        (&["statement", "--team", "growth", "--month", "november"], "write a month like 2026-11"),
    ] {
        let (code, said) = credits(&config, arguments);
        assert!(code == 64 && said.contains(why), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_never_left_is_none_in_a_report_or_a_statement_and_stays_among_the_entries() {
    let mut pair = busy(&BUDGETED).await;
    let (config, month) = (pair.config_path(), month());
    let asks: [&[&str]; 3] =
        [&["report"], &["report", "--by", "outcome"], &["statement", "--team", "growth", "--month", &month]];
    let told = || asks.map(|ask| json(&config, ask));
    let before = told();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(&pair.simulator_address.to_string(), "127.0.0.1:1")).unwrap();
    pair.start_again();
    let answer = chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    assert_eq!(answer.status, 502);
    pair.stop();
    let mut after = told();
    let [.., bill] = &mut after;
    assert_eq!((&before[2]["rests_on"]["calls"], &bill["rests_on"]["calls"]), (&5.into(), &6.into()));
    bill["rests_on"] = before[2]["rests_on"].clone();
    assert_eq!(after, before);
    assert_eq!(credits(&config, &["verify"]).0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_adds_up_by_several_things_and_of_one_and_tells_budgets_beside() {
    let pair = busy(&BUDGETED).await;
    let config = pair.config_path();
    let report = json(&config, &["report"]);
    let budget = &report["lines"][0]["budget"];
    assert_eq!(
        (&budget["credits"], &budget["granted"], &budget["left"]),
        (&100.into(), &20.into(), &111.into()),
        "{report:#}"
    );
    let (_, table) = credits(&config, &["report"]);
    assert!(table.contains("100/month"), "{table}");
    let by_key = json(&config, &["report", "--by", "key"]);
    assert_eq!(by_key["by"], "team,key");
    assert!(by_key["lines"][0]["name"].as_str().unwrap().starts_with("growth "), "{by_key:#}");
    let several = json(&config, &["report", "--by", "team,route,outcome"]);
    assert_eq!(several["lines"][0]["of"].as_array().unwrap().len(), 3);
    assert_eq!(several["total"]["credits"], report["total"]["credits"]);
    for filter in [["--team", "nobody"], ["--route", "responses"], ["--key", "nokey"]] {
        let none = json(&config, &[&["report"][..], &filter].concat());
        assert_eq!(none["total"]["calls"], 0, "{filter:?}");
    }
    let (_, csv) = credits(&config, &["report", "--by", "day,team", "--format", "csv"]);
    assert!(csv.starts_with("day,team,calls,credits,"), "{csv}");
}

/// A `credits` command, with its two outputs apart.
fn output(config: &Path, arguments: &[&str]) -> Output {
    Command::new(binary().get_program())
        .arg("credits")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_and_exports_leave_an_image_without_a_shell_by_standard_output() {
    let pair = busy(&BUDGETED).await;
    let config = pair.config_path();
    let backup = output(&config, &["backup", "-"]);
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    assert!(backup.stdout.starts_with(b"SQLite format 3\0"));
    assert!(String::from_utf8_lossy(&backup.stderr).contains("written, and verified"));
    let left: Vec<_> =
        std::fs::read_dir(pair.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("backup")), "{left:?}");
    let copy = pair.folder.path().join("copy.db");
    std::fs::write(&copy, &backup.stdout).unwrap();
    let of_copy = pair.folder.path().join("copy.toml");
    std::fs::write(&of_copy, format!("[ledger]\npath = '{}'\n", copy.display())).unwrap();
    assert_eq!(credits(&of_copy, &["verify"]).0, 0);
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let export = output(&config, &["prune", "--before", &today, "--export", "-"]);
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    assert!(export.stdout.starts_with(b"call,day,held_at,"));
    assert!(!Path::new("-").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doubt_goes_to_zero_by_the_ids_that_callers_saw_and_by_time_where_that_can_only_be_one() {
    let pair = busy(&BUDGETED).await;
    let config = pair.config_path();
    let doubt = credits(&config, &["settle"]).1;
    let request = doubt.split_whitespace().next().unwrap();
    let list = pair.folder.path().join("list.csv");
    let reconcile = |text: String, more: &[&str]| {
        std::fs::write(&list, text).unwrap();
        credits(&config, &[&["reconcile", "--csv", list.to_str().unwrap()], more].concat())
    };
    // The calls that were answered, by their own ids.
    let ledger = rusqlite::Connection::open(pair.folder.path().join("ledger.db")).unwrap();
    let known: String = ledger
        .query_row(
            "SELECT group_concat(response_id || ',1', char(10)) FROM bookings WHERE kind = 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    // One that was crashed has no response id, as one whose answer was lost.
    ledger
        .execute_batch(
            "DROP TRIGGER bookings_are_ended_once; UPDATE bookings SET response_id = NULL WHERE kind = 2",
        )
        .unwrap();
    let (code, said) = reconcile(format!("{known}\nresp_lost,3,{request}\n"), &[]);
    assert!(
        code == 1 && said.contains(&format!("paired   resp_lost by its request id with {request}")),
        "{said}"
    );
    let now = jiff::Timestamp::now();
    let by_time = known.lines().map(|line| line.to_owned() + ",,\n").collect::<String>();
    let by_time = format!("id,credits,created_at,route\n{by_time}resp_lost,3,{now},video_chat\n");
    let (code, said) = reconcile(by_time.clone(), &["--book"]);
    assert!(code == 0 && said.contains("paired   resp_lost by its time with"), "{said}");
    assert!(said.contains("0 credits are booked in doubt."), "{said}");
    let (code, said) = reconcile("id,credits,at\nresp_x,1,soon\n".into(), &[]);
    assert!(code == 64 && said.contains(":2: \"soon\" is not a time like"), "{said}");
    // Of many of a kind the first are told, and how many more there are.
    let many: String =
        (0..1000).map(|n| n.to_string()).fold(String::new(), |list, n| list + "resp_" + &n + ",1\n");
    let (_, said) = reconcile(many, &[]);
    assert!(said.lines().count() < 70 && said.contains("… and 950 more of these"), "{said}");
}
