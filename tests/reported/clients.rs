//! Real clients where they once went wrong: refusals behind large bodies, streams that are left at their end, and what each
//! of them does with an answer that says no.

use std::path::PathBuf;
use std::process::Command;

use crate::support::process::{Pair, PairSetup, get};
use crate::support::rig::{chat_path, sample};

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(name)
}

fn python() -> Command {
    Command::new(script(".venv/bin/python"))
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("`make test` installs what is missing");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn against<'c>(pair: &Pair, command: &'c mut Command) -> &'c mut Command {
    command
        .env("OPENAI_BASE_URL", pair.url("/api/v1"))
        .env("OPENAI_API_KEY", &pair.key)
        .env("CHAT_PATH", chat_path().trim_start_matches("/api/v1"))
}

#[test]
fn python_node_and_java_get_the_refusal_behind_a_body_of_any_size() {
    let pair = Pair::start(&PairSetup::default());
    for (mut command, name, lines) in [
        (python(), "refusal.py", 3),
        (Command::new("node"), "refusal.mjs", 3),
        (Command::new("java"), "Refusal.java", 2),
    ] {
        // What is lost by a race is not lost each time.
        let sizes = ["60000", "900000", "20000000", "900000", "900000", "900000", "900000"];
        let said = said(against(&pair, command.arg(script(name)).args(sizes)));
        let arrived = said.lines().filter(|line| line.ends_with("status=401 code=invalid_api_key")).count();
        assert!(said.lines().count() >= lines * sizes.len() && arrived == said.lines().count(), "{said}");
    }
}

#[test]
fn the_openai_sdks_leave_at_the_end_of_a_stream_and_it_was_complete() {
    let pair = Pair::start(&PairSetup::default());
    for (mut command, name) in [(python(), "terminal.py"), (Command::new("node"), "terminal.mjs")] {
        let said = said(against(&pair, command.arg(script(name))));
        assert!(said.contains("left-at=done ok") && said.contains("left-at=completed ok"), "{said}");
    }
    let metrics = get(pair.admin, "/metrics").1;
    let streams = |how: &str| {
        sample(&metrics, &format!("mavera_gateway_streams_total{{outcome=\"{how}\",team=\"growth\"}}"))
    };
    assert_eq!((streams("client_gone"), streams("truncated")), (0.0, 0.0));
    assert!(streams("completed") >= 4.0);
    assert_eq!(sample(&metrics, "mavera_gateway_ledger_open_holds"), 0.0);
}

#[test]
fn a_client_of_http_2_sends_large_bodies_again_and_again_on_one_connection() {
    let pair = Pair::start(&PairSetup::default());
    let sizes =
        ["60000", "900000", "900000", "20000000", "900000", "900000", "900000", "900000", "900000", "900000"];
    let said = said(against(&pair, Command::new("node").arg(script("refusal_h2.mjs")).args(sizes)));
    let arrived = said.lines().filter(|line| line.ends_with("status=401 code=invalid_api_key")).count();
    assert_eq!(arrived, sizes.len(), "{said}");
}

/// `docs/clients.md` says what each client does; this is where it was tried.
#[test]
fn what_the_documents_say_of_clients_is_what_they_do() {
    let document = include_str!("../../docs/clients.md");
    for (mut command, name) in [
        (python(), "manners.py"),
        (Command::new("node"), "manners.mjs"),
        (Command::new("java"), "Manners.java"),
    ] {
        let said = said(command.arg(script(name)));
        assert!(said.lines().count() > 5, "{said}");
        for line in said.lines() {
            assert!(document.contains(line), "docs/clients.md does not have what {name} has found: {line}");
        }
    }
}
