//! `[ledger]`.

use super::super::file::{self, Durability};
use super::super::ledger::{Ledger, LedgerFile, Postgres};
use super::validator::Validator;

const SCHEMA: &str = "write a name of small letters, digits and \"_\", like \"mavera\"";

impl Validator<'_, '_> {
    pub(super) fn ledger(&mut self, ledger: file::Ledger) -> Ledger {
        let file::Ledger { path, durability, postgres } = ledger;
        let Some(postgres) = postgres else {
            return Ledger::File(LedgerFile {
                path: self.path_or("ledger.path", path, "data/ledger.db"),
                durability: self.value("ledger.durability", durability, Durability::Fsync, ""),
            });
        };
        let beside = [("ledger.path", path.0.is_some()), ("ledger.durability", durability.0.is_some())];
        for (key, _) in beside.into_iter().filter(|(_, is_there)| *is_there) {
            let message = "is of a ledger in a file, and this one is in PostgreSQL";
            self.problems.add(key, message, "take it out, or take [ledger.postgres] out");
        }
        let file::Postgres { url, ca_file, schema, lease, journal } = postgres;
        let ca_file = self.path_if_any("ledger.postgres.ca_file", ca_file);
        let schema = self.value("ledger.postgres.schema", schema, "mavera".to_owned(), SCHEMA);
        let is_name = schema.len() <= 63
            && schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && !schema.starts_with("pg_")
            && schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_name {
            self.problems.add("ledger.postgres.schema", "is no name of a schema", SCHEMA);
        }
        Ledger::Postgres(Postgres {
            url: self.secret("ledger.postgres.url", url, "MAVERA_GATEWAY_LEDGER_URL"),
            ca_file,
            schema,
            lease: self.duration("ledger.postgres.lease", lease, 15, 10..=300),
            journal: self.path_or("ledger.postgres.journal", journal, "data/outbox"),
        })
    }
}
