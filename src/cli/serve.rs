//! `serve`: the gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::failure::{Failure, count};
use super::limits;
use crate::books::open::Books;
use crate::clock::Clock;
use crate::config::LogLevel;
use crate::gateway::Gateway;
use crate::keyring::watch::refresh;
use crate::ledger::home;
use crate::live::{Live, warn_of_oddities};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::record::Recorder;
use crate::server::systemd::{self, Inherited};
use crate::server::{self, Listeners};
use crate::trace::Tracer;

/// For the ledger, the log, the admin port and the like.
const SPARE_DESCRIPTORS: u64 = 512;

/// For what waits on other threads when all is over.
const LAST_WAIT: Duration = Duration::from_secs(2);

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    // First of all: it changes the environment, which no other thread may be reading.
    let inherited = Inherited::take()?;
    let runtime = server::event_loop()?;
    // Before anything that takes time: as the first process of a container one without them would not end at all.
    let signals = runtime.block_on(async { Signals::new() })?;
    let mut log = None;
    let served = runtime.block_on(run_until_told(config, inherited, signals, &mut log));
    // Something may wait for a file that never comes.
    runtime.shutdown_timeout(LAST_WAIT);
    // Behind the last task, and with it the ledger, whose closing may have had something to say.
    if let Some(log) = log {
        log.flush();
    }
    served
}

async fn run_until_told(
    config: &Path,
    inherited: Inherited,
    mut signals: Signals,
    told: &mut Option<Log>,
) -> Result<(), Failure> {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
    let opening = {
        let (config, metrics) = (config.to_owned(), Arc::clone(&metrics));
        tokio::task::spawn_blocking(move || Opened::open(&config, &metrics, clock))
    };
    // A ledger of another release, or a file that does not come, may take long. What was written is whole at any moment.
    let Opened { live, log, books } = tokio::select! {
        opened = opening => opened.map_err(std::io::Error::other)??,
        () = signals.end.next() => return Ok(()),
    };
    *told = Some(log.clone());
    let settings = live.current().config.tracing.clone();
    let tracer = settings.map(|settings| Tracer::start(&settings, Handle::current()));
    let tracer = tracer.transpose().map_err(Failure::Usage)?;
    let recorder = Recorder::new(clock, Arc::clone(live.calls()), log).with_tracer(tracer);
    let gateway = Gateway::new(metrics, live, Arc::new(recorder), books);
    let served = serve(&gateway, inherited, signals).await;
    gateway.books.desk.finish().await;
    served
}

/// What must be there before anything is served.
struct Opened {
    live: Arc<Live>,
    log: Log,
    books: Books,
}

impl Opened {
    fn open(config: &Path, metrics: &Metrics, clock: Clock) -> Result<Self, Failure> {
        let live = Live::load(config, metrics, clock)?;
        let log = Log::start(std::io::stdout(), metrics)?;
        diagnostics(&log, live.current().config.log_level);
        let books = Books::open(&live.current().config, clock, live.ledger(), metrics);
        if books.is_err() {
            log.flush();
        }
        let books = books?;
        // Before anybody is served: one that was revoked is never let in.
        let settings = live.current().config.ledger.clone();
        refresh(&live, &*home::keys(&settings)?)?;
        Ok(Self { live, log, books })
    }
}

/// Sends what `tracing` has to say to `log`, as JSON lines beside the records.
pub(super) fn diagnostics(log: &Log, level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // Fails only if there is a subscriber already, whose choice it then is.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(level)
        .with_writer(log.clone())
        .try_init();
}

async fn serve(gateway: &Gateway, inherited: Inherited, mut signals: Signals) -> Result<(), Failure> {
    let listeners = Listeners::bind(gateway, inherited)?;
    let snapshot = gateway.live.current();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %listeners.address,
        admin = %listeners.admin_address,
        tls = snapshot.tls.is_some(),
        admin_tls = snapshot.admin_tls.is_some(),
        upstream = %snapshot.config.upstream.base_url,
        teams = snapshot.config.teams.len(),
        "serving"
    );
    if snapshot.config.teams.is_empty() {
        tracing::warn!(
            "no team is configured, so every call will be refused; make a key with `mavera-gateway key new`"
        );
    }
    warn_of_oddities(&snapshot.config, gateway.recorder.clock().wall());
    // A connection of a caller, and one to the upstream for its call.
    let wanted = 2 * snapshot.config.server.max_connections as u64 + SPARE_DESCRIPTORS;
    if let Some(allowed) = limits::raise_descriptors().filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "the system allows fewer descriptors than `server.max_connections` may need; raise the limit of the service, or lower the setting"
        );
    }
    drop(snapshot);
    systemd::ready(&status(&gateway.live));
    let reloads = tokio::spawn(reload_on_hangup(signals.hangup, Arc::clone(&gateway.live)));
    let stop = async {
        signals.end.next().await;
        systemd::stopping();
    };
    let drained = server::run(gateway, listeners, stop, signals.again.next()).await?;
    reloads.abort();
    if let Some(tracer) = gateway.recorder.tracer().cloned() {
        // On another thread: this one drives the connection that the spans leave by.
        let _ = tokio::task::spawn_blocking(move || tracer.shutdown()).await;
    }
    tracing::info!(cut = drained.cut, "stopped");
    Ok(())
}

async fn reload_on_hangup(mut hangup: Signal, live: Arc<Live>) {
    while hangup.recv().await.is_some() {
        systemd::reloading();
        // What is wrong with it has been logged.
        let reloaded = live.reload_aside().await;
        let refused = if reloaded.is_err() { "; the last reload was refused, see the log" } else { "" };
        systemd::ready(&format!("{}{refused}", status(&live)));
    }
}

/// For whoever looks at the service manager.
fn status(live: &Live) -> String {
    format!("serving {}", count(live.current().config.teams.len(), "team"))
}

pub(super) struct Signals {
    hangup: Signal,
    pub(super) end: Ends,
    pub(super) again: Ends,
}

/// SIGTERM or SIGINT, counted from `after`.
pub(super) struct Ends {
    term: Signal,
    int: Signal,
    after: usize,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        let ends = |after| -> std::io::Result<Ends> {
            Ok(Ends { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())?, after })
        };
        Ok(Self { hangup: signal(SignalKind::hangup())?, end: ends(0)?, again: ends(1)? })
    }
}

impl Ends {
    pub(super) async fn next(&mut self) {
        for _ in 0..=self.after {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
            }
        }
    }
}
