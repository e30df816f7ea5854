//! `healthcheck`: asks the gateway of a configuration how it is, for images without a shell or curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;

use super::failure::{ConfigArgument, Failure};
use crate::outbound::ask::{Bounds, ask};
use crate::outbound::connect::Tcp;
use crate::outbound::origin::Origin;
use crate::server::event_loop;

/// Where operators connect by default.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// What an answer may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(3), bytes: 64 << 10 };

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
    let written = match address {
        // Without a configuration there is none that could say that it speaks TLS.
        Some(_) if !path.exists() => Written::default(),
        _ => Written::read(path)?,
    };
    let listen = address.unwrap_or_else(|| written.listen());
    let probe = if *ready { "/readyz" } else { "/livez" };
    let unhealthy = |why: &str| {
        Failure::System(std::io::Error::other(format!("the gateway at {listen} is not healthy: {why}")))
    };
    let request = Request::get(probe).body(Full::default()).map_err(std::io::Error::other)?;
    let origin = match &written.cert {
        None => Origin::in_clear(listen),
        Some(cert) => Origin::pinned(listen, cert).map_err(|error| unhealthy(&error.to_string()))?,
    };
    let answer = event_loop()?.block_on(ask(&Tcp, &Arc::new(origin), request, BOUNDS));
    match answer {
        Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
        Ok(answer) => Err(unhealthy(String::from_utf8_lossy(answer.body()).trim())),
        Err(error) => Err(unhealthy(&error.to_string())),
    }
}

/// What a configuration says of the admin listener. Nothing else of the file matters: a gateway that runs on after a bad edit is
/// not ill for that.
#[derive(Default)]
struct Written {
    listen: Option<SocketAddr>,
    /// Of its certificate, if it speaks TLS.
    cert: Option<PathBuf>,
}

impl Written {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
        let file = text.parse::<toml::Table>().unwrap_or_default();
        let admin = |key: &str| file.get("admin")?.get(key);
        let cert = admin("tls").and_then(|tls| tls.get("cert")?.as_str());
        Ok(Self {
            listen: admin("listen").and_then(|listen| listen.as_str()?.parse().ok()),
            cert: cert.map(|cert| path.parent().unwrap_or(path).join(cert)),
        })
    }

    /// Where operators are answered, as seen from this machine.
    fn listen(&self) -> SocketAddr {
        let mut listen = self.listen.unwrap_or(DEFAULT);
        if listen.ip().is_unspecified() {
            listen.set_ip(match listen.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        listen
    }
}
