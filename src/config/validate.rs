//! From what the file says to what is valid: one pass over every value, collecting all problems.

use std::collections::HashSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use globset::{GlobBuilder, GlobSetBuilder};
use http::Uri;
use http::uri::Scheme;
use jiff::tz::TimeZone;
use serde_ignored::Path as Place;

use super::file::{self, File};
use super::problem::{Collector, Problems};
use super::values::{CreditsText, DurationText, Leaf, ReserveText, SizeText};
use super::{
    Admin, Analyses, CallerKey, Config, Limits, Server, Team, Timeouts, TlsFiles, Tracing, Upstream,
};
use super::{Credits, Durability, Ledger, LogLevel, OnDisconnect, Reserve};
use crate::credits::Credits as Amount;
use crate::credits::budget::Budget;
use crate::credits::period::Period;
use crate::secret::SecretSource;

/// Names that metrics use for something else.
const RESERVED_TEAMS: [&str; 2] = ["organisation", "other"];
/// What one process can keep apart in metrics and directories without a second thought.
const MAX_TEAMS: usize = 500;
const MAX_KEYS: usize = 10_000;
const ADDRESS: &str = "write an address and a port, like \"127.0.0.1:8080\" or \"[::]:8080\"";
const SECRET: &str =
    "write { env = \"NAME\" } or { file = \"PATH\" }; the secret itself never stands in this file";
const ENDPOINT: &str = "write the base URL of an OTLP/HTTP receiver, like \"http://127.0.0.1:4318\"";

/// Reads a configuration from the text of `path`. Relative paths in it are relative to the working
/// directory, as the shell that starts the gateway would have them.
///
/// # Errors
/// Every problem found, each with line and remedy.
pub fn parse(path: &Path, text: &str) -> Result<Config, Problems> {
    let mut problems = Collector::new(path, text);
    if !problems.is_empty() {
        return Err(problems.finish().expect_err("a collector that is not empty ends in problems"));
    }
    let mut unknown = Vec::new();
    let deserializer = toml::Deserializer::from(problems.document());
    let file: File = match serde_ignored::deserialize(deserializer, |key| unknown.push(written(&key))) {
        Ok(file) => file,
        Err(error) => {
            problems.add_serde(&error);
            File::default()
        }
    };
    for key in unknown {
        let remedy = remedy_for_unknown(&key);
        problems.add(&key, "unknown key", remedy);
    }
    let config = Validator { problems: &mut problems }.config(file);
    problems.finish().map(|()| config)
}

/// A path in the form used everywhere: `team[0].keys[1].id`.
fn written(path: &Place<'_>) -> String {
    match path {
        Place::Root => String::new(),
        Place::Seq { parent, index } => format!("{}[{index}]", written(parent)),
        Place::Map { parent: Place::Root, key } => key.clone(),
        Place::Map { parent, key } => format!("{}.{key}", written(parent)),
        Place::Some { parent } | Place::NewtypeStruct { parent } | Place::NewtypeVariant { parent } => {
            written(parent)
        }
    }
}

/// Names the nearest key that exists at this place, from the same schema that editors use.
fn remedy_for_unknown(key: &str) -> String {
    // Made once: a file may hold many keys that are not known.
    static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(super::schema);
    let (parent, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut schema = &*SCHEMA;
    for part in parent.split('.').filter(|part| !part.is_empty()) {
        let name = part.split('[').next().unwrap_or(part);
        schema = &schema["properties"][name];
        if part.contains('[') {
            schema = &schema["items"];
        }
        // An optional table is written as one alternative beside null.
        if schema["properties"].is_null() && schema["anyOf"].is_array() {
            schema = &schema["anyOf"][0];
        }
    }
    let known: Vec<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("remove it; keys here are {}", known.join(", ")),
    }
}

struct Validator<'c, 'a> {
    problems: &'c mut Collector<'a>,
}

