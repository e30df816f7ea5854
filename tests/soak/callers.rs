//! Who calls: streams one after the other, trouble beside them, and a team that is always about to run dry.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::http::chat_request;
use crate::support::{assert_no_canary, chat_body};

/// Streams that come to their end, whichever. Their terminator is not always `[DONE]`.
const WHOLE: [&str; 8] = [
    "generation=old",
    "frames=extra",
    "framing=comments",
    "usage=absent",
    "usage=no_credits",
    "terminator=neither",
    "fault=failed; at=9",
    "fault=error_event; at=9",
];
/// Streams that break off.
const BROKEN: [&str; 2] = ["fault=close; at=9", "fault=reset; at=9"];
/// What goes wrong before there is a stream, or instead of one. A 429 is not among it: it is heeded, for all.
const TROUBLE: [&str; 10] = [
    "answer=500",
    "answer=503",
    "answer=html",
    "answer=empty",
    "answer=not_json",
    "answer=reset_before",
    "answer=reset_after",
    "answer=slow_body",
    "delay=300ms",
    "fault=stall",
];
/// Callers of the team with the tight budget.
const TIGHT: usize = 4;

/// What all callers share.
pub struct Load {
    pub address: SocketAddr,
    /// The keys of the team that has plenty, the current one last.
    pub keys: Mutex<Vec<String>>,
    /// The key of the team that has not.
    pub tight_key: String,
    pub over: AtomicBool,
    pub seen: Seen,
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Seen {
    /// Streams whose head has come and whose end has not.
    pub open: AtomicUsize,
    pub whole: AtomicUsize,
    pub broken: AtomicUsize,
    pub left: AtomicUsize,
    /// For want of credits.
    pub refused: AtomicUsize,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let Self { open, whole, broken, left, refused } = self;
        let (open, whole, broken, left, refused) = (of(open), of(whole), of(broken), of(left), of(refused));
        write!(f, "{open} open; {whole} whole, {broken} broken, {left} left, {refused} refused")
    }
}

/// So many streams, a tenth as many that make trouble, and the team without credits.
pub fn start(load: &Arc<Load>, streams: usize) -> Vec<JoinHandle<()>> {
    let caller = |seed: usize| {
        let random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed as u64 + 1);
        Caller { load: Arc::clone(load), sender: None, random }
    };
    let streaming = (0..streams).map(|n| tokio::spawn(caller(n).stream()));
    let trouble = (0..streams / 10).map(|n| tokio::spawn(caller(streams + n).make_trouble()));
    let tight = (0..TIGHT).map(|n| tokio::spawn(caller(2 * streams + n).spend()));
    streaming.chain(trouble).chain(tight).collect()
}

enum Came {
    /// With this status and body.
    Whole(u16, Bytes),
    /// In the head or in the body.
    Broken,
    Left,
}

struct Caller {
    load: Arc<Load>,
    /// A connection that was good to the last answer.
    sender: Option<SendRequest<Full<Bytes>>>,
    random: u64,
}

impl Caller {
    fn below(&mut self, bound: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % bound
    }

    fn goes_on(&self) -> bool {
        !self.load.over.load(Ordering::Relaxed)
    }

    async fn stream(mut self) {
        while self.goes_on() {
            // Half of them are plain.
            let kind = self.below(2 * (WHOLE.len() + BROKEN.len()));
            let quirks = WHOLE.iter().chain(&BROKEN).nth(kind).copied().unwrap_or_default();
            let broken = BROKEN.contains(&quirks);
            let quirks = format!("pace=200ms; events={}; {quirks}", 8 + self.below(24));
            // One in eight does not stay to the end.
            let patience = (self.below(8) == 0).then(|| Duration::from_millis(self.below(1500) as u64));
            match self.call_as_we_may(chat_body(true, &quirks), patience).await {
                Came::Whole(status, body) => {
                    assert!(status == 200 && !broken, "{quirks}: {status} {body:?}");
                    assert!(!quirks.ends_with("; ") || body.ends_with(b"data: [DONE]\n\n"), "{body:?}");
                }
                Came::Broken => assert!(broken, "{quirks} was cut"),
                Came::Left => {}
            }
        }
    }

    async fn make_trouble(mut self) {
        while self.goes_on() {
            let quirks = TROUBLE[self.below(TROUBLE.len())];
            let stalls = quirks == "fault=stall";
            let patience =
                (stalls || self.below(4) == 0).then(|| Duration::from_millis(self.below(500) as u64));
            let came = self.call_as_we_may(chat_body(stalls, quirks), patience).await;
            if let Came::Whole(status, body) = came {
                assert!([200, 500, 502, 503].contains(&status), "{quirks}: {status} {body:?}");
            }
            tokio::time::sleep(Duration::from_millis(self.below(200) as u64)).await;
        }
    }

    async fn spend(mut self) {
        let key = self.load.tight_key.clone();
        while self.goes_on() {
            match self.call(&key, chat_body(self.random & 1 << 40 == 0, ""), None).await {
                Came::Whole(402, _) => {
                    self.load.seen.refused.fetch_add(1, Ordering::Relaxed);
                }
                Came::Whole(200, _) => {}
                Came::Whole(status, body) => panic!("{status} {body:?}"),
                Came::Broken | Came::Left => panic!("nothing was to break"),
            }
            tokio::time::sleep(Duration::from_millis(self.below(400) as u64)).await;
        }
    }

    /// With the current key, or the next if that was just taken away.
    async fn call_as_we_may(&mut self, body: String, patience: Option<Duration>) -> Came {
        loop {
            let key = self.load.keys.lock().unwrap().last().unwrap().clone();
            let came = self.call(&key, body.clone(), patience).await;
            if !matches!(came, Came::Whole(401, _)) {
                return came;
            }
            assert!(!self.load.keys.lock().unwrap().contains(&key), "a key in force was refused");
        }
    }

    async fn call(&mut self, key: &str, body: String, patience: Option<Duration>) -> Came {
        let sender = self.sender.take();
        let load = Arc::clone(&self.load);
        let whole = converse(&load, sender, key, body);
        let came = match patience {
            None => whole.await,
            Some(patience) => {
                let Ok(came) = tokio::time::timeout(patience, whole).await else {
                    self.load.seen.left.fetch_add(1, Ordering::Relaxed);
                    return Came::Left;
                };
                came
            }
        };
        let seen = &self.load.seen;
        let (count, came) = match came {
            Some((status, body, sender)) => {
                self.sender = Some(sender);
                (&seen.whole, Came::Whole(status, body))
            }
            None => (&seen.broken, Came::Broken),
        };
        count.fetch_add(1, Ordering::Relaxed);
        came
    }
}

/// A stream that is counted as long as it is open, whoever ends it.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One call, on the connection that is kept if that is still good. `None` if it broke.
async fn converse(
    load: &Load,
    mut kept: Option<SendRequest<Full<Bytes>>>,
    key: &str,
    body: String,
) -> Option<(u16, Bytes, SendRequest<Full<Bytes>>)> {
    if let Some(sender) = &mut kept
        && sender.ready().await.is_err()
    {
        kept = None;
    }
    let mut sender = if let Some(sender) = kept {
        sender
    } else {
        let tcp = TcpStream::connect(load.address).await.expect("no connection is refused");
        let (sender, connection) = handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        sender
    };
    let request = chat_request(load.address, key, body);
    let response = sender.send_request(request).await.expect("an answer, whichever");
    let status = response.status().as_u16();
    let _open = Open::new(&load.seen.open);
    let body = response.into_body().collect().await.ok()?.to_bytes();
    assert_no_canary("an answer", &body);
    Some((status, body, sender))
}
