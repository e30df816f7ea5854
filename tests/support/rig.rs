//! A whole gateway in the test's own runtime: real stack, real server, in-memory pipes.

use std::future::Future;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mavera_gateway::admin::board::Board;
use mavera_gateway::books::open::{Books, look_back};
use mavera_gateway::books::queue_counts::QueueCounts;
use mavera_gateway::clock::Clock;
use mavera_gateway::config::Durability;
use mavera_gateway::gateway::Gateway;
use mavera_gateway::key::NewKey;
use mavera_gateway::ledger::counts::Counts;
use mavera_gateway::ledger::entry::Entry;
use mavera_gateway::ledger::file::Store;
use mavera_gateway::ledger::{
    Aside, Command, Ledger, LedgerError, NewEnding, NewHold, Note, Receipt, Unavailable,
};
use mavera_gateway::live::Live;
use mavera_gateway::log::Log;
use mavera_gateway::metrics::Metrics;
use mavera_gateway::outbound::connect::Connect;
use mavera_gateway::outbound::origin::Origin;
use mavera_gateway::outbound::pool::Pool;
use mavera_gateway::record::Recorder;
use mavera_gateway::server::connection;
use mavera_gateway::server::door::Door;
use mavera_sim::{DEMO_ANALYSIS, Settings, Simulator};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::DuplexStream;

use super::script::{Received, json_answer, read_request, write};
use super::{CANARY, assert_no_canary};

/// Bytes that a pipe holds: small, so that back-pressure is felt.
pub const PIPE: usize = 4 << 10;

/// Where callers of a rig connect from.
pub const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 4242);

/// The path of the chat that everybody asks about.
pub fn chat_path() -> String {
    format!("/api/v1/video-analyses/{DEMO_ANALYSIS}/chat")
}

type Serve = dyn Fn(DuplexStream, usize) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// Makes connections that are pipes to whatever the test serves as the upstream.
#[derive(Clone)]
pub struct Pipes {
    serve: Arc<Serve>,
    made: Arc<AtomicUsize>,
    refuse: Arc<std::sync::atomic::AtomicBool>,
}

impl Pipes {
    /// To whatever `serve` does with a connection and its number.
    pub fn to<F>(serve: impl Fn(DuplexStream, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve: Arc<Serve> = Arc::new(move |io, number| Box::pin(serve(io, number)));
        Self { serve, made: Arc::default(), refuse: Arc::default() }
    }
}

impl Connect for Pipes {
    type Io = DuplexStream;

    async fn connect(&self, _: &Origin) -> io::Result<DuplexStream> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(PIPE);
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        tokio::spawn((self.serve)(far, number));
        Ok(near)
    }
}

/// Where logs end up.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A ledger that writes on the spot, so that a paused clock does not run ahead of a thread.
#[derive(Debug)]
pub struct Inline(Mutex<Store>, Arc<Counts>);

impl Inline {
    fn write(&self, command: &Command) -> Result<(), LedgerError> {
        let mut store = self.0.lock().unwrap();
        if store.write(&[Entry::from(command)], None)? == [true] {
            self.1.wrote(command);
        }
        Ok(())
    }
}

impl Ledger for Inline {
    fn hold(&self, hold: NewHold) -> Receipt {
        match self.write(&Command::Hold(hold)) {
            Ok(()) => Receipt::Written,
            Err(error) => Receipt::Refused(Unavailable(error.to_string().into())),
        }
    }

    fn end(&self, ending: NewEnding) {
        self.write(&Command::End(ending)).unwrap();
    }

    fn aside(&self, aside: Aside) {
        self.write(&Command::Aside(aside)).unwrap();
    }

    fn note(&self, note: Note) {
        self.write(&note.into()).unwrap();
    }

    fn flush(&self) {}
}

/// A gateway, its upstream, and a team that may call.
pub struct Rig {
    pub gateway: Gateway,
    door: Door,
    board: Board,
    pub pool: Arc<Pool<Pipes>>,
    pub pipes: Pipes,
    pub key: String,
    log: Log,
    sink: Sink,
    folder: tempfile::TempDir,
    key_line: String,
}

/// What a rig's configuration says beyond the least.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Lines of `[server]`.
    pub server: String,
    /// Lines of `[upstream]`.
    pub upstream: String,
    /// Lines of `[credits]`.
    pub credits: String,
    /// Lines of `[queue]`.
    pub queue: String,
    /// Lines of `[retries]`.
    pub retries: String,
    /// Tables in front of the teams'.
    pub tables: String,
    /// Lines of the `[[team]]`.
    pub team: String,
    /// Other teams, with lines of each.
    pub others: Vec<(&'static str, String)>,
}

impl Default for Setup {
    /// Limits far out of the way.
    fn default() -> Self {
        Self {
            server: String::new(),
            credits: String::new(),
            queue: String::new(),
            retries: String::new(),
            tables: String::new(),
            others: Vec::new(),
            upstream: "requests_per_minute = 100000000".into(),
            team: "requests_per_minute = 100000000\nburst = 1000000\nconcurrency = 1000000".into(),
        }
    }
}

