//! The organisation's window is shared by all teams and never exceeded by us.

use std::time::Duration;

use mavera_gateway::clock::Clock;
use mavera_sim::Settings;

use crate::support::rig::{Rig, Setup};
use crate::support::{CANARY, chat_body};

fn clock() -> Clock {
    Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap())
}

fn wide_team(window: u32) -> Setup {
    let queue = "wait = \"0s\"".into();
    Setup { upstream: format!("requests_per_minute = {window}"), queue, ..Setup::default() }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_fit_is_refused_with_a_true_wait_and_the_upstream_never_sees_too_many() {
    let settings = Settings { requests_per_minute: 20, credits: 1_000_000, ..Settings::with_key(CANARY) };
    let (rig, simulator) = Rig::with_simulator_of(&wide_team(20), settings, clock());
    let (mut admitted, mut refused) = (0, 0);
    for step in 0u64..600 {
        let answer = rig.send(rig.chat(chat_body(step % 3 == 0, "pace=300ms"))).await;
        match answer.status().as_u16() {
            200 => admitted += 1,
            429 => {
                refused += 1;
                assert_eq!(answer.code(), "upstream_window_full");
                assert_eq!(answer.header("ratelimit-policy"), "\"upstream\";q=20;w=60");
                let wait: u64 = answer.header("retry-after").parse().unwrap();
                tokio::time::sleep(Duration::from_secs(wait)).await;
                let again = rig.send(rig.chat(chat_body(false, ""))).await;
                assert_eq!(again.status(), 200, "after the wait it said, it fits");
                admitted += 1;
            }
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(100 + step % 7 * 50)).await;
    }
    assert!(refused > 10 && admitted > 100, "{refused} {admitted}");
    assert_eq!(
        simulator.books(|books| (books.over_window, books.busiest_window)),
        (0, 20),
        "full, and never over"
    );
}

#[tokio::test(start_paused = true)]
async fn a_smaller_plan_than_configured_is_learned_from_the_answers() {
    let settings = Settings { requests_per_minute: 5, credits: 1_000_000, ..Settings::with_key(CANARY) };
    let (rig, simulator) = Rig::with_simulator_of(&wide_team(240), settings, clock());
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(rig.send(rig.chat(chat_body(false, ""))).await.status().as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5);
    assert_eq!(simulator.books(|books| books.over_window), 0);
}

#[tokio::test(start_paused = true)]
async fn a_429_of_the_upstream_closes_the_window_for_all_as_long_as_it_says() {
    let settings = Settings { credits: 1_000_000, ..Settings::with_key(CANARY) };
    let (rig, simulator) = Rig::with_simulator_of(&wide_team(240), settings, clock());
    let first = rig.send(rig.chat(chat_body(false, "answer=429"))).await;
    assert_eq!((first.status().as_u16(), first.header("retry-after")), (429, "7"));
    let second = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!((second.code().as_str(), second.header("retry-after")), ("upstream_window_full", "7"));
    assert_eq!(simulator.books(|books| books.received.len()), 1);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
}
