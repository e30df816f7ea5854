//! The data behind the credits page: who gets it, and that it says what the ledger says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use mavera_gateway::desk::State;
use mavera_gateway::refuse::Code;
use serde_json::{Value, json};

use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{PATIENCE, Pair, PairSetup, get};

const TOKEN: &str = "plainly-fake-admin-token-0123456789";

/// One GET with these header fields: status, head and body.
fn ask(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> (u16, String, String) {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nconnection: close\r\n").unwrap();
    for (name, value) in fields {
        write!(tcp, "{name}: {value}\r\n").unwrap();
    }
    write!(tcp, "\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
}

fn document(address: SocketAddr, path: &str) -> Value {
    let (status, body) = get(address, path);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Waits until the ledger has written the endings of so many calls.
fn booked(admin: SocketAddr, count: usize) -> Value {
    loop {
        let found = document(admin, "/credits/requests?limit=200");
        if found["requests"].as_array().unwrap().len() >= count {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_the_ledger_says_before_and_after_a_restart() {
    let mut pair = Pair::start(&PairSetup { reads_usage: true, ..PairSetup::default() });
    for (stream, quirks) in [(false, ""), (true, ""), (true, "fault=close"), (false, "answer=500")] {
        let _ = chat(pair.address, &pair.key, chat_body(stream, quirks)).await;
    }
    let _ = chat(pair.address, "mvgw_unknown0_not_a_key", chat_body(false, "")).await;
    let found = booked(pair.admin, 4);
    let calls = found["requests"].as_array().unwrap().clone();
    let sum: f64 = calls.iter().map(|call| call["credits"].as_f64().unwrap()).sum();
    assert_eq!((&found["complete"], &found["next"]), (&json!(true), &Value::Null));
    let outcomes: Vec<_> = calls.iter().rev().map(|call| call["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["completed", "completed", "truncated", "completed"]);
    assert!(calls.iter().all(|call| call["team"] == "growth" && call["reserved"] == 5));

    let overview = document(pair.admin, "/credits/overview");
    let growth = &overview["teams"][0];
    assert_eq!((&growth["name"], &growth["calls_in_flight"]), (&json!("growth"), &json!(0)));
    assert_eq!(growth["standing"]["used"].as_f64(), Some(sum), "{overview}");
    assert_eq!(overview["organisation"]["used"].as_f64(), Some(sum));
    assert_eq!(growth["standing"]["left"], Value::Null, "it has no budget of its own");
    assert!(growth["standing"]["per_day"].is_null(), "less than a day is no trend: {growth}");
    assert_eq!(overview["refusals"], json!([{"team": "other", "code": "invalid_api_key", "count": 1}]));
    assert_eq!(overview["window"]["limit"], 1_000_000);
    assert_eq!((&overview["upstream_state"], &growth["waiting"]), (&json!("serving"), &json!(0)));

    for per in ["day", "week", "month"] {
        let spend = document(pair.admin, &format!("/credits/spend?per={per}"));
        let team = &spend["series"][0];
        assert_eq!((&spend["by"], &team["name"]), (&json!("team"), &json!("growth")));
        assert_eq!(team["credits"].as_array().unwrap().last().unwrap().as_f64(), Some(sum), "{spend}");
        assert_eq!(team["calls"].as_array().unwrap().last(), Some(&json!(4)));
        assert_eq!(team["credits"].as_array().unwrap().len(), spend["buckets"].as_array().unwrap().len());
        assert!(team["in_doubt"].as_array().unwrap().last().unwrap().as_f64() > Some(0.0));
    }
    let look = document(pair.admin, "/credits/look");
    let booked = &look["booked"];
    let last = &booked["last_period"];
    assert_eq!((last["credits"].as_f64(), last["in_doubt"].as_f64()), (Some(0.0), Some(0.0)), "{last}");
    assert!(last["since"].as_str() < last["until"].as_str(), "a month: {last}");
    assert_eq!(look["not_written"], 0, "all is in the tables: {look}");
    assert!(booked["disk"]["free_bytes"].as_u64() <= booked["disk"]["total_bytes"].as_u64());

    pair.stop();
    pair.start_again();
    let admin = pair.admin;
    assert_eq!(document(admin, "/credits/requests")["requests"], json!(calls));
    let overview = document(admin, "/credits/overview");
    assert_eq!(overview["teams"][0]["standing"]["used"].as_f64(), Some(sum));
    assert_eq!(overview["refusals"], json!([]), "counted since the start");
}

#[test]
fn it_has_words_for_every_refusal_and_for_every_state_of_the_upstream_that_needs_some() {
    let words = include_str!("../src/admin/page/words.js");
    for code in Code::ALL {
        assert!(words.contains(&format!("\n  {}: \"", code.as_str())), "{code:?}");
    }
    for state in State::ALL.into_iter().filter(|state| *state != State::Serving) {
        assert!(words.contains(&format!("\n  {}: [\"", state.as_str())), "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_found_by_team_outcome_and_id_and_paged() {
    let pair = Pair::start(&PairSetup::default());
    for number in 0..7 {
        let quirks = if number == 3 { "fault=close" } else { "" };
        let _ = chat(pair.address, &pair.key, chat_body(true, quirks)).await;
    }
    let all = booked(pair.admin, 7)["requests"].as_array().unwrap().clone();
    let search = |query: &str| document(pair.admin, &format!("/credits/requests?{query}"));
    let ids = |found: &Value| -> Vec<Value> {
        found["requests"].as_array().unwrap().iter().map(|call| call["call"].clone()).collect()
    };
    let newest = search("limit=3");
    let older = search(&format!("limit=3&before={}", newest["next"]));
    let oldest = search(&format!("limit=3&before={}", older["next"]));
    let paged: Vec<_> = [newest, older, oldest.clone()].iter().flat_map(ids).collect();
    assert_eq!(paged, all.iter().map(|call| call["call"].clone()).collect::<Vec<_>>());
    assert_eq!((&oldest["next"], &oldest["complete"]), (&Value::Null, &json!(true)));

    assert_eq!(ids(&search("outcome=truncated")), [all[3]["call"].clone()]);
    assert_eq!(ids(&search("basis=estimated")), [all[3]["call"].clone()], "what is in doubt");
    assert_eq!(ids(&search("basis=final")).len(), 6);
    assert_eq!(ids(&search("basis=derived&team=growth")).len(), 0);
    assert_eq!(ids(&search("team=growth")).len(), 7);
    assert_eq!(ids(&search("team=research")).len(), 0);
    for name in ["request_id", "response_id"] {
        let id = all[5][name].as_str().unwrap();
        assert_eq!(ids(&search(&format!("id={id}"))), [all[5]["call"].clone()], "{name}");
    }
    assert_eq!(ids(&search(&format!("id={}", all[0]["key_id"].as_str().unwrap()))).len(), 7);
    // What a query says is a value and nothing else.
    assert_eq!(ids(&search("id=%27%20OR%201%3D1%20--")).len(), 0);
    for query in ["limit=0", "limit=201", "limit=many", "before=-1", "basis=guessed"] {
        let (status, body) = get(pair.admin, &format!("/credits/requests?{query}"));
        assert_eq!(status, 400, "{query}");
        assert!(body.contains("invalid_parameter"), "{body}");
    }
}

#[test]
fn with_a_token_there_is_no_data_without_it_and_it_is_renewed_by_its_file() {
    let mut pair = Pair::start(&PairSetup::default());
    pair.stop();
    let token = pair.folder.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let listen = format!("[admin]\ntoken = {{ file = '{}' }}\n", token.display());
    std::fs::write(pair.config_path(), text.replace("[admin]\n", &listen)).unwrap();
    pair.start_again();
    let admin = pair.admin;

    let bearer = |token: &str| format!("Bearer {token}");
    let fields = |value: &'static str| ("authorization", value.to_owned());
    for (field, code) in [
        (None, "token_required"),
        (Some(fields("Bearer plainly-wrong")), "token_invalid"),
        (Some(("cookie", format!("token={TOKEN}"))), "token_required"),
    ] {
        let mut given = vec![("host", "localhost")];
        given.extend(field.as_ref().map(|(name, value)| (*name, value.as_str())));
        for path in ["/credits/overview", "/credits/spend", "/credits/requests", "/credits/anything"] {
            let (status, head, body) = ask(admin, path, &given);
            assert_eq!(status, 401, "{body}");
            assert!(body.contains(code) && head.contains("www-authenticate: Bearer"), "{head}\n{body}");
        }
    }
    let (status, ..) = ask(admin, &format!("/credits/overview?token={TOKEN}"), &[("host", "localhost")]);
    assert_eq!(status, 401, "a URL is no place for a token");
    let authorized = |token: &str| {
        ask(admin, "/credits/overview", &[("host", "10.0.0.7:9464"), ("authorization", &bearer(token))]).0
    };
    assert_eq!(authorized(TOKEN), 200);
    // Metrics, probes and the page itself, which holds no data, need none.
    for path in ["/metrics", "/livez", "/readyz", "/"] {
        assert_eq!(get(admin, path).0, 200, "{path}");
    }

    let renewed = format!("{TOKEN}-renewed");
    std::fs::write(&token, &renewed).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    assert_eq!((authorized(TOKEN), authorized(&renewed)), (401, 200));
    assert!(!pair.gateway.output().contains(TOKEN), "the token is in the log");
}

#[test]
fn without_a_token_another_sites_page_is_refused_on_loopback_too() {
    let pair = Pair::start(&PairSetup::default());
    let (status, head, body) = ask(pair.admin, "/credits/overview", &[("host", "rebound.example")]);
    assert_eq!(status, 403);
    assert!(body.contains("loopback_only") && body.contains("admin.token"), "{body}");
    assert!(!head.to_lowercase().contains("access-control-allow"), "{head}");
    assert_eq!(ask(pair.admin, "/credits/overview", &[("host", "localhost")]).0, 200);
}

#[test]
fn the_pages_files_come_under_a_policy_that_lets_nothing_else_in() {
    let pair = Pair::start(&PairSetup::default());
    let (status, head, body) = ask(pair.admin, "/", &[("host", "localhost")]);
    assert_eq!(status, 200);
    let head = head.to_lowercase();
    for field in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(head.contains(field), "{field} is not in {head}");
    }
    // Whatever the page loads is there; nothing it names is anywhere else.
    let mut loaded = 0;
    for attribute in ["src=\"", "href=\""] {
        for named in body.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            if named.starts_with('#') {
                continue;
            }
            let path = format!("/{}", named.trim_start_matches(['.', '/']));
            assert!(!named.contains("//") && get(pair.admin, &path).0 == 200, "{named}");
            loaded += 1;
        }
    }
    assert!(loaded >= 3, "{body}");
    for inline in ["<script>", "<style", " style=", " onclick=", "javascript:"] {
        assert!(!body.contains(inline), "{inline}");
    }
    assert_eq!(get(pair.admin, "/../Cargo.toml").0, 404);
    assert_eq!(get(pair.admin, "/page/index.html").0, 404);
}

#[test]
fn a_ledger_that_cannot_be_read_is_said_and_not_guessed() {
    let pair = Pair::start(&PairSetup::default());
    let (path, away) = (pair.folder.path().join("ledger.db"), pair.folder.path().join("away.db"));
    std::fs::rename(&path, &away).unwrap();
    let (status, body) = get(pair.admin, "/credits/requests");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("ledger_unreadable"), "{body}");
    assert_eq!(get(pair.admin, "/credits/overview").0, 200, "what is known is told");
    let look = document(pair.admin, "/credits/look");
    assert_eq!(
        (&look["booked"], &look["problem"]["code"]),
        (&Value::Null, &json!("ledger_unreadable")),
        "{look}"
    );
    assert_eq!(look["overview"]["organisation"]["used"], 0);
    // A table without rows would be told for one that has none; what is of memory is there.
    assert_eq!(get(pair.admin, "/credits/requests.csv").0, 503);
    assert_eq!(get(pair.admin, "/credits/teams.csv").0, 200);
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(get(pair.admin, "/credits/requests").0, 200, "and it recovers by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_listed_with_who_may_spend_more_than_there_is_and_a_refused_configuration_shows() {
    let setup = PairSetup { team: "budget = { credits = 10, period = \"day\" }", ..PairSetup::default() };
    let pair = Pair::start(&setup);
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let budget = "[credits]\nprice = { amount = 0.5, currency = \"EUR\" }\nbudget = { credits = 200, period = \"month\" }\n[[team]]";
    std::fs::write(pair.config_path(), text.replacen("[[team]]", budget, 1)).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    let until = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    for team in ["growth", "organisation"] {
        let grant = ["grant", "--team", team, "--credits", "20", "--until", &until, "--why", "launch"];
        assert_eq!(crate::ledger::credits(&pair.config_path(), &grant).0, 0);
    }
    let back = crate::ledger::credits(&pair.config_path(), &["revoke-grant", "2", "--why", "called off"]);
    assert_eq!(back.0, 0, "{}", back.1);
    let grants = document(pair.admin, "/credits/grants");
    let list = grants["list"].as_array().unwrap();
    let told: Vec<_> =
        list.iter().map(|grant| (&grant["team"], &grant["taken_back"], &grant["why"])).collect();
    assert_eq!(
        told,
        [
            (&json!("growth"), &json!(false), &json!("launch")),
            (&json!("organisation"), &json!(true), &json!("launch"))
        ]
    );
    assert_eq!((&grants["budgets_a_month"], &grants["there_is"]), (&json!(300), &json!(200)));
    let overview = document(pair.admin, "/credits/overview");
    assert_eq!(overview["price"], json!({ "amount": 0.5, "currency": "EUR" }));
    assert_eq!(overview["configuration_problem"], Value::Null);
    std::fs::write(pair.config_path(), format!("{text}\n[queue]\nwait = 5\nwaiting = 0\n")).unwrap();
    pair.gateway.wait_for_message("configuration refused; the running one is kept");
    let problem = document(pair.admin, "/credits/overview")["configuration_problem"].clone();
    let problem = problem.as_str().unwrap();
    assert!(problem.starts_with("line "), "{problem}");
    assert!(
        problem.ends_with(": queue.wait: is 5, and has to be a text in quotes (and 1 more)"),
        "{problem}"
    );
    std::fs::write(pair.config_path(), &text).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    assert_eq!(document(pair.admin, "/credits/overview")["configuration_problem"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_and_table_is_there_as_csv_with_what_the_page_shows() {
    let setup = PairSetup { team: "budget = { credits = 90, period = \"month\" }", ..PairSetup::default() };
    let pair = Pair::start(&setup);
    for quirks in ["", "fault=close"] {
        let _ = chat(pair.address, &pair.key, chat_body(true, quirks)).await;
    }
    let _ = chat(pair.address, "mvgw_unknown0_not_a_key", chat_body(false, "")).await;
    booked(pair.admin, 2);
    // What there is says so itself, and nothing else is there.
    let (status, names) = get(pair.admin, "/credits/");
    assert_eq!(status, 404);
    let names: Vec<_> = names.split_whitespace().filter_map(|name| name.strip_suffix(".csv")).collect();
    assert_eq!(
        names,
        ["figures", "spend", "teams", "jobs", "replicas", "refusals", "requests", "callers", "grants"]
    );
    let mut tables = std::collections::BTreeMap::new();
    for name in names {
        let (status, head, body) = ask(pair.admin, &format!("/credits/{name}.csv"), &[("host", "localhost")]);
        assert_eq!(status, 200, "{body}");
        assert!(
            head.contains("content-type: text/csv") && head.contains(&format!("filename=\"{name}.csv\"")),
            "{head}"
        );
        let mut reader = csv::Reader::from_reader(body.as_bytes());
        let rows: Vec<std::collections::BTreeMap<String, String>> =
            reader.deserialize().map(Result::unwrap).collect();
        tables.insert(name, rows);
    }
    let look = document(pair.admin, "/credits/look");
    let team = &look["overview"]["teams"][0]["standing"];
    let row = &tables["teams"][0];
    for (column, figure) in
        [("budget_credits", "credits"), ("used_credits", "used"), ("left_credits", "left")]
    {
        assert_eq!(row[column], team[figure].to_string(), "{column}");
    }
    assert_eq!(row["resets"], team["resets"].as_str().unwrap());
    let figure =
        |name: &str| tables["figures"].iter().find(|row| row["figure"] == name).unwrap()["value"].clone();
    assert_eq!(figure("used_credits"), look["overview"]["organisation"]["used"].to_string());
    assert_eq!(figure("last_period_credits"), "0");
    assert_eq!(tables["refusals"][0]["code"], "invalid_api_key");
    assert_eq!(tables["requests"].len(), 2);
    assert_eq!(tables["requests"][0]["basis"], "estimated");
    assert_eq!(
        tables["callers"][0]["spent_credits"],
        look["booked"]["callers"]["keys"][0]["spent"].to_string()
    );
    assert_eq!(tables["spend"][0]["in_doubt_credits"], "5");
    assert!(tables["jobs"].iter().all(|row| !row["limit"].is_empty()) && tables["grants"].is_empty());
    // A query that cannot be is told, with what it may be.
    let (status, body) = get(pair.admin, "/credits/spend.csv?range=soon");
    assert!(status == 400 && body.contains("last-month"), "{body}");
}
