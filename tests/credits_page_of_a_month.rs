//! What the credits page says of weeks and of trouble, in headless Chromium: whom to look at first, what the month comes to, whose and
//! when, from a figure to its calls, who waits, and what is wrong.

use std::process::Command;

use mavera_gateway::key::NewKey;
use serde_json::{Value, json};

use crate::support::browser::Page;
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::month::{self, Past, day};
use crate::support::process::{Pair, PairSetup, team};

/// The key that growth used once, and that opens nothing any more.
const FORMER: &str = "formerke";

fn id(key: &str) -> String {
    key.split('_').nth(1).unwrap().to_owned()
}

/// Three teams of which one has used its budget up and one nearly, with some weeks of history.
fn made() -> (Pair, Vec<Past>) {
    let mut pair = Pair::start(&PairSetup { reads_usage: true, ..PairSetup::default() });
    pair.stop();
    for file in std::fs::read_dir(pair.folder.path()).unwrap().map(|file| file.unwrap()) {
        if file.file_name().to_string_lossy().starts_with("ledger.db") {
            let path = file.path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
    }
    let past =
        |ago, team, key: &str, credits, in_doubt| Past { ago, team, key: key.into(), credits, in_doubt };
    let growth = id(&pair.key);
    let calls = vec![
        past(40, "growth", FORMER, 11, false),
        past(3, "growth", FORMER, 6, false),
        past(0, "growth", &growth, 10, false),
        past(0, "growth", &growth, 5, true),
        past(0, "research", "research", 92, false),
        past(0, "data", "datakeyx", 20, false),
    ];
    month::write(&pair.folder.path().join("ledger.db"), &calls);
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let credits = "[credits]\nprice = { amount = 0.5, currency = \"EUR\" }\nbudget = { credits = 5000, period = \"month\" }\n\n[[team]]";
    let others = [("research", 100), ("data", 20)].map(|(name, budget)| {
        let budget = format!("budget = {{ credits = {budget}, period = \"month\" }}\n");
        format!("\n{}{budget}", team(name, &NewKey::generate().unwrap()))
    });
    let text = text.replacen("[[team]]", credits, 1) + "budget = { credits = 1000, period = \"month\" }\n";
    std::fs::write(pair.config_path(), text + &others.concat()).unwrap();
    pair.start_again();
    (pair, calls)
}

#[test]
fn whom_to_look_at_comes_first_with_what_helps_and_the_month_is_foretold_in_credits_and_money() {
    let (pair, calls) = made();
    let mut page = Page::open(pair.admin);
    let shown = page
        .shows(&json!({ "state": "Serving", "teams/data/tag": "used up", "pool/last": { "matches": "." } }));
    // By urgency: what is used up, what nearly is, and the rest.
    assert_eq!(shown["teams_order"], json!(["data", "research", "growth"]));
    assert_eq!(
        (&shown["teams"]["research"]["tag"], &shown["teams"]["growth"]["tag"]),
        (&json!("nearly used"), &Value::Null)
    );
    assert_eq!(shown["teams_summary"], "3 teams · 1 used up or over · 1 nearly used");
    let helps = shown["teams"]["data"]["runs_out"].as_str().unwrap();
    assert!(helps.ends_with("credits grant --team data"), "{helps}");

    let first = day(0).first_of_month();
    let sum = |since, until| -> u64 {
        calls.iter().filter(|call| (since..=until).contains(&day(call.ago))).map(|call| call.credits).sum()
    };
    let (used, last) =
        (sum(first, day(0)), sum(first.yesterday().unwrap().first_of_month(), first.yesterday().unwrap()));
    let money = |credits: u64| format!("{credits} credits ({:.2} EUR)", credits as f64 / 2.0);
    assert_eq!(shown["pool"]["used"], money(used));
    let said = shown["pool"]["last"].as_str().unwrap();
    assert!(said == if last > 0 { money(last) } else { "nothing booked".into() }, "{said}");
    let forecast = shown["pool"]["forecast"].as_str().unwrap();
    assert!(
        forecast.starts_with("about ") && forecast.ends_with(" EUR)"),
        "of days before today: {forecast}"
    );
    page.stayed_clean(pair.admin, &[]);
}

#[test]
fn days_team_and_key_are_looked_at_by_all_of_the_page_live_in_the_address_and_are_saved_as_they_are_shown() {
    let (pair, _) = made();
    let growth = id(&pair.key);
    let mut page = Page::open(pair.admin);
    page.shows(&json!({ "spend/legend/growth/total": "21", "spend/legend/growth/doubt": "5 in doubt",
                        "spend/title": "Spend by team", "spend/behind": null, "requests/rows/4/team": "growth" }));
    page.does("filter", json!({ "range": "90d" }));
    page.shows(
        &json!({ "spend/legend/growth/total": "32", "spend/per": "week", "requests/rows/5/team": "growth" }),
    );
    page.does("filter", json!({ "team": "growth" }));
    let shown = page.shows(&json!({
        "spend/title": "Spend of growth by key and member", format!("spend/legend/{FORMER}/total"): "17",
        format!("spend/legend/{growth}/total"): "15", "requests/rows/3/team": "growth", "requests/rows/4": null,
    }));
    assert_eq!(shown["teams_order"], json!(["growth"]));
    assert_eq!(shown["callers"]["rows"].as_object().unwrap().keys().collect::<Vec<_>>(), [&growth]);
    assert_eq!(shown["callers"]["rows"][&growth]["spent"], "15");
    assert_eq!(shown["callers_offered"], json!(["", growth]));
    page.does("filter", json!({ "caller": growth }));
    let narrow = json!({ "spend/title": format!("Spend of {growth} by route"), "spend/legend/video chat/total": "15",
                         "requests/rows/1/key": { "matches": growth }, "requests/rows/2": null });
    let url = page.shows(&narrow)["url"].as_str().unwrap().to_owned();
    let fragment = format!("#range=90d&team=growth&caller={growth}");
    assert!(url.ends_with(&fragment), "{url}");
    // A link shows the same to whoever opens it.
    page.does("open", json!({ "fragment": fragment }));
    page.shows(&narrow);

    // Each table as it is shown.
    let lines = |saved: &Value| -> Vec<String> {
        saved["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    };
    let spend = lines(&page.does("save", json!({ "name": "Spend as CSV" })));
    assert_eq!(spend[0], "first_day,route,calls,credits,in_doubt_credits");
    assert!(spend.len() == 2 && spend[1].ends_with(",video_chat,2,15,5"), "{spend:?}");
    let saved = page.does("save", json!({ "name": "Requests as CSV" }));
    assert!(saved["name"].as_str().unwrap().starts_with("credits-requests-"), "{saved}");
    let requests = lines(&saved);
    assert!(requests.len() == 3 && requests[1].contains(",5,estimated,truncated,"), "{requests:?}");
    for (name, has) in [("Keys and members as CSV", &*growth), ("Teams’ budgets as CSV", "growth")] {
        let rows = lines(&page.does("save", json!({ "name": name })));
        assert!(rows.len() == 2 && rows[1].starts_with(&format!("{has},")), "{rows:?}");
    }
    let figures = lines(&page.does("save", json!({ "name": "All single figures as CSV" })));
    assert!(figures.contains(&"budget_credits,5000".to_owned()), "{figures:?}");

    // Days of one's own, and back to everything.
    let of = day(40).to_string();
    page.does("filter", json!({ "range": "custom", "caller": "", "since": of, "until": of }));
    page.shows(&json!({ format!("spend/legend/{FORMER}/total"): "11", "requests/rows/0/credits": "11", "requests/rows/1": null,
                        "callers/rows": {} }));
    page.presses("Everything");
    let shown = page.shows(&json!({ "spend/legend/growth/total": "21", "view/range": "30d" }));
    assert!(!shown["url"].as_str().unwrap().contains('#'), "{}", shown["url"]);

    // A link with a mistake in it says which, and is mended by choosing.
    page.does("open", json!({ "fragment": "#range=4000d" }));
    page.shows(&json!({ "state": "Cannot be shown", "banner": { "matches": "`range` is the last days" } }));
    page.does("filter", json!({ "range": "7d" }));
    page.shows(&json!({ "state": "Serving", "banner": null, "spend/legend/growth/total": "21" }));
    page.stayed_clean(pair.admin, &["status of 400"]);
}

#[test]
fn a_figure_in_doubt_leads_to_its_calls_and_those_to_what_settles_them() {
    let (pair, _) = made();
    let mut page = Page::open(pair.admin);
    let shown = page.shows(&json!({ "upstream/in_doubt": "5 credits", "requests/rows/4/team": "growth" }));
    assert_eq!(shown["requests"]["settles"], Value::Null);
    // From wherever one looks: the figure is of the upstream's period and of all.
    page.does("filter", json!({ "team": "data" }));
    page.shows(&json!({ "requests/rows/0/team": "data", "requests/rows/1": null }));
    page.presses("5 credits");
    let shown = page.shows(&json!({
        "requests/rows/0/credits": "5", "requests/rows/1": null, "view/team": "", "view/range": "custom",
        "requests/settles": { "matches": "credits reconcile --csv" },
    }));
    let month = day(0).first_of_month();
    assert_eq!(
        (&shown["view"]["since"], &shown["view"]["until"]),
        (&json!(month), &json!(month.last_of_month()))
    );
    assert_eq!(shown["requests"]["rows"][0]["basis"], "estimated: the answer broke off before its cost");
    page.does("screenshot", json!({ "name": "doubt", "width": 1440, "height": 900, "scheme": "light" }));
    page.stayed_clean(pair.admin, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_shown_by_team_with_the_least_wait_and_the_window_as_a_ring() {
    let patient = "[queue]\nwait = \"90s\"";
    let pair =
        Pair::start(&PairSetup { server: patient, requests_per_minute: Some(6), ..PairSetup::default() });
    let mut page = Page::open(pair.admin);
    page.shows(&json!({ "flight/ring": "0 %", "queue/none": "Nobody waits." }));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..9 {
        let (address, key) = (pair.address, pair.key.clone());
        calls.spawn(async move { chat(address, &key, chat_body(false, "")).await });
    }
    let shown = page.shows(&json!({ "queue/rows/growth/waiting": { "matches": "[0-9]" }, "flight/ring": { "matches": "^[1-9]" } }));
    let waits = &shown["queue"]["rows"]["growth"];
    assert_eq!(shown["flight"]["waiting"], waits["waiting"]);
    assert!(waits["least"].as_str().unwrap().ends_with(" s"), "all wait for the minute to be over: {waits}");
    page.does("screenshot", json!({ "name": "queue", "width": 1440, "height": 900, "scheme": "light" }));
    assert_eq!(page.does("audit", json!({})), json!([]));
    page.stayed_clean(pair.admin, &[]);
    calls.abort_all();
}

#[test]
fn jobs_with_their_caps_what_retries_saved_and_keys_about_to_end_are_shown() {
    let routes = "routes = [\"*\", { name = \"video_analyses\", jobs = 2 }]";
    let mut pair = Pair::start(&PairSetup { team: routes, ..PairSetup::default() });
    pair.stop();
    let in_a_week = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(7 * 24);
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let text = text.replacen("\" }]", &format!("\", expires = {in_a_week:.0} }}]"), 1);
    std::fs::write(pair.config_path(), text).unwrap();
    pair.start_again();
    let post = |path: &str, retry_key: &str, body: &str| {
        let fields = [format!("authorization: Bearer {}", pair.key), format!("idempotency-key: {retry_key}")];
        let curl = Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", &pair.url(path), "-d", body])
            .args(["-H", "content-type: application/json", "-H", &fields[0], "-H", &fields[1]])
            .output();
        String::from_utf8(curl.unwrap().stdout).unwrap()
    };
    let analysis = json!({ "video_url": "https://videos.example/a.mp4", "title": "Launch", "brand": "Example", "product": "App",
                           "primary_intent": "Persuasive", "goal": "Find what loses viewers." });
    assert!(post("/api/v1/video-analyses", "job", &analysis.to_string()).starts_with('2'));
    let path = "/api/v1/video-analyses/clx1demo0000000000000000a/chat";
    for _ in 0..3 {
        assert_eq!(post(path, "chat", &chat_body(false, "")), "200");
    }
    let mut page = Page::open(pair.admin);
    let id = id(&pair.key);
    let shown = page.shows(&json!({
        "jobs/video_analyses/taken": "1 of 3", "jobs/video_analyses/waiting": "0", "pool/saved": "2 credits",
        "teams/growth/saved": "2 saved by retries", format!("callers/rows/{id}/state"): "expiring",
    }));
    assert_eq!(shown["callers"]["summary"], "1 key will expire within two weeks");
    let until = shown["callers"]["rows"][&id]["until"].as_str().unwrap();
    assert!(!until.is_empty() && until != "–", "{until}");
    let saved = page.does("save", json!({ "name": "Jobs as CSV" }));
    assert!(saved["lines"].as_array().unwrap().contains(&json!("video_analyses,3,1,0,0,0")), "{saved}");
    page.stayed_clean(pair.admin, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_of_the_upstream_the_configuration_and_the_disk() {
    let pair = Pair::start(&PairSetup::default());
    let mut page = Page::open(pair.admin);
    let shown = page
        .shows(&json!({ "state": "Serving", "banner": null, "flight/disk": { "matches": " of .* free$" } }));
    assert_eq!(shown["requests"]["problem"], Value::Null);

    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    std::fs::write(pair.config_path(), format!("{text}\n[queue]\nwait = 5\n")).unwrap();
    page.shows(&json!({ "state": "Serving, by an older configuration", "banner": { "matches": "queue.wait.*mavera-gateway check" } }));
    std::fs::write(pair.config_path(), &text).unwrap();
    page.shows(&json!({ "state": "Serving", "banner": null }));

    let (path, away) = (pair.folder.path().join("ledger.db"), pair.folder.path().join("away.db"));
    std::fs::rename(&path, &away).unwrap();
    let shown = page.shows(&json!({ "state": "Ledger closed",
                                    "banner": { "matches": "not the file that it was.*Nothing is charged" } }));
    assert_eq!(shown["stale"], false, "figures of memory are current: {shown}");
    std::fs::rename(&away, &path).unwrap();
    page.shows(&json!({ "state": "Serving", "banner": null }));

    let refused = chat(pair.address, &pair.key, chat_body(false, "answer=402_exhausted")).await.unwrap();
    assert_eq!(refused.status, 402);
    page.shows(&json!({ "state": "Pool empty", "banner": { "matches": "refused with 402" } }));
    page.stayed_clean(pair.admin, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_that_stand_side_by_side_are_of_one_moment_while_calls_go_on() {
    let (pair, _) = made();
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let wide = text
        .replace("credits = 1000,", "credits = 1000000,")
        .replace("credits = 5000,", "credits = 1000000,");
    std::fs::write(pair.config_path(), wide).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    let (address, key) = (pair.address, pair.key.clone());
    let calls = tokio::spawn(async move {
        loop {
            assert_eq!(chat(address, &key, chat_body(false, "")).await.unwrap().status, 200);
        }
    });
    let millionths = |value: &Value| (value.as_f64().unwrap() * 1e6).round() as i64;
    let mut moved = std::collections::BTreeSet::new();
    while moved.len() < 5 {
        let (status, body) = crate::support::process::get(pair.admin, "/credits/look?range=month");
        assert_eq!(status, 200, "{body}");
        let look: Value = serde_json::from_str(&body).unwrap();
        let (overview, booked) = (&look["overview"], &look["booked"]);
        // Of memory: all teams together are the organisation.
        let teams = overview["teams"].as_array().unwrap().iter();
        let used: i64 = teams.map(|team| millionths(&team["standing"]["used"])).sum();
        assert_eq!(used, millionths(&overview["organisation"]["used"]), "{look}");
        // Of the ledger: the bars, the period and the callers; and between both, what is not written yet.
        let series = booked["spend"]["series"].as_array().unwrap().iter();
        let bars: i64 = series.flat_map(|series| series["credits"].as_array().unwrap()).map(millionths).sum();
        assert_eq!(bars, millionths(&booked["this_period"]["credits"]), "{look}");
        assert_eq!(used - bars, millionths(&look["not_written"]), "{look}");
        moved.insert(bars);
        tokio::task::yield_now().await;
    }
    calls.abort();
}
