//! Prometheus and Grafana: what is shipped for them works on a real Prometheus that scrapes a gateway at work.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::process::{Process, get, start_demo};

/// Where `scripts/setup` unpacks Prometheus, unless the system has one.
fn tool(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/prometheus/usr/bin").join(name);
    if unpacked.is_file() { unpacked } else { name.into() }
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

struct Prometheus {
    _process: Process,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// One that scrapes every second and evaluates the shipped rules as often.
    fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let rules = [deploy("prometheus/rules.yml"), deploy("prometheus/alerts.yml")];
        std::fs::write(
            &config,
            format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
                 rule_files: ['{}', '{}']\n\
                 scrape_configs:\n  - job_name: mavera-gateway\n    static_configs: [{{ targets: ['{target}'] }}]\n",
                rules[0].display(),
                rules[1].display()
            ),
        )
        .unwrap();
        // Prometheus wants to be told a port; this one was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Process::start(
            Command::new(tool("prometheus"))
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address={address}")),
        );
        process.wait_for(|line| line.contains("Server is ready to receive web requests").then_some(()));
        Self { _process: process, address, _folder: folder }
    }

    fn api(&self, path: &str) -> Value {
        let (status, body) = get(self.address, path);
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!((status, &answer["status"]), (200, &"success".into()), "{path}: {body}");
        answer["data"].clone()
    }

    /// How many series, or whether a scalar, an expression gives now.
    fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let data = self.api(&format!("/api/v1/query?query={encoded}"));
        match data["resultType"].as_str() {
            Some("vector") => data["result"].as_array().unwrap().clone(),
            _ => vec![data["result"].clone()],
        }
    }

    fn until(&self, expression: &str) {
        while self.query(expression).is_empty() {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// An expression of a dashboard as Grafana would send it for all teams.
fn expanded(expression: &str) -> String {
    [
        ("$__rate_interval", "1m"),
        ("${__rate_interval}", "1m"),
        ("$__interval", "1m"),
        ("$__range", "1h"),
        ("${team:regex}", ".*"),
        ("${team}", ".*"),
        ("$team", ".*"),
        ("$instance", ".*"),
    ]
    .iter()
    .fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value))
}

fn dashboards() -> Vec<(String, Value)> {
    let folder = std::fs::read_dir(deploy("grafana/dashboards")).unwrap();
    let mut dashboards: Vec<_> = folder
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        })
        .collect();
    dashboards.sort_by(|a, b| a.0.cmp(&b.0));
    dashboards
}

/// Every expression of a dashboard, with the place where it stands.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap();
    let nested = panels.iter().filter_map(|panel| panel["panels"].as_array()).flatten();
    let mut found = Vec::new();
    for panel in panels.iter().chain(nested) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let place = panel["title"].as_str().unwrap().to_owned();
            found.push((place, target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"].as_str().unwrap_or_default();
        if let Some(inside) = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')) {
            let (series, label) = inside.rsplit_once(',').unwrap();
            found.push((
                variable["name"].as_str().unwrap().to_owned(),
                format!("count by ({}) ({series})", label.trim()),
            ));
        }
    }
    found
}

/// What the demo shows on purpose: a budget that is used up, a queue, answers that break off.
const SHOWN: [&str; 7] = [
    "MaveraGatewayBudgetExhausted",
    "MaveraGatewayBudgetRefusals",
    "MaveraGatewayBudgetExhaustionPredicted",
    "MaveraGatewayQueueNeverEmpties",
    "MaveraGatewayUpstreamWindowNearlyFull",
    "MaveraGatewayStreamsTruncated",
    "MaveraGatewayCreditsInDoubtRising",
];

