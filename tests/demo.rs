//! The first thing a new user does: start the demo and paste the curl it prints.

use std::process::Command;

use crate::support::process::{get, start_demo};
use crate::support::rig::sample;

#[test]
fn the_printed_curl_streams_an_answer_as_it_is() {
    let (mut demo, admin) = start_demo();
    demo.wait_for(|line| line.starts_with("Five teams are talking").then_some(()));
    let said = demo.output();
    let from = said.find("  curl -N").unwrap();
    let to = from + said[from..].find("\n\n").unwrap();
    let pasted = Command::new("bash").args(["-c", &said[from..to]]).output().unwrap();
    let answer = String::from_utf8(pasted.stdout).unwrap();
    assert!(
        answer.starts_with("event: response.created\n"),
        "{answer}{}",
        String::from_utf8_lossy(&pasted.stderr)
    );
    assert!(answer.ends_with("data: [DONE]\n\n"), "{answer}");
    let without_stream = said[from..to].replace(",\"stream\":true", "");
    let json = Command::new("bash").args(["-c", &without_stream]).output().unwrap().stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["object"], &json["usage"]["credits_used"]), (&"response".into(), &1.into()));
    // The second one begins an analysis, and lists it.
    let from = to + said[to..].find("  curl ").unwrap();
    let to = from + said[from..].find("\n\n").unwrap();
    let pasted = Command::new("bash").args(["-c", &said[from..to]]).output().unwrap();
    let answer = String::from_utf8(pasted.stdout).unwrap();
    assert_eq!(
        answer.matches("\"object\":\"video_analysis\"").count(),
        3,
        "the one, and both in the list: {answer}"
    );
    // The teams talk.
    let total = || {
        sample(
            &get(admin, "/metrics").1,
            "mavera_gateway_requests_total{route=\"video_chat\",status=\"200\",team=\"support\"}",
        )
    };
    while total() < 1.0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    demo.signal("INT");
    assert_eq!(demo.wait(), Some(0));
}
