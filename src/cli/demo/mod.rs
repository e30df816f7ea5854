//! `demo`: a simulated Mavera and a gateway in front of it, on loopback, needing nothing.

mod teams;
mod history;
mod traffic;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;

use self::history::Spent;
use self::teams::{BUDGETS, TEAMS};
use self::traffic::{crowd, talk};
use super::failure::{Failure, say};
use super::serve;
use crate::books::open::Books;
use crate::clock::Clock;
use crate::config::LogLevel;
use crate::gateway::Gateway;
use crate::key::NewKey;
use crate::ledger::LedgerError;
use crate::live::Live;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::outbound::origin::Origin;
use crate::record::Recorder;
use crate::server::systemd::Inherited;
use crate::server::{self, Listeners, event_loop};
use mavera_sim::quirks::JobPrice;
use mavera_sim::{DEMO_ANALYSIS, Settings, Simulator};

/// The plan of the demo's organisation: one that its teams fill now and then.
const PER_MINUTE: u32 = 120;
/// The team that sends many calls at once.
const CROWD: usize = 1;
const SIM_KEY: &str = "mvra_live_simulated_key_not_a_secret_000000";

#[derive(Debug, clap::Args)]
pub(super) struct DemoArguments {
    /// Let the teams talk at different rates, so that page and metrics move: with a queue now and then, retries, an analysis, a
    /// team whose budget is used up, and answers that break off.
    #[arg(long)]
    traffic: bool,
    /// Where callers connect; port 0 for any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where operators connect; port 0 for any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin_listen: SocketAddr,
}

pub(super) fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    event_loop()?.block_on(async {
        let folder = Folder::new()?;
        let clock = Clock::system();
        let spent = folder.begin(clock.wall())?;
        let upstream = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let mut settings = Settings::with_key(SIM_KEY);
        settings.quirks.pace = Duration::from_millis(40);
        // As many words as make a whole sentence of its answer.
        settings.quirks.events = 18;
        settings.quirks.job_price = JobPrice::Get;
        settings.requests_per_minute = usize::try_from(PER_MINUTE).unwrap_or(usize::MAX);
        settings.credits = 50_000;
        settings.spent = spent.iter().sum();
        settings.analysis_time = Duration::from_secs(30);
        let simulated = tokio::spawn({
            let (simulator, address) =
                (Simulator::new(settings, move || clock.wall()), upstream.local_addr()?);
            tracing::debug!(%address, "simulator");
            let listener = upstream;
            folder.write(arguments, address, &spent)?;
            mavera_sim::serve(listener, simulator)
        });

        let metrics = Arc::new(Metrics::new());
        let live = Live::load(&folder.path("gateway.toml"), &metrics, clock)?;
        let log = Log::start(fs::File::create(folder.path("gateway.log"))?, &metrics)?;
        serve::diagnostics(&log, LogLevel::Info);
        let books = Books::open(&live.current().config, clock, live.ledger(), &metrics)?;
        let recorder = Recorder::new(clock, Arc::clone(live.calls()), log.clone());
        let gateway = Gateway::new(metrics, live, Arc::new(recorder), books);
        let listeners = Listeners::bind(&gateway, Inherited::default())?;
        folder.introduce(&listeners)?;
        if arguments.traffic {
            say!("Five teams are talking. Watch the page and the metrics move; stop with ctrl-c.\n")?;
        }
        let traffic = arguments.traffic.then(|| {
            let gateway = Arc::new(Origin::in_clear(listeners.address));
            let mut teams: Vec<_> = folder
                .keys
                .iter()
                .zip(&TEAMS)
                .map(|([key, _], team)| {
                    tokio::spawn(talk(Arc::clone(&gateway), key.text.to_string(), team.name, team.every))
                })
                .collect();
            teams.push(tokio::spawn(crowd(gateway, folder.keys[CROWD][1].text.to_string())));
            teams
        });
        let mut signals = serve::Signals::new()?;
        let served = server::run(&gateway, listeners, signals.end.next(), signals.again.next()).await;
        traffic.into_iter().flatten().for_each(|team| team.abort());
        simulated.abort();
        log.flush();
        served?;
        Ok(())
    })
}

