//! What `plan` says of another configuration, held against a gateway that had it.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::date;
use mavera_gateway::config::{Durability, LedgerFile, parse};
use mavera_gateway::credits::Credits;
use mavera_gateway::ledger::entry::Entry;
use mavera_gateway::ledger::file::Store;
use mavera_gateway::ledger::{Aside, Command, NewAsks, Past, PastCall, home};
use mavera_gateway::plan::{Fares, OfTeam, Plan, Served, Traffic, plan};
use mavera_gateway::refuse::Code;
use mavera_gateway::route::Route;
use tokio::time::Instant;

use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup, WIDE_LIMITS, binary};
use crate::support::rig::{Rig, Setup};
use crate::support::script::{json_answer, read_request, write};

/// A call as it is made: when, whose, how long its answer takes, and what it costs.
#[derive(Clone, Copy)]
struct Made {
    at: Duration,
    team: &'static str,
    takes: Duration,
    costs: u64,
}

fn traffic_made() -> u64 {
    traffic().len() as u64
}

/// Ten minutes of three teams, in bursts, each call at a moment of its own.
fn traffic() -> Vec<Made> {
    let (mut seed, mut at) = (7u64, 0);
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut made = Vec::new();
    while at < 600_000 {
        // A burst of one team, and a while of nothing.
        let team = ["growth", "data", "research"][usize::try_from(next(3)).unwrap()];
        for _ in 0..next(14) {
            at += 37 + next(400);
            let (takes, costs) = (Duration::from_millis(61 + 100 * next(8)), 1 + next(4));
            made.push(Made { at: Duration::from_millis(at), team, takes, costs });
        }
        at += 500 + next(9000);
    }
    made
}

fn setup(window: u32, queue: &str, growth: &str, data: &str, research: &str) -> Setup {
    Setup {
        upstream: format!("requests_per_minute = {window}"),
        queue: queue.into(),
        credits: "reserve = 5\nbudget = { credits = 2000, period = \"month\" }\nwait = \"0s\"".into(),
        team: growth.into(),
        others: vec![("data", data.into()), ("research", research.into())],
        ..Setup::default()
    }
}

/// All limits at work: the window, a rate, a concurrency, a budget.
fn tight() -> Setup {
    setup(
        40,
        "wait = \"6s\"\nwaiting = 5",
        "requests_per_minute = 30\nburst = 6\nconcurrency = 100",
        "requests_per_minute = 100000\nburst = 100000\nconcurrency = 2",
        "requests_per_minute = 100000\nburst = 100000\nconcurrency = 100\nbudget = { credits = 90, period = \"day\" }",
    )
}

/// Serves the traffic in the runtime's own time, and reads what the ledger has of it.
async fn served(setup: &Setup) -> (Arc<Rig>, Traffic) {
    let rig = Rig::with_upstream(setup, |mut io, _| async move {
        while let Some(request) = read_request(&mut io).await {
            let request = String::from_utf8(request).unwrap();
            let number = |name: &str| -> u64 {
                let behind = request.split_once(name).unwrap().1;
                behind.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
            };
            tokio::time::sleep(Duration::from_millis(number("takes-"))).await;
            let usage = format!("{{\"usage\":{{\"credits_used\":{}}}}}", number("costs-"));
            write(&mut io, json_answer(&usage)).await;
        }
    });
    let (rig, began) = (Arc::new(rig), Instant::now());
    let mut calls = tokio::task::JoinSet::new();
    for Made { at, team, takes, costs } in traffic() {
        let text = format!("takes-{} costs-{costs}", takes.as_millis());
        let body = chat_body(false, "").replace("\"content\":\"", &format!("\"content\":\"{text} "));
        assert!(body.contains(&text), "{body}");
        let rig = Arc::clone(&rig);
        calls.spawn(async move {
            tokio::time::sleep_until(began + at).await;
            let chat = if team == "growth" { rig.chat(body) } else { rig.chat_of(team, body) };
            rig.send(chat).await;
        });
    }
    calls.join_all().await;
    rig.settle().await;
    rig.gateway.recorder.write_asks(&rig.gateway.books.desk);
    let (until, zone) = (rig.gateway.recorder.clock().wall(), jiff::tz::TimeZone::UTC);
    let read = move |reading: &dyn mavera_gateway::ledger::Reading| {
        Traffic::read(reading, date(2030, 1, 15), until, &zone)
    };
    let traffic = rig.gateway.books.reads.look(read).await.unwrap();
    (rig, traffic)
}

