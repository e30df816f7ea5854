//! Desks that are asked for holds, without what stands around them.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mavera_gateway::books::admission::Asked;
use mavera_gateway::books::hold::Closing;
use mavera_gateway::books::job::Told;
use mavera_gateway::books::keeper::Keeper;
use mavera_gateway::books::open::Books;
use mavera_gateway::clock::Clock;
use mavera_gateway::config::{Config, Ledger, parse};
use mavera_gateway::credits::Credits;
use mavera_gateway::credits::budget::{Budget, Budgets, Whose};
use mavera_gateway::credits::period::Period;
use mavera_gateway::desk::{Ask, Patience};
use mavera_gateway::ledger::counts::Counts;
use mavera_gateway::ledger::{Basis, Ending, postgres};
use mavera_gateway::meter::Usage;
use mavera_gateway::metrics::Metrics;
use mavera_gateway::route::Route;

use super::database::Database;

/// Where a ledger is, and who writes it.
#[derive(Clone, Copy)]
pub enum Kind {
    /// In a file of one gateway's, this durable.
    File(&'static str),
    /// In PostgreSQL, of so many gateways.
    Shared(usize),
}

/// A ledger, and the gateways that write it.
pub struct Home {
    pub name: String,
    desks: Vec<Arc<Keeper>>,
}

/// What came of a measurement.
pub struct Measured {
    pub calls: f64,
    pub seconds: f64,
    pub waits: Vec<Duration>,
}

fn config(ledger: &str) -> Result<Config, String> {
    let text = format!("[upstream]\nrequests_per_minute = 100000000\n[queue]\nwait = \"0s\"\n{ledger}");
    parse(Path::new("bench.toml"), &text).map_err(|problems| problems.to_string())
}

async fn open(config: Config) -> Result<Arc<Keeper>, String> {
    let opened = tokio::task::spawn_blocking(move || {
        let metrics = Metrics::new();
        let counts = Arc::new(Counts::new(&metrics));
        Books::open(&config, Clock::system(), &counts, &metrics).map_err(|error| error.to_string())
    });
    Ok(opened.await.map_err(|error| error.to_string())??.desk)
}

impl Home {
    pub async fn open(kind: Kind, folder: &Path, database: &Database) -> Result<Arc<Self>, String> {
        let (name, ledgers) = match kind {
            Kind::File(durability) => {
                let path = folder.join(format!("{durability}.db"));
                let ledger =
                    format!("[ledger]\npath = '{}'\ndurability = \"{durability}\"\n", path.display());
                (format!("A file, {durability}"), vec![ledger])
            }
            Kind::Shared(gateways) => {
                let url = folder.join("url");
                fs::write(&url, database.url()).map_err(|error| error.to_string())?;
                let ledger = |n| {
                    let outbox = folder.join(format!("outbox-{n}"));
                    let (url, outbox) = (url.display(), outbox.display());
                    format!("[ledger.postgres]\nurl = {{ file = '{url}' }}\njournal = '{outbox}'\n")
                };
                (format!("PostgreSQL, gateways: {gateways}"), (0..gateways).map(ledger).collect())
            }
        };
        let mut desks = Vec::new();
        for ledger in ledgers {
            let config = config(&ledger)?;
            if let Ledger::Postgres(settings) = &config.ledger {
                tokio::task::block_in_place(|| postgres::migrate(settings))
                    .map_err(|error| error.to_string())?;
            }
            desks.push(open(config).await?);
        }
        Ok(Arc::new(Self { name, desks }))
    }

    /// Writes what is left, and goes.
    pub async fn close(&self) {
        for desk in &self.desks {
            desk.finish().await;
        }
    }

    /// Holds credits at one of the desks, and settles them. Returns how long the hold took; nothing where the ledger does not keep
    /// up, as a file's that is written to far faster than any upstream answers.
    async fn call(&self, n: usize) -> Option<Duration> {
        let budget = |credits| Budget { credits: Credits::whole(credits), period: Period::Month };
        let route = Route::explained();
        let ask = Ask {
            owner: 0,
            team: "bench".into(),
            weight: NonZeroU32::MIN,
            key_id: "k7f3a9c2".into(),
            route: route.index(),
            costs: true,
            reserve: Credits::whole(5),
            budgets: Budgets(
                [
                    (Whose::Organisation, budget(900_000_000)),
                    (Whose::Team("bench".into()), budget(800_000_000)),
                ]
                .into(),
            ),
            cap: None,
            patience: Patience {
                turn: Duration::from_secs(20),
                credits: Duration::ZERO,
                most: Duration::MAX,
            },
        };
        let desk = &self.desks[n % self.desks.len()];
        let began = Clock::system();
        let asked =
            Asked { ask, request_id: "0197f3a0-0000-7000-8000-000000000000", retry: None, limits: None };
        let Ok(admission) = desk.admit(asked, None).await else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            return None;
        };
        let took = began.since_origin();
        admission.hold.expect("it costs").end(Closing {
            ending: Ending::Settled { credits: Credits::whole(1), basis: Basis::Final, reason: "" },
            outcome: "completed",
            response_id: None,
            usage: Usage::default(),
            at: began.wall(),
            sent_at: None,
            copies: 0,
            job: Told::default(),
        });
        Some(took)
    }
}

/// As many calls at the same time, again and again.
pub async fn held_at_once(home: &Arc<Home>, at_once: usize, time: Duration) -> Measured {
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clock = Clock::system();
    let callers: Vec<_> = (0..at_once)
        .map(|n| {
            let (home, stop, calls) = (Arc::clone(home), Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let held = home.call(n).await.is_some();
                    calls.fetch_add(u32::from(held), Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("a caller comes to its end");
    }
    let seconds = clock.since_origin().as_secs_f64();
    Measured { calls: f64::from(calls.load(Ordering::Relaxed)), seconds, waits: Vec::new() }
}

/// So many calls a second, evenly.
pub async fn at_rate(home: &Arc<Home>, rate: u32, time: Duration) -> Measured {
    let clock = Clock::system();
    let mut beats = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut calls = Vec::new();
    while clock.since_origin() < time {
        beats.tick().await;
        let (home, n) = (Arc::clone(home), calls.len());
        calls.push(tokio::spawn(async move { home.call(n).await }));
    }
    let seconds = clock.since_origin().as_secs_f64();
    let mut waits = Vec::new();
    for call in calls {
        waits.extend(call.await.expect("a call comes to its end"));
    }
    let count = u32::try_from(waits.len()).unwrap_or(u32::MAX);
    Measured { calls: f64::from(count), seconds, waits }
}