impl Rig {
    /// A gateway in front of a simulator.
    pub fn with_simulator(setup: &Setup) -> (Self, Simulator) {
        let clock = clock();
        let settings =
            Settings { requests_per_minute: 100_000_000, credits: 100_000_000, ..Settings::with_key(CANARY) };
        Self::with_simulator_of(setup, settings, clock)
    }

    pub fn with_simulator_of(setup: &Setup, settings: Settings, clock: Clock) -> (Self, Simulator) {
        let simulator = Simulator::new(settings, move || clock.wall());
        let served = simulator.clone();
        let rig = Self::new(setup, clock, move |io, _| {
            let simulator = served.clone();
            async move { simulator.serve_connection(io).await }
        });
        (rig, simulator)
    }

    /// A rig whose upstream notes what it receives, and answers so many requests of each connection before it closes.
    pub fn recording(setup: &Setup, answers: usize) -> (Self, Received) {
        let received = Received::default();
        let log = received.clone();
        let rig = Self::with_upstream(setup, move |mut io, _| {
            let log = log.clone();
            async move {
                let mut left = answers;
                while let Some(request) = read_request(&mut io).await {
                    log.push(request);
                    if left > 0 {
                        write(&mut io, json_answer("{\"usage\":{\"credits_used\":1}}")).await;
                    }
                    left = left.saturating_sub(1);
                    if left == 0 {
                        return;
                    }
                }
            }
        });
        (rig, received)
    }

    /// A gateway in front of whatever `serve` does with a connection and its number.
    pub fn with_upstream<F>(
        setup: &Setup,
        serve: impl Fn(DuplexStream, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::new(setup, clock(), serve)
    }

    fn new<F>(
        setup: &Setup,
        clock: Clock,
        serve: impl Fn(DuplexStream, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), CANARY).unwrap();
        let key = NewKey::generate().unwrap();
        let key_line = format!("{{ id = \"{}\", sha256 = \"{}\" }}", key.id, key.sha256);
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, config(folder.path(), &key_line, setup)).unwrap();
        let metrics = Arc::new(Metrics::new());
        let live = Live::load(&path, &metrics, clock).unwrap_or_else(|problems| panic!("{problems}"));
        let sink = Sink::default();
        let log = Log::start(sink.clone(), &metrics).unwrap();
        let config = &live.current().config;
        let mut store = Store::open(&config.ledger.file().unwrap().path, Durability::Os).unwrap();
        let opening = store.begin(look_back(config, clock)).unwrap();
        let ledger = Arc::new(Inline(Mutex::new(store), Arc::clone(live.ledger())));
        let books = Books::over(config, clock, live.ledger(), QueueCounts::new(&metrics), ledger, opening);
        let recorder = Arc::new(Recorder::new(clock, Arc::clone(live.calls()), log.clone()));
        let gateway = Gateway::new(metrics, Arc::clone(&live), recorder, books);
        let (board, door) = (Board::new(&gateway), Door::new(&gateway));
        let pipes = Pipes::to(serve);
        let pool = gateway.pool(pipes.clone());
        Self { gateway, door, board, pool, pipes, key: key.text.to_string(), log, sink, folder, key_line }
    }

    /// Writes another configuration, and loads it.
    pub fn reconfigure(&self, setup: &Setup) {
        std::fs::write(self.config_path(), config(self.folder.path(), &self.key_line, setup)).unwrap();
        self.gateway.live.reload().unwrap_or_else(|problems| panic!("{problems}"));
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Connections made to the upstream so far.
    pub fn connections_made(&self) -> usize {
        self.pipes.made.load(Ordering::Relaxed)
    }

    /// From now on no connection can be made.
    pub fn refuse_connections(&self) {
        self.pipes.refuse.store(true, Ordering::Relaxed);
    }

    /// Connections can be made again.
    pub fn accept_connections(&self) {
        self.pipes.refuse.store(false, Ordering::Relaxed);
    }

    /// A connection of a caller, in bytes.
    pub fn raw(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE);
        let stack = self.gateway.stack(&self.pool);
        let (door, cut) = (self.door.clone(), self.gateway.shutdown.cut.clone());
        self.gateway.shutdown.tasks.spawn(async move {
            let serve = connection::serve(far, PEER, stack, &door);
            cut.run_until_cancelled(serve).await;
        });
        near
    }

    /// A connection of a caller.
    pub async fn connect(&self) -> http1::SendRequest<Full<Bytes>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.raw())).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// A chat request of the team.
    pub fn chat(&self, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        self.request(Method::POST, &chat_path(), body)
    }

    /// A chat request of another team.
    pub fn chat_of(&self, team: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let mut request = self.chat(body);
        let key = format!("Bearer {}", key_of(team).0).parse().unwrap();
        request.headers_mut().insert("authorization", key);
        request
    }

    pub fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "gateway")
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .unwrap()
    }

    /// Sends a request on a connection of its own, and reads the answer as far as it comes.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.connect().await.send_request(request).await.expect("an answer");
        Answer::read(response).await
    }

    /// Waits, in the runtime's own time, until no call is in flight.
    pub async fn settle(&self) {
        let mut pause = Duration::from_millis(1);
        for _ in 0..10_000 {
            if self.gauge("requests_in_flight") + self.gauge("exchanges_draining") == 0.0 {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        panic!("calls never ended:\n{}", self.metrics());
    }

    /// The records written so far, in order.
    pub fn records(&self) -> Vec<Value> {
        self.log.flush();
        let text = self.sink.0.lock().unwrap();
        let lines = text.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("a log line is JSON")).collect()
    }

    /// The one record there is.
    pub async fn record(&self) -> Value {
        self.settle().await;
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:#?}");
        records.into_iter().next().unwrap()
    }

    /// The budgets in force, for the checker: the organisation's, and the team's.
    fn budgets(&self) -> super::checker::Budgets {
        let snapshot = self.gateway.live.current();
        let millionths =
            |budget: &mavera_gateway::credits::budget::Budget| budget.credits.millionths().cast_signed();
        super::checker::Budgets {
            organisation: snapshot.config.credits.budget.as_ref().map(millionths),
            teams: snapshot
                .config
                .teams
                .iter()
                .filter_map(|team| Some((team.name.clone(), millionths(team.budget.as_ref()?))))
                .collect(),
        }
    }

    /// The metrics as scraped.
    pub fn metrics(&self) -> String {
        String::from_utf8(self.board.scrape().1).unwrap()
    }

    /// A series without labels.
    pub fn gauge(&self, name: &str) -> f64 {
        sample(&self.metrics(), &format!("mavera_gateway_{name}"))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let ledger = self.folder.path().join("ledger.db");
            super::checker::check(&ledger, &self.budgets());
            for file in [ledger.clone(), ledger.with_extension("db-wal")] {
                assert_no_canary("the ledger", &std::fs::read(file).unwrap_or_default());
            }
            self.log.flush();
            assert_no_canary("the log", &self.sink.0.lock().unwrap());
            assert_no_canary("the metrics", self.metrics().as_bytes());
            assert_no_canary("the debug output", format!("{:?}", self.gateway).as_bytes());
        }
    }
}

