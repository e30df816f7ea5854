//! The server around the stack: listeners, workers, and how it all stops.
//!
//! Each worker is a thread with an event loop, a listener and a pool of upstream connections of its
//! own: a call begins and ends on one core. [`run`] is what `serve` and `demo` have in common.

pub mod io;
mod caller;
pub mod caller_body;
mod farewell;
mod forwarded;
mod prefixed;
mod proxy;
pub mod door;
mod bounds;
mod ready;
mod http1;
mod http2;
pub mod connection;
pub mod listen;
mod operators;
pub mod systemd;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::gateway::Gateway;
use crate::outbound::connect::{Connect, Tcp};
use crate::outbound::pool::Pool;

use self::door::Door;
use self::systemd::Inherited;
use crate::admin::Desk;
use crate::admin::board::Board;
use crate::live::Live;
use crate::shutdown::Signal;
use crate::{identity, jobs, keyring, notify, usage};

/// How long after the drain has begun a request on an open connection is still served. Whoever has just written one
/// cannot know; it is told with the answer that the connection closes.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// How long what was told to end at once is waited for.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How often idle upstream connections are looked over.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// Listeners that are bound, so that a port in use is found before anything else happens.
#[derive(Debug)]
pub struct Listeners {
    /// Where callers connect.
    pub address: SocketAddr,
    /// Where operators connect.
    pub admin_address: SocketAddr,
    callers: Vec<TcpListener>,
    admin: TcpListener,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address}, from `{key}`: {error}")]
    Bind {
        /// The key that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// A worker could not be started.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] std::io::Error),
}

