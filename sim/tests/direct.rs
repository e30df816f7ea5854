//! A simulator that is asked directly, on a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use mavera_sim::books::Books;
use mavera_sim::{Settings, Simulator};
use serde_json::Value;

pub const KEY: &str = "mvra_live_plainly_fake_00000000000";

pub struct Direct {
    pub simulator: Simulator,
    seconds: Arc<AtomicI64>,
}

/// One answer.
pub struct Said {
    pub status: u16,
    pub text: String,
    pub json: Value,
    /// It came to its end.
    pub whole: bool,
}

impl Said {
    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.json["id"].as_str().unwrap()
    }
}

impl Direct {
    pub fn new() -> Self {
        Self::with(Settings { requests_per_minute: 10_000, ..Settings::with_key(KEY) })
    }

    pub fn with(settings: Settings) -> Self {
        let seconds = Arc::new(AtomicI64::new(1_900_000_000));
        let clock = Arc::clone(&seconds);
        let wall = move || Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap();
        Self { simulator: Simulator::new(settings, wall), seconds }
    }

    pub fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// The head of the answer to a call, its body still to come.
    pub async fn open(&self, method: Method, path: &str, body: String) -> Response<Incoming> {
        let (near, far) = tokio::io::duplex(1 << 20);
        let simulator = self.simulator.clone();
        tokio::spawn(async move { simulator.serve_connection(far).await });
        let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("host", "sim")
            .header("authorization", format!("Bearer {KEY}"))
            .body(Full::<Bytes>::from(body))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Said {
        let (head, mut body) = self.open(method, path, body).await.into_parts();
        let (mut bytes, mut whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
                Err(_) => whole = false,
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Said { status: head.status.as_u16(), text, json, whole }
    }

    pub async fn get(&self, path: &str) -> Said {
        self.ask(Method::GET, path, String::new()).await
    }

    /// Posts a body.
    pub async fn post(&self, path: &str, body: Value) -> Said {
        self.ask(Method::POST, path, body.to_string()).await
    }

    pub fn charged(&self) -> u64 {
        self.simulator.books(Books::total_charged)
    }
}
