//! Real clients whose own timeout is shorter than their answer takes.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::clients::{run, sdk};
use crate::support::process::{Pair, PairSetup};

/// What the upstream was asked, and what it charged.
fn chats(pair: &Pair) -> Vec<u64> {
    let books = pair.books();
    let received = books["received"].as_array().unwrap().iter();
    received.map(|received| received["charged"].as_u64().unwrap()).collect()
}

/// The records of all calls, once none is under way.
fn records(pair: &Pair, count: usize) -> Vec<Value> {
    loop {
        let said = pair.gateway.output();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let records: Vec<_> = lines.filter(|line| line["message"] == "request").collect();
        if records.len() >= count {
            return records;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_openai_sdks_are_answered_and_charged_once_with_a_key_and_without() {
    sdk("node_modules/openai");
    for client in ["retry.py", "retry.mjs"] {
        for keyed in ["yes", "no"] {
            // In the midst of the second attempt, which begins 0.375 to 0.5 s after the first was given up: an answer whose
            // head is on its way when its caller gives up has been sent to somebody.
            let pair = Pair::start(&PairSetup { quirks: "delay=1950ms", ..PairSetup::default() });
            let mut command = match client {
                "retry.py" => Command::new(sdk(".venv/bin/python")),
                _ => Command::new("node"),
            };
            let said = run(&pair, command.arg(sdk(client)).env("KEYED", keyed));
            assert!(said.contains("json credits=1\nstream events=15 credits=1"), "{client} {keyed}: {said}");
            assert_eq!(chats(&pair), [1, 1], "{client} {keyed}: each call was made once");
            // Each was given up after a second, and once more.
            let records = records(&pair, 4);
            let of = |retry: &[&str]| {
                records.iter().filter(|record| retry.iter().any(|word| record["retry"] == *word)).count()
            };
            let (first, copies) = match keyed {
                "yes" => (of(&["executed"]), of(&["joined", "replayed"])),
                _ => (2, of(&["adopted"])),
            };
            assert!(first == 2 && copies >= 2, "{client} {keyed}: {records:#?}");
            let ours: f64 = records.iter().map(|record| record["gateway_seconds"].as_f64().unwrap()).sum();
            assert!(ours < 0.5, "who waits for another's answer waits for the upstream: {records:#?}");
        }
    }
}

#[test]
fn the_ai_package_is_answered_and_charged_once_with_a_key() {
    sdk("node_modules/ai");
    for (keyed, expected) in [("yes", "text=true attempts=3"), ("no", "gave up")] {
        let quirks = "delay=2500ms; generation=old";
        let pair = Pair::start(&PairSetup { quirks, ..PairSetup::default() });
        let said = run(&pair, Command::new("node").arg(sdk("retry_ai.mjs")).env("KEYED", keyed));
        assert_eq!(said.trim(), expected);
        records(&pair, if keyed == "yes" { 3 } else { 1 });
        assert_eq!(chats(&pair), [1], "{keyed}");
    }
}
