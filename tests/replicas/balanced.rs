//! `HAProxy` in front of three gateways, by the configuration that is shipped.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::fleet::{Fleet, FleetSetup};
use crate::clients::sdk;
use crate::support::authority::Authority;
use crate::support::chat_body;
use crate::support::postgres::run;
use crate::support::process::free_address;
use crate::support::rig::chat_path;

/// A balancer that ends with the test.
struct Balancer {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Balancer {
    /// As `deploy/haproxy` has it, with other addresses: each gateway's, callers' and operators'; or in clear text.
    fn start(gateways: &[(SocketAddr, SocketAddr)], is_secured: bool) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let authority = Authority::new();
        authority.install(folder.path());
        let file = |name: &str| folder.path().join(name);
        std::fs::copy(file("cert.pem"), file("server.pem")).unwrap();
        std::fs::copy(file("key.pem"), file("server.pem.key")).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy/haproxy.cfg");
        let text = std::fs::read_to_string(source).unwrap().replace("127.0.0.1:8443", &address.to_string());
        let lines = text.lines().map(|line| {
            if let (false, Some((bind, _))) = (is_secured, line.split_once(" ssl crt ")) {
                return bind.to_owned();
            }
            let Some(rest) = line.trim().strip_prefix("server gateway-") else { return line.to_owned() };
            let (callers, operators) = gateways[rest[..1].parse::<usize>().unwrap() - 1];
            format!("    server gateway-{} {callers} port {}", &rest[..1], operators.port())
        });
        let text = lines.collect::<Vec<_>>().join("\n") + "\n";
        std::fs::write(file("haproxy.cfg"), text).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-C").arg(folder.path()).args(["-f", "haproxy.cfg", "-db"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("`make test` installs what is missing");
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, address, folder }
    }

    /// A chat by curl: the status, and what came.
    fn curl(&self, key: &str, stream: bool, quirks: &str) -> (String, String) {
        let port = self.address.port();
        let output = Command::new("curl")
            .args(["-sS", "-N", "-w", "\n%{http_code}", "--cacert"])
            .arg(self.folder.path().join("ca.pem"))
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .args(["-H", &format!("authorization: Bearer {key}"), "-H", "content-type: application/json"])
            .args(["-d", &chat_body(stream, quirks)])
            .arg(format!("https://localhost:{port}{}", chat_path()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = said.rsplit_once('\n').unwrap_or(("", &said));
        let status = if output.status.success() {
            status.to_owned()
        } else {
            format!("curl {:?}", output.status.code())
        };
        (status, body.to_owned())
    }
}

/// Gateways whose addresses stay the same over a restart.
fn fleet() -> (Fleet, Vec<(SocketAddr, SocketAddr)>) {
    let fixed: Vec<_> = (0..3).map(|_| (free_address(), free_address())).collect();
    let fleet = Fleet::start_at(&FleetSetup::default(), &fixed);
    (fleet, fixed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_behind_haproxy_refuses_nobody_and_cuts_no_stream() {
    let (mut fleet, fixed) = fleet();
    let balancer = Arc::new(Balancer::start(&fixed, true));
    let key = fleet.key("growth").to_owned();
    let (stop, served, streams) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..6)
        .map(|n| {
            let (balancer, key, stop) = (Arc::clone(&balancer), key.clone(), Arc::clone(&stop));
            let (served, streams) = (Arc::clone(&served), Arc::clone(&streams));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let is_stream = n % 2 == 0;
                    let (status, body) =
                        balancer.curl(&key, is_stream, if is_stream { "pace=60ms" } else { "" });
                    assert_eq!(status, "200", "{body}");
                    if is_stream {
                        assert!(body.contains("response.completed"), "a stream was cut: {body}");
                        streams.fetch_add(1, Ordering::Relaxed);
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for n in 0..3 {
        fleet.gateways[n].process.signal("TERM");
        assert_eq!(fleet.gateways[n].process.wait(), Some(0));
        fleet.start_again(n);
        // Until the balancer has seen that it is ready.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 50 && streams.load(Ordering::Relaxed) > 10);
    fleet.settled().await;
    fleet.assert_books();
    assert_eq!(fleet.booked().1, 0, "nothing is in doubt");
    assert_eq!(fleet.server.number("SELECT count(*) FROM replicas WHERE is_lost"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_sdks_behind_haproxy_see_three_gateways_as_one() {
    let (fleet, fixed) = fleet();
    let balancer = Balancer::start(&fixed, false);
    let base = format!("http://{}/api/v1", balancer.address);
    sdk("node_modules/openai");
    for _ in 0..3 {
        let (mut python, mut node) = (Command::new(sdk(".venv/bin/python")), Command::new("node"));
        for command in [python.arg(sdk("client.py")), node.arg(sdk("client.mjs"))] {
            command.env("OPENAI_BASE_URL", &base).env("OPENAI_API_KEY", fleet.key("growth"));
            command.env("CHAT_PATH", chat_path().trim_start_matches("/api/v1"));
            let said = String::from_utf8(run(command).stdout).unwrap();
            assert!(said.contains("json completed credits=1"), "{said}");
            assert!(said.contains("last=response.completed credits=1"), "{said}");
        }
    }
    fleet.settled().await;
    let used = fleet.server.number("SELECT count(DISTINCT replica) FROM bookings");
    assert!(used >= 2, "more than one has had some");
    fleet.assert_books();
}
