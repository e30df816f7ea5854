//! From what the file says to what is valid: one pass over every value, collecting all problems.

mod validator;
mod ledger;
mod sections;
mod routes;
mod names;
mod identities;
mod teams;

use std::path::Path;
use std::sync::LazyLock;

use serde_ignored::Path as Place;

use self::names::CallerIds;
pub use self::names::{is_reserved, is_team_name};
use self::sections::{ADDRESS, loopback};
use self::validator::Validator;
use super::file::{File, LogLevel};
use super::problem::{Collector, Problems};
use super::valid::{Admin, Config};

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
    static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(super::schema::schema);
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

impl Validator<'_, '_> {
    fn config(&mut self, file: File) -> Config {
        let File {
            server,
            admin,
            upstream,
            ledger,
            limits,
            credits,
            queue,
            retries,
            log,
            tracing,
            keys,
            identity,
            team,
        } = file;
        let identities = self.identities(identity, server.tls.is_some());
        let mut ids = CallerIds::default();
        let defaults = self.limits("limits", &limits, None);
        // Where it stands in the file, if it does.
        let second = if admin.listen.0.is_some() { "admin.listen" } else { "server.listen" };
        let config = Config {
            server: self.server(server),
            admin: Admin {
                listen: self.value("admin.listen", admin.listen, loopback(9464), ADDRESS),
                token: admin
                    .token
                    .map(|token| self.secret("admin.token", token, "MAVERA_GATEWAY_ADMIN_TOKEN")),
                keys_token: admin
                    .keys_token
                    .map(|token| self.secret("admin.keys_token", token, "MAVERA_GATEWAY_KEYS_TOKEN")),
                operators: self.operators(admin.operators, &identities, &mut ids),
            },
            upstream: self.upstream(upstream),
            ledger: self.ledger(ledger),
            credits: self.credits(credits),
            queue: self.queue(queue),
            retries: self.retries(retries),
            is_meant_without_teams: team.as_ref().is_some_and(Vec::is_empty),
            keys: self.keys(keys),
            teams: self.teams(team.unwrap_or_default(), defaults, &identities, &mut ids),
            identities,
            log_level: self.value("log.level", log.level, LogLevel::Info, ""),
            tracing: self.tracing(tracing),
        };
        if config.server.listen == config.admin.listen && config.server.listen.port() != 0 {
            self.problems.add(
                second,
                format!("callers and operators would both connect to {}", config.admin.listen),
                "give each listener a port of its own",
            );
        }
        config
    }
}
