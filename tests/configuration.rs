//! The configuration: what is reported about a bad one, and that what ships with the repository is a
//! good one.

use std::path::Path;

use mavera_gateway::config::identity::Proves;
use mavera_gateway::config::{self, parse};
use serde_json::Value;

use crate::support::process::binary;
use crate::support::{CANARY, assert_no_canary};

const SHIPPED: &str = include_str!("../config/gateway.toml");

fn problems(text: &str) -> String {
    parse(Path::new("gateway.toml"), text).unwrap_err().to_string()
}

#[test]
fn every_problem_is_reported_at_once_with_its_line_and_a_way_out() {
    let text = "\
[server]
listen = \"localhost\"
drain_timeot = \"5s\"
head_timeout = \"30\"
max_head = \"1KiB\"

[upstream]
base_url = \"http://app.mavera.io/api/v1\"
requests_per_minute = 0
on_disconnect = \"explode\"
api_key = \"mvra_live_pasted_right_into_the_file_000\"

[[team]]
name = \"Growth\"
keys = [
  { id = \"short\", sha256 = \"abc\" },
]

[[team]]
keys = [{ id = \"abcdefgh\", expires = 2027-01-01 }]
burst = \"many\"
weight = 0
max_wait = \"1h\"

[queue]
reserve = 1.0
wait = \"soon\"

[retries]
keep = \"5m\"
adopt = \"yes\"
bodies = { store = \"ledger\", max_body = \"2MiB\", total = \"1MiB\" }
";
    let report = problems(text);
    for expected in [
        "gateway.toml:2: server.listen:",
        "gateway.toml:3: server.drain_timeot: unknown key\n    to mend it: did you mean `drain_timeout`?",
        "gateway.toml:4: server.head_timeout: \"30\" is not a length of time; write it like \"30s\"",
        "gateway.toml:5: server.max_head: size is out of range\n    to mend it: use 8.0 KiB to 256.0 KiB",
        "gateway.toml:8: upstream.base_url: would send the organisation's key in clear text",
        "gateway.toml:9: upstream.requests_per_minute: 0 is out of range",
        "gateway.toml:10: upstream.on_disconnect:",
        "gateway.toml:11: upstream.api_key:",
        "gateway.toml:14: team[0].name: \"Growth\" is not a team name",
        "gateway.toml:16: team[0].keys[0].id: \"short\" is not 8 to 32 of a-z and 0-9",
        "gateway.toml:16: team[0].keys[0].sha256: is not 64 hexadecimal digits",
        "gateway.toml:19: team[1].name: is required",
        "gateway.toml:20: team[1].keys[0].sha256: is required",
        "gateway.toml:20: team[1].keys[0].expires: 2027-01-01 is not a full date and time with an offset",
        "gateway.toml:21: team[1].burst:",
        "gateway.toml:22: team[1].weight: 0 is out of range\n    to mend it: use 1 to 1000",
        "gateway.toml:23: team[1].max_wait: 1h is out of range",
        "gateway.toml:26: queue.reserve: 1 is out of range\n    to mend it: use 0 to 0.9",
        "gateway.toml:27: queue.wait: \"soon\" is not a length of time",
        "gateway.toml:31: retries.adopt:",
        "gateway.toml:32: retries.bodies.keep: no key names an answer for so long",
        "gateway.toml:32: retries.bodies.max_body: is larger than what may be kept in all",
        "gateway.toml:32: retries.bodies.pepper: is required for answers in the ledger's file",
    ] {
        assert!(report.contains(expected), "missing: {expected}\nin:\n{report}");
    }
    assert!(!report.contains("pasted_right"), "what may be a key is not repeated:\n{report}");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for text in [
        "[upstream]\napi_key = { env = \"mvra_live_pasted_right_into_the_file_000\" }\n",
        "[retries]\nbodies = { store = \"ledger\", pepper = \"mvra_live_pasted_right_into_the_file_000\" }\n",
        "[admin]\ntoken = { env = \"pasted_right_into_the_file_as_a_name\" }\n",
        "[admin]\ntoken = \"pasted_right_into_the_file\"\n",
        "[admin]\ntoken = { text = \"pasted_right\" }\n",
        "[tracing]\nendpoint = \"http://user:pasted_right@collector:4318\"\n",
        "[tracing]\nendpoint = \"http://collector:4318/?token=pasted_right\"\n",
    ] {
        let report = problems(text);
        assert!(report.contains("to mend it: write "), "{report}");
        assert!(!report.contains("pasted_right"), "{report}");
    }
    let report = problems("[upstream]\nmvra_live_pasted_right_as_a_name = 1\n");
    assert!(report.starts_with("gateway.toml:2: upstream.mvra_…: unknown key"), "{report}");
}

#[test]
fn a_key_in_quotes_has_its_line_whatever_is_in_it() {
    let text = "1 = 0\n\"a.b\" = 0\n\"c[0]\" = 0\n\"d\\u001B[0m\\n\" = 0\n[server]\n\"e.f\" = 0\n";
    let report = problems(text);
    for line in [
        "gateway.toml:1: 1: unknown key",
        "gateway.toml:2: a.b: unknown key",
        "gateway.toml:3: c[0]: unknown key",
        "gateway.toml:4: d\\u{1b}[0m\\n: unknown key",
        "gateway.toml:6: server.e.f: unknown key",
    ] {
        assert!(report.lines().any(|said| said == line), "{line} in {report}");
    }
}

#[test]
fn text_that_is_not_toml_is_reported_with_its_line() {
    assert!(problems("[server\nlisten = 1\n").starts_with("gateway.toml:1:"));
    assert!(problems("server = 7\n").starts_with("gateway.toml:1:"));
}

#[test]
fn what_has_not_the_shape_of_a_setting_is_told_in_the_readers_words_and_hides_nothing_else() {
    let text = "\
[server]
listen = 8080
drain_timeout = 30
[credits]
budget = 500
[queue]
wiat = \"5s\"
[retries]
bodies = 5
[ledger]
postgres = \"x\"
[[team]]
name = \"a\"
keys = [\"mvgw_pasted_right_into_the_file\"]
routes = \"chat\"
members = { id = \"x\" }
budget = { credits = 5, period = \"year\" }
";
    let report = problems(text);
    for expected in [
        "gateway.toml:2: server.listen: is 8080, and has to be an address with a port\n    to mend it: write an address",
        "gateway.toml:3: server.drain_timeout: is 30, and has to be a text in quotes\n    to mend it: write it like \"30s\"",
        "gateway.toml:5: credits.budget: is a number, and has to be a table\n    to mend it: write budget = { credits = …, period = … }",
        "gateway.toml:7: queue.wiat: unknown key\n    to mend it: did you mean `wait`?",
        "gateway.toml:9: retries.bodies: is a number, and has to be a table",
        "gateway.toml:11: ledger.postgres: is a text, and has to be a table",
        "gateway.toml:14: team[0].keys[0]: is a text, and has to be a table\n    to mend it: write keys = [{ id = …",
        "gateway.toml:15: team[0].routes: is a text, and has to be a list\n    to mend it: write routes = [\"…\"]",
        "gateway.toml:16: team[0].members: is a table, and has to be a list\n    to mend it: write members = [{ id = …",
        "gateway.toml:17: team[0].budget.period: is \"year\", and has to be one of \"day\", \"week\", \"month\"",
    ] {
        assert!(report.contains(expected), "missing: {expected}\nin:\n{report}");
    }
    assert!(!report.contains("pasted_right"), "{report}");
    for text in ["[team]\nname = \"a\"\n", "[team.growth]\nweight = 5\n"] {
        let report = problems(text);
        let expected = "gateway.toml:1: team: is a table, and has to be a list\n    to mend it: there can be several, so write [[team]]";
        assert!(report.starts_with(expected) && report.lines().count() == 2, "{report}");
    }
    assert!(problems("[[credits]]\nreserve = 5\n").contains("write [credits] on a line of its own"));
}

#[test]
fn relative_paths_are_relative_to_the_configuration() {
    let text = "\
[upstream]
api_key = { file = \"secrets/key\" }
ca_file = \"/etc/roots.pem\"
[server]
tls = { cert = \"server.pem\", key = \"server.key\" }
[ledger]
path = \"data/ledger.db\"
[[identity]]
name = \"a\"
mtls = { ca_file = \"ca.pem\", crl_file = \"crl.pem\" }
";
    let at = |file: &str, path: &str| {
        let config = parse(Path::new(file), text).unwrap();
        let tls = config.server.tls.unwrap();
        let Proves::Certificates(of) = &config.identities[0].proves else { panic!() };
        let ledger = &config.ledger.file().unwrap().path;
        let relative = [ledger, &tls.cert, &tls.key, &of.ca_file, of.crl_file.as_ref().unwrap()];
        let expected = ["data/ledger.db", "server.pem", "server.key", "ca.pem", "crl.pem"];
        assert_eq!(relative.map(Clone::clone), expected.map(|name| Path::new(path).join(name)), "{file}");
        assert_eq!(config.upstream.api_key.file(), Some(&*Path::new(path).join("secrets/key")), "{file}");
        assert_eq!(config.upstream.ca_file.as_deref(), Some(Path::new("/etc/roots.pem")));
    };
    at("/etc/mavera-gateway/gateway.toml", "/etc/mavera-gateway");
    at("config/gateway.toml", "config");
    at("gateway.toml", "");
    // A pipe stands in no folder.
    at("/dev/fd/63", "");
    at("/proc/self/fd/63", "");
    let default = parse(Path::new("/etc/m/gateway.toml"), "").unwrap();
    assert_eq!(default.ledger.file().unwrap().path, Path::new("/etc/m/data/ledger.db"));
}

#[test]
fn what_is_valid_and_surely_not_meant_is_told() {
    let odd = |text: &str| {
        let odd = parse(Path::new("f"), text).unwrap().oddities(|_| false);
        odd.into_iter().map(|odd| format!("{}: {}", odd.key, odd.message)).collect::<Vec<_>>().join("\n")
    };
    let open = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    assert!(odd(open).starts_with("server.listen: keys and answers cross the network"), "{}", odd(open));
    for mended in ["tls = { cert = \"c\", key = \"k\" }\n", "trusted_proxies = [\"10.0.0.7\"]\n"] {
        assert_eq!(odd(&format!("{open}{mended}")), "", "{mended}");
    }
    assert_eq!(odd("[server]\nlisten = \"[::1]:8080\"\n"), "");
    let open = "[admin]\ntoken = { file = \"t\" }\nlisten = \"0.0.0.0:9464\"\n";
    assert!(odd(open).starts_with("admin.listen: operators' tokens cross the network"), "{}", odd(open));
    for mended in
        [format!("{open}tls = {{ cert = \"c\", key = \"k\" }}\n"), open.replace("0.0.0.0", "127.0.0.1")]
    {
        assert_eq!(odd(&mended), "", "{mended}");
    }
    assert_eq!(odd("[admin]\nlisten = \"0.0.0.0:9464\"\n"), "", "without a token it has no secret");
    let bare = odd("[upstream]\nbase_url = \"https://app.mavera.io\"\n");
    assert!(bare.starts_with("upstream.base_url: ") && bare.contains("`/api/v1`"), "{bare}");
    let budgets = |team: u32, key: u32| {
        odd(&format!(
            "[credits]\nbudget = {{ credits = 100, period = \"month\" }}\n[[team]]\nname = \"a\"\n\
             budget = {{ credits = {team}, period = \"month\" }}\n[[team.keys]]\nid = \"abcdefgh\"\nsha256 = \"{}\"\n\
             budget = {{ credits = {key}, period = \"month\" }}\n",
            "ab".repeat(32)
        ))
    };
    assert_eq!(budgets(100, 100), "");
    assert!(
        budgets(101, 50)
            .contains("the budget of team a: 101 credits a month are more than the 100 of the organisation")
    );
    assert!(
        budgets(50, 51)
            .contains("the budget of key abcdefgh: 51 credits a month are more than the 50 of its team")
    );
}

#[test]
fn names_and_keys_must_be_unique() {
    let digest = "ab".repeat(32);
    let team = |name: &str, id: &str| {
        format!("[[team]]\nname = \"{name}\"\nkeys = [{{ id = \"{id}\", sha256 = \"{digest}\" }}]\n")
    };
    let report = problems(&format!("{}{}", team("growth", "abcdefgh"), team("growth", "abcdefgh")));
    for expected in
        ["another team \"growth\"", "key id \"abcdefgh\" is used twice", "this key is listed twice"]
    {
        assert!(report.contains(expected), "{report}");
    }
    assert!(problems(&team("organisation", "abcdefgh")).contains("means something else"));
}

#[test]
fn http_is_for_loopback_only() {
    for url in [
        "http://127.0.0.1:1/api/v1",
        "http://[::1]:1/api/v1",
        "http://localhost/api/v1",
        "https://app.mavera.io/api/v1",
    ] {
        assert!(parse(Path::new("f"), &format!("[upstream]\nbase_url = \"{url}\"\n")).is_ok(), "{url}");
    }
    for url in [
        "http://10.0.0.1/api/v1",
        "http://localhost.evil.example/",
        "ftp://a/",
        "/api",
        "https://u:p@a/",
        "https://a/?q=1",
    ] {
        assert!(parse(Path::new("f"), &format!("[upstream]\nbase_url = \"{url}\"\n")).is_err(), "{url}");
    }
}

/// Every key of the schema, as dotted paths.
fn keys(schema: &Value, prefix: &str, found: &mut Vec<String>) {
    let table = if schema["anyOf"].is_array() { &schema["anyOf"][0] } else { schema };
    let table = if table["items"]["properties"].is_object() { &table["items"] } else { table };
    for (name, inner) in table["properties"].as_object().into_iter().flatten() {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let before = found.len();
        keys(inner, &key, found);
        if found.len() == before {
            found.push(key);
        }
    }
}

#[test]
fn the_shipped_file_is_valid_and_shows_every_key_with_its_default() {
    let shipped =
        parse(Path::new("config/gateway.toml"), SHIPPED).unwrap_or_else(|problems| panic!("{problems}"));
    let mut all = Vec::new();
    keys(&config::schema(), "", &mut all);
    assert!(all.len() > 35, "{all:?}");
    for key in &all {
        let name = key.rsplit('.').next().unwrap();
        let shown = SHIPPED.lines().any(|line| {
            let line = line.trim_start_matches("# ").trim();
            line.starts_with(&format!("{name} ="))
                || line.contains(&format!("{{ {name} ="))
                || line.contains(&format!(", {name} ="))
        });
        assert!(shown, "{key} is not in config/gateway.toml");
    }
    // Everything but the teams and the plan's window is at its default there, so the defaults it
    // documents are the code's.
    let defaults = parse(Path::new("f"), "").unwrap();
    let comparable =
        |config: &config::Config| format!("{:?} {:?} {:?}", config.server, config.admin, config.upstream);
    let mut shipped_at_defaults = shipped.clone();
    shipped_at_defaults.upstream.requests_per_minute = defaults.upstream.requests_per_minute;
    assert_eq!(comparable(&shipped_at_defaults), comparable(&defaults));
    // Uncommented, the optional keys are valid as well.
    let uncommented: String = SHIPPED
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if (code.contains(" = ") && !code.contains(". ")) || code.starts_with('[') => {
                format!("{code}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    parse(Path::new("uncommented"), &uncommented).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn a_proxy_is_an_address_and_a_port_and_one_of_the_environment_is_told_of() {
    let problem = |text: &str| parse(Path::new("f"), text).unwrap_err().to_string();
    for (proxy, told) in [
        ("https://p.example:3128", "is not http://"),
        ("p.example:3128", "is not http://"),
        ("socks5://p.example:1080", "is not http://"),
        ("http://p.example", "names no port"),
        ("http://p.example:3128/x", "has a path"),
        ("http://me:hunter2@p.example:3128", "has a user or a password in it"),
        ("http://", "is not a URL"),
    ] {
        let said = problem(&format!("[upstream]\nproxy = {proxy:?}\n"));
        assert!(said.starts_with("f:2: upstream.proxy: ") && said.contains(told), "{proxy}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let local =
        problem("[upstream]\nbase_url = \"http://127.0.0.1:1/api/v1\"\nproxy = \"http://p.example:3128\"\n");
    assert!(local.starts_with("f:3: upstream.proxy: is for https://"), "{local}");
    let issuer = "[[identity]]\nname = \"a\"\njwt = { issuer = \"a\", audience = [\"b\"], jwks_file = \"k\", proxy = \"http://p:1\" }\n";
    assert!(
        problem(issuer).contains("jwt.proxy: nothing is fetched beside `jwks_file`"),
        "{}",
        problem(issuer)
    );

    let set = |text: &str, name: &'static str| {
        let odd = parse(Path::new("f"), text).unwrap().oddities(|asked| asked == name);
        odd.into_iter().map(|odd| format!("{}: {}", odd.key, odd.message)).collect::<Vec<_>>().join("\n")
    };
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        assert!(set("", name).starts_with(&format!("upstream.proxy: {name} is set")), "{}", set("", name));
    }
    assert_eq!(set("", "HTTP_PROXY"), "");
    assert_eq!(set("[upstream]\nproxy = \"http://p.example:3128\"\n", "HTTPS_PROXY"), "");
    assert_eq!(set("[upstream]\nbase_url = \"http://127.0.0.1:1/api/v1\"\n", "HTTPS_PROXY"), "");
}

#[test]
fn check_takes_the_start_up_path_and_exits_accordingly() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let check = |key: Option<&str>| {
        let mut command = binary();
        command.args(["check", "--config"]).arg(&file).env_remove("MAVERA_API_KEY");
        if let Some(key) = key {
            command.env("MAVERA_API_KEY", key);
        }
        let output = command.output().unwrap();
        assert_no_canary("check", &output.stdout);
        assert_no_canary("check", &output.stderr);
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    std::fs::write(&file, SHIPPED).unwrap();
    let (code, said) = check(Some(CANARY));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("fine"), "{said}");
    // As whoever has typed it does: the file alone.
    let output = binary().arg("check").arg(&file).env("MAVERA_API_KEY", CANARY).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), said);
    let (code, said) = check(None);
    assert_eq!(code, 64);
    assert!(said.contains("upstream.api_key: environment variable MAVERA_API_KEY is not set"), "{said}");
    let (code, said) = check(Some("sk-of-somebody-else-entirely-000000000"));
    assert_eq!(code, 64);
    assert!(said.contains("does not hold an upstream key") && !said.contains("somebody-else"), "{said}");
    std::fs::write(&file, "[upstream]\napi_key = { file = \"/nonexistent/key\" }\n[server]\ntls = { cert = \"/nonexistent/c\", key = \"/nonexistent/k\" }\n").unwrap();
    let (code, said) = check(None);
    assert_eq!(code, 64);
    assert!(said.contains("/nonexistent/key") && said.contains("server.tls.cert"), "all at once: {said}");
    std::fs::remove_file(&file).unwrap();
    let (code, said) = check(None);
    assert!(code == 64 && said.contains("cannot be read"), "{said}");
}

#[test]
fn a_configuration_that_comes_by_a_pipe_is_read_once_and_whole() {
    let mut child = binary()
        .args(["check", "--config", "/dev/stdin"])
        .env("MAVERA_API_KEY", CANARY)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), SHIPPED.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("fine. 1 team with 1 key"), "{said}");
}

#[test]
fn check_does_not_pass_a_ledger_that_serve_would_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a-file"), "plain text, and no database").unwrap();
    rusqlite::Connection::open(path("foreign.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let file = path("gateway.toml");
    let run = |command: &str, ledger: &Path| {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[ledger]\npath = '{}'\n",
            ledger.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut command_line = binary();
        command_line.args([command, "--config"]).arg(&file).env("MAVERA_API_KEY", CANARY);
        command_line.output().unwrap()
    };
    for wrong in [folder.path().to_owned(), path("a-file"), path("foreign.db"), path("a-file/ledger.db")] {
        let checked = run("check", &wrong);
        let said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(64), "{}: {said}", wrong.display());
        assert!(said.contains("ledger.path"), "{said}");
        assert!(!run("serve", &wrong).status.success(), "{}", wrong.display());
    }
    let checked = run("check", &path("new/ledger.db"));
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && said.contains("new/ledger.db, which is not there yet"), "{said}");
    assert!(!path("new").exists(), "it writes nothing");
}

#[test]
fn a_new_key_fits_into_the_configuration_it_is_printed_for() {
    let output = binary().args(["key", "new", "--team", "growth", "--expires", "90d"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let key = text.lines().next().unwrap();
    let table = text.split_once("[[team]]").unwrap().1;
    let config = parse(Path::new("f"), &format!("[[team]]{table}")).unwrap();
    let listed = &config.teams[0].keys[0];
    assert!(key.starts_with(&format!("mvgw_{}_", listed.id)) && listed.expires.is_some());
    let usage = binary().args(["key", "new", "--team", "No Such Name"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(64));
}

#[test]
fn the_schema_is_printed_and_knows_every_table() {
    let output = binary().arg("schema").output().unwrap();
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    for table in ["server", "admin", "upstream", "limits", "log", "team"] {
        assert!(
            schema["properties"][table]["description"].is_string() || schema["properties"][table].is_object(),
            "{table}"
        );
    }
    assert_eq!(schema["additionalProperties"], false);
    assert!(
        schema["properties"]["upstream"]["properties"]["base_url"]["description"]
            .as_str()
            .unwrap()
            .contains("https")
    );
}
