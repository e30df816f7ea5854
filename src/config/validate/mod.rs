//! From what the file says to what is valid: one pass over every value, collecting all problems.

mod shape;
mod validator;
mod ledger;
mod proxy;
mod sections;
mod routes;
mod names;
mod identities;
mod teams;

use std::path::Path;

use serde::Deserialize;

use self::names::CallerIds;
pub use self::names::{is_reserved, is_team_name};
use self::sections::{ADDRESS, loopback};
use self::validator::Validator;
use super::file::{File, LogLevel};
use super::problem::{Collector, Problems};
use super::valid::{Admin, Config};

/// What was read of a file, with all that is wrong with it: what it names is looked at before that is told.
pub(crate) struct Parsed<'t> {
    /// Valid where nothing is wrong. What is wrong is at its default.
    pub(crate) config: Config,
    /// What is wrong.
    pub(crate) problems: Collector<'t>,
}

/// Reads a configuration from the text of `path`. Relative paths in it are relative to the folder of that file, wherever the
/// gateway is started; of a text that is read from a pipe, to the working directory.
///
/// # Errors
/// Every problem found, each with line and remedy.
pub fn parse(path: &Path, text: &str) -> Result<Config, Problems> {
    let Parsed { config, problems } = read(path, text)?;
    problems.finish().map(|()| config)
}

/// As [`parse`], for whoever goes on to what the file names.
///
/// # Errors
/// What keeps the text from being TOML.
pub(crate) fn read<'t>(path: &'t Path, text: &'t str) -> Result<Parsed<'t>, Problems> {
    let mut problems = Collector::new(path, text);
    if !problems.is_empty() {
        return Err(problems.finish().expect_err("a collector that is not empty ends in problems"));
    }
    let mut document = problems.document();
    shape::hold_against_schema(document.get_mut(), &mut problems);
    let file = File::deserialize(toml::Deserializer::from(document)).unwrap_or_else(|error| {
        problems.add_serde(&error);
        File::default()
    });
    let config = Validator { problems: &mut problems, folder: folder_of(path) }.config(file);
    Ok(Parsed { config, problems })
}

/// The folder that relative paths are looked for in.
fn folder_of(file: &Path) -> &Path {
    let is_pipe = ["/dev", "/proc"].iter().any(|folder| file.starts_with(folder));
    file.parent().filter(|_| !is_pipe).unwrap_or(Path::new(""))
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
            notify,
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
                tls: admin.tls.map(|tls| self.tls("admin", tls)),
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
            notify: notify.map(|notify| self.notify(notify)),
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