/// Where the demo keeps its configuration, its key and its log. Removed when it ends.
struct Folder {
    path: PathBuf,
    /// Two of each team.
    keys: Vec<[NewKey; 2]>,
}

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("mavera-gateway-demo-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        let keys = TEAMS
            .iter()
            .map(|_| Ok([NewKey::generate()?, NewKey::generate()?]))
            .collect::<Result<_, getrandom::Error>>()
            .map_err(std::io::Error::other)?;
        Ok(Self { path, keys })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the ledger, with what was before.
    fn begin(&self, now: Timestamp) -> Result<Spent, LedgerError> {
        let keys: Vec<_> = self.keys.iter().map(|keys| [&*keys[0].id, &*keys[1].id]).collect();
        history::write(&self.path("ledger.db"), &keys, now)
    }

    fn write(&self, arguments: &DemoArguments, upstream: SocketAddr, spent: &Spent) -> Result<(), Failure> {
        fs::write(self.path("key"), SIM_KEY)?;
        fs::write(self.path("gateway.toml"), self.config(arguments, upstream, spent))?;
        Ok(())
    }

    fn config(&self, arguments: &DemoArguments, upstream: SocketAddr, spent: &Spent) -> String {
        let teams = TEAMS.iter().zip(&self.keys).zip(spent).map(|((team, keys), spent)| {
            let [least, wide] = BUDGETS;
            let budget = team.spent.map_or(wide, |percent| (spent * 100 / percent).max(least));
            let keys =
                keys.each_ref().map(|key| format!("{{ id = \"{}\", sha256 = \"{}\" }}", key.id, key.sha256));
            format!(
                "\n[[team]]\nname = \"{}\"\nbudget = {{ credits = {budget}, period = \"month\" }}\n\
                 routes = [\"*\", \"mave_chat\", {{ name = \"video_analyses\", jobs = 2 }}]\nkeys = [{}]\n\
                 requests_per_minute = {PER_MINUTE}\nburst = {PER_MINUTE}\nconcurrency = {PER_MINUTE}\n",
                team.name,
                keys.join(", "),
            )
        });
        let (teams, key) = (teams.collect::<String>(), self.path("key"));
        format!(
            "[server]\nlisten = \"{}\"\ndrain_timeout = \"5s\"\n\n[admin]\nlisten = \"{}\"\n\n\
             [upstream]\nbase_url = \"http://{upstream}/api/v1\"\napi_key = {{ file = '{}' }}\nrequests_per_minute = {PER_MINUTE}\nusage_interval = \"15s\"\n\n\
             [ledger]\npath = '{}'\ndurability = \"os\"\n\n\
             [credits]\nbudget = {{ credits = 50000, period = \"month\" }}\n{teams}",
            arguments.listen,
            arguments.admin_listen,
            key.display(),
            self.path("ledger.db").display()
        )
    }

    fn introduce(&self, listeners: &Listeners) -> std::io::Result<()> {
        let Listeners { address, admin_address, .. } = listeners;
        let key = self.keys.first().map_or("", |keys| keys[0].text.as_str());
        say!(
            "\
A simulated Mavera API and a gateway in front of it are running. Nothing leaves this machine.

Ask about a video as team growth, and watch the answer stream:

  curl -N http://{address}/api/v1/video-analyses/{DEMO_ANALYSIS}/chat \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"messages\":[{{\"role\":\"user\",\"content\":\"Which moment loses viewers?\"}}],\"stream\":true}}'

Leave out \"stream\":true for one JSON answer. With -H 'Idempotency-Key: 1' it is charged once, however often you send it.
Start an analysis, which takes half a minute and is charged when it is over, and list what there is:

  curl http://{address}/api/v1/video-analyses \\
    -H 'Authorization: Bearer {key}' -H 'Idempotency-Key: first' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"video_url\":\"https://videos.example/a.mp4\",\"title\":\"Launch\",\"brand\":\"Example\",\"product\":\"App\",\"primary_intent\":\"Persuasive\",\"goal\":\"Find what loses viewers.\"}}'
  curl http://{address}/api/v1/video-analyses -H 'Authorization: Bearer {key}'

Where to look:
  credits   http://{admin_address}/   (a page for your browser)
  metrics   http://{admin_address}/metrics
  records   {log}   (one JSON line per request)
  config    {config}   (edit it: the gateway reloads)

Stop with ctrl-c.
",
            log = self.path("gateway.log").display(),
            config = self.path("gateway.toml").display(),
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: it is in the temporary directory.
        let _ = fs::remove_dir_all(&self.path);
    }
}
