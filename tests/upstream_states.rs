//! What the upstream says of itself: calls that cannot succeed are refused at once with the reason, few are sent to look, and
//! soon after it is over calls flow again.

use std::time::Duration;

use http::Method;
use mavera_gateway::clock::Clock;
use mavera_sim::{KeyState, Settings, SimKey, Simulator};

use crate::support::rig::{Answer, Rig, Setup, sample};
use crate::support::{CANARY, chat_body};

fn rig(settings: Settings) -> (Rig, Simulator) {
    let clock = Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap());
    let settings = Settings { requests_per_minute: 100_000_000, ..settings };
    Rig::with_simulator_of(&Setup::default(), settings, clock)
}

async fn chat(rig: &Rig) -> Answer {
    rig.send(rig.chat(chat_body(false, ""))).await
}

async fn list(rig: &Rig) -> Answer {
    rig.send(rig.request(Method::GET, "/api/v1/video-analyses", "")).await
}

fn received(simulator: &Simulator) -> usize {
    simulator.books(|books| books.received.len())
}

/// Fails if the metric tells another state.
fn assert_state(rig: &Rig, state: &str) {
    let metrics = rig.metrics();
    for known in mavera_gateway::desk::State::ALL.map(mavera_gateway::desk::State::as_str) {
        let value = sample(&metrics, &format!("mavera_gateway_upstream_state{{state=\"{known}\"}}"));
        assert_eq!(value == 1.0, known == state, "{known}");
    }
}

