//! `healthcheck`: asks the gateway of a configuration how it is, for images without a shell or curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::{ConfigArgument, Failure};

/// Where operators connect by default.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(super) struct HealthcheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Ask here, whatever the configuration says: for an admin listener that was handed over, or moved.
    #[arg(long, value_name = "ADDR")]
    address: Option<SocketAddr>,
    /// Ask whether it takes calls, which it does not while it drains; without this, whether it runs.
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(arguments: &HealthcheckArguments) -> Result<(), Failure> {
    let HealthcheckArguments { config: ConfigArgument { config: path }, address, ready } = arguments;
    let listen = address.map_or_else(|| listen(path), Ok)?;
    let probe = if *ready { "/readyz" } else { "/livez" };
    let answer = ask(listen, probe).map_err(|error| unhealthy(listen, &error.to_string()))?;
    match answer.split_ascii_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(unhealthy(listen, answer.lines().last().unwrap_or("it sent no answer"))),
    }
}

/// Where operators are answered, as seen from this machine. Nothing else of the file matters: a gateway that runs on
/// after a bad edit is not ill for that.
fn listen(path: &Path) -> Result<SocketAddr, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    let written = text.parse::<toml::Table>().ok();
    let named = written.as_ref().and_then(|file| file.get("admin")?.get("listen")?.as_str()?.parse().ok());
    let mut listen = named.unwrap_or(DEFAULT);
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(listen)
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    write!(tcp, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    tcp.take(64 << 10).read_to_string(&mut answer)?;
    Ok(answer)
}

fn unhealthy(listen: SocketAddr, why: &str) -> Failure {
    Failure::System(std::io::Error::other(format!("the gateway at {listen} is not healthy: {why}")))
}