fn of<'p>(plan: &'p Plan, team: &str) -> &'p OfTeam {
    plan.teams.iter().find(|of_team| of_team.team == team).unwrap()
}

fn planned(rig: &Rig, traffic: &Traffic) -> Plan {
    plan(&rig.gateway.live.current().config, traffic, 1.0)
}

#[tokio::test(start_paused = true)]
async fn with_the_configuration_that_was_in_force_what_comes_out_is_what_was() {
    let (rig, traffic) = served(&tight()).await;
    let replayed = planned(&rig, &traffic);
    for team in &replayed.teams {
        let (was, would) = (&team.was, &team.would);
        assert_eq!(was.asked, would.asked);
        // Who was refused is known by the second: nearly, by itself.
        assert!(was.served.abs_diff(would.served) <= was.asked / 50, "{team:#?}");
        for code in was.refused.keys().chain(would.refused.keys()) {
            let [was, would] = [was, would].map(|served| served.refused.get(code).copied().unwrap_or(0));
            assert!(was.abs_diff(would) <= team.was.asked / 50, "{code}: {team:#?}");
        }
    }
    let plan = replayed.clone().held_against(&replayed);
    for team in &plan.teams {
        assert_eq!(team.was, team.would);
        assert_eq!(team.fares(), Fares::Same);
    }
    // All of it was there to be told.
    let refused: Vec<_> = plan.teams.iter().flat_map(|team| team.was.refused.keys()).collect();
    for code in
        ["rate_limit_exceeded", "concurrency_limit_exceeded", "upstream_window_full", "budget_exceeded"]
    {
        assert!(refused.iter().any(|refused| *refused == code), "{code} is not among {refused:?}");
    }
    assert!(plan.teams.iter().any(|team| team.was.waits.calls > 10), "{plan:#?}");
    assert_eq!(plan.asked, traffic_made());
}

