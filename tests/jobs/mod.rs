//! Jobs: what goes on upstream behind the answer of the call that began it. How many there are at once, whose turn it is, what
//! they cost, and what is left of all that when a gateway dies.

mod chaos;
mod costs;
mod places;
mod restart;

use http::Method;
use mavera_gateway::clock::Clock;
use mavera_sim::{Settings, Simulator};
use serde_json::{Value, json};

use crate::support::CANARY;
use crate::support::rig::{Answer, Rig, Setup};

const ROUTES: &str = "routes = [\"*\", \"video_analyses\", \"focus_groups\", \"personas\", \"mave_chat\"]";

fn setup() -> Setup {
    let setup = Setup::default();
    let other = format!("requests_per_minute = 100000000\nburst = 1000000\nconcurrency = 1000000\n{ROUTES}");
    Setup {
        team: format!("{}\n{ROUTES}", setup.team),
        others: vec![("rival", other)],
        queue: "wait = \"10m\"\nwaiting = 1000".into(),
        ..setup
    }
}

/// A gateway in front of a simulator, with all that asks by itself at work.
fn at_work(setup: &Setup) -> (Rig, Simulator) {
    let clock = Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap());
    let settings =
        Settings { requests_per_minute: 100_000_000, credits: 100_000_000, ..Settings::with_key(CANARY) };
    let (rig, simulator) = Rig::with_simulator_of(setup, settings, clock);
    let gateway = &rig.gateway;
    let (live, desk) = (gateway.live.clone(), gateway.books.desk.clone());
    tokio::spawn(mavera_gateway::jobs::watch(rig.pipes.clone(), live.clone(), desk.clone()));
    let (reads, bill) = (gateway.books.reads.clone(), gateway.bill.clone());
    tokio::spawn(mavera_gateway::usage::watch(rig.pipes.clone(), live, reads, bill, desk));
    (rig, simulator)
}

fn analysis(quirks: &str) -> Value {
    json!({
        "video_url": "https://videos.example/launch.mp4", "title": "Launch", "brand": "Example", "product": "App",
        "primary_intent": "Persuasive", "goal": "Find what loses viewers.", "sim": quirks,
    })
}

async fn create(rig: &Rig, team: &str, quirks: &str) -> Answer {
    start(rig, team, "/api/v1/video-analyses", &analysis(quirks), &[]).await
}

async fn start(rig: &Rig, team: &str, path: &str, body: &Value, fields: &[(&'static str, &str)]) -> Answer {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let mut request = rig.request(Method::POST, path, body.to_string());
    let headers = request.headers_mut();
    headers.insert("idempotency-key", LAST.fetch_add(1, Ordering::Relaxed).into());
    if team != "growth" {
        headers.insert("authorization", rig.chat_of(team, "").headers()["authorization"].clone());
    }
    for (name, value) in fields {
        headers.insert(*name, value.parse().unwrap());
    }
    rig.send(request).await
}

/// The id of what was made.
fn id(answer: &Answer) -> String {
    answer.json()["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

async fn poll(rig: &Rig, id: &str) -> Value {
    rig.send(rig.request(Method::GET, &format!("/api/v1/video-analyses/{id}"), "")).await.json()
}

/// What is booked for all calls, and how much of it in doubt.
async fn booked(rig: &Rig) -> (f64, f64) {
    let reads = rig.gateway.books.reads.clone();
    let spends = reads.look(|reading| reading.spends(mavera_gateway::ledger::Span::ALL)).await.unwrap();
    spends.iter().fold((0.0, 0.0), |(all, doubt), spend| {
        (all + spend.credits().as_f64(), doubt + spend.estimated.as_f64())
    })
}

/// What the team's budget has used, as the desk knows it.
fn used(rig: &Rig) -> f64 {
    use mavera_gateway::credits::budget::{Budget, Budgets, Whose};
    let budget = Budget {
        credits: mavera_gateway::credits::Credits::whole(1_000_000),
        period: mavera_gateway::credits::period::Period::Month,
    };
    let budgets = Budgets([(Whose::Organisation, budget)].into());
    rig.gateway.books.desk.standings(&budgets)[0].tally.used.as_f64()
}
