//! Whole gateways beside each other: processes of their own on one ledger, in front of one simulator.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mavera_gateway::key::NewKey;
use serde_json::Value;

use crate::support::CANARY;
use crate::support::postgres::{Postgres, run};
use crate::support::process::{Process, binary, get, start_gateway, start_simulator_with, team};
use crate::support::rig::sample;

/// What a fleet's configuration says beyond the least.
pub struct FleetSetup<'a> {
    pub gateways: usize,
    pub requests_per_minute: u32,
    pub quirks: &'a str,
    /// Names of teams with wide limits, and what their tables say beyond those.
    pub teams: &'a [(&'a str, &'a str)],
    /// Further tables.
    pub more: &'a str,
    /// Further lines of `[ledger.postgres]`.
    pub ledger: &'a str,
}

impl Default for FleetSetup<'_> {
    fn default() -> Self {
        Self {
            gateways: 3,
            requests_per_minute: 1_000_000,
            quirks: "",
            teams: &[("growth", "")],
            more: "",
            ledger: "",
        }
    }
}

pub struct Gateway {
    pub process: Process,
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl Gateway {
    fn start(config: &Path) -> Self {
        let (process, address, admin) = start_gateway(config);
        Self { process, address, admin }
    }

    pub fn metric(&self, series: &str) -> f64 {
        sample(&get(self.admin, "/metrics").1, series)
    }
}

pub struct Fleet {
    pub server: Postgres,
    pub upstream: Process,
    pub simulator: SocketAddr,
    pub folder: tempfile::TempDir,
    pub gateways: Vec<Gateway>,
    pub keys: Vec<(String, String)>,
}

impl Fleet {
    pub fn start(setup: &FleetSetup<'_>) -> Self {
        Self::start_on(Postgres::start(), setup, None)
    }

    /// Where they listen for callers and operators, over a restart too.
    pub fn start_at(setup: &FleetSetup<'_>, addresses: &[(SocketAddr, SocketAddr)]) -> Self {
        Self::start_with(Postgres::start(), setup, None, addresses)
    }

    /// On this server; `url` where that is another than its own.
    pub fn start_on(server: Postgres, setup: &FleetSetup<'_>, url: Option<String>) -> Self {
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        Self::start_with(server, setup, url, &vec![(anywhere, anywhere); setup.gateways.max(1)])
    }

    fn start_with(
        server: Postgres,
        setup: &FleetSetup<'_>,
        url: Option<String>,
        addresses: &[(SocketAddr, SocketAddr)],
    ) -> Self {
        let plan = setup.requests_per_minute.to_string();
        let (process, simulator) =
            start_simulator_with(&["--quirks", setup.quirks, "--requests-per-minute", &plan]);
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        std::fs::write(place.join("key"), CANARY).unwrap();
        std::fs::write(place.join("url"), url.unwrap_or_else(|| server.url())).unwrap();
        let keys: Vec<_> = setup.teams.iter().map(|(name, _)| (*name, NewKey::generate().unwrap())).collect();
        let tables =
            keys.iter().zip(setup.teams).map(|((name, key), (_, more))| team(name, key) + more + "\n");
        let teams = tables.collect::<Vec<_>>().concat();
        let mut fleet = Self {
            server,
            upstream: process,
            simulator,
            gateways: Vec::new(),
            keys: keys.iter().map(|(name, key)| ((*name).to_owned(), key.text.to_string())).collect(),
            folder,
        };
        for (n, (callers, operators)) in addresses.iter().enumerate() {
            let place = fleet.folder.path();
            let text = format!(
                "[server]\nlisten = \"{callers}\"\n\n[admin]\nlisten = \"{operators}\"\n\n\
                 [upstream]\nbase_url = \"http://{simulator}/api/v1\"\napi_key = {{ file = '{}' }}\n\
                 requests_per_minute = {plan}\nusage_interval = \"0s\"\n\n\
                 [ledger.postgres]\nurl = {{ file = '{}' }}\njournal = '{}'\nlease = \"10s\"\n{}\n\n{}\n{teams}",
                place.join("key").display(),
                place.join("url").display(),
                place.join(format!("outbox{n}")).display(),
                setup.ledger,
                setup.more,
            );
            std::fs::write(fleet.config(n), text).unwrap();
        }
        fleet.command(&["ledger", "migrate"]);
        for n in 0..setup.gateways {
            let gateway = Gateway::start(&fleet.config(n));
            fleet.gateways.push(gateway);
        }
        fleet
    }

    pub fn config(&self, n: usize) -> PathBuf {
        self.folder.path().join(format!("gateway{n}.toml"))
    }

    /// What a command says, with the first gateway's configuration.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = run(binary().args(arguments).arg("--config").arg(self.config(0)));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn key(&self, team: &str) -> &str {
        &self.keys.iter().find(|(name, _)| name == team).unwrap().1
    }

    pub fn address(&self, n: usize) -> SocketAddr {
        self.gateways[n].address
    }

    /// Starts the gateway of this number again, behind one that has ended.
    pub fn start_again(&mut self, n: usize) {
        self.gateways[n] = Gateway::start(&self.config(n));
    }

    /// The simulator's books.
    pub fn books(&self) -> Value {
        serde_json::from_str(&get(self.simulator, "/sim/books").1).unwrap()
    }

    /// Waits until no call is open in the ledger.
    pub async fn settled(&self) {
        while self.server.number("SELECT count(*) FROM bookings WHERE ended_in IS NULL") > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the gateways' desks say is spent of the organisation's, one after the other, in millionths.
    pub fn spent(&self) -> Vec<i64> {
        let spent = self.gateways.iter().map(|gateway| {
            let overview: Value = serde_json::from_str(&get(gateway.admin, "/credits/overview").1).unwrap();
            (overview["organisation"]["used"].as_f64().unwrap() * 1e6).round() as i64
        });
        spent.collect()
    }

    /// What is settled, and what is in doubt, in millionths.
    pub fn booked(&self) -> (i64, i64) {
        (
            self.server.number("SELECT coalesce(sum(final), 0) FROM day_sums"),
            self.server.number("SELECT coalesce(sum(estimated), 0) FROM day_sums"),
        )
    }

    /// What the upstream has charged lies within what is settled, and that with what is in doubt; its window was never
    /// exceeded, and the ledger agrees with itself.
    pub fn assert_books(&self) {
        let books = self.books();
        assert_eq!(books["over_window"], 0, "{books}");
        let charged =
            books["received"].as_array().unwrap().iter().map(|call| call["charged"].as_f64().unwrap_or(0.0));
        let billed = (charged.sum::<f64>() * 1e6).round() as i64;
        let (settled, doubt) = self.booked();
        assert!(
            settled <= billed && billed <= settled + doubt,
            "billed {billed}, settled {settled}, in doubt {doubt}"
        );
        for gateway in &self.gateways {
            assert_eq!(gateway.metric("mavera_gateway_ledger_differences_total"), 0.0, "all have one desk");
        }
        let said = self.command(&["credits", "verify"]);
        assert!(said.contains("fine"), "{said}");
    }
}
