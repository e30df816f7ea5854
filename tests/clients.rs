//! Real clients, unmodified but for base URL and key, through a real gateway process: curl, the `OpenAI`
//! SDKs for Python and JavaScript, and `fetch`. `make test` installs what they need.

use std::path::PathBuf;
use std::process::Command;

use crate::support::process::{Pair, PairSetup, get};
use crate::support::rig::{chat_path, sample};
use crate::support::{assert_no_canary, chat_body};

pub fn sdk(path: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(path);
    assert!(path.exists(), "{} is missing: run `make test`, which installs it", path.display());
    path
}

/// Runs a client against a pair and returns what it printed.
pub fn run(pair: &Pair, command: &mut Command) -> String {
    let output = command
        .env("OPENAI_BASE_URL", pair.url("/api/v1"))
        .env("OPENAI_API_KEY", &pair.key)
        .env("CHAT_PATH", chat_path().trim_start_matches("/api/v1"))
        .output()
        .expect("the client starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{complained}");
    assert_no_canary("a client", said.as_bytes());
    said
}

/// What every client prints: the JSON answer's credits, the streamed text's end, and how a refusal looks.
fn assert_served(pair: &Pair, said: &str) {
    assert!(said.contains("json completed credits=1"), "{said}");
    assert!(said.contains("stream events=15 last=response.completed credits=1"), "{said}");
    assert!(said.contains("refused status=400 code=missing_field param=messages"), "{said}");
    let books = pair.books();
    let received = books["received"].as_array().unwrap();
    assert_eq!(received.len(), 2, "each call reached the upstream once");
    for request in received {
        let authorization: Vec<_> = request["headers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|field| field[0] == "authorization")
            .collect();
        assert_eq!(authorization.len(), 1);
        assert!(authorization[0][1].as_str().unwrap().starts_with("Bearer mvra_live_"));
    }
}

#[test]
fn curl_gets_json_and_streams() {
    let pair = Pair::start(&PairSetup::default());
    let authorization = format!("Authorization: Bearer {}", pair.key);
    let curl = |body: &str| {
        let mut command = Command::new("curl");
        command.args([
            "-sSN",
            &pair.url(&chat_path()),
            "-H",
            &authorization,
            "-H",
            "Content-Type: application/json",
            "-d",
            body,
        ]);
        run(&pair, &mut command)
    };
    assert!(curl(&chat_body(false, "")).contains("\"credits_used\":1"));
    let streamed = curl(&chat_body(true, ""));
    assert!(
        streamed.starts_with("event: response.created\n") && streamed.ends_with("data: [DONE]\n\n"),
        "{streamed}"
    );
    assert!(curl("{}").contains("\"code\":\"missing_field\""));
}

#[test]
fn the_openai_python_sdk_gets_json_and_streams() {
    let pair = Pair::start(&PairSetup::default());
    let said = run(&pair, Command::new(sdk(".venv/bin/python")).arg(sdk("client.py")));
    assert_served(&pair, &said);
}

#[test]
fn the_openai_javascript_sdk_gets_json_and_streams() {
    let pair = Pair::start(&PairSetup::default());
    sdk("node_modules/openai");
    let said = run(&pair, Command::new("node").arg(sdk("client.mjs")));
    assert_served(&pair, &said);
}

#[test]
fn fetch_gets_json_and_streams() {
    let pair = Pair::start(&PairSetup::default());
    let said = run(&pair, Command::new("node").arg(sdk("fetch.mjs")));
    assert_served(&pair, &said);
}

#[test]
fn the_openai_sdks_wait_their_turn_without_a_retry() {
    let python = || Command::new(sdk(".venv/bin/python"));
    let node = || Command::new("node");
    for (mut client, script) in [(python(), "wait.py"), (node(), "wait.mjs")] {
        // Twenty at once, the others evenly behind them, every third of a second one.
        let upstream = "[queue]\nreserve = 0.9";
        let pair =
            Pair::start(&PairSetup { requests_per_minute: Some(200), upstream, ..PairSetup::default() });
        let said = run(&pair, client.arg(sdk(script)).env("CALLS", "24"));
        assert!(said.contains("served=24"), "{said}");
        let books = pair.books();
        assert_eq!(books["received"].as_array().unwrap().len(), 24, "each call was made once");
        assert_eq!(books["over_window"], 0);
        let metrics = get(pair.admin, "/metrics").1;
        let waited = "mavera_gateway_queue_outcomes_total{outcome=\"granted\",team=\"growth\"}";
        assert_eq!(sample(&metrics, waited), 4.0);
    }
}

/// What both SDKs print of their typed methods, each error by its own class.
const TYPED: [&str; 17] = [
    "response completed true credits=1",
    "response stream response.created response.completed true",
    "response helper true",
    "response format strong 71",
    "response tool function_call find_brand",
    "response background in_progress",
    "chat stop true",
    "chat stream true stop",
    "chat tool function find_brand",
    "refused model BadRequestError 400 invalid_field model",
    "refused messages BadRequestError 400 invalid_field messages",
    "refused key AuthenticationError 401 invalid_api_key",
    "refused route PermissionDeniedError 403 route_not_allowed",
    "refused path NotFoundError 404 unknown_route",
    "refused dear BadRequestError 400 idempotency_key_required",
    "refused max API",
    "refused 500 InternalServerError 500 internal_error",
];

#[test]
fn the_openai_sdks_typed_methods_work_and_errors_are_of_their_own_classes() {
    sdk("node_modules/openai");
    let python = || Command::new(sdk(".venv/bin/python"));
    let node = || Command::new("node");
    let (closed, spent) =
        (("429_bare", "refused last RateLimitError 429"), ("402_budget", "refused last API"));
    for (mut client, script, (last, refused)) in [
        (python(), "typed.py", closed),
        (node(), "typed.mjs", closed),
        (python(), "typed.py", spent),
        (node(), "typed.mjs", spent),
    ] {
        let team = "routes = [\"responses\", \"chat_completions\", \"personas\"]";
        let queue = "[queue]\nwait = \"0s\"";
        let pair = Pair::start(&PairSetup { team, upstream: queue, ..PairSetup::default() });
        let said = run(&pair, client.arg(sdk(script)).env("LAST", last));
        let said: String = said.replace("True", "true").replace("False", "false");
        for expected in TYPED.into_iter().chain([refused]) {
            assert!(
                said.lines().any(|line| line.starts_with(expected)),
                "{script}: {expected} is not in\n{said}"
            );
        }
        assert_eq!(said.lines().count(), TYPED.len() + 1, "{said}");
        // What every call cost is booked, but for what is known later, and what was refused cost nothing.
        let booked = sample(
            &get(pair.admin, "/metrics").1,
            "mavera_gateway_credits_used_total{basis=\"estimated\",route=\"responses\",team=\"growth\"}",
        );
        assert_eq!(booked, 10.0, "the one in the background, and the one that failed");
        let books = pair.books();
        let received = books["received"].as_array().unwrap();
        let answered = received.iter().filter(|request| request["status"] == 200);
        assert_eq!(answered.count(), 9, "{books}");
    }
}