/// Twice the window, a longer queue, a higher rate, more calls at once, a larger budget; and all of it alone.
fn others() -> Vec<(&'static str, Setup)> {
    let [free, rate] = [
        "requests_per_minute = 100000\nburst = 100000\nconcurrency = 100",
        "requests_per_minute = 30\nburst = 6\nconcurrency = 100",
    ];
    let at_once = "requests_per_minute = 100000\nburst = 100000\nconcurrency = 2";
    let budget = format!("{free}\nbudget = {{ credits = 90, period = \"day\" }}");
    let queue = "wait = \"6s\"\nwaiting = 5";
    vec![
        ("a larger window", setup(80, queue, rate, at_once, &budget)),
        ("a smaller window", setup(25, queue, rate, at_once, &budget)),
        ("a longer queue", setup(40, "wait = \"30s\"\nwaiting = 64", rate, at_once, &budget)),
        ("no rate", setup(40, queue, free, at_once, &budget)),
        ("no concurrency", setup(40, queue, rate, free, &budget)),
        ("no budget", setup(40, queue, rate, at_once, free)),
        ("no limits but the window", setup(40, queue, free, free, free)),
        (
            "a lower rate",
            setup(40, queue, "requests_per_minute = 15\nburst = 2\nconcurrency = 100", at_once, &budget),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn with_another_configuration_what_comes_out_is_near_what_that_comes_to() {
    let (before, recorded) = served(&tight()).await;
    let in_force = planned(&before, &recorded);
    for (name, setup) in others() {
        let (rig, truth) = served(&setup).await;
        let told = planned(&rig, &recorded).held_against(&in_force);
        let truth = planned(&rig, &truth);
        for team in &truth.teams {
            let (told, truth) = (&of(&told, &team.team).would, &team.was);
            let near = |what: &str, told: u64, truth: u64, asked: u64| {
                // Who was refused is known by the minute, and what they would have cost and how long they would have run is not
                // known: within a fifteenth of all that asked.
                let most = asked / 15 + 2;
                assert!(
                    told.abs_diff(truth) <= most,
                    "{name}, {}: {what} {told}, truly {truth}\n{told:#?}",
                    team.team
                );
            };
            near("asked", told.asked, truth.asked, 0);
            near("served", told.served, truth.served, truth.asked);
            let in_all = |served: &Served| served.refused_in_all();
            near("refused", in_all(told), in_all(truth), truth.asked);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn twice_the_traffic_asks_twice_as_often_and_half_of_it_half_as_often() {
    let (rig, traffic) = served(&tight()).await;
    let config = &rig.gateway.live.current().config;
    for rate in [2.0, 0.5] {
        let plan = plan(config, &traffic, rate);
        for team in &plan.teams {
            let ratio = team.would.asked as f64 / team.was.asked as f64;
            assert!((ratio - rate).abs() < 0.1, "{rate}: {team:#?}");
        }
        assert_eq!(plan, mavera_gateway::plan::plan(config, &traffic, rate), "it is the same every time");
    }
}

#[tokio::test(start_paused = true)]
async fn a_team_that_is_gone_and_a_route_that_is_not_allowed_are_refused_by_name() {
    let (_rig, traffic) = served(&tight()).await;
    let mut without = tight();
    without.others.retain(|(name, _)| *name != "data");
    without.team += "\nroutes = [\"video_list\"]";
    let (rig, _) = Rig::with_simulator(&without);
    let plan = planned(&rig, &traffic);
    let refused = |team: &str| of(&plan, team).would.refused.keys().cloned().collect::<Vec<_>>();
    assert_eq!(refused("data"), ["invalid_api_key"]);
    assert_eq!(refused("growth"), ["route_not_allowed"]);
    assert_eq!(of(&plan, "data").fares(), Fares::Worse);
    assert_eq!(of(&plan, "research").budget.as_ref().unwrap().period, "day");
    assert!(of(&plan, "research").budget.as_ref().unwrap().short_from.is_some());
}

/// `plan` with these arguments: its exit status, and what it says.
fn told(arguments: &[&str]) -> (i32, String) {
    let output = binary().arg("plan").args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_writes_down_what_was_refused_and_what_cost_nothing_and_a_reload_tells_what_new_limits_do()
{
    let rate = "requests_per_minute = 6\nburst = 3\nconcurrency = 100\n";
    let mut pair = Pair::start(&PairSetup::default());
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let tight = text.replace(WIDE_LIMITS, rate);
    assert_ne!(tight, text);
    std::fs::write(pair.config_path(), &tight).unwrap();
    let reloaded = pair.gateway.wait_for_message("configuration reloaded");
    assert_eq!(reloaded["changed"], "team growth");
    for n in 0..8 {
        let outcome = chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
        assert_eq!(outcome.status, if n < 3 { 200 } else { 429 });
    }
    // What was asked is written down when the gateway ends, if not before.
    pair.stop();
    pair.start_again();
    let loose = pair.folder.path().join("loose.toml");
    std::fs::write(&loose, &text).unwrap();
    let (loose, running) = (loose.to_str().unwrap(), pair.config_path());
    let running = running.to_str().unwrap();
    let (code, said) = told(&["--config", loose, "--in-force", running, "--format", "json"]);
    assert_eq!(code, 0, "{said}");
    let plan: serde_json::Value = serde_json::from_str(&said).unwrap();
    let growth = &plan["teams"][0];
    assert_eq!(growth["was"]["served"], 3, "{said}");
    assert_eq!(growth["was"]["refused"]["rate_limit_exceeded"], 5);
    assert_eq!((&growth["would"]["served"], &growth["would"]["credits"]), (&8.into(), &8.into()));
    assert_eq!(
        (&plan["asked"], &plan["rests_on"], &plan["rests_on_served"]),
        (&8.into(), &5.into(), &5.into())
    );
    let (code, said) = told(&["--config", running, "--in-force", running]);
    assert!(code == 0 && said.contains("Better off: nobody. Worse off: nobody."), "{said}");
    let doubts = "cannot have been in force all the time";
    assert!(!said.contains(doubts), "{said}");
    // What would have served them all was not in force when most were refused.
    let (_, said) = told(&["--config", running, "--in-force", loose]);
    assert!(
        said.contains(&format!("serves or refuses at least 5 of them otherwise than they were: it {doubts}")),
        "{said}"
    );
    let (_, said) = told(&["--config", loose, "--in-force", running]);
    for expected in [
        "would be",
        "growth: rate_limit_exceeded 5 → 0",
        "Better off: growth. Worse off: nobody.",
        "5 were refused for a limit, and are known by the second alone; 5 of those would have been served",
    ] {
        assert!(said.contains(expected), "missing: {expected}\nin:\n{said}");
    }
    let (_, said) = told(&["--config", loose, "--in-force", running, "--format", "csv", "--rate", "2"]);
    assert!(said.starts_with("team,which,asked,") && said.contains("growth,would_be,16,"), "{said}");
    let (_, said) = told(&["--config", loose, "--in-force", running, "--plan", "1", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(plan["teams"][0]["would"]["refused"]["upstream_window_full"].as_u64().unwrap() > 0, "{said}");
    for (arguments, why) in [
        (&["--since", "2999-01-01"][..], "is to come"),
        (&["--since", "soon"], "write a number of days like 30d"),
        (&["--rate", "0"], "write a factor between"),
    ] {
        let (code, said) = told(&[&["--config", loose], arguments].concat());
        assert!(code == 64 && said.contains(why), "{code}: {said}");
    }
    // A reload says the same in a line, of the last day.
    std::fs::write(pair.config_path(), &text).unwrap();
    let line = pair
        .gateway
        .wait_for_message("limits have changed: what they would have made of the last day's calls");
    assert_eq!(
        (&line["asked"], &line["served"], &line["would_be_served"]),
        (&8.into(), &3.into(), &8.into())
    );
    assert_eq!((&line["better"], &line["worse"]), (&"growth".into(), &"".into()));
}

#[test]
fn a_hundred_thousand_calls_are_replayed_the_same_every_time() {
    let team: Arc<str> = "growth".into();
    let began: jiff::Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let call = |n: i64| PastCall {
        call: n,
        held: began + Duration::from_millis(2_592 * u64::try_from(n).unwrap()),
        queued: Duration::ZERO,
        team: Arc::clone(&team),
        key_id: Arc::clone(&team),
        route: Route::named("video_chat"),
        reserve: Credits::whole(5),
        ended: Some(began + Duration::from_millis(2_592 * u64::try_from(n).unwrap() + 4_000)),
        credits: Credits::whole(1),
        job: None,
    };
    let past = Past { calls: (0..100_000).map(call).collect(), asks: Vec::new() };
    let until = "2030-01-05T00:00:00Z".parse().unwrap();
    let traffic = Traffic { since: began, until, past, ..Traffic::default() };
    let text = "[upstream]\nrequests_per_minute = 22\n[[team]]\nname = \"growth\"\nrequests_per_minute = 1000\nburst = 100\n";
    let config = parse(std::path::Path::new("f"), text).unwrap();
    let once = plan(&config, &traffic, 1.0);
    assert_eq!(once.asked, 100_000);
    let would = &once.teams[0].would;
    // A place is had for 61 seconds where the answer takes longer than one.
    assert!((92_000..95_000).contains(&would.served), "22 in 61 seconds, of 23.1 a minute: {would:?}");
    assert_eq!(once, plan(&config, &traffic, 1.0));
}

fn asks(minute: i64, code: Option<Code>, count: u32, seconds: u64) -> Command {
    let route = Route::named("video_chat").unwrap();
    Command::Aside(Aside::Asked(NewAsks { minute, team: "growth".into(), route, code, count, seconds }))
}

#[test]
fn what_was_asked_is_kept_for_ninety_days_and_goes_with_what_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("ledger.db"), Durability::Os).unwrap();
    let day = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second() / 60;
    let mut write = |command: &Command| store.write(&[Entry::from(command)], None).unwrap();
    let rate = Some(Code::RateLimitExceeded);
    write(&asks(day("2030-01-01T10:00:00Z"), rate, 3, 0b101));
    write(&asks(day("2030-01-01T10:00:00Z"), rate, 2, 0b010));
    write(&asks(day("2030-01-02T10:00:00Z"), None, 7, 1 << 59));
    let settings = LedgerFile { path: folder.path().join("ledger.db"), durability: Durability::Os };
    let home = mavera_gateway::config::Ledger::File(settings);
    let read = || {
        let [since, until] =
            ["2029-01-01T00:00:00Z", "2031-01-01T00:00:00Z"].map(|text| text.parse().unwrap());
        let past = home::reading(&home).unwrap().past(since, until).unwrap();
        past.asks.iter().map(|asks| (asks.code.to_string(), asks.count, asks.seconds)).collect::<Vec<_>>()
    };
    let limit = ("rate_limit_exceeded".to_owned(), 5, 0b111);
    assert_eq!(read(), [limit, (String::new(), 7, 1 << 59)]);
    // Ninety days after the first.
    write(&asks(day("2030-04-01T10:01:00Z"), rate, 1, 1));
    assert_eq!(read().len(), 2);
    let mut upkeep = home::upkeep(&home).unwrap();
    let before = date(2030, 2, 1);
    upkeep.export(before, "2030-02-01T00:00:00Z".parse().unwrap(), &mut Vec::new()).unwrap();
    upkeep.prune(before).unwrap();
    assert_eq!(read(), [("rate_limit_exceeded".to_owned(), 1, 1)]);
}
