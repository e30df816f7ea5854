//! The real thing: the built binary in processes of its own, on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mavera_gateway::key::NewKey;
use serde_json::Value;

use super::{CANARY, assert_no_canary};

/// How long anything real may take before a test is called failed: far above what it needs, on a slow machine that has
/// other things to do as well.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// An address that was free a moment ago, for programs that want to be told one.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The program: the build that the tests belong to, or the one that `GATEWAY_BINARY` names.
pub fn binary() -> Command {
    let ours = || env!("CARGO_BIN_EXE_mavera-gateway").into();
    Command::new(std::env::var_os("GATEWAY_BINARY").unwrap_or_else(ours))
}

/// A process whose output is kept, and which ends with the test.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    output: Arc<Mutex<Vec<u8>>>,
    discards: Arc<AtomicBool>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// Starts a process with something to read from, or a descriptor to inherit.
    pub fn start_with(command: &mut Command, stdin: Stdio) -> Self {
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        let discards = Arc::new(AtomicBool::new(false));
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let (sender, output, discards) = (sender.clone(), Arc::clone(&output), Arc::clone(&discards));
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if discards.load(Ordering::Relaxed) {
                        continue;
                    }
                    let mut output = output.lock().unwrap();
                    output.extend_from_slice(line.as_bytes());
                    output.push(b'\n');
                    drop(output);
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines, output, discards }
    }

    /// The first line from now on that `pick` takes.
    pub fn wait_for<T>(&self, pick: impl Fn(&str) -> Option<T>) -> T {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(picked) = pick(&line) {
                        return picked;
                    }
                }
                Err(error) => panic!("{error} waiting for a line; so far:\n{}", self.output()),
            }
        }
    }

    /// The first JSON line from now on with this message.
    pub fn wait_for_message(&self, message: &str) -> Value {
        self.wait_for(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message).then_some(line)
        })
    }

    /// What it says from now on is let go unread.
    pub fn discard_output(&self) {
        self.discards.store(true, Ordering::Relaxed);
    }

    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end, and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.wait_for_end().code()
    }

    /// Waits for the end, however it comes.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            assert_no_canary("a process' output", &self.output.lock().unwrap());
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            super::checker::check(&self.folder.path().join("ledger.db"), &super::checker::Budgets::default());
        }
    }
}

/// A simulator and a gateway in processes of their own.
pub struct Pair {
    pub gateway: Process,
    _simulator: Process,
    pub simulator_address: SocketAddr,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub key: String,
    pub folder: tempfile::TempDir,
}

/// What a pair's configuration says beyond the least.
#[derive(Default)]
pub struct PairSetup<'a> {
    pub server: &'a str,
    pub upstream: &'a str,
    pub quirks: &'a str,
    /// What the table of its team says beyond wide limits.
    pub team: &'a str,
    /// The plan, where it is one that can be used up.
    pub requests_per_minute: Option<u32>,
    /// Whether the gateway reads the upstream's usage, every second.
    pub reads_usage: bool,
    /// Whether what the gateway says from now on is let go unread.
    pub discards_output: bool,
}

const WIDE_PLAN: u32 = 1_000_000;
pub const WIDE_LIMITS: &str = "requests_per_minute = 1000000\nburst = 100000\nconcurrency = 10000\n";

impl Pair {
    pub fn start(setup: &PairSetup<'_>) -> Self {
        let plan = setup.requests_per_minute.unwrap_or(WIDE_PLAN).to_string();
        let (simulator, simulator_address) =
            start_simulator_with(&["--quirks", setup.quirks, "--requests-per-minute", &plan]);
        let folder = tempfile::tempdir().unwrap();
        let key = NewKey::generate().unwrap();
        std::fs::write(folder.path().join("key"), CANARY).unwrap();
        let base_url = format!("base_url = \"http://{simulator_address}/api/v1\"");
        let teams = format!("{}{}\n", team("growth", &key), setup.team);
        let text = config(folder.path(), setup, &base_url, &teams);
        std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
        let (gateway, address, admin) = start_gateway(&folder.path().join("gateway.toml"));
        if setup.discards_output {
            gateway.discard_output();
        }
        Self {
            gateway,
            _simulator: simulator,
            simulator_address,
            address,
            admin,
            key: key.text.to_string(),
            folder,
        }
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Memory that the gateway has, in bytes.
    pub fn resident_bytes(&self) -> f64 {
        super::rig::sample(&get(self.admin, "/metrics").1, "process_resident_memory_bytes")
    }

    /// Ends the gateway, with a drain.
    pub fn stop(&mut self) {
        self.gateway.signal("TERM");
        assert_eq!(self.gateway.wait(), Some(0));
    }

    /// Starts another gateway on the same configuration and ledger.
    pub fn start_again(&mut self) {
        (self.gateway, self.address, self.admin) = start_gateway(&self.config_path());
    }

    /// The simulator's books.
    pub fn books(&self) -> Value {
        serde_json::from_str(&get(self.simulator_address, "/sim/books").1).unwrap()
    }
}

pub fn start_simulator(quirks: &str) -> (Process, SocketAddr) {
    start_simulator_with(&["--quirks", quirks])
}

pub fn start_simulator_with(options: &[&str]) -> (Process, SocketAddr) {
    let mut command = binary();
    command.args(["sim", "--listen", "127.0.0.1:0", "--key", CANARY]);
    command.args(["--credits", "1000000"]);
    if !options.contains(&"--requests-per-minute") {
        command.args(["--requests-per-minute", &WIDE_PLAN.to_string()]);
    }
    let simulator = Process::start(command.args(options));
    let address = simulator.wait_for(|line| line.split("http://").nth(1)?.split('/').next()?.parse().ok());
    (simulator, address)
}

pub fn start_gateway(config: &Path) -> (Process, SocketAddr, SocketAddr) {
    let gateway = Process::start(binary().arg("serve").arg("--config").arg(config));
    let serving = gateway.wait_for_message("serving");
    let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
    (gateway, address("listen"), address("admin"))
}

/// The demo with five teams that talk, and where its gateway answers operators.
pub fn start_demo() -> (Process, SocketAddr) {
    let demo = Process::start(binary().args([
        "demo",
        "--traffic",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]));
    let admin = demo.wait_for(|line| {
        line.trim().strip_prefix("metrics   http://")?.strip_suffix("/metrics")?.parse().ok()
    });
    (demo, admin)
}

/// The table of a team with wide limits.
pub fn team(name: &str, key: &NewKey) -> String {
    format!(
        "[[team]]\nname = \"{name}\"\nkeys = [{{ id = \"{}\", sha256 = \"{}\" }}]\n{WIDE_LIMITS}",
        key.id, key.sha256
    )
}

pub fn config(folder: &Path, setup: &PairSetup<'_>, base_url: &str, teams: &str) -> String {
    let PairSetup { server, upstream, requests_per_minute, .. } = setup;
    let plan = requests_per_minute.unwrap_or(WIDE_PLAN);
    let usage_interval = if setup.reads_usage { "1s" } else { "0s" };
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{server}\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [upstream]\n{base_url}\napi_key = {{ file = '{}' }}\nrequests_per_minute = {plan}\nusage_interval = \"{usage_interval}\"\n{upstream}\n\n\
         [ledger]\npath = '{}'\ndurability = \"os\"\n\n{teams}",
        folder.join("key").display(),
        folder.join("ledger.db").display()
    )
}

/// One GET on a connection of its own: status and body.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    (status, body)
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}
