//! Everybody waits a fair turn: calls that find the organisation's window full wait, in an order that is fair to teams, and
//! are told where they stand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use mavera_gateway::clock::Clock;
use mavera_sim::{Settings, Simulator};
use tokio::time::Instant;

use crate::support::queue::{asked, jain};
use crate::support::rig::{Answer, Rig, Setup, sample};
use crate::support::{CANARY, chat_body};

const FREE_TEAM: &str = "requests_per_minute = 100000000\nburst = 1000000\nconcurrency = 1000000";

fn setup(per_minute: u32, queue: &str, others: &[(&'static str, &str)]) -> Setup {
    Setup {
        upstream: format!("requests_per_minute = {per_minute}"),
        queue: queue.into(),
        others: others.iter().map(|(name, lines)| (*name, format!("{FREE_TEAM}\n{lines}"))).collect(),
        ..Setup::default()
    }
}

/// A gateway whose upstream holds it strictly to so many requests in 60 seconds.
fn rig(per_minute: u32, queue: &str, others: &[(&'static str, &str)]) -> (Arc<Rig>, Simulator) {
    let clock = Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap());
    let settings = Settings {
        requests_per_minute: per_minute as usize,
        credits: 100_000_000,
        ..Settings::with_key(CANARY)
    };
    let (rig, simulator) = Rig::with_simulator_of(&setup(per_minute, queue, others), settings, clock);
    (Arc::new(rig), simulator)
}

fn send(rig: &Arc<Rig>, request: Request<Full<bytes::Bytes>>) -> tokio::task::JoinHandle<Answer> {
    let rig = Arc::clone(rig);
    tokio::spawn(async move { rig.send(request).await })
}

/// Lets everything that can happen at this moment happen.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// A call that was served: which team's, when it asked, when it was answered.
type Call = (&'static str, Instant, Instant);

#[derive(Clone, Default)]
struct Served(Arc<Mutex<Vec<Call>>>);

impl Served {
    fn note(&self, team: &'static str, asked: Instant) {
        self.0.lock().unwrap().push((team, asked, Instant::now()));
    }

    fn since(&self, from: Instant) -> Vec<Call> {
        self.0.lock().unwrap().iter().filter(|(_, asked, _)| *asked >= from).copied().collect()
    }
}

/// Callers of a team that ask again as soon as they are answered.
fn greedy(
    rig: &Arc<Rig>,
    team: &'static str,
    callers: usize,
    served: &Served,
) -> Vec<tokio::task::JoinHandle<()>> {
    let caller = || {
        let (rig, served) = (Arc::clone(rig), served.clone());
        tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                let answer = rig.send(rig.chat_of(team, chat_body(false, ""))).await;
                assert_eq!(answer.status(), 200, "{}", answer.json());
                served.note(team, asked);
            }
        })
    };
    (0..callers).map(|_| caller()).collect()
}

/// A team that calls every five to fifteen seconds.
fn quiet(rig: &Arc<Rig>, served: &Served) -> tokio::task::JoinHandle<()> {
    let (rig, served) = (Arc::clone(rig), served.clone());
    tokio::spawn(async move {
        for n in 0u64.. {
            tokio::time::sleep(Duration::from_millis(5000 + n * 7919 % 10_000)).await;
            let asked = Instant::now();
            let answer = rig.send(rig.chat(chat_body(false, ""))).await;
            assert_eq!(answer.status(), 200, "{}", answer.json());
            served.note("growth", asked);
        }
    })
}

#[tokio::test(start_paused = true)]
async fn three_teams_in_a_loop_share_evenly_and_a_quiet_one_hardly_waits() {
    for (per_minute, callers, p95) in [(60, 12, 8.0), (240, 40, 2.0)] {
        let greedy_teams = ["a", "b", "c"];
        let (rig, simulator) = rig(per_minute, "wait = \"10m\"", &greedy_teams.map(|team| (team, "")));
        let (served, began) = (Served::default(), Instant::now());
        let mut tasks: Vec<_> =
            greedy_teams.iter().flat_map(|team| greedy(&rig, team, callers, &served)).collect();
        tasks.push(quiet(&rig, &served));
        tokio::time::sleep(Duration::from_mins(15)).await;
        let over = simulator.books(|books| books.over_window);
        assert_eq!(over, 0, "nothing is refused by the upstream");
        for task in &tasks {
            assert!(!task.is_finished(), "nobody was refused");
            task.abort();
        }
        let warm = Duration::from_secs(61);
        let (from, until) = (began + warm, Instant::now());
        let all: Vec<_> = served.since(began).into_iter().filter(|(.., at)| *at > from).collect();
        let counts = greedy_teams.map(|team| all.iter().filter(|(name, ..)| *name == team).count());
        let minutes = (until - from).as_secs_f64() / 60.1;
        let used = all.len() as f64 / minutes / f64::from(per_minute);
        assert!(used >= 0.99, "{used} of {per_minute} a minute is used");
        assert!(jain(&counts) >= 0.99, "{counts:?}");
        let mut waits: Vec<_> = served
            .since(from)
            .into_iter()
            .filter(|(team, ..)| *team == "growth")
            .map(|(_, asked, at)| (at - asked).as_secs_f64())
            .collect();
        waits.sort_by(f64::total_cmp);
        assert!(waits.len() > 70 && waits[waits.len() * 95 / 100] <= p95, "{waits:?}");
        assert!(sample(&rig.metrics(), "mavera_gateway_window_idle_seconds_total") == 0.0);
        rig.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn service_follows_weights() {
    let teams = [("a", "weight = 1"), ("b", "weight = 2"), ("c", "weight = 4")];
    let (rig, simulator) = rig(120, "wait = \"10m\"", &teams);
    let (served, began) = (Served::default(), Instant::now());
    let tasks: Vec<_> = teams.iter().flat_map(|(team, _)| greedy(&rig, team, 80, &served)).collect();
    tokio::time::sleep(Duration::from_mins(15)).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let warm: Vec<_> =
        served.since(began).into_iter().filter(|(.., at)| *at > began + Duration::from_secs(122)).collect();
    for ((team, _), weight) in teams.iter().zip([1.0, 2.0, 4.0]) {
        let part = warm.iter().filter(|(name, ..)| name == team).count() as f64 / warm.len() as f64;
        assert!((0.97..=1.03).contains(&(part * 7.0 / weight)), "{team}: {part}");
    }
    assert_eq!(simulator.books(|books| books.over_window), 0);
    rig.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_batch_in_an_empty_window_is_sent_at_once() {
    let (rig, simulator) = rig(60, "", &[]);
    let began = Instant::now();
    let batch: Vec<_> = (0..40).map(|_| send(&rig, rig.chat(chat_body(false, "")))).collect();
    for call in batch {
        let answer = call.await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.header("server-timing")), (200, ""));
    }
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    assert_eq!(simulator.books(|books| books.received.len()), 40);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_its_turn_and_the_answer_and_the_record_say_how_long() {
    let (rig, simulator) = rig(2, "wait = \"90s\"\nreserve = 0.0", &[]);
    for _ in 0..2 {
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let answer = rig.send(rig.chat(chat_body(true, ""))).await;
    assert!(answer.status() == 200 && answer.whole);
    let timing = answer.header("server-timing").strip_prefix("queue;dur=").expect("it says so").to_owned();
    let milliseconds: f64 = timing.parse().unwrap();
    assert!((40_000.0..=40_200.0).contains(&milliseconds), "{timing}");
    rig.settle().await;
    let record = rig.records().pop().unwrap();
    let seconds = |name: &str| record[name].as_f64().unwrap();
    assert!((seconds("queued_seconds") - milliseconds / 1000.0).abs() < 0.01, "{record}");
    assert!(seconds("gateway_seconds") < 0.1, "{record}");
    assert_eq!(simulator.books(|books| (books.over_window, books.received.len())), (0, 3));
    let metrics = rig.metrics();
    let outcomes = "mavera_gateway_queue_outcomes_total{outcome=\"granted\",team=\"growth\"}";
    assert_eq!(sample(&metrics, outcomes), 1.0);
    assert!(sample(&metrics, "mavera_gateway_queue_wait_seconds_sum{team=\"growth\"}") > 39.0);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_is_refused_at_once_and_who_has_waited_in_vain_is_told_so() {
    let (rig, simulator) = rig(1, "reserve = 0.0", &[("research", "")]);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = Instant::now();
    let refused = rig.send(rig.chat(chat_body(false, ""))).await;
    assert!(asked.elapsed() < Duration::from_millis(50));
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (429, "upstream_window_full"));
    assert_eq!(
        (refused.header("retry-after"), refused.header("ratelimit-policy")),
        ("51", "\"upstream\";q=1;w=60")
    );
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "The organisation has used its 1 upstream requests per minute, shared by all teams. This call would be number 1 \
         in turn, later than the 20 seconds it can wait. Try again in 51 seconds."
    );
    // Two that could each be the next: it is the turn of the team that has had nothing, and the other waits in vain.
    tokio::time::sleep(Duration::from_secs(35)).await;
    let second = send(&rig, rig.chat(chat_body(false, "")));
    settled().await;
    let first = send(&rig, rig.chat_of("research", chat_body(false, "")));
    let second = second.await.unwrap();
    assert_eq!((second.status().as_u16(), second.code().as_str()), (429, "upstream_window_full"));
    let message = second.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("This call has waited its turn for 20 seconds and is number 1 yet."),
        "{message}"
    );
    assert_eq!((second.header("x-should-retry"), second.header("server-timing").is_empty()), ("", false));
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(simulator.books(|books| books.over_window), 0);
    let outcome = |how: &str, team: &str| {
        sample(
            &rig.metrics(),
            &format!("mavera_gateway_queue_outcomes_total{{outcome=\"{how}\",team=\"{team}\"}}"),
        )
    };
    assert_eq!((outcome("hopeless", "growth"), outcome("expired", "growth")), (1.0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_can_ask_to_be_told_sooner_and_never_to_wait_longer() {
    let (rig, _) = rig(1, "wait = \"30s\"\nreserve = 0.0", &[("hasty", "max_wait = \"4s\"")]);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    tokio::time::sleep(Duration::from_secs(55)).await;
    let with = |name: &'static str, value: &'static str| {
        let mut request = rig.chat(chat_body(false, ""));
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    for (name, value, status) in [
        ("x-gateway-max-wait", "5", 429),
        ("x-gateway-max-wait", "2s", 429),
        ("x-gateway-max-wait", "0", 429),
        // A quarter of what the SDKs say they have.
        ("x-stainless-read-timeout", "16", 429),
        ("x-stainless-timeout", "5.5", 429),
        ("x-gateway-max-wait", "soon", 400),
    ] {
        let answer = rig.send(with(name, value)).await;
        assert_eq!(answer.status(), status, "{name}: {value}");
    }
    let hasty = rig.send(rig.chat_of("hasty", chat_body(false, ""))).await;
    assert_eq!((hasty.status().as_u16(), hasty.header("retry-after")), (429, "6"));
    let refused = rig.send(with("x-gateway-max-wait", "-1")).await;
    assert_eq!(
        (refused.code().as_str(), &refused.json()["error"]["param"]),
        ("invalid_field", &"x-gateway-max-wait".into())
    );
    for (name, value) in [
        ("x-stainless-read-timeout", "600"),
        ("x-gateway-max-wait", "1h"),
        ("x-stainless-read-timeout", "None"),
    ] {
        let answer = send(&rig, with(name, value)).await.unwrap();
        assert_eq!(answer.status(), 200, "{name}: {value}: it waits as long as is configured and no longer");
        tokio::time::sleep(Duration::from_secs(55)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_the_queue_costs_nothing_and_the_next_has_its_turn() {
    let (rig, simulator) = rig(1, "wait = \"90s\"\nreserve = 0.0", &[]);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    tokio::time::sleep(Duration::from_secs(50)).await;
    let leaves = send(&rig, rig.chat(chat_body(false, "")));
    settled().await;
    leaves.abort();
    settled().await;
    let asked = Instant::now();
    let next = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!(next.status(), 200);
    assert!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
    rig.settle().await;
    assert_eq!(simulator.books(|books| books.received.len()), 2);
    let left: Vec<_> =
        rig.records().into_iter().filter(|record| record["outcome"] == "client_gone").collect();
    assert!(left.iter().all(|record| record["booked"].is_null() && record["code"].is_null()), "{left:?}");
    let left = left.iter().map(|record| record["gateway_seconds"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!(left < 0.1, "waiting is not the gateway's own time");
}

#[tokio::test(start_paused = true)]
async fn a_team_has_as_many_calls_waiting_as_it_may() {
    let (rig, _) = rig(1, "wait = \"10m\"\nwaiting = 3\nreserve = 0.0", &[("research", "")]);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    let waiting: Vec<_> = (0..3).map(|_| send(&rig, rig.chat(chat_body(false, "")))).collect();
    settled().await;
    let refused = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (429, "queue_full"));
    // The fourth in turn, of one a minute: later than SDKs would wait for.
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(sample(&rig.metrics(), "mavera_gateway_queue_waiting{team=\"growth\"}"), 3.0);
    let other = send(&rig, rig.chat_of("research", chat_body(false, "")));
    settled().await;
    assert_eq!(sample(&rig.metrics(), "mavera_gateway_queue_waiting{team=\"research\"}"), 1.0);
    for call in waiting.into_iter().chain([other]) {
        assert_eq!(call.await.unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn explain_and_me_tell_the_position_and_the_least_wait() {
    let (rig, _) = rig(1, "wait = \"10m\"\nreserve = 0.0", &[]);
    let ask = async |method: Method, path: &str| {
        let body = if method == Method::POST { chat_body(false, "") } else { String::new() };
        rig.send(rig.request(method, path, body)).await.json()
    };
    let explained = ask(Method::POST, "/gateway/v1/explain").await;
    assert_eq!((&explained["admitted"], &explained["queue"]["position"]), (&true.into(), &1.into()));
    assert_eq!(explained["queue"]["at_least_seconds"], 0.0);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    let _waiting: Vec<_> = (0..2).map(|_| send(&rig, rig.chat(chat_body(false, "")))).collect();
    settled().await;
    for queue in [
        ask(Method::POST, "/gateway/v1/explain").await["queue"].take(),
        ask(Method::GET, "/gateway/v1/me").await["queue"].take(),
    ] {
        assert_eq!((&queue["waiting"], &queue["position"]), (&2.into(), &3.into()));
        let at_least = queue["at_least_seconds"].as_f64().unwrap();
        assert!((179.0..=181.0).contains(&at_least), "{queue}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_of_the_upstream_puts_the_call_back_in_front_once_and_costs_nothing() {
    let (rig, simulator) = rig(240, "", &[]);
    let asked = Instant::now();
    // Every call is refused so, and each is asked once more.
    let answer = rig.send(rig.chat(chat_body(false, "answer=429"))).await;
    assert_eq!((answer.status().as_u16(), answer.header("retry-after")), (429, "7"), "passed on as it came");
    assert_eq!((asked.elapsed().as_secs(), simulator.books(|books| books.received.len())), (7, 2));
    rig.settle().await;
    let record = rig.records().pop().unwrap();
    assert_eq!((&record["booked"], &record["status"]), (&0.into(), &429.into()));
    // One that comes meanwhile stands behind it.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let first = send(&rig, rig.chat(chat_body(false, "answer=429")));
    settled().await;
    let second = send(&rig, rig.chat(chat_body(false, "")));
    assert_eq!(first.await.unwrap().status(), 429);
    assert_eq!(second.await.unwrap().status(), 200);
    let received = simulator.books(|books| books.received.len());
    assert_eq!(received, 5, "two of each that was refused, and behind them the one");
    // A caller without the time for it is told at once what the upstream said.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let mut request = rig.chat(chat_body(false, "answer=429"));
    request.headers_mut().insert("x-gateway-max-wait", "3".parse().unwrap());
    let asked = Instant::now();
    assert_eq!(rig.send(request).await.header("retry-after"), "7");
    assert!(asked.elapsed() < Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_reload_fails_who_waits_for_a_team_that_is_gone_and_serves_the_others_by_the_new_limit() {
    let teams = [("stays", ""), ("goes", "")];
    let (rig, _) = Rig::with_simulator(&setup(1, "wait = \"10m\"\nreserve = 0.0", &teams));
    let rig = Arc::new(rig);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    let [stays, goes] = ["stays", "goes"].map(|team| send(&rig, rig.chat_of(team, chat_body(false, ""))));
    settled().await;
    let before = Instant::now();
    rig.reconfigure(&setup(5, "wait = \"10m\"\nreserve = 0.0", &teams[..1]));
    let goes = goes.await.unwrap();
    assert_eq!((goes.status().as_u16(), goes.code().as_str()), (401, "invalid_api_key"));
    let series = "outcome=\"dismissed\",team=\"goes\"";
    assert!(!rig.metrics().contains(series), "a team that is gone takes its series along");
    assert_eq!(stays.await.unwrap().status(), 200);
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tells_who_waits() {
    let (rig, simulator) = rig(1, "wait = \"10m\"\nreserve = 0.0", &[]);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    let waiting: Vec<_> = (0..8).map(|_| send(&rig, rig.chat(chat_body(false, "")))).collect();
    settled().await;
    rig.gateway.books.desk.close();
    for call in waiting {
        let answer = call.await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.code().as_str()), (503, "draining"));
        assert_eq!(answer.header("retry-after"), "2");
    }
    let late = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!(late.code(), "draining", "nobody waits from now on");
    assert_eq!(simulator.books(|books| books.received.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_come_and_go_without_a_trace() {
    let (rig, simulator) = rig(1, "wait = \"10m\"\nwaiting = 20000\nreserve = 0.0", &[]);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    let desk = &rig.gateway.books.desk;
    for round in 0..2 {
        let call = || asked("growth", Duration::from_mins(9));
        let waiting: Vec<_> = (0..10_000)
            .map(|_| {
                let (desk, asked) = (Arc::clone(desk), call());
                tokio::spawn(async move { desk.admit(asked, None).await.map(drop) })
            })
            .collect();
        settled().await;
        // Those that could be served in nine minutes; the others know it at once.
        let at_once = waiting.iter().filter(|call| call.is_finished()).count();
        assert_eq!(desk.waiting("growth").0 as usize + at_once, 10_000, "round {round}");
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        settled().await;
        assert_eq!(desk.waiting("growth").0, 0, "round {round}");
    }
    assert_eq!(simulator.books(|books| books.received.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_credits_keeps_its_place_in_its_teams_queue_and_holds_nobody_up() {
    // Credits for one call of growth at a time, and a window with room.
    let mut setup = setup(60, "wait = \"30s\"", &[("research", "")]);
    setup.team += "\nbudget = { credits = 9, period = \"month\" }";
    setup.credits = "reserve = 5\nwait = \"30s\"".into();
    let (rig, _) = Rig::with_simulator(&setup);
    let rig = Arc::new(rig);
    let mut first = rig.connect().await;
    let streaming = first.send_request(rig.chat(chat_body(true, "pace=1s; events=3"))).await.unwrap();
    let order = Arc::new(Mutex::new(BTreeMap::new()));
    let calls: Vec<_> = (0..2)
        .map(|n| {
            let (rig, order) = (Arc::clone(&rig), Arc::clone(&order));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(10 * n)).await;
                let answer = rig.send(rig.chat(chat_body(false, ""))).await;
                order.lock().unwrap().insert(n, (answer.status(), Instant::now()));
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let asked = Instant::now();
    assert_eq!(rig.send(rig.chat_of("research", chat_body(false, ""))).await.status(), 200);
    assert!(asked.elapsed() < Duration::from_millis(50), "nobody else is held up");
    assert!(Answer::read(streaming).await.whole);
    for call in calls {
        call.await.unwrap();
    }
    let order = order.lock().unwrap();
    assert_eq!(order[&0].0, 200);
    assert!(order[&0].1 <= order[&1].1, "in the order they came");
}
