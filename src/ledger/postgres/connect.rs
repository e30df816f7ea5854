//! Which server the ledger is on, and how a session with it begins. Clear text goes to this machine alone; the URL, which
//! holds a password, is told nowhere.

use std::error::Error as _;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, Connection, Error, Socket};

use super::failure::failure;
use super::tls::{self, Tls};
use crate::config::Postgres;
use crate::ledger::error::LedgerError;
use crate::secret;

/// What carries a client's questions to the server. Whoever waits for an answer has to poll it.
pub(super) type Wire = Connection<Socket, tls::Stream>;

/// For each address of each host.
const REACHED_WITHIN: Duration = Duration::from_secs(5);
/// For all of them, TLS and password included.
const CONNECTED_WITHIN: Duration = Duration::from_secs(15);
/// A server that is gone is noticed within eleven seconds, also by whoever waits for its answer.
const IDLE: Duration = Duration::from_secs(5);
const PROBED_EVERY: Duration = Duration::from_secs(2);
const PROBES: u32 = 3;
/// The same while something is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

const SHAPE: &str = "the database's URL cannot be read; it is `postgresql://user:password@host:5432/database`, with signs in \
     the password percent-encoded";
const NO_HOST: &str = "the database's URL names no host";
const MISREAD: &str = "the database's URL has signs in its host or database that are none of a name; are all signs in the \
     password percent-encoded?";
const SSL_MODES: &str = "the database's URL: `sslmode` is disable, prefer or require; certificates and names are always \
     verified, so write `require` for `verify-full`";
const CLEAR_TEXT: &str = "clear text is for this machine alone: take `sslmode=disable` out of the URL; where the server's \
     certificate is not of a public authority, name that in `ca_file`";

/// What a session is for, and how long the server lets it take over things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// What others wait for: a statement has five seconds, and a transaction that is left alone one.
    Turns,
    /// What looks at much of the ledger: a minute.
    Reports,
}

/// The server, with the database and the schema in it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    tls: Option<Arc<ClientConfig>>,
    schema: String,
    place: Arc<str>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.place).finish()
    }
}

impl Server {
    /// The one in the settings. Reads the URL, and connects to nothing.
    ///
    /// # Errors
    /// In words for the operator, which do not quote the URL.
    pub(super) fn of(settings: &Postgres) -> Result<Self, LedgerError> {
        let failed = |what: String| LedgerError::Database { place: "PostgreSQL".to_owned(), what };
        let url = secret::database_url(&settings.url).map_err(|error| failed(error.to_string()))?;
        let mut config = Config::from_str(&url).map_err(|error| failed(unreadable(&error)))?;
        refuse_misread(&config).map_err(|what| failed(what.to_owned()))?;
        let place = place(&config, &settings.schema);
        let failed = |what: String| LedgerError::Database { place: place.clone(), what };
        let tls = match needs_tls(&config, settings.ca_file.is_some()) {
            Ok(true) => Some(tls::client(settings.ca_file.as_deref()).map_err(failed)?),
            Ok(false) => None,
            Err(what) => return Err(failed(what.to_owned())),
        };
        config
            .application_name("mavera-gateway")
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .connect_timeout(REACHED_WITHIN)
            .keepalives(true)
            .keepalives_idle(IDLE)
            .keepalives_interval(PROBED_EVERY)
            .keepalives_retries(PROBES)
            .tcp_user_timeout(TAKEN_WITHIN)
            // Of several hosts, the one that was promoted.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { config, tls, schema: settings.schema.clone(), place: place.into() })
    }

    /// Where it is, in words.
    pub(super) fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// The schema that the ledger is in.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Begins a session. Dropping the future ends what has begun of it.
    ///
    /// # Errors
    /// What the server says, or the way there.
    pub(super) async fn connect(&self, session: Session) -> Result<(Client, Wire), LedgerError> {
        let mut config = self.config.clone();
        config.options(options(config.get_options(), &self.schema, session));
        match tokio::time::timeout(CONNECTED_WITHIN, config.connect(Tls(self.tls.clone()))).await {
            Ok(connected) => connected.map_err(|error| failure(&self.place, &error)),
            Err(_) => Err(LedgerError::Database {
                place: self.place.to_string(),
                what: format!("no session within {} seconds", CONNECTED_WITHIN.as_secs()),
            }),
        }
    }
}

/// What the server is told at the start of a session: behind what the URL has, for the last word counts.
fn options(own: Option<&str>, schema: &str, session: Session) -> String {
    let (statement, idle) = match session {
        Session::Turns => (5_000, 1_000),
        Session::Reports => (60_000, 60_000),
    };
    let own = own.map_or_else(String::new, |own| format!("{own} "));
    format!(
        "{own}-c search_path={schema} -c default_transaction_isolation=read\\ committed -c timezone=UTC \
         -c statement_timeout={statement} -c lock_timeout=3000 -c idle_in_transaction_session_timeout={idle}"
    )
}

/// Whether connections are to be secured.
fn needs_tls(config: &Config, has_roots: bool) -> Result<bool, &'static str> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    // Where there is an address, it leads there, whatever the name is.
    let is_local = match addresses {
        [] => hosts.iter().all(is_local),
        addresses => addresses.iter().all(IpAddr::is_loopback),
    };
    let is_socket = addresses.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_)));
    match config.get_ssl_mode() {
        // No server speaks TLS there.
        _ if is_socket => Ok(false),
        SslMode::Disable if !is_local => Err(CLEAR_TEXT),
        mode => Ok(!is_local || has_roots || mode == SslMode::Require),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
        Host::Unix(_) => true,
    }
}

/// What is wrong with a URL. Names of options are not told, which are what stands behind a sign that should have been quoted.
fn unreadable(error: &Error) -> String {
    let told = error.source().map(ToString::to_string);
    match told.filter(|told| told.starts_with("invalid value for option ")) {
        Some(told) if told.contains("sslmode") => SSL_MODES.to_owned(),
        Some(told) => format!("the database's URL: {told}"),
        None => SHAPE.to_owned(),
    }
}

/// A password with an `@` that is not encoded ends there, and what follows would be told as the server's name.
fn refuse_misread(config: &Config) -> Result<(), &'static str> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(NO_HOST);
    }
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b".-_:%".contains(&b);
    let hosts_are_names = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => !name.is_empty() && name.bytes().all(is_of_name),
        Host::Unix(_) => true,
    });
    let is_whole = hosts_are_names && config.get_dbname().is_none_or(|name| !name.contains(['@', '/', ':']));
    if is_whole { Ok(()) } else { Err(MISREAD) }
}

/// In words: hosts, database and schema, and nothing else of the URL.
fn place(config: &Config, schema: &str) -> String {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let host = |at: usize| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        match (hosts.get(at), addresses.get(at)) {
            (Some(Host::Tcp(name)), _) if name.contains(':') => format!("[{name}]:{port}"),
            (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
            (Some(Host::Unix(folder)), _) => format!("{} (port {port})", folder.display()),
            (None, Some(IpAddr::V6(address))) => format!("[{address}]:{port}"),
            (None, Some(IpAddr::V4(address))) => format!("{address}:{port}"),
            (None, None) => String::new(),
        }
    };
    let hosts: Vec<_> = (0..hosts.len().max(addresses.len())).map(host).collect();
    let database = config.get_dbname().map_or_else(String::new, |name| format!(", database {name}"));
    format!("PostgreSQL at {}{database}, schema {schema}", hosts.join(" or "))
}
