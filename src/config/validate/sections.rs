//! The sections of the file, but for teams.

use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;
use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::validator::Validator;
use crate::config::file::{self, BodyStore, NotifyFormat, OnDisconnect};
use crate::config::is_loopback;
use crate::config::valid::{
    Bodies, Credits, Keys, Notify, Price, Proxies, Queue, Reserve, Retries, Server, Timeouts, TlsFiles,
    Tracing, Upstream,
};
use crate::config::values::{CreditsText, Leaf, ReserveText};
use crate::credits::Credits as Amount;

pub(super) const ADDRESS: &str = "write an address and a port, like \"127.0.0.1:8080\" or \"[::]:8080\"";
const ENDPOINT: &str = "write the base URL of an OTLP/HTTP receiver, like \"http://127.0.0.1:4318\"";

/// The longest that a call can be made to wait for its turn, in seconds.
pub(super) const LONGEST_WAIT: u64 = 600;

impl Validator<'_, '_> {
    pub(super) fn server(&mut self, server: file::Server) -> Server {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let file::Server {
            listen,
            tls,
            drain_timeout,
            keep_alive,
            head_timeout,
            body_timeout,
            write_timeout,
            max_head,
            max_connections,
            max_connections_per_address,
            bad_keys_per_minute,
            trusted_proxies,
            max_streams,
            workers,
        } = server;
        Server {
            listen: self.value("server.listen", listen, loopback(8080), ADDRESS),
            tls: tls.map(|tls| self.tls("server", tls)),
            drain_timeout: self.duration("server.drain_timeout", drain_timeout, 30, 0..=86_400),
            keep_alive: self.duration("server.keep_alive", keep_alive, 120, 1..=86_400),
            head_timeout: self.duration("server.head_timeout", head_timeout, 30, 1..=3600),
            body_timeout: self.duration("server.body_timeout", body_timeout, 30, 1..=3600),
            write_timeout: self.duration("server.write_timeout", write_timeout, 60, 1..=3600),
            max_head: self.size("server.max_head", max_head, 16 << 10, (8 << 10)..=(256 << 10)),
            max_connections: self.number("server.max_connections", max_connections, 10_000, 1..=1_000_000)
                as usize,
            max_connections_per_address: match self.number(
                "server.max_connections_per_address",
                max_connections_per_address,
                0,
                0..=1_000_000,
            ) {
                0 => None,
                limit => Some(limit as usize),
            },
            bad_keys_per_minute: match self.number(
                "server.bad_keys_per_minute",
                bad_keys_per_minute,
                0,
                0..=1_000_000,
            ) {
                0 => None,
                limit => Some(limit),
            },
            trusted_proxies: self.networks("server.trusted_proxies", trusted_proxies),
            max_streams: self.number("server.max_streams", max_streams, 100, 1..=10_000),
            workers: match workers.0 {
                None => cores,
                given => usize::from(self.number("server.workers", Leaf(given), 1, 1..=256)),
            },
        }
    }

    /// TLS of the listener of a section.
    pub(super) fn tls(&mut self, section: &str, tls: file::Tls) -> TlsFiles {
        let key = |name| format!("{section}.tls.{name}");
        TlsFiles {
            cert: self.path(&key("cert"), tls.cert, "name the PEM file with the certificate chain"),
            key: self.path(&key("key"), tls.key, "name the PEM file with the private key"),
        }
    }