impl Listeners {
    /// Takes the sockets that were handed over, and binds what the configuration names for the rest.
    ///
    /// # Errors
    /// The address that cannot be bound, and why.
    pub fn bind(gateway: &Gateway, inherited: Inherited) -> Result<Self, StartError> {
        let snapshot = gateway.live.current();
        let (server, admin) = (&snapshot.config.server, &snapshot.config.admin);
        let failed = |key, address| move |error| StartError::Bind { key, address, error };
        let (address, callers) = match inherited.callers {
            Some(listener) => listen::share(listener, server.workers),
            None => listen::bind_all(server.listen, server.workers),
        }
        .map_err(failed("server.listen", server.listen))?;
        let listener = match inherited.admin {
            Some(listener) => Ok(listener),
            None => TcpListener::bind(admin.listen),
        }
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(failed("admin.listen", admin.listen))?;
        Ok(Self { address, admin_address: listener.local_addr()?, callers, admin: listener })
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Calls that were cut because the grace was over, or because a second signal said so.
    pub cut: usize,
}

/// Serves until `stop` resolves, then drains: not ready, no new calls, calls in flight to their end
/// within the grace. `hurry` resolving meanwhile ends the grace at once.
///
/// # Errors
/// When a worker cannot be started.
pub async fn run(
    gateway: &Gateway,
    listeners: Listeners,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> Result<Drained, StartError> {
    let stopped = Signal::default();
    let door = Door::new(gateway);
    let mut workers = Vec::new();
    for (index, listener) in listeners.callers.into_iter().enumerate() {
        workers.push(worker(index, listener, gateway.clone(), door.clone(), stopped.clone())?);
    }
    let admin = tokio::net::TcpListener::from_std(listeners.admin)?;
    let desk = Desk::new(Board::new(gateway));
    let admin = tokio::spawn(operators::serve(
        admin,
        Arc::clone(&gateway.live),
        desk,
        gateway.recorder.clock(),
        stopped.clone(),
    ));
    let live = Arc::clone(&gateway.live);
    let watch = tokio::spawn(async move { live.watch().await });
    let bill = tokio::spawn(usage::watch(
        Tcp,
        Arc::clone(&gateway.live),
        gateway.books.reads.clone(),
        Arc::clone(&gateway.bill),
        Arc::clone(&gateway.books.desk),
    ));
    let (live, desk_of_jobs) = (Arc::clone(&gateway.live), Arc::clone(&gateway.books.desk));
    let jobs = tokio::spawn(jobs::watch(Tcp, live, desk_of_jobs));
    let (books, clock) = (gateway.books.clone(), gateway.recorder.clock());
    let live = Arc::clone(&gateway.live);
    let key_sets =
        tokio::spawn(identity::fetch::watch(Tcp, clock, move || Arc::clone(&live.current().identities)));
    let grants = tokio::spawn(async move { books.watch_entries(clock).await });
    let (live, settings) = (Arc::clone(&gateway.live), gateway.live.current().config.ledger.clone());
    let counts = keyring::watch::Counts::new(&gateway.metrics);
    let keys = tokio::spawn(keyring::watch::watch(live, settings, clock, counts));
    let (recorder, desk) = (Arc::clone(&gateway.recorder), Arc::clone(&gateway.books.desk));
    let asks = tokio::spawn(recorder.watch_asks(desk));
    let (live, books, latest) = (Arc::clone(&gateway.live), gateway.books.clone(), Arc::clone(&gateway.bill));
    let notify = tokio::spawn(notify::watch(Tcp, live, books, latest, (Arc::clone(&gateway.metrics), clock)));
    let retries = Arc::clone(&gateway.retries);
    let retries = tokio::spawn(async move { retries.watch().await });

    stop.await;
    let drained = drain(gateway, hurry).await;
    for task in [watch, key_sets, keys, grants, asks, notify, retries, bill, jobs] {
        task.abort();
    }
    gateway.recorder.write_asks(&gateway.books.desk);
    stopped.cancel();
    let _ = admin.await;
    for worker in workers {
        // A worker that panicked has said so; its calls have ended with it. One that hangs in a write is left behind.
        let joined = tokio::task::spawn_blocking(move || worker.join());
        if tokio::time::timeout(LAST_WAIT, joined).await.is_err() {
            tracing::error!("a worker does not end, and is left behind");
        }
    }
    Ok(drained)
}

/// Waits for the calls in flight, and cuts what is left when the grace is over.
async fn drain(gateway: &Gateway, hurry: impl Future<Output = ()>) -> Drained {
    let grace = gateway.live.current().config.server.drain_timeout;
    let (shutdown, recorder) = (&gateway.shutdown, &gateway.recorder);
    shutdown.draining.cancel();
    // Another instance can serve those that wait; here they would only keep the others from ending.
    gateway.books.desk.close();
    shutdown.tasks.close();
    tracing::info!(?grace, in_flight = recorder.counts().in_flight(), "draining");
    let closing = async {
        tokio::time::sleep(LAST_REQUEST.min(grace)).await;
        shutdown.closing.cancel();
        shutdown.tasks.wait().await;
    };
    let in_time = tokio::select! {
        biased;
        () = closing => true,
        () = tokio::time::sleep(grace) => false,
        () = hurry => false,
    };
    shutdown.closing.cancel();
    let mut cut = 0;
    if !in_time {
        cut = usize::try_from(recorder.counts().in_flight()).unwrap_or(0);
        recorder.cut_from_now_on();
        shutdown.cut.cancel();
        // They end at once, but for those of a worker that hangs in a write.
        let _ = tokio::time::timeout(LAST_WAIT, shutdown.tasks.wait()).await;
    }
    if cut == 0 {
        tracing::info!("drained: every call has ended");
    } else {
        tracing::warn!(calls = cut, "drained: calls were cut; their records have the outcome `cut`");
    }
    Drained { cut }
}

/// Starts one worker: a thread, an event loop, a listener, a pool.
fn worker(
    index: usize,
    listener: TcpListener,
    gateway: Gateway,
    door: Door,
    stopped: Signal,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = event_loop()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        runtime.block_on(async {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "a worker cannot use its listener"),
            };
            let pool = gateway.pool(Tcp);
            let reaper = tokio::spawn(reap(Arc::clone(&pool), Arc::clone(&gateway.live)));
            listen::accept(listener, gateway.stack(&pool), door).await;
            // Connections and drains of this worker go on until the last call has ended.
            stopped.cancelled().await;
            reaper.abort();
        });
    })
}

async fn reap<C: Connect>(pool: Arc<Pool<C>>, live: Arc<Live>) {
    loop {
        tokio::time::sleep(REAP_EVERY).await;
        let snapshot = live.current();
        pool.reap(&snapshot.origin, &snapshot.config.upstream);
    }
}

/// The event loop of one thread.
///
/// # Errors
/// When the system has no descriptors for it.
pub fn event_loop() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