/// Lets calls be refused for some minutes: one a minute is sent to look, and all others are told at once.
async fn refused_for(rig: &Rig, simulator: &Simulator, minutes: usize, status: u16, code: &str) {
    let before = received(simulator);
    for _ in 0..minutes * 12 {
        let answer = chat(rig).await;
        if answer.header("x-gateway-error").is_empty() {
            // The look: the upstream's own words.
            assert_eq!(answer.status(), 402);
        } else {
            assert_eq!((answer.status().as_u16(), answer.code().as_str()), (status, code));
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let looks = received(simulator) - before;
    assert!((minutes - 1..=minutes).contains(&looks), "{looks}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_pool_is_told_at_once_looked_at_once_a_minute_and_over_when_credits_are_bought() {
    let (rig, simulator) = rig(Settings { credits: 3, ..Settings::with_key(CANARY) });
    assert_state(&rig, "serving");
    let first = loop {
        let answer = chat(&rig).await;
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_eq!((first.status().as_u16(), &first.json()["error"]["code"]), (402, &"credits_exhausted".into()));
    assert_state(&rig, "pool_empty");
    let refused = chat(&rig).await;
    assert_eq!(
        (refused.code().as_str(), refused.header("x-should-retry")),
        ("upstream_credits_exhausted", "false")
    );
    let explained = rig.send(rig.request(Method::POST, "/gateway/v1/explain", chat_body(false, ""))).await;
    assert_eq!(explained.json()["refusals"][0]["code"], "upstream_credits_exhausted");
    assert_eq!(list(&rig).await.status(), 200, "what is free goes on");
    assert_state(&rig, "pool_empty");
    refused_for(&rig, &simulator, 10, 402, "upstream_credits_exhausted").await;
    simulator.buy(100);
    let mut waited = 0;
    while chat(&rig).await.status() != 200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        waited += 1;
    }
    assert!(waited <= 61, "{waited} seconds after it was over");
    assert_state(&rig, "serving");
    assert_eq!(chat(&rig).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_upstreams_usage_tells_that_its_pool_is_empty_and_when_it_is_filled_again() {
    let (rig, simulator) = rig(Settings { credits: 5000, ..Settings::with_key(CANARY) });
    let desk = &rig.gateway.books.desk;
    desk.pool(false, "2030-01-31T23:59:59Z".parse().unwrap());
    let refused = chat(&rig).await;
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("It is filled again at 2030-01-31T23:59:59Z."), "{message}");
    assert_eq!((refused.status().as_u16(), received(&simulator)), (402, 0));
    desk.pool(true, "2030-01-31T23:59:59Z".parse().unwrap());
    assert_eq!(chat(&rig).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_a_workspace_and_a_subscription_that_lapsed_are_told_apart() {
    let (rig, simulator) = rig(Settings::with_key(CANARY));
    simulator.set_workspace_budget(Some(0));
    assert_eq!(chat(&rig).await.json()["error"]["code"], "budget_exceeded");
    assert_state(&rig, "workspace_limit");
    let refused = chat(&rig).await;
    assert_eq!(refused.code(), "upstream_credits_exhausted");
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("for a workspace"));
    refused_for(&rig, &simulator, 5, 402, "upstream_credits_exhausted").await;
    simulator.set_workspace_budget(None);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(chat(&rig).await.status(), 200);
    assert_state(&rig, "serving");

    let key = |state| vec![SimKey { text: CANARY.to_owned(), state }];
    simulator.set_keys(key(KeyState::Lapsed));
    assert_eq!(chat(&rig).await.json()["error"]["code"], "subscription_inactive");
    assert_state(&rig, "subscription_lapsed");
    assert_eq!(list(&rig).await.code(), "upstream_subscription_lapsed", "nothing can succeed");
    refused_for(&rig, &simulator, 5, 402, "upstream_subscription_lapsed").await;
    simulator.set_keys(key(KeyState::Live));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(list(&rig).await.status(), 200);
    assert_state(&rig, "serving");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_is_one_line_with_a_count_and_a_reload_tries_it_again() {
    let (rig, simulator) = rig(Settings::with_key(CANARY));
    let key = |state| vec![SimKey { text: CANARY.to_owned(), state }];
    for state in [KeyState::Revoked, KeyState::Expired] {
        simulator.set_keys(key(state));
        let before = received(&simulator);
        for _ in 0..50 {
            let answer = chat(&rig).await;
            assert_eq!(
                (answer.status().as_u16(), answer.code().as_str()),
                (502, "upstream_credentials_rejected")
            );
        }
        assert_eq!(received(&simulator) - before, 1, "one has shown it");
        assert_state(&rig, "key_refused");
        simulator.set_keys(key(KeyState::Live));
        rig.reconfigure(&Setup::default());
        assert_eq!(chat(&rig).await.status(), 200);
        assert_state(&rig, "serving");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_cannot_be_reached_is_tried_every_other_second() {
    let (rig, _) = rig(Settings::with_key(CANARY));
    rig.refuse_connections();
    for _ in 0..3 {
        assert_eq!(chat(&rig).await.code(), "upstream_unreachable");
    }
    assert_state(&rig, "unreachable");
    let down = chat(&rig).await;
    assert_eq!(
        (down.status().as_u16(), down.code().as_str(), down.header("retry-after")),
        (503, "upstream_down", "2")
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(chat(&rig).await.code(), "upstream_unreachable", "a look");
    assert_eq!(chat(&rig).await.code(), "upstream_down");
    rig.accept_connections();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(chat(&rig).await.status(), 200);
    assert_state(&rig, "serving");
    assert_eq!(chat(&rig).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_without_an_answer_in_time_is_slow_and_one_that_closes_its_window_says_so() {
    let clock = Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap());
    let upstream = "requests_per_minute = 100000000\nfirst_byte_timeout = \"2s\"".into();
    let setup = Setup { upstream, ..Setup::default() };
    let settings = Settings { requests_per_minute: 100_000_000, ..Settings::with_key(CANARY) };
    let (rig, _) = Rig::with_simulator_of(&setup, settings, clock);
    for n in 0..4 {
        assert_state(&rig, if n < 3 { "serving" } else { "slow" });
        let late = rig.send(rig.chat(chat_body(false, "delay=5s"))).await;
        assert_eq!(late.code(), "upstream_timeout");
    }
    assert_eq!(chat(&rig).await.status(), 200, "it stops nobody");
    assert_state(&rig, "serving");
    let mut request = rig.chat(chat_body(false, "answer=429"));
    request.headers_mut().insert("x-gateway-max-wait", "0".parse().unwrap());
    assert_eq!(rig.send(request).await.status(), 429);
    assert_state(&rig, "window_closed");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_state(&rig, "serving");
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_it_turns_out_that_no_call_can_succeed_is_told_so_at_once() {
    let clock = Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap());
    let upstream = "requests_per_minute = 1".into();
    let queue = "wait = \"5m\"\nreserve = 0.0".into();
    let setup = Setup { upstream, queue, ..Setup::default() };
    let (rig, simulator) = Rig::with_simulator_of(&setup, Settings::with_key(CANARY), clock);
    let rig = std::sync::Arc::new(rig);
    assert_eq!(chat(&rig).await.status(), 200);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let rig = std::sync::Arc::clone(&rig);
            tokio::spawn(async move { chat(&rig).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.gateway.books.desk.pool(false, "2030-01-31T23:59:59Z".parse().unwrap());
    for call in waiting {
        assert_eq!(call.await.unwrap().code(), "upstream_credits_exhausted");
    }
    assert_eq!(received(&simulator), 1);
}