    /// Networks, or single addresses.
    fn networks(&mut self, key: &str, leaf: Leaf<Vec<String>>) -> Proxies {
        let remedy = "write networks and addresses, like [\"10.0.0.0/8\", \"192.0.2.7\", \"2001:db8::/32\"]";
        let texts = self.value(key, leaf, Vec::new(), remedy);
        let mut networks = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    self.problems.add(
                        &format!("{key}[{index}]"),
                        format!("{text:?} is not a network"),
                        remedy,
                    );
                }
            }
        }
        Proxies::new(networks)
    }

    pub(super) fn upstream(&mut self, upstream: file::Upstream) -> Upstream {
        let file::Upstream {
            base_url,
            api_key,
            requests_per_minute,
            ca_file,
            proxy,
            connect_timeout,
            first_byte_timeout,
            idle_timeout,
            total_timeout,
            on_disconnect,
            usage_interval,
            keep_alive_idle,
            keep_alive_lifetime,
        } = upstream;
        let base_url = self.base_url(base_url);
        Upstream {
            proxy: self.proxy("upstream.proxy", proxy, base_url.scheme() == Some(&Scheme::HTTP)),
            base_url,
            api_key: self.secret("upstream.api_key", api_key, "MAVERA_API_KEY"),
            requests_per_minute: self.positive("upstream.requests_per_minute", requests_per_minute, 60),
            ca_file: self.path_if_any("upstream.ca_file", ca_file),
            timeouts: Timeouts {
                connect: self.duration("upstream.connect_timeout", connect_timeout, 5, 1..=60),
                first_byte: self.duration("upstream.first_byte_timeout", first_byte_timeout, 120, 1..=3600),
                idle: self.duration("upstream.idle_timeout", idle_timeout, 120, 1..=3600),
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

    pub(super) fn base_url(&mut self, leaf: Leaf<String>) -> Uri {
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

    pub(super) fn credits(&mut self, credits: file::Credits) -> Credits {
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
            price: credits.price.map(|price| self.price("credits.price", price)),
        }
    }

    fn price(&mut self, key: &str, price: file::Price) -> Price {
        let remedy = "write it like { amount = 0.04, currency = \"EUR\" }";
        let amount = self.required(&format!("{key}.amount"), price.amount, remedy).0;
        let is_given = price.currency.0.is_some();
        let currency = self.required(&format!("{key}.currency"), price.currency, remedy);
        let is_code = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
        if is_given && !is_code {
            self.problems.add(
                &format!("{key}.currency"),
                format!("{currency:?} is not three capital letters"),
                remedy,
            );
        }
        Price { amount, currency }
    }

    pub(super) fn queue(&mut self, queue: file::Queue) -> Queue {
        let file::Queue { wait, waiting, reserve } = queue;
        Queue {
            wait: self.duration("queue.wait", wait, 20, 0..=LONGEST_WAIT),
            waiting: self.number("queue.waiting", waiting, 64, 1..=100_000) as usize,
            reserve: self.number("queue.reserve", reserve, 0.1, 0.0..=0.9),
        }
    }

    pub(super) fn retries(&mut self, retries: file::Retries) -> Retries {
        const DAY: u64 = 86_400;
        let file::Retries { keep, bodies, adopt } = retries;
        let file::Bodies { store, keep: kept, max_body, total, pepper } = bodies;
        let keep = self.duration("retries.keep", keep, DAY, 60..=7 * DAY);
        let kept = self.duration("retries.bodies.keep", kept, 600, 0..=7 * DAY);
        if kept > keep {
            let remedy = "keep answers no longer than `retries.keep`";
            self.problems.add("retries.bodies.keep", "no key names an answer for so long", remedy);
        }
        let max_body = self.size("retries.bodies.max_body", max_body, 2 << 20, (1 << 10)..=(64 << 20));
        let total = self.size("retries.bodies.total", total, 256 << 20, (1 << 20)..=(64 << 30));
        if max_body > total {
            let remedy = "raise `retries.bodies.total`";
            self.problems.add("retries.bodies.max_body", "is larger than what may be kept in all", remedy);
        }
        let pepper =
            pepper.map(|pepper| self.secret("retries.bodies.pepper", pepper, "MAVERA_GATEWAY_PEPPER"));
        let store = self.value("retries.bodies.store", store, BodyStore::Memory, "");
        if store == BodyStore::Ledger && pepper.is_none() {
            let remedy = "write pepper = { file = \"PATH\" } beside it: 32 visible characters or more";
            self.problems.add(
                "retries.bodies.pepper",
                "is required for answers in the ledger's file",
                remedy,
            );
        }
        Retries {
            keep,
            bodies: Bodies {
                keep: kept,
                max_body,
                total,
                pepper: pepper.filter(|_| store == BodyStore::Ledger),
            },
            adopt: self.value("retries.adopt", adopt, true, ""),
        }
    }

    pub(super) fn keys(&mut self, keys: file::Keys) -> Keys {
        const DAY: u64 = 86_400;
        let file::Keys { overlap, max_lifetime, revoke_cuts_streams } = keys;
        let max_lifetime = match max_lifetime.0 {
            None => None,
            given => Some(self.duration("keys.max_lifetime", Leaf(given), 0, 60..=3650 * DAY)),
        };
        Keys {
            overlap: self.duration("keys.overlap", overlap, DAY, 0..=30 * DAY),
            max_lifetime,
            revoke_cuts_streams: self.value("keys.revoke_cuts_streams", revoke_cuts_streams, false, ""),
        }
    }

    pub(super) fn notify(&mut self, notify: file::Notify) -> Notify {
        let file::Notify { webhook, secret, format, ca_file, proxy } = notify;
        let secret = match secret.0 {
            None => None,
            given => Some(self.secret("notify.secret", Leaf(given), "MAVERA_GATEWAY_WEBHOOK_SECRET")),
        };
        Notify {
            webhook: self.secret("notify.webhook", webhook, "MAVERA_GATEWAY_WEBHOOK"),
            secret,
            format: self.value("notify.format", format, NotifyFormat::Json, ""),
            ca_file: self.path_if_any("notify.ca_file", ca_file),
            // Whether the webhook is on this machine is known when its URL is read.
            proxy: self.proxy("notify.proxy", proxy, false),
        }
    }

    pub(super) fn tracing(&mut self, tracing: file::Tracing) -> Option<Tracing> {
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
}

pub(super) fn loopback(port: u16) -> std::net::SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, port).into()
}
