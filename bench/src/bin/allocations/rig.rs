//! The gateway in this process.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mavera_gateway::books::open::Books;
use mavera_gateway::clock::Clock;
use mavera_gateway::gateway::Gateway;
use mavera_gateway::key::NewKey;
use mavera_gateway::live::Live;
use mavera_gateway::log::Log;
use mavera_gateway::metrics::Metrics;
use mavera_gateway::outbound::connect::Connect;
use mavera_gateway::outbound::origin::Origin;
use mavera_gateway::record::Recorder;
use mavera_gateway::server::connection;
use mavera_gateway::server::door::Door;
use tokio::io::DuplexStream;

use crate::pipes::{self, Stream};

/// A gateway, and a team that may call.
pub struct Rig {
    gateway: Gateway,
    door: Door,
    key: String,
}

/// Connects to the upstream of one stream.
#[derive(Clone)]
struct Pipes(Stream);

impl Connect for Pipes {
    type Io = DuplexStream;

    async fn connect(&self, _: &Origin) -> io::Result<DuplexStream> {
        Ok(pipes::upstream(&self.0))
    }
}

impl Rig {
    /// The gateway as `bench/gateway.toml` has it.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let key = NewKey::generate().map_err(|error| error.to_string())?;
        let path = folder.join("gateway.toml");
        let values = [
            ("listen", "127.0.0.1:0"),
            ("admin", "127.0.0.1:0"),
            ("workers", "1"),
            ("scheme", "http"),
            ("upstream", "127.0.0.1:1"),
            ("folder", &folder.display().to_string()),
            ("tls", ""),
            ("durability", "os"),
        ];
        let text =
            values.iter().fold(include_str!("../../../gateway.toml").to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            });
        let team = format!(
            "[[team]]\nname = \"bench\"\nkeys = [{{ id = \"{}\", sha256 = \"{}\" }}]\n",
            key.id, key.sha256
        );
        let write = |path: &Path, text: &str| std::fs::write(path, text).map_err(|error| error.to_string());
        write(&folder.join("organisation-key"), "mvra_live_bench_plainly_fake_00000000000")?;
        write(&path, &(text + &team))?;

        let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
        let live = Live::load(&path, &metrics, clock).map_err(|problems| problems.to_string())?;
        let log = Log::start(io::sink(), &metrics).map_err(|error| error.to_string())?;
        let books = Books::open(&live.current().config, clock, live.ledger(), &metrics);
        let books = books.map_err(|error| error.to_string())?;
        let recorder = Arc::new(Recorder::new(clock, Arc::clone(live.calls()), log));
        let gateway = Gateway::new(metrics, live, recorder, books);
        Ok(Self { door: Door::new(&gateway), gateway, key: key.text.to_string() })
    }

    /// A caller's connection to a gateway whose upstream answers with this stream.
    pub fn connect(&self, stream: &Stream) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 << 10);
        let pool = self.gateway.pool(Pipes(stream.clone()));
        let stack = self.gateway.stack(&pool);
        let door = self.door.clone();
        let peer = (std::net::Ipv4Addr::LOCALHOST, 1).into();
        tokio::spawn(async move { connection::serve(far, peer, stack, &door).await });
        near
    }

    /// A chat of the team.
    pub fn request(&self) -> Vec<u8> {
        let body = r#"{"messages":[{"role":"user","content":"Which moment loses viewers?"}],"stream":true}"#;
        format!(
            "POST /api/v1/video-analyses/clx1demo/chat HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
        .into_bytes()
    }
}
