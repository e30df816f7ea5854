//! The desk beside a simulation of its rule in another language: the same calls are let through, in the same order, within
//! one step of the simulation's time.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::process::Command;
use std::time::Duration;

use mavera_gateway::desk::{Ask, Desk, Settings, Verdict};
use serde::Deserialize;

use crate::support::queue::asked;

const STEP: u64 = 50;

#[derive(Deserialize)]
struct Trace {
    name: String,
    limit: NonZeroU32,
    weights: HashMap<String, NonZeroU32>,
    /// When, in milliseconds; which; whose.
    asks: Vec<(u64, usize, String)>,
    /// When, and which.
    grants: Vec<(u64, usize)>,
}

#[test]
fn the_desk_lets_the_same_calls_through_in_the_same_order_as_a_simulation_of_its_rule() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/queue/queue_sim.py");
    let output = Command::new("python3").args([script, "--traces"]).output().expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let traces = String::from_utf8(output.stdout).unwrap();
    let traces: Vec<Trace> = traces.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(traces.len(), 15);
    for trace in traces {
        let granted = replay(&trace);
        assert!(granted.len() > 60 && granted.len() == trace.grants.len(), "{}", trace.name);
        for (at, (ours, theirs)) in granted.iter().zip(&trace.grants).enumerate() {
            assert_eq!(ours.1, theirs.1, "{}: grant {at}", trace.name);
            assert!(ours.0.abs_diff(theirs.0) <= STEP, "{}: grant {at}: {ours:?} {theirs:?}", trace.name);
        }
    }
}

/// Asks a desk what the trace asked, in the same steps of time. Returns when it let which call through.
fn replay(trace: &Trace) -> Vec<(u64, usize)> {
    let settings = Settings {
        per_minute: trace.limit,
        reserve: 0.1,
        waiting: 1000,
        queues: true,
        grace: std::time::Duration::ZERO,
    };
    let today = "2030-01-15".parse().unwrap();
    let mut desk = Desk::new(settings, Duration::ZERO, today, Duration::from_hours(24));
    let (mut asks, mut granted, mut tickets) = (trace.asks.iter().peekable(), Vec::new(), HashMap::new());
    let end = trace.grants.last().map_or(0, |(at, _)| *at) + STEP;
    for now in (0..end).step_by(usize::try_from(STEP).unwrap()) {
        let moment = Duration::from_millis(now);
        while let Some((_, call, team)) = asks.next_if(|(at, ..)| *at <= now) {
            let weight = trace.weights.get(team).copied().unwrap_or(NonZeroU32::MIN);
            match desk.ask(ask(team, weight), moment) {
                Verdict::Granted(_) => granted.push((now, *call)),
                Verdict::Waits(ticket) => drop(tickets.insert(ticket, *call)),
                Verdict::Refused(refused) => panic!("{refused:?}"),
            }
        }
        for outcome in desk.turn(moment) {
            assert!(outcome.verdict.is_ok());
            granted.push((now, tickets.remove(&outcome.ticket).expect("it waits")));
        }
    }
    granted
}

fn ask(team: &str, weight: NonZeroU32) -> Ask {
    Ask { weight, ..asked(team, Duration::from_hours(1)).ask }
}