impl Validator<'_, '_> {
    fn config(&mut self, file: File) -> Config {
        let File { server, admin, upstream, ledger, limits, credits, log, tracing, team } = file;
        let defaults = self.limits("limits", &limits, None);
        Config {
            server: self.server(server),
            admin: Admin {
                listen: self.value("admin.listen", admin.listen, loopback(9464), ADDRESS),
                token: admin
                    .token
                    .map(|token| self.secret("admin.token", token, "MAVERA_GATEWAY_ADMIN_TOKEN")),
            },
            upstream: self.upstream(upstream),
            ledger: Ledger {
                path: self.value("ledger.path", ledger.path, "data/ledger.db".into(), ""),
                durability: self.value("ledger.durability", ledger.durability, Durability::Fsync, ""),
            },
            credits: self.credits(credits),
            teams: self.teams(team, defaults),
            log_level: self.value("log.level", log.level, LogLevel::Info, ""),
            tracing: self.tracing(tracing),
        }
    }

    fn server(&mut self, server: file::Server) -> Server {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let file::Server {
            listen,
            tls,
            drain_timeout,
            head_timeout,
            body_timeout,
            write_timeout,
            max_head,
            max_connections,
            max_streams,
            workers,
        } = server;
        Server {
            listen: self.value("server.listen", listen, loopback(8080), ADDRESS),
            tls: tls.map(|tls| TlsFiles {
                cert: self.required(
                    "server.tls.cert",
                    tls.cert,
                    "name the PEM file with the certificate chain",
                ),
                key: self.required("server.tls.key", tls.key, "name the PEM file with the private key"),
            }),
            drain_timeout: self.duration("server.drain_timeout", drain_timeout, 30, 0..=86_400),
            head_timeout: self.duration("server.head_timeout", head_timeout, 30, 1..=3600),
            body_timeout: self.duration("server.body_timeout", body_timeout, 30, 1..=3600),
            write_timeout: self.duration("server.write_timeout", write_timeout, 60, 1..=3600),
            max_head: self.size("server.max_head", max_head, 16 << 10, (8 << 10)..=(256 << 10)),
            max_connections: self.number("server.max_connections", max_connections, 10_000, 1..=1_000_000)
                as usize,
            max_streams: self.number("server.max_streams", max_streams, 100, 1..=10_000),
            workers: match workers.0 {
                None => cores,
                given => usize::from(self.number("server.workers", Leaf(given), 1, 1..=256)),
            },
        }
    }

    fn upstream(&mut self, upstream: file::Upstream) -> Upstream {
        let file::Upstream {
            base_url,
            api_key,
            requests_per_minute,
            ca_file,
            connect_timeout,
            first_byte_timeout,
            idle_timeout,
            total_timeout,
            on_disconnect,
            usage_interval,
            keep_alive_idle,
            keep_alive_lifetime,
        } = upstream;
        Upstream {
            base_url: self.base_url(base_url),
            api_key: self.secret("upstream.api_key", api_key, "MAVERA_API_KEY"),
            requests_per_minute: self.positive("upstream.requests_per_minute", requests_per_minute, 60),
            ca_file: match ca_file.0 {
                None => None,
                given => Some(self.required("upstream.ca_file", Leaf(given), "")),
            },
            timeouts: Timeouts {
                connect: self.duration("upstream.connect_timeout", connect_timeout, 5, 1..=60),
                first_byte: self.duration("upstream.first_byte_timeout", first_byte_timeout, 120, 1..=3600),
                idle: self.duration("upstream.idle_timeout", idle_timeout, 60, 1..=3600),
                total: self.duration("upstream.total_timeout", total_timeout, 600, 1..=86_400),
            },
            on_disconnect: self.value("upstream.on_disconnect", on_disconnect, OnDisconnect::Drain, ""),
            usage_interval: self.duration("upstream.usage_interval", usage_interval, 300, 0..=86_400),
            keep_alive_idle: self.duration("upstream.keep_alive_idle", keep_alive_idle, 30, 0..=3600),
            keep_alive_lifetime: self.duration(
                "upstream.keep_alive_lifetime",
                keep_alive_lifetime,
                600,
                1..=86_400,
            ),
        }
    }

