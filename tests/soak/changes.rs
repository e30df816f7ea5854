//! What changes while calls go on: the team's keys, the budget of the other team, the organisation's key, and now and
//! then a configuration that is wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mavera_gateway::key::NewKey;

use super::callers::Load;
use crate::support::CANARY;
use crate::support::process::{PairSetup, config, get, team};
use crate::support::rig::sample;

/// The organisation's other key.
pub const SECOND_KEY: &str = "mvra_live_canary_plainly_fake_0123456789_second";
/// What the tight team gets with each round of keys.
const ALLOWANCE: usize = 10;

pub struct Changes {
    pub path: PathBuf,
    base_url: String,
    /// Of one team, taken in turn; two of them are in force at a time.
    ring: Vec<NewKey>,
    tight: NewKey,
    round: usize,
    turns: usize,
}

impl Changes {
    /// Writes the first configuration.
    pub fn new(folder: &Path, simulator: SocketAddr) -> Self {
        let changes = Self {
            path: folder.join("gateway.toml"),
            base_url: format!("base_url = \"http://{simulator}/api/v1\""),
            ring: (0..4).map(|_| NewKey::generate().unwrap()).collect(),
            tight: NewKey::generate().unwrap(),
            round: 0,
            turns: 0,
        };
        std::fs::write(folder.join("key"), CANARY).unwrap();
        changes.write();
        changes
    }

    /// The keys in force, the current one last.
    pub fn keys(&self) -> Vec<String> {
        [self.round, self.round + 1].map(|n| self.ring[n % 4].text.to_string()).into()
    }

    pub fn tight_key(&self) -> String {
        self.tight.text.to_string()
    }

    /// Credits of the tight team.
    pub fn budget(&self) -> usize {
        ALLOWANCE * (self.round + 1)
    }

    fn write(&self) {
        let [first, second] = [self.round, self.round + 1].map(|n| &self.ring[n % 4]);
        let line = |key: &NewKey| format!("{{ id = \"{}\", sha256 = \"{}\" }}", key.id, key.sha256);
        let growth =
            team("growth", first).replace(&line(first), &format!("{}, {}", line(first), line(second)));
        let tight = team("research", &self.tight);
        let budget = format!("budget = {{ credits = {}, period = \"month\" }}\n", self.budget());
        // What stalls is given up soon, and what is kept idle is let go soon, so that the end is not long in coming.
        let setup = PairSetup {
            upstream: "idle_timeout = \"5s\"\nkeep_alive_idle = \"5s\"",
            reads_usage: true,
            ..PairSetup::default()
        };
        // Held is what a call costs, so that no more is in doubt than must be.
        let credits = "[credits]\nreserve = 1\nwait = \"100ms\"";
        let teams = format!("{credits}\n\n{growth}\n{tight}{budget}");
        replace(&self.path, &config(self.path.parent().unwrap(), &setup, &self.base_url, &teams));
    }

    /// Changes one thing, and waits until it is in force.
    pub async fn next(&mut self, load: &Load, admin: SocketAddr) {
        self.turns += 1;
        match self.turns % 3 {
            0 => {
                self.round += 1;
                let (keys, old) = (self.keys(), self.keys()[0].clone());
                // From here on nobody takes the key that goes.
                *load.keys.lock().unwrap() = vec![old];
                self.write();
                until(|| is_in_force(load.address, &keys[1])).await;
                *load.keys.lock().unwrap() = keys;
            }
            1 => {
                let key = if self.turns.is_multiple_of(2) { CANARY } else { SECOND_KEY };
                replace(&self.path.with_file_name("key"), key);
            }
            _ => {
                let reloaded = || sample(&get(admin, "/metrics").1, "mavera_gateway_config_reload_success");
                replace(&self.path, "[server]\nlisten = 7\n");
                until(|| reloaded() == 0.0).await;
                self.write();
                until(|| reloaded() == 1.0).await;
            }
        }
    }
}

/// Writes a file the way a careful operator does: whole, by renaming.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

fn is_in_force(address: SocketAddr, key: &str) -> bool {
    let mut tcp = TcpStream::connect(address).unwrap();
    let fields = format!("host: g\r\nauthorization: Bearer {key}\r\nconnection: close");
    write!(tcp, "GET /gateway/v1/me HTTP/1.1\r\n{fields}\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200 ")
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