#[test]
fn every_expression_of_every_dashboard_and_rule_has_data_and_no_alert_is_of_what_is_well() {
    let (_demo, admin) = start_demo();
    let prometheus = Prometheus::start(admin);
    // Streams have ended, the upstream's usage was read and changed, and the rules have seen all that.
    prometheus.until("sum(mavera_gateway_streams_total{outcome=\"completed\"}) > 2");
    prometheus.until("mavera_gateway_upstream_pool_credits{kind=\"used\"} > 0");
    prometheus.until("count_over_time(mavera_gateway_upstream_usage_timestamp_seconds[5m]) > 10");

    let groups = prometheus.api("/api/v1/rules");
    let mut kinds = BTreeSet::new();
    for rule in
        groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        let name = rule["name"].as_str().unwrap();
        kinds.insert(rule["type"].as_str().unwrap().to_owned());
        assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
        if rule["type"] == "alerting" {
            let is_fine = rule["state"] == "inactive" || SHOWN.contains(&name);
            assert!(is_fine, "{name} of a gateway that is well: {rule}");
            assert!(rule["annotations"]["runbook_url"].is_string(), "{name}");
        } else {
            assert!(!prometheus.query(name).is_empty(), "{name} has recorded nothing");
        }
    }
    assert_eq!(kinds, BTreeSet::from(["alerting".to_owned(), "recording".to_owned()]));
    for (file, dashboard) in dashboards() {
        let expressions = expressions(&dashboard);
        assert!(expressions.len() > 20, "{file} has {} expressions", expressions.len());
        for (place, expression) in expressions {
            let found = prometheus.query(&expanded(&expression));
            assert!(!found.is_empty(), "{file}, {place:?} shows nothing: {expression}");
        }
    }
}

/// What a panel has to say of itself, so that nobody has to guess: its unit, what no data is called, what each of several lines is,
/// and of which gateways it tells.
#[test]
fn panels_have_units_words_for_no_data_legends_and_the_gateways_that_are_chosen() {
    for (file, dashboard) in dashboards() {
        let variables: Vec<_> = dashboard["templating"]["list"].as_array().unwrap().iter().collect();
        let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["datasource", "instance", "team"], "{file}");
        for (place, expression) in expressions(&dashboard) {
            if names.contains(&place.as_str()) {
                continue;
            }
            let selectors = expression.matches("mavera_gateway_").count().max(1);
            let chosen = expression.matches("instance=~\"$instance\"").count();
            assert!(chosen >= 1 && chosen <= selectors + 2, "{file}, {place:?}: {expression}");
            for used in expression.split('$').skip(1) {
                let name: String =
                    used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                assert!(name.starts_with("__") || names.contains(&&*name), "{file}, {place:?} uses ${name}");
            }
        }
        let panels = dashboard["panels"].as_array().unwrap();
        let nested = panels.iter().filter_map(|panel| panel["panels"].as_array()).flatten();
        for panel in panels.iter().chain(nested).filter(|panel| panel["type"] != "row") {
            let (title, defaults) = (&panel["title"], &panel["fieldConfig"]["defaults"]);
            assert!(defaults["unit"].is_string(), "{file}, {title} has no unit");
            if ["stat", "gauge", "bargauge"].contains(&panel["type"].as_str().unwrap()) {
                assert!(defaults["noValue"].is_string(), "{file}, {title} has no word for no data");
            }
            let targets = panel["targets"].as_array().unwrap();
            if panel["type"] == "timeseries" && targets.len() > 1 {
                for target in targets {
                    let legend = target["legendFormat"].as_str().unwrap_or_default();
                    assert!(!legend.is_empty(), "{file}, {title}: one of its lines has no name");
                }
            }
        }
    }
}

#[test]
fn rules_fire_when_their_fault_is_there_and_metrics_keep_to_the_conventions() {
    let checked =
        Command::new(deploy("prometheus/check")).env("PROMTOOL", tool("promtool")).output().unwrap();
    let said =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");

    let (_demo, admin) = start_demo();
    let mut lint = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin.take().unwrap().write_all(get(admin, "/metrics").1.as_bytes()).unwrap();
    let lint = lint.wait_with_output().unwrap();
    assert!(lint.status.success() && lint.stderr.is_empty(), "{}", String::from_utf8_lossy(&lint.stderr));
}

#[test]
fn every_alert_has_its_page_in_the_runbook_and_its_unit_test() {
    let alerts = std::fs::read_to_string(deploy("prometheus/alerts.yml")).unwrap();
    let runbook = std::fs::read_to_string(deploy("../docs/runbook.md")).unwrap();
    let tests: String = std::fs::read_dir(deploy("prometheus/tests"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 15);
    for name in names {
        assert!(
            runbook.lines().any(|line| line.trim_start_matches('#').trim() == name),
            "{name} in the runbook"
        );
        assert!(alerts.contains(&format!("docs/runbook.md#{}", name.to_lowercase())), "the link of {name}");
        // That it fires in one and is silent in the healthy one, `deploy/prometheus/check` knows.
        assert!(tests.contains(name), "{name} has no unit test");
    }
}
