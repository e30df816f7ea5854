//! Several gateways on one ledger in PostgreSQL: the real server, and desks or whole processes beside each other.

mod balanced;
mod chaos;
mod clocks;
mod desks;
mod failover;
mod operators;
pub mod fleet;
mod processes;
mod secured;

use std::path::Path;
use std::sync::Arc;

use mavera_gateway::books::keeper::Keeper;
use mavera_gateway::books::open::Books;
use mavera_gateway::clock::Clock;
use mavera_gateway::config::{self, Config, Durability, parse};
use mavera_gateway::ledger::counts::Counts;
use mavera_gateway::ledger::file::Store;
use mavera_gateway::ledger::postgres;
use mavera_gateway::metrics::Metrics;

use crate::support::postgres::Postgres;

/// The configuration of a gateway on this server, its own files in a folder.
fn config(server: &Postgres, folder: &Path) -> Config {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("url"), server.url()).unwrap();
    let text = format!(
        "[upstream]\nbase_url = \"http://127.0.0.1:1/api/v1\"\nrequests_per_minute = 1000000\n\
         [ledger.postgres]\nurl = {{ file = '{}' }}\njournal = '{}'\nlease = \"10s\"\n",
        folder.join("url").display(),
        folder.join("outbox").display(),
    );
    parse(&folder.join("gateway.toml"), &text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn settings(config: &Config) -> &config::Postgres {
    let config::Ledger::Postgres(settings) = &config.ledger else { panic!("it is in PostgreSQL") };
    settings
}

/// The books of one of several gateways in this process.
async fn books(config: Config) -> Books {
    let opened = tokio::task::spawn_blocking(move || {
        let metrics = Metrics::new();
        let counts = Arc::new(Counts::new(&metrics));
        Books::open(&config, Clock::system(), &counts, &metrics).unwrap()
    });
    opened.await.unwrap()
}

/// Desks of several gateways on one ledger.
async fn desks(server: &Postgres, folder: &Path, count: usize) -> Vec<Arc<Keeper>> {
    tokio::task::block_in_place(|| postgres::migrate(settings(&config(server, folder))).unwrap());
    let mut desks = Vec::new();
    for n in 0..count {
        desks.push(books(config(server, &folder.join(n.to_string()))).await.desk);
    }
    desks
}

/// A file's ledger with a million bookings, of four teams on a hundred days.
fn million(path: &Path) {
    drop(Store::open(path, Durability::Os).unwrap());
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA synchronous = OFF; BEGIN;
             INSERT INTO names (name) VALUES ('growth'), ('search'), ('research'), ('ops'), ('k7f3a9c2'), ('video_chat'),
               ('completed'), ('cut'), ('truncated');
             CREATE TEMP TABLE the AS SELECT k.id AS key, r.id AS route, o.id AS completed, c.id AS cut, w.id AS truncated
               FROM names k, names r, names o, names c, names w
               WHERE k.name = 'k7f3a9c2' AND r.name = 'video_chat' AND o.name = 'completed' AND c.name = 'cut'
                 AND w.name = 'truncated';
             CREATE TEMP TABLE team AS SELECT row_number() OVER () - 1 AS n, id FROM names
               WHERE name IN ('growth', 'search', 'research', 'ops');
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
             INSERT INTO bookings (call, hold_seq, held_at, day, team, key, member, route, request_id, reserve, replica, end_seq,
                                   ended_at, kind, credits, reason, outcome, input_tokens, output_tokens, sent_at)
               SELECT i, 2 * i - 1, 1767225600000000 + i * 8640000, 20454 + i / 10001, team.id, key, 0, route,
                      printf('0197f3a0-0000-7000-8000-%012d', i), 5000000, 0, 2 * i, 1767225600000000 + i * 8640000 + 1,
                      iif(i % 100 = 0, 2, 1), iif(i % 100 = 0, 5000000, 3000000 + i % 7), iif(i % 100 = 0, truncated, NULL),
                      iif(i % 100 = 0, cut, completed), i % 900, i % 300, 1767225600000000 + i * 8640000
               FROM n, the, team WHERE team.n = i % 4;
             INSERT INTO day_sums (day, team, key, member, route, outcome, calls, final, estimated, input_tokens, output_tokens)
               SELECT day, team, key, 0, route, outcome, count(*), sum(iif(kind = 1, credits, 0)), sum(iif(kind = 2, credits, 0)),
                      sum(input_tokens), sum(output_tokens) FROM bookings GROUP BY day, team, key, route, outcome;
             UPDATE progress SET last_seq = 2000000;
             COMMIT;",
        )
        .unwrap();
}