fn clock() -> Clock {
    Clock::starting_at("2030-01-15T12:00:00Z".parse().unwrap())
}

/// The key of another team, the same in every rig, and its public id.
fn key_of(team: &str) -> (String, String) {
    let id = format!("{team:x<8}");
    (format!("mvgw_{id}_plainly-fake-{team:x<40}"), id)
}

fn config(folder: &std::path::Path, key_line: &str, setup: &Setup) -> String {
    let Setup { server, upstream, credits, queue, retries, tables, team, others } = setup;
    let others = others.iter().fold(String::new(), |text, (name, lines)| {
        let (key, id) = key_of(name);
        let sha256 = hex::encode(Sha256::digest(&key));
        text + &format!(
            "[[team]]\nname = \"{name}\"\nkeys = [{{ id = \"{id}\", sha256 = \"{sha256}\" }}]\n{lines}\n"
        )
    });
    format!(
        "[server]\n{server}\n\n[upstream]\nbase_url = \"http://127.0.0.1:1/api/v1\"\napi_key = {{ file = '{}' }}\n{upstream}\n\n\
         [ledger]\npath = '{}'\n\n[credits]\n{credits}\n\n[queue]\n{queue}\n\n[retries]\n{retries}\n\n{tables}\n\n\
         [[team]]\nname = \"growth\"\nkeys = [{key_line}]\n{team}\n{others}\n",
        folder.join("key").display(),
        folder.join("ledger.db").display()
    )
}

/// The value of one series in a scrape.
pub fn sample(metrics: &str, series: &str) -> f64 {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
        .unwrap_or_else(|| panic!("{series} is not in\n{metrics}"))
}

/// An answer, read as far as it came.
#[derive(Debug)]
pub struct Answer {
    pub head: http::response::Parts,
    pub body: Bytes,
    /// It ended as HTTP wants.
    pub whole: bool,
}

impl Answer {
    pub async fn read(response: Response<Incoming>) -> Self {
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        let mut whole = true;
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Err(_) => whole = false,
            }
        }
        assert_no_canary("an answer's body", &body);
        assert_no_canary("an answer's head", format!("{head:?}").as_bytes());
        Self { head, body: body.into(), whole }
    }

    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a refusal, which stands in the body and the head alike.
    pub fn code(&self) -> String {
        let code = self.json()["error"]["code"].as_str().unwrap().to_owned();
        assert_eq!(self.header("x-gateway-error"), code);
        code
    }
}