    fn base_url(&mut self, leaf: Leaf<String>) -> Uri {
        const KEY: &str = "upstream.base_url";
        const DEFAULT: &str = "https://app.mavera.io/api/v1";
        let text = self.value(KEY, leaf, DEFAULT.to_owned(), "");
        let fallback = Uri::from_static(DEFAULT);
        let remedy = format!("write it like \"{DEFAULT}\"");
        let Ok(uri) = text.parse::<Uri>() else {
            self.problems.add(KEY, format!("{text:?} is not a URL"), remedy);
            return fallback;
        };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            self.problems.add(KEY, format!("{text:?} has no scheme and host"), remedy);
            return fallback;
        };
        if uri.query().is_some() || authority.as_str().contains('@') {
            self.problems.add(KEY, "must hold no query, user or password", remedy);
            return fallback;
        }
        if *scheme == Scheme::HTTP && !is_loopback(authority.host()) {
            self.problems.add(
                KEY,
                "would send the organisation's key in clear text over the network",
                "use https://; http:// is accepted for loopback addresses only",
            );
        } else if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            self.problems.add(KEY, format!("scheme {scheme} is not one we speak"), remedy);
        }
        uri
    }

    fn credits(&mut self, credits: file::Credits) -> Credits {
        const ZONE: &str = "credits.time_zone";
        let name = self.value(ZONE, credits.time_zone, "UTC".to_owned(), "");
        let zone = TimeZone::get(&name).unwrap_or_else(|_| {
            let remedy = "write a name of the tz database, like \"UTC\" or \"Europe/Berlin\"";
            self.problems.add(ZONE, format!("{name:?} is not a time zone known here"), remedy);
            TimeZone::UTC
        });
        let five = CreditsText(Amount::whole(5));
        let floor = self.value("credits.reserve_floor", credits.reserve_floor, five, "").0;
        let reserve = self.value("credits.reserve", credits.reserve, ReserveText::Fixed(five.0), "");
        if floor == Amount::ZERO || reserve == ReserveText::Fixed(Amount::ZERO) {
            let remedy = "hold at least what the cheapest call costs, 1";
            self.problems.add(
                "credits.reserve",
                "a reserve of nothing would let budgets be overspent",
                remedy,
            );
        }
        Credits {
            zone,
            reserve: match reserve {
                ReserveText::Fixed(amount) => Reserve::Fixed(amount),
                ReserveText::Learned => Reserve::Learned { floor },
            },
            wait: self.duration("credits.wait", credits.wait, 10, 0..=300),
            budget: self.budget("credits.budget", credits.budget),
        }
    }

    fn budget(&mut self, key: &str, budget: Option<file::Budget>) -> Option<Budget> {
        let budget = budget?;
        let remedy = "write it like { credits = 1500, period = \"month\" }";
        if budget.period.0.is_none() {
            self.problems.add(&format!("{key}.period"), "is required", remedy);
        }
        let credits = self.required(&format!("{key}.credits"), budget.credits, remedy).0;
        let period = self.value(&format!("{key}.period"), budget.period, Period::Month, remedy);
        Some(Budget { credits, period })
    }

    /// `variable` is where a secret is looked for that the file does not place.
    fn secret(&mut self, key: &str, secret: Leaf<file::Secret>, variable: &str) -> SecretSource {
        // What stands here may be the secret itself, put in the wrong place: nothing of it is quoted.
        let secret =
            Leaf(secret.0.map(|read| read.map_err(|_| "is not a place to read a secret from".to_owned())));
        match self.value(key, secret, file::Secret::Env(variable.to_owned()), SECRET) {
            file::Secret::Env(name) if is_variable(&name) => SecretSource::Env(name),
            file::Secret::Env(_) => {
                self.problems.add(key, "does not name an environment variable", SECRET);
                SecretSource::Env(variable.to_owned())
            }
            file::Secret::File(path) => SecretSource::File(path),
        }
    }

    fn tracing(&mut self, tracing: file::Tracing) -> Option<Tracing> {
        let file::Tracing { endpoint, sample_ratio, service_name } = tracing;
        let sample_ratio = self.number("tracing.sample_ratio", sample_ratio, 1.0, 0.0..=1.0);
        let service_name =
            self.value("tracing.service_name", service_name, "mavera-gateway".to_owned(), "write a name");
        endpoint.0.as_ref()?;
        let text = self.value("tracing.endpoint", endpoint, String::new(), ENDPOINT);
        let endpoint = text.parse::<Uri>().ok().filter(|uri| {
            let http = uri.scheme().is_some_and(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
            http && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.query().is_none()
        });
        if endpoint.is_none() {
            // Not quoted: there may be a password in it.
            self.problems.add(
                "tracing.endpoint",
                "is not a base URL without user, password and query",
                ENDPOINT,
            );
        }
        Some(Tracing { endpoint: endpoint?, sample_ratio, service_name })
    }

    fn limits(&mut self, key: &str, limits: &file::Limits, defaults: Option<Limits>) -> Limits {
        let defaults = defaults.unwrap_or(Limits {
            requests_per_minute: NonZeroU32::new(60).expect("60 is not zero"),
            burst: NonZeroU32::new(10).expect("10 is not zero"),
            concurrency: 16,
            max_body: 1 << 20,
        });
        let file::Limits { requests_per_minute, burst, concurrency, max_body } = limits.clone();
        let at = |name: &str| format!("{key}.{name}");
        let concurrent = u32::try_from(defaults.concurrency).unwrap_or(u32::MAX);
        Limits {
            requests_per_minute: self.positive(
                &at("requests_per_minute"),
                requests_per_minute,
                defaults.requests_per_minute.get(),
            ),
            burst: self.positive(&at("burst"), burst, defaults.burst.get()),
            concurrency: self.number(&at("concurrency"), concurrency, concurrent, 1..=1_000_000) as usize,
            max_body: self.size(&at("max_body"), max_body, defaults.max_body, 1..=(256 << 20)),
        }
    }

    fn teams(&mut self, teams: Vec<file::Team>, defaults: Limits) -> Vec<Team> {
        if teams.len() > MAX_TEAMS {
            self.problems.add(
                "team",
                format!("{} teams are more than {MAX_TEAMS}", teams.len()),
                "merge some",
            );
        }
        if teams.iter().map(|team| team.keys.len()).sum::<usize>() > MAX_KEYS {
            self.problems.add("team", format!("more than {MAX_KEYS} keys in all"), "remove expired ones");
        }
        let mut names = HashSet::new();
        let mut key_ids = HashSet::new();
        let mut digests = HashSet::new();
        let mut valid = Vec::with_capacity(teams.len());
        for (index, team) in teams.into_iter().enumerate() {
            let at = format!("team[{index}]");
            let name = self.team_name(&format!("{at}.name"), team.name);
            if !name.is_empty() && !names.insert(name.clone()) {
                self.problems.add(
                    &format!("{at}.name"),
                    format!("there is another team {name:?}"),
                    "give each team its own name",
                );
            }
            let mut keys = Vec::with_capacity(team.keys.len());
            for (index, key) in team.keys.into_iter().enumerate() {
                let at = format!("{at}.keys[{index}]");
                let key = self.caller_key(&at, key);
                if !key.id.is_empty() && !key_ids.insert(key.id.clone()) {
                    self.problems.add(
                        &format!("{at}.id"),
                        format!("key id {:?} is used twice", key.id),
                        "remove one, or make a new key with `mavera-gateway key new`",
                    );
                }
                if key.digest != [0; 32] && !digests.insert(key.digest) {
                    self.problems.add(&format!("{at}.sha256"), "this key is listed twice", "remove one");
                }
                keys.push(key);
            }
            let own = file::Limits {
                requests_per_minute: team.requests_per_minute,
                burst: team.burst,
                concurrency: team.concurrency,
                max_body: team.max_body,
            };
            let limits = self.limits(&at, &own, Some(defaults));
            let analyses = self.analyses(&format!("{at}.analyses"), team.analyses);
            let budget = self.budget(&format!("{at}.budget"), team.budget);
            valid.push(Team { name, keys, limits, analyses, budget });
        }
        valid
    }

    fn team_name(&mut self, key: &str, leaf: Leaf<String>) -> String {
        let remedy = "use 1 to 64 of a-z, 0-9, \"-\" and \"_\", a letter first";
        let name = self.required(key, leaf, remedy);
        if RESERVED_TEAMS.contains(&name.as_str()) {
            self.problems.add(
                key,
                format!("{name:?} means something else in metrics"),
                "choose another name",
            );
        } else if !name.is_empty() && !is_team_name(&name) {
            self.problems.add(key, format!("{name:?} is not a team name"), remedy);
        }
        name
    }

    fn caller_key(&mut self, at: &str, key: file::CallerKey) -> CallerKey {
        let remedy = "make a key with `mavera-gateway key new` and paste the line it prints";
        let id_at = format!("{at}.id");
        let id = self.required(&id_at, key.id, remedy);
        if !id.is_empty() && !crate::key::is_key_id(&id) {
            self.problems.add(&id_at, format!("{id:?} is not 8 to 32 of a-z and 0-9"), remedy);
        }
        let digest_at = format!("{at}.sha256");
        let text = self.required(&digest_at, key.sha256, remedy);
        let digest = crate::key::digest_from_hex(&text).unwrap_or_else(|| {
            if !text.is_empty() {
                // The text is not quoted: people paste the key itself here.
                self.problems.add(&digest_at, "is not 64 hexadecimal digits", remedy);
            }
            [0; 32]
        });
        let expires = match key.expires.0 {
            None => None,
            Some(Ok(expires)) => Some(expires.0),
            Some(Err(message)) => {
                self.problems.add(&format!("{at}.expires"), message, "");
                None
            }
        };
        let budget = self.budget(&format!("{at}.budget"), key.budget);
        CallerKey { id, digest, expires, budget }
    }

    fn analyses(&mut self, key: &str, leaf: Leaf<Vec<String>>) -> Analyses {
        let globs = self.value(key, leaf, vec!["*".to_owned()], "write [\"*\"] or a list of globs");
        if globs.iter().any(|glob| glob == "*") {
            return Analyses::All;
        }
        let mut set = GlobSetBuilder::new();
        for text in &globs {
            match GlobBuilder::new(text).literal_separator(true).build() {
                Ok(glob) => {
                    set.add(glob);
                }
                Err(error) => {
                    self.problems.add(key, format!("{error}"), "write globs like \"clx*\" or whole ids");
                }
            }
        }
        set.build().map_or_else(
            |error| {
                self.problems.add(key, format!("{error}"), "use fewer or simpler globs");
                Analyses::Matching(globset::GlobSet::empty())
            },
            Analyses::Matching,
        )
    }

    /// A value with a default. A wrong value is reported and the default goes on in its place, so
    /// that the rest can be checked too; the configuration is refused in the end.
    fn value<T>(&mut self, key: &str, leaf: Leaf<T>, default: T, remedy: &str) -> T {
        match leaf.0 {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(message)) => {
                self.problems.add(key, message, remedy);
                default
            }
        }
    }

    fn required<T: Default>(&mut self, key: &str, leaf: Leaf<T>, remedy: &str) -> T {
        if leaf.0.is_none() {
            self.problems.add(key, "is required", remedy);
        }
        self.value(key, leaf, T::default(), remedy)
    }

    fn number<N>(&mut self, key: &str, leaf: Leaf<N>, default: N, range: RangeInclusive<N>) -> N
    where
        N: PartialOrd + Display + Copy,
    {
        let value = self.value(key, leaf, default, "");
        if range.contains(&value) {
            return value;
        }
        let (low, high) = range.into_inner();
        self.problems.add(key, format!("{value} is out of range"), format!("use {low} to {high}"));
        default
    }

    fn positive(&mut self, key: &str, leaf: Leaf<u32>, default: u32) -> NonZeroU32 {
        let value = self.number(key, leaf, default, 1..=100_000_000);
        NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN)
    }

    fn size(
        &mut self,
        key: &str,
        leaf: Leaf<SizeText>,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        let leaf = Leaf(leaf.0.map(|value| value.map(|size| size.0)));
        let value = self.value(key, leaf, default, "");
        if range.contains(&value) {
            return value;
        }
        let [low, high] = [range.start(), range.end()]
            .map(|&size| bytesize::ByteSize(size as u64).display().iec().to_string());
        self.problems.add(key, "size is out of range", format!("use {low} to {high}"));
        default
    }

    /// `default` and `range` are whole seconds.
    fn duration(
        &mut self,
        key: &str,
        leaf: Leaf<DurationText>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        let default = Duration::from_secs(default);
        let value = self.value(key, leaf, DurationText(default), "").0;
        let [low, high] = [range.start(), range.end()].map(|&seconds| Duration::from_secs(seconds));
        if (low..=high).contains(&value) {
            return value;
        }
        let [low, high] = [low, high].map(DurationText);
        self.problems.add(
            key,
            format!("{} is out of range", DurationText(value)),
            format!("use {low} to {high}"),
        );
        default
    }
}

/// Whether `name` can be a team's.
#[must_use]
pub fn is_team_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && !RESERVED_TEAMS.contains(&name)
}

/// Whether a shell would take it for a variable's name. Upper case, as such names are: a key or a token is not.
fn is_variable(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn loopback(port: u16) -> std::net::SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, port).into()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
