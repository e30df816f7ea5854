//! The proxies: started for a lane, with the configurations that stand beside this crate for readers to judge.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::{process, token};

/// The organisation's key: the upstream takes any.
const SECRET: &str = "mvra_live_bench_plainly_fake_00000000000";
/// Both cores of the machine that the targets were set on. All proxies get the same.
const WORKERS: usize = 2;
/// Ports that proxies listen on. Linux takes those of connections from 32768 on.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;
/// How often, and how many times, is looked whether a proxy listens: half a minute, for one that is counted while it starts.
const LOOK: Duration = Duration::from_millis(10);
const STARTING: u32 = 3000;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The measure of all others.
    Nginx,
    /// For scale.
    Haproxy,
    /// The same parts as ours, doing nothing but swap the key.
    Floor,
    /// Ours, with the ledger at `os`: survives `kill -9`.
    GatewayOs,
    /// Ours, with the ledger at `fsync`: survives a power cut.
    GatewayFsync,
}

impl Kind {
    /// In the order of the table's columns.
    pub const ALL: [Self; 5] = [Self::Nginx, Self::Haproxy, Self::Floor, Self::GatewayOs, Self::GatewayFsync];

    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Floor => "floor",
            Self::GatewayOs => "gateway, os",
            Self::GatewayFsync => "gateway, fsync",
        }
    }
}

/// What proxies are started for.
#[derive(Debug)]
pub struct Site<'a> {
    /// The gateway's binary.
    pub gateway: &'a Path,
    /// The floor's binary.
    pub floor: &'a Path,
    /// For configurations, logs and ledgers.
    pub folder: &'a Path,
    /// Where the upstream is.
    pub upstream: SocketAddr,
    /// The root that signed the upstream's certificate, if it speaks TLS.
    pub roots: Option<&'a Path>,
    /// Connections of callers at once.
    pub callers: u32,
    /// Callers of the gateway show a token instead of a key.
    pub token: bool,
}

/// Where callers call, and with which key.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where callers connect.
    pub address: SocketAddr,
    /// What they present.
    pub key: String,
}

/// A proxy that runs for as long as this value lives.
pub struct Proxy {
    /// What it is.
    pub kind: Kind,
    /// How to call it.
    pub target: Target,
    child: Child,
}

