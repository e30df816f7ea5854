//! Money: one writer, grants that are given once, clocks that leap, statements that tell of some days, and series that go
//! with their teams.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use mavera_gateway::credits::Credits;
use mavera_gateway::credits::budget::{Grant, Whose};
use mavera_gateway::credits::period::Period;
use mavera_gateway::key::NewKey;
use rusqlite::Connection;
use serde_json::Value;

use crate::budgets::{accounts_at, asked, hold_for, settings, settle};
use crate::ledger::{allow_one_credit, credits};
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup, binary, get};
use crate::support::rig::{Rig, Setup, sample};

#[test]
fn a_second_writer_is_refused_by_whatever_name_and_also_without_its_lock_file() {
    let pair = Pair::start(&PairSetup::default());
    let file = |name: &str| pair.folder.path().join(name);
    std::os::unix::fs::symlink(file("ledger.db"), file("symbolic.db")).unwrap();
    std::fs::hard_link(file("ledger.db"), file("hard.db")).unwrap();
    std::fs::remove_file(file("ledger.db.lock")).unwrap();
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    for name in ["ledger.db", "symbolic.db", "hard.db"] {
        std::fs::write(file("second.toml"), text.replace("ledger.db'", &format!("{name}'"))).unwrap();
        let output = binary().arg("serve").arg("--config").arg(file("second.toml")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && said.contains("in use by another gateway"),
            "{name}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_another_has_written_to_closes_for_money_and_no_entry_is_left_out() {
    let pair = Pair::start(&PairSetup::default());
    let ask = async || chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status;
    assert_eq!(ask().await, 200);
    let unmerged = || sample(&get(pair.admin, "/metrics").1, "mavera_gateway_ledger_unmerged_bytes");
    while unmerged() > 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // As a program would that knows no locks.
    let by_hand = Connection::open(pair.folder.path().join("ledger.db")).unwrap();
    by_hand.execute("UPDATE progress SET last_seq = last_seq + 2", []).unwrap();
    assert_eq!(ask().await, 200, "nobody has looked yet");
    while get(pair.admin, "/readyz").0 != 503 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask().await, 503);
    assert!(unmerged() > 0.0, "what could not be written waits in the journal");
    let said = pair.gateway.output();
    assert!(said.contains("somebody else has written to it"), "{said}");
    by_hand.execute("UPDATE progress SET last_seq = last_seq - 2", []).unwrap();
    while get(pair.admin, "/readyz").0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask().await, 200);
    let (code, said) = credits(&pair.config_path(), &["verify"]);
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_given_once_in_all_and_not_once_a_period() {
    static PUSHED: AtomicI64 = AtomicI64::new(0);
    let (desk, _) = accounts_at("2030-01-15T12:00:00Z", &PUSHED);
    let budget = [(Whose::Team("growth".into()), 10, Period::Day)];
    let today = date(2030, 1, 15);
    let grant = |credits, days: i64| Grant {
        team: "growth".into(),
        credits: Credits::whole(credits),
        from: today,
        until: today + days.days(),
        taken_back: false,
    };
    desk.set_grants(vec![grant(20, 5), grant(3, 1)]);
    let spend = async || {
        let mut spent = 0;
        while let Ok(hold) = hold_for(&desk, asked("growth", &budget), &settings(1, 0)).await {
            settle(hold, 1);
            spent += 1;
        }
        spent
    };
    let granted = || desk.standings(&asked("growth", &budget).ask.budgets)[0].tally.granted;
    assert_eq!(granted(), Credits::whole(23));
    assert_eq!(spend().await, 33, "all of both");
    PUSHED.store(86_400, Ordering::Relaxed);
    assert_eq!(granted(), Credits::ZERO, "nothing is left of either");
    assert_eq!(spend().await, 10);
    PUSHED.store(6 * 86_400, Ordering::Relaxed);
    assert_eq!(spend().await, 10, "the grants are over");
}

#[tokio::test(start_paused = true)]
async fn what_a_period_spends_beyond_its_budget_is_taken_from_the_grant_that_ends_first() {
    static PUSHED: AtomicI64 = AtomicI64::new(0);
    let (desk, _) = accounts_at("2030-01-15T12:00:00Z", &PUSHED);
    let budget = [(Whose::Team("growth".into()), 10, Period::Day)];
    let grant = |credits, from: Date, until: Date| Grant {
        team: "growth".into(),
        credits: Credits::whole(credits),
        from,
        until,
        taken_back: false,
    };
    let day = |day| date(2030, 1, day);
    desk.set_grants(vec![grant(20, day(15), day(20)), grant(3, day(15), day(16))]);
    let spend = async |credits| {
        for _ in 0..credits {
            settle(hold_for(&desk, asked("growth", &budget), &settings(1, 0)).await.unwrap(), 1);
        }
    };
    let left = || desk.standings(&asked("growth", &budget).ask.budgets)[0].tally.granted;
    spend(12).await;
    PUSHED.store(86_400, Ordering::Relaxed);
    assert_eq!(left(), Credits::whole(21), "two of the three that end first are spent");
    spend(9).await;
    PUSHED.store(2 * 86_400, Ordering::Relaxed);
    assert_eq!(left(), Credits::whole(20), "a modest day gives nothing back, and one grant is over");
    spend(15).await;
    PUSHED.store(3 * 86_400, Ordering::Relaxed);
    assert_eq!(left(), Credits::whole(15));
    // Another, given when the first is taken back, does not pay for what the first has paid already.
    let mut first = grant(20, day(15), day(18));
    first.taken_back = true;
    desk.set_grants(vec![first, grant(3, day(15), day(16)), grant(7, day(17), day(25))]);
    assert_eq!(left(), Credits::whole(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_listed_and_taken_back() {
    let pair = Pair::start(&PairSetup::default());
    allow_one_credit(&pair);
    let ask = async || chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status;
    let until = async |status: u16| {
        while ask().await != status {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until(402).await;
    let grant =
        ["grant", "--team", "growth", "--credits", "1000", "--until", "2099-12-31", "--why", "launch"];
    let (code, said) = credits(&pair.config_path(), &grant);
    assert!(code == 0 && said.contains("1000 credits more, once in all, until"), "{said}");
    let number = said.split("This is grant ").nth(1).unwrap().split(':').next().unwrap().to_owned();
    until(200).await;
    let (code, said) = credits(&pair.config_path(), &["revoke-grant"]);
    assert!(code == 0 && said.starts_with(&format!("grant {number}: growth, 1000 credits")), "{said}");
    assert_eq!(credits(&pair.config_path(), &["revoke-grant", "4711", "--why", "x"]).0, 64);
    let revoke = ["revoke-grant", &number, "--why", "called off"];
    let (code, said) = credits(&pair.config_path(), &revoke);
    assert!(code == 0 && said.contains("is taken back"), "{said}");
    until(402).await;
    assert_eq!(credits(&pair.config_path(), &revoke).0, 64, "once");
    assert!(credits(&pair.config_path(), &["revoke-grant"]).1.starts_with("No grant"));
    assert_eq!(credits(&pair.config_path(), &["verify"]).0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_leapt_is_followed_back_and_nothing_is_forgotten() {
    static PUSHED: AtomicI64 = AtomicI64::new(0);
    const DAY: i64 = 86_400;
    let (desk, _) = accounts_at("2028-01-15T12:00:00Z", &PUSHED);
    let month = [(Whose::Organisation, 10, Period::Month)];
    let spend = async |credits| {
        let hold = hold_for(&desk, asked("growth", &month), &settings(1, 0)).await;
        hold.map(|hold| settle(hold, credits)).is_ok()
    };
    let used = || desk.standings(&asked("growth", &month).ask.budgets)[0].tally.used;
    assert!(spend(6).await);
    for leap in [400, 31, 3, -400] {
        PUSHED.store(leap * DAY, Ordering::Relaxed);
        let _ = spend(1).await;
        PUSHED.store(0, Ordering::Relaxed);
        assert_eq!(used(), Credits::whole(if leap == 3 { 7 } else { 6 }), "{leap} days");
        if leap == 3 {
            break;
        }
    }
    assert!(spend(3).await && !spend(1).await, "January goes on where it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_tells_of_its_own_days_however_it_is_written() {
    let pair = Pair::start(&PairSetup::default());
    for _ in 0..4 {
        chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    }
    while sample(&get(pair.admin, "/metrics").1, "mavera_gateway_ledger_unmerged_bytes") > 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The first two are last year's, by a hand that takes the lock off first.
    let by_hand = Connection::open(pair.folder.path().join("ledger.db")).unwrap();
    by_hand
        .execute_batch(
            "DROP TRIGGER bookings_are_ended_once; DROP TRIGGER bookings_are_never_edited;
             UPDATE bookings SET day = day - 365 WHERE call <= 2;",
        )
        .unwrap();
    let received = pair.books()["received"].as_array().unwrap().clone();
    let id = |index: usize| received[index]["response_id"].as_str().unwrap();
    let csv = pair.folder.path().join("charges.csv");
    let reconcile = |text: &str, more: &[&str]| {
        std::fs::write(&csv, text).unwrap();
        let arguments = [&["reconcile", "--csv", csv.to_str().unwrap()], more].concat();
        credits(&pair.config_path(), &arguments)
    };
    let (three, four) = (format!("{},1", id(2)), format!("{},1", id(3)));
    let all_match = "2 match, 0 differ, 0 are missing here, 0 are missing upstream";
    for text in [
        format!("{three}\n{four}\n"),
        format!("\u{feff}{three}\r\n{four}\r\n"),
        format!("\u{feff}id,credits\n{three}\n{four}\n"),
        format!("Response ID,Credits charged\n{three}\n{four}"),
        format!("\"id\",\"credits\"\n\"{}\",\"1\"\n{four}\n", id(2)),
        format!("{},4\n{four}\n{},-3\n", id(2), id(2)),
    ] {
        let (code, said) = reconcile(&text, &[]);
        assert!(code == 0 && said.contains(all_match), "{text:?}: {said}");
    }
    let (code, said) = reconcile(&format!("{three}\n{four}\n"), &["--since", "2020-01-01"]);
    assert!(code == 1 && said.contains("2 are missing upstream"), "told to look at all: {said}");
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    let (code, said) = reconcile(&format!("{three}\n"), &["--since", &today, "--until", &today]);
    assert!(
        code == 1 && said.contains("1 match, 0 differ, 0 are missing here, 1 are missing upstream"),
        "{said}"
    );
    for (text, found) in [
        (format!("{three}\n{},one\n", id(3)), ":2: expected"),
        (format!("{},1,5\nx\n", id(2)), ":2: expected"),
        (format!("{},-1\n", id(2)), "refunded"),
        (format!("{},l\n{four}\n", id(2)), ":1: expected"),
    ] {
        let (code, said) = reconcile(&text, &[]);
        assert!(code == 64 && said.contains(found), "{text:?}: {said}");
    }
}

fn series_of(metrics: &str, team: &str) -> usize {
    metrics.lines().filter(|line| line.contains(&format!("team=\"{team}\""))).count()
}

#[tokio::test(start_paused = true)]
async fn a_team_that_is_gone_takes_its_series_along_and_five_hundred_have_few() {
    let team = |number: usize| (format!("t{number:0>3}").leak() as &'static str, String::new());
    let others = |from: usize| (from..from + 499).map(team).collect::<Vec<_>>();
    let (rig, _) = Rig::with_simulator(&Setup { others: others(0), ..Setup::default() });
    for stream in [false, true] {
        assert_eq!(rig.send(rig.chat_of("t001", chat_body(stream, ""))).await.status(), 200);
    }
    let count = |metrics: &str| metrics.lines().filter(|line| !line.starts_with('#')).count();
    let before = count(&rig.metrics());
    assert!(before < 60_000, "{before}");
    let first = series_of(&rig.metrics(), "t001");
    assert!(first > 0);
    // A hundred times two of them have other names.
    for renamed in 1..=100 {
        let mut teams = others(0);
        teams[1] = team(499 + renamed);
        teams[2] = team(699 + renamed);
        rig.reconfigure(&Setup { others: teams, ..Setup::default() });
        let name = team(499 + renamed).0;
        assert_eq!(rig.send(rig.chat_of(name, chat_body(false, ""))).await.status(), 200);
    }
    rig.settle().await;
    let after = rig.metrics();
    assert_eq!(series_of(&after, "t001") + series_of(&after, "t500") + series_of(&after, "t700"), 0);
    assert!(count(&after) <= before + 30, "{} before, {} after", before, count(&after));
}

#[tokio::test(start_paused = true)]
async fn the_last_calls_of_a_team_that_is_gone_bring_no_series_back() {
    let gone = ("gone", String::new());
    let (rig, simulator) = Rig::with_simulator(&Setup { others: vec![gone], ..Setup::default() });
    let mut sender = rig.connect().await;
    let last = sender.send_request(rig.chat_of("gone", chat_body(true, "pace=1s"))).await.unwrap();
    rig.reconfigure(&Setup::default());
    assert!(crate::support::rig::Answer::read(last).await.whole);
    rig.settle().await;
    let metrics = rig.metrics();
    assert_eq!(series_of(&metrics, "gone"), 0);
    let booked: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("mavera_gateway_credits_used_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert_eq!(
        booked,
        simulator.books(mavera_sim::books::Books::total_charged) as f64,
        "counted, for others"
    );
}

#[tokio::test(start_paused = true)]
async fn asking_costs_nothing_of_what_it_tells_of_and_has_a_bound_of_its_own() {
    let setup = Setup { team: "requests_per_minute = 1\nburst = 1".into(), ..Setup::default() };
    let (rig, _) = Rig::with_simulator(&setup);
    let explain = async || {
        let request = rig.request(http::Method::POST, "/gateway/v1/explain", chat_body(false, ""));
        rig.send(request).await
    };
    let me = async || rig.send(rig.request(http::Method::GET, "/gateway/v1/me", "")).await;
    let before = explain().await;
    assert_eq!(before.json()["admitted"], true, "{:?}", before.body);
    assert_eq!((before.header("x-ratelimit-limit"), before.header("x-ratelimit-remaining")), ("1", "1"));
    assert_eq!(me().await.status(), 200);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200, "the one call is there yet");
    let after = explain().await;
    assert_eq!(
        (after.json()["admitted"].as_bool(), after.header("x-ratelimit-remaining")),
        (Some(false), "0")
    );
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 429);
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(me().await.status().as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 27, "thirty at once: {statuses:?}");
    let refused = me().await;
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("questions to the gateway"));
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test(start_paused = true)]
async fn x_ratelimit_is_the_callers_own_on_every_answer() {
    let setup = Setup {
        team: "requests_per_minute = 6\nburst = 4".into(),
        upstream: "requests_per_minute = 240".into(),
        ..Setup::default()
    };
    let (rig, _) = Rig::with_simulator(&setup);
    let now = "2030-01-15T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    for (body, status, remaining, more_in) in [
        (chat_body(false, ""), 200, "3", 10),
        (chat_body(true, ""), 200, "2", 10),
        ("{}".to_owned(), 400, "1", 10),
        (chat_body(false, "fault=status; status_case=500"), 500, "0", 10),
        (chat_body(false, ""), 429, "0", 10),
    ] {
        let answer = rig.send(rig.chat(body.clone())).await;
        let names = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
        let [limit, left, reset] = names.map(|name| answer.header(name).to_owned());
        assert_eq!((limit.as_str(), left.as_str()), ("6", remaining), "{} {body}", answer.status());
        let reset: i64 = reset.parse().unwrap();
        assert!((now..=now + more_in + 1).contains(&reset), "{reset} at {now}");
        if status != 500 {
            assert_eq!(answer.status(), status, "{body}");
        }
    }
    let mut stranger = rig.chat("{}");
    stranger.headers_mut().remove("authorization");
    assert_eq!(rig.send(stranger).await.header("x-ratelimit-limit"), "", "who is nobody has none");
}

#[test]
fn a_key_that_expires_is_told_of_by_check_start_log_and_gauge() {
    let pair = Pair::start(&PairSetup::default());
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let key = |expires: jiff::Timestamp| {
        let key = NewKey::generate().unwrap();
        let entry = format!("{{ id = \"{}\", sha256 = \"{}\", expires = {expires:.0} }}", key.id, key.sha256);
        (key, entry)
    };
    let now = jiff::Timestamp::now();
    let (past, past_entry) = key(now - 1.hour());
    let (soon, soon_entry) = key(now + (24 * 10).hours());
    let (later, later_entry) = key(now + (24 * 15).hours());
    let more = format!("[[team]]\nname = \"ends\"\nkeys = [{past_entry}, {soon_entry}, {later_entry}]\n");
    std::fs::write(pair.config_path(), format!("{text}\n{more}")).unwrap();
    let warned = pair
        .gateway
        .wait_for_message("a caller key expires soon; make another with `mavera-gateway key new`");
    assert_eq!((&warned["key_id"], &warned["team"]), (&soon.id.as_str().into(), &"ends".into()));
    let metrics = get(pair.admin, "/metrics").1;
    let keys = |state: &str| sample(&metrics, &format!("mavera_gateway_caller_keys{{state=\"{state}\"}}"));
    assert_eq!((keys("expired"), keys("expiring"), keys("valid")), (1.0, 1.0, 2.0));
    let checked = binary().arg("check").arg("--config").arg(pair.config_path()).output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success());
    assert!(said.contains(&format!("Key {} of team ends expired at", past.id)), "{said}");
    assert!(
        said.contains(&format!("Key {} of team ends expires at", soon.id)) && !said.contains(&later.id),
        "{said}"
    );
    // The caller is told no more than a stranger; the log names the key.
    let refused = std::process::Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H"])
        .arg(format!("authorization: Bearer {}", *past.text))
        .arg(pair.url("/gateway/v1/me"))
        .output()
        .unwrap();
    assert_eq!(refused.stdout, b"401");
    let line = pair.gateway.wait_for(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["status"] == 401).then_some(line)
    });
    assert_eq!((&line["key_id"], &line["team"]), (&past.id.as_str().into(), &"ends".into()));
}

#[tokio::test(start_paused = true)]
async fn a_billing_period_begins_and_ends_at_a_moment_of_a_day() {
    use mavera_gateway::usage::compare_with;
    let (rig, simulator) = Rig::with_simulator(&Setup::default());
    for _ in 0..3 {
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    }
    tokio::time::sleep(Duration::from_hours(1)).await;
    simulator.bill_from(rig.gateway.recorder.clock().wall());
    tokio::time::sleep(Duration::from_hours(1)).await;
    for _ in 0..2 {
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    }
    let snapshot = rig.gateway.live.current();
    let compared = compare_with(&rig.pipes, &snapshot, &rig.gateway.books.reads).await.unwrap();
    assert_eq!((compared.settled, compared.theirs.api_used), (Credits::whole(2), Credits::whole(2)));
    assert!(compared.agrees());
}
