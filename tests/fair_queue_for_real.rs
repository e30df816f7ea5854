//! The fair queue with real processes: gateways in front of simulators that hold their window strictly, three of them with one
//! ledger, and callers that never stop.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mavera_gateway::key::NewKey;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::replicas::fleet::{Fleet, FleetSetup, Gateway};
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{PairSetup, config, get, start_gateway, start_simulator_with, team};
use crate::support::queue::jain;

/// How long it goes on: the window could be filled three times.
const LENGTH: Duration = Duration::from_mins(3);

/// A gateway and its upstream, and who was served when.
struct Run {
    gateways: Vec<Gateway>,
    simulator: SocketAddr,
    keys: Vec<(String, String)>,
    served: Arc<Mutex<Vec<Served>>>,
    per_minute: u32,
    _kept: Box<dyn std::any::Any>,
}

/// A call: whose, when it asked, when it was answered.
type Served = (&'static str, Instant, Instant);

impl Run {
    fn start(per_minute: u32, teams: &[(&'static str, u32)]) -> Self {
        let simulator = start_simulator_with(&["--requests-per-minute", &per_minute.to_string()]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), crate::support::CANARY).unwrap();
        let base_url = format!("base_url = \"http://{}/api/v1\"", simulator.1);
        let keys: Vec<_> = teams.iter().map(|(name, _)| (*name, NewKey::generate().unwrap())).collect();
        let tables = keys
            .iter()
            .zip(teams)
            .map(|((name, key), (_, weight))| format!("{}weight = {weight}\n", team(name, key)));
        let tables = format!("[queue]\nwait = \"5m\"\n{}", tables.collect::<String>());
        let setup = PairSetup { requests_per_minute: Some(per_minute), ..PairSetup::default() };
        let text = config(folder.path(), &setup, &base_url, &tables);
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, text).unwrap();
        let (process, address, admin) = start_gateway(&path);
        process.discard_output();
        let keys = keys.iter().map(|(name, key)| ((*name).to_owned(), key.text.to_string())).collect();
        let (gateways, served) = (vec![Gateway { process, address, admin }], Arc::default());
        let kept = Box::new((folder, simulator.0));
        Self { gateways, simulator: simulator.1, keys, served, per_minute, _kept: kept }
    }

    /// Three gateways with one ledger, and every caller at the next of them with each call.
    fn shared(per_minute: u32, teams: &[(&'static str, u32)]) -> Self {
        let teams: Vec<_> = teams.iter().map(|(name, _)| (*name, "")).collect();
        let more = "[queue]\nwait = \"5m\"\n";
        let setup =
            FleetSetup { requests_per_minute: per_minute, teams: &teams, more, ..FleetSetup::default() };
        let mut fleet = Fleet::start(&setup);
        let gateways = std::mem::take(&mut fleet.gateways);
        for gateway in &gateways {
            gateway.process.discard_output();
        }
        let (simulator, keys) = (fleet.simulator, fleet.keys.clone());
        Self { gateways, simulator, keys, served: Arc::default(), per_minute, _kept: Box::new(fleet) }
    }

    /// A caller of a team that asks again after each answer, behind a pause.
    fn caller(&self, name: &'static str, pause: impl Fn(u64) -> Duration + Send + 'static) -> JoinHandle<()> {
        let key = self.keys.iter().find(|(team, _)| team == name).unwrap().1.clone();
        let addresses: Vec<_> = self.gateways.iter().map(|gateway| gateway.address).collect();
        let served = Arc::clone(&self.served);
        tokio::spawn(async move {
            for (n, address) in (0..).zip(addresses.into_iter().cycle()) {
                tokio::time::sleep(pause(n)).await;
                let asked = Instant::now();
                let answer = chat(address, &key, chat_body(false, "")).await.expect("an answer");
                assert_eq!(answer.status, 200, "{:?}", answer.body);
                served.lock().unwrap().push((name, asked, Instant::now()));
            }
        })
    }

    fn greedy(&self, name: &'static str, callers: usize) -> Vec<JoinHandle<()>> {
        (0..callers).map(|_| self.caller(name, |_| Duration::ZERO)).collect()
    }

    /// Those that were served when the window had turned so many times.
    fn warm(&self, began: Instant, turns: u32) -> Vec<Served> {
        let from = began + Duration::from_secs(61) * turns;
        self.served.lock().unwrap().iter().filter(|(.., at)| *at > from).copied().collect()
    }

    /// Nothing was refused by the upstream, nearly all of its window was used, and no place lay idle.
    fn assert_full_and_never_over(&self, began: Instant) {
        let books: serde_json::Value =
            serde_json::from_str(&get(self.simulator, "/sim/books").1).expect("books are JSON");
        assert_eq!(books["over_window"], 0);
        let served = self.served.lock().unwrap();
        let in_time = served.iter().filter(|(.., at)| *at <= began + LENGTH).count();
        let used = in_time as f64 / (LENGTH.as_secs_f64() / 60.0) / f64::from(self.per_minute);
        assert!(used >= 0.97, "{used} of the window was used");
        for gateway in &self.gateways {
            assert!(gateway.metric("mavera_gateway_window_idle_seconds_total") < 1.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_minutes_of_greedy_teams_are_fair_full_and_by_their_weights() {
    let even = Run::start(60, &[("a", 1), ("b", 1), ("c", 1), ("quiet", 1)]);
    let weighted = Run::start(600, &[("a", 1), ("b", 2), ("c", 4)]);
    let shared = Run::shared(60, &[("a", 1), ("b", 1), ("c", 1), ("quiet", 1)]);
    let began = Instant::now();
    let mut callers = Vec::new();
    for name in ["a", "b", "c"] {
        callers.extend(even.greedy(name, 12));
        callers.extend(shared.greedy(name, 12));
        callers.extend(weighted.greedy(name, 60));
    }
    for run in [&even, &shared] {
        callers.push(run.caller("quiet", |n| Duration::from_millis(3000 + n * 7919 % 6000)));
    }
    tokio::time::sleep(LENGTH).await;

    let count = |warm: &[Served], team: &str| warm.iter().filter(|(name, ..)| *name == team).count();
    weighted.assert_full_and_never_over(began);
    for run in [&even, &shared] {
        run.assert_full_and_never_over(began);
        // Whoever called first had its share at once, and waited while the others had theirs: it is ahead of them when the
        // window has turned once, by as many.
        let counts = ["a", "b", "c"].map(|team| count(&run.warm(began, 2), team));
        assert!(jain(&counts) >= 0.98, "{counts:?}");
        let warm = run.warm(began, 1);
        let quiet = warm.iter().filter(|(name, ..)| *name == "quiet");
        let mut waits: Vec<_> = quiet.map(|(_, asked, at)| (*at - *asked).as_secs_f64()).collect();
        waits.sort_by(f64::total_cmp);
        assert!(waits.len() >= 12 && waits[(waits.len() - 1) * 95 / 100] <= 8.0, "{waits:?}");
    }

    // What was let through at once, before the others had called, has left by then, and what it had kept back.
    let warm = weighted.warm(began, 2);
    for (team, weight) in [("a", 1.0), ("b", 2.0), ("c", 4.0)] {
        let part = count(&warm, team) as f64 / warm.len() as f64 * 7.0 / weight;
        assert!((0.97..=1.03).contains(&part), "{team}: {part} of its share of {}", warm.len());
    }
    assert!(callers.iter().all(|caller| !caller.is_finished()), "nobody was refused");
    // And an end while calls wait: they are told.
    for mut run in [even, weighted, shared] {
        for gateway in &mut run.gateways {
            gateway.process.signal("TERM");
            assert_eq!(gateway.process.wait(), Some(0));
        }
    }
    for caller in callers {
        let told = caller.await.expect_err("it asks for ever").into_panic();
        let told = told.downcast_ref::<String>().expect("it says what it was told");
        assert!(told.contains("draining") || told.contains("connect"), "{told}");
    }
}
