//! The proxies, started for the run, and their CPU time.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A proxy that runs for as long as this value lives.
pub struct Proxy {
    /// As printed.
    pub name: &'static str,
    /// Where callers connect.
    pub address: SocketAddr,
    /// What they present.
    pub key: String,
    child: Child,
}

impl Proxy {
    /// nginx with two workers, as a careful operator would configure it for streams.
    pub fn nginx(folder: &Path, upstream: SocketAddr) -> Result<Self, String> {
        let address = free_address()?;
        let path = folder.join("nginx.conf");
        let text = format!(
            "daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/nginx.err;\n\
             events {{ worker_connections 20000; }}\n\
             http {{\n  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
               fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
               tcp_nodelay on; keepalive_requests 1000000;\n\
               upstream mavera {{ server {upstream}; keepalive 256; keepalive_requests 1000000; }}\n\
               server {{\n    listen {address} reuseport;\n    location /api/v1/ {{\n      proxy_pass http://mavera;\n\
                   proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Authorization \"Bearer x\";\n\
                   proxy_buffering off; proxy_read_timeout 600s;\n    }}\n  }}\n}}\n",
            folder = folder.display()
        );
        fs::write(&path, text).map_err(|error| error.to_string())?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(&path).arg("-e").arg(folder.join("nginx.err"));
        let child = start(&mut command, folder, "nginx")?;
        Self { name: "nginx", address, key: "x".into(), child }.ready()
    }

    /// The gateway with all its checks on and limits that do not bind.
    pub fn gateway(
        binary: &Path,
        folder: &Path,
        upstream: SocketAddr,
        durability: &str,
    ) -> Result<Self, String> {
        let made = Command::new(binary)
            .args(["key", "new", "--team", "bench"])
            .output()
            .map_err(|error| error.to_string())?;
        let made = String::from_utf8_lossy(&made.stdout).into_owned();
        let key = made.lines().next().unwrap_or_default().to_owned();
        let (_, table) = made.split_once("[[team]]").ok_or("`key new` printed no table")?;
        let (address, admin) = (free_address()?, free_address()?);
        let secret = folder.join("key");
        fs::write(&secret, "mvra_live_bench_plainly_fake_00000000000").map_err(|error| error.to_string())?;
        let text = format!(
            "[server]\nlisten = \"{address}\"\nworkers = 2\n[admin]\nlisten = \"{admin}\"\n[upstream]\n\
             base_url = \"http://{upstream}/api/v1\"\napi_key = {{ file = '{}' }}\nrequests_per_minute = 100000000\nusage_interval = \"0s\"\n\
             [ledger]\npath = '{}'\ndurability = \"{durability}\"\n[credits]\nbudget = {{ credits = 1000000000, period = \"month\" }}\n\
             [limits]\nrequests_per_minute = 100000000\nburst = 1000000\nconcurrency = 100000\n[[team]]{table}",
            secret.display(),
            folder.join(format!("ledger-{durability}.db")).display()
        );
        let path = folder.join(format!("gateway-{durability}.toml"));
        fs::write(&path, text).map_err(|error| error.to_string())?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(&path);
        let child = start(&mut command, folder, &format!("gateway-{durability}"))?;
        Self { name: "gateway", address, key, child }.ready()
    }

    fn ready(self) -> Result<Self, String> {
        for _ in 0..200 {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(self);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        Err(format!("{} does not listen on {}", self.name, self.address))
    }

    /// CPU time of all threads of the process and of its children so far, as the scheduler counts it.
    pub fn cpu(&self) -> Result<Duration, String> {
        let own = self.child.id();
        let mut nanoseconds = 0;
        for process in children(own).into_iter().chain([own]) {
            let tasks = fs::read_dir(format!("/proc/{process}/task")).map_err(|error| error.to_string())?;
            for task in tasks.flatten() {
                let counted = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                nanoseconds += counted.split(' ').next().and_then(|run| run.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked, and not killed: nginx's master takes its workers along, and the gateway has nothing in flight.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn children(parent: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|process| process.parse().ok()).collect()
}

fn start(command: &mut Command, folder: &Path, name: &str) -> Result<Child, String> {
    let log = fs::File::create(folder.join(format!("{name}.log"))).map_err(|error| error.to_string())?;
    command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{name} cannot be started: {error}"))
}

fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| error.to_string())
}