impl Proxy {
    /// Starts a proxy, inside another program if one is named, and waits until it listens.
    pub fn start(inside: &[String], kind: Kind, site: &Site<'_>) -> Result<Self, String> {
        let address = free_address()?;
        let mut key = SECRET.to_owned();
        let mut command = match kind {
            Kind::Nginx => nginx(site, address)?,
            Kind::Haproxy => haproxy(site, address)?,
            Kind::Floor => floor(site, address)?,
            Kind::GatewayOs | Kind::GatewayFsync => {
                let (command, made) = gateway(site, address, kind)?;
                key = made;
                command
            }
        };
        let log = site.folder.join(format!("{}.log", kind.name()));
        let output = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        if let [program, arguments @ ..] = inside {
            let mut outer = Command::new(program);
            outer.args(arguments).arg(command.get_program()).args(command.get_args());
            command = outer;
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", kind.name()))?;
        Self { kind, target: Target { address, key }, child }.ready(&log)
    }

    fn ready(mut self, log: &Path) -> Result<Self, String> {
        for _ in 0..STARTING {
            if TcpStream::connect(self.target.address).is_ok() {
                return Ok(self);
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        let said = fs::read_to_string(log).unwrap_or_default();
        Err(format!("{} does not listen on {}; it said:\n{said}", self.kind.name(), self.target.address))
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Result<Duration, String> {
        process::cpu(self.child.id())
    }

    /// Memory at present, in bytes.
    pub fn memory(&self) -> u64 {
        process::memory(self.child.id())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked, and not killed: nginx's master takes its workers along, and the gateway has nothing in flight.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn nginx(site: &Site<'_>, listen: SocketAddr) -> Result<Command, String> {
    let (scheme, tls) = match site.roots {
        None => ("http", String::new()),
        Some(roots) => (
            "https",
            format!(
                // This nginx offers no TLS 1.3 by default; the others do.
                "proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate {};",
                roots.display()
            ),
        ),
    };
    let connections = (2 * site.callers + 512).to_string();
    let path = configure(
        site,
        listen,
        "nginx.conf",
        include_str!("../nginx.conf"),
        &[("scheme", scheme), ("tls", &tls), ("connections", &connections)],
    )?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(site.folder).arg("-c").arg(&path).arg("-e").arg(site.folder.join("nginx.err"));
    Ok(command)
}

fn haproxy(site: &Site<'_>, listen: SocketAddr) -> Result<Command, String> {
    let tls = site
        .roots
        .map(|roots| format!("ssl verify required ca-file {}", roots.display()))
        .unwrap_or_default();
    let callers = (site.callers + 256).to_string();
    let template = include_str!("../haproxy.cfg");
    let path = configure(site, listen, "haproxy.cfg", template, &[("tls", &tls), ("callers", &callers)])?;
    let mut command = Command::new("haproxy");
    // In the foreground, as one process.
    command.arg("-db").arg("-f").arg(&path);
    Ok(command)
}

fn floor(site: &Site<'_>, listen: SocketAddr) -> Result<Command, String> {
    let mut command = Command::new(site.floor);
    command.arg("--listen").arg(listen.to_string()).arg("--upstream").arg(site.upstream.to_string());
    command.arg("--workers").arg(WORKERS.to_string()).arg("--key").arg(secret(site)?);
    if let Some(roots) = site.roots {
        command.arg("--roots").arg(roots);
    }
    Ok(command)
}

/// A file with the organisation's key.
fn secret(site: &Site<'_>) -> Result<PathBuf, String> {
    let path = site.folder.join("organisation-key");
    fs::write(&path, SECRET).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn gateway(site: &Site<'_>, listen: SocketAddr, kind: Kind) -> Result<(Command, String), String> {
    let (scheme, tls) = match site.roots {
        None => ("http", String::new()),
        Some(roots) => ("https", format!("ca_file = '{}'", roots.display())),
    };
    let durability = if kind == Kind::GatewayFsync { "fsync" } else { "os" };
    // The configuration names it.
    secret(site)?;
    let made = Command::new(site.gateway)
        .args(["key", "new", "--team", "bench"])
        .output()
        .map_err(|error| format!("{}: {error}", site.gateway.display()))?;
    let made = String::from_utf8_lossy(&made.stdout).into_owned();
    let mut key = made.lines().next().unwrap_or_default().to_owned();
    let (_, table) = made.split_once("[[team]]").ok_or("`key new` printed no table")?;
    let mut template = format!("{}\n[[team]]{table}", include_str!("../gateway.toml"));
    if site.token {
        let issuer = token::Issuer::new()?;
        key = issuer.token()?;
        let keys = site.folder.join(format!("keys-{durability}.json"));
        fs::write(&keys, issuer.keys()).map_err(|error| format!("{}: {error}", keys.display()))?;
        template.push_str(token::TABLES);
    }
    let path = configure(
        site,
        listen,
        &format!("gateway-{durability}.toml"),
        &template,
        &[
            ("scheme", scheme),
            ("tls", &tls),
            ("durability", durability),
            ("admin", &free_address()?.to_string()),
        ],
    )?;
    let mut command = Command::new(site.gateway);
    command.arg("serve").arg("--config").arg(&path);
    Ok((command, key))
}

/// Fills in a template, writes it, and returns where.
fn configure(
    site: &Site<'_>,
    listen: SocketAddr,
    name: &str,
    template: &str,
    values: &[(&str, &str)],
) -> Result<PathBuf, String> {
    let (listen, upstream) = (listen.to_string(), site.upstream.to_string());
    let (workers, folder) = (WORKERS.to_string(), site.folder.display().to_string());
    let idle = site.callers.clamp(64, 1024).to_string();
    let common = [
        ("listen", listen.as_str()),
        ("upstream", &upstream),
        ("workers", &workers),
        ("folder", &folder),
        ("idle", &idle),
        ("secret", SECRET),
    ];
    let text = common
        .iter()
        .chain(values)
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
    let path = site.folder.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// An address that nobody listens on. Its port is below those from which the system takes the near ends of connections: who looks
/// by connecting whether a proxy listens yet would else be connected to itself now and then, and take that for the proxy.
fn free_address() -> Result<SocketAddr, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap_or(0);
    for _ in 0..PORTS {
        let port = FIRST_PORT + own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(format!("no port from {FIRST_PORT} on is free"))
}
