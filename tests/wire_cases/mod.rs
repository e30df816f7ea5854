//! Hostile and odd traffic, case by case: where a request ends (1 to 28), what it asks for (29 to 46), its fields
//! (47 to 64), its size and its time (65 to 73), what an upstream may answer (74 to 91), HTTP/2 (92 to 102), and what
//! concerns this gateway alone (103 to 112).
//!
//! A case is tried three ways: alone, after a good request on the same connection, and with a request for `/evil`
//! pipelined behind. What counts first is what the upstream received, byte for byte: one request of ours, or nothing.
//! Then the answer, and whether the connection ended with it. Whatever happens, no hold outlives its call, and nothing
//! that a caller wrote where it has no business comes back to it or gets into the log.

mod coverage;
mod fields;
mod framing;
mod gateway;
mod http2;
mod http2_fields;
mod http2_resets;
mod kernel;
mod size_and_time;
mod target;
mod unread;
mod upstream_answers;
mod upstream_manners;

use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, timeout};

use crate::support::CANARY;
use crate::support::recorder::{Recorder, Said, answers, ours, shown};
use crate::support::rig::{Rig, Setup, chat_path};

/// A body that is served.
const BODY: &str = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
/// What stands behind an attack and must never be taken for a part of it.
const EVIL: &str = "GET /evil HTTP/1.1\r\nhost: gw\r\nx-request-id: evil\r\n\r\n";
/// What stands in a body and must never be run.
const SMUGGLED: &str = "GET /evil HTTP/1.1\r\nhost: gw\r\nx-request-id: smuggled\r\n\r\n";
/// What a caller writes where nobody is to repeat it.
const MARK: &str = "mark-7f3a";
/// Stands for the caller's key in what is sent.
const KEY: &str = "{KEY}";
/// Longer than any deadline of a caller's connection.
const PATIENCE: Duration = Duration::from_mins(2);
/// A connection that is over within this time was closed, and not left to its idle time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// One input.
struct Case {
    row: u16,
    name: String,
    input: Vec<u8>,
    expect: Expect,
}

/// What must come of it.
#[derive(Clone)]
struct Expect {
    /// The statuses of its answers, in order; none if the connection is closed without a word.
    statuses: Vec<u16>,
    /// What the upstream received of it: request lines and bodies.
    sent: Vec<(String, Vec<u8>)>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The connection goes on, and what is behind is a request of its own.
    GoesOn,
    /// The last answer says that the connection ends, and it does.
    Announced,
}

/// Refused with this status; the connection ends, and says so.
fn refused(status: u16) -> Expect {
    Expect { statuses: vec![status], sent: vec![], end: End::Announced }
}

/// Refused with this status in its own right; the connection goes on.
fn answered(status: u16) -> Expect {
    Expect { end: End::GoesOn, ..refused(status) }
}

/// Served: the upstream received one chat with this body.
fn served_with(body: impl Into<Vec<u8>>) -> Expect {
    let line = format!("POST {} HTTP/1.1", chat_path());
    Expect { statuses: vec![200], sent: vec![(line, body.into())], end: End::GoesOn }
}

/// Served: the upstream received one chat with the usual body.
fn served() -> Expect {
    served_with(BODY)
}

impl Expect {
    fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }
}

fn case(row: u16, name: impl Into<String>, input: impl Into<Vec<u8>>, expect: Expect) -> Case {
    Case { row, name: name.into(), input: input.into(), expect }
}

/// The beginning of a chat's head.
fn start() -> String {
    format!("POST {} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {KEY}\r\n", chat_path())
}

/// The head of a chat with these fields too.
fn head_with(fields: &str) -> String {
    format!("{}{fields}\r\n", start())
}

/// A chat with these fields and the length of its body.
fn with_length(fields: &str, body: &str) -> String {
    format!("{}{body}", head_with(&format!("{fields}content-length: {}\r\n", body.len())))
}

/// A chat with these fields and its body in chunks, which are written by whoever calls.
fn with_chunks(fields: &str, chunks: &str) -> String {
    format!("{}{chunks}", head_with(&format!("{fields}transfer-encoding: chunked\r\n")))
}

/// A body in one chunk.
fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// A good request.
fn good() -> String {
    with_length("x-request-id: good\r\n", BODY)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Alone,
    AfterGood,
    EvilBehind,
}

impl Way {
    const ALL: [Self; 3] = [Self::Alone, Self::AfterGood, Self::EvilBehind];

    fn bytes(self, attack: &[u8]) -> Vec<u8> {
        let (before, behind) = match self {
            Self::Alone => (String::new(), ""),
            Self::AfterGood => (good(), ""),
            Self::EvilBehind => (String::new(), EVIL),
        };
        [before.as_bytes(), attack, behind.as_bytes()].concat()
    }
}

/// What a caller hears on a connection, and how long that was open; `None` if it still is.
struct Heard {
    bytes: Vec<u8>,
    closed: Option<Duration>,
}

impl Heard {
    fn closed_at_once(&self) -> bool {
        self.closed.is_some_and(|after| after < AT_ONCE)
    }
}

/// Bytes with the caller's key where it belongs.
fn with_key(rig: &Rig, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let (mut rest, mut whole) = (bytes.as_ref(), Vec::new());
    while let Some(at) = memmem::find(rest, KEY.as_bytes()) {
        whole.extend_from_slice(&rest[..at]);
        whole.extend_from_slice(rig.key.as_bytes());
        rest = &rest[at + KEY.len()..];
    }
    whole.extend_from_slice(rest);
    whole
}

/// Writes bytes on a connection of their own, and listens until it is closed.
async fn converse(rig: &Rig, bytes: impl AsRef<[u8]>) -> Heard {
    let (mut read, mut write) = tokio::io::split(rig.raw());
    let bytes = with_key(rig, bytes);
    let writer = tokio::spawn(async move {
        // What is refused may not be read to its end.
        let _ = write.write_all(&bytes).await;
        // Kept: who closes its sending side has left.
        write
    });
    let (began, mut said, mut piece) = (Instant::now(), Vec::new(), [0; 4096]);
    let closed = loop {
        match timeout(PATIENCE, read.read(&mut piece)).await {
            Ok(Ok(length @ 1..)) => said.extend_from_slice(&piece[..length]),
            Ok(_) => break Some(began.elapsed()),
            Err(_) => break None,
        }
    };
    writer.abort();
    Heard { bytes: said, closed }
}

/// What comes on a connection until nothing more does.
async fn hear(io: &mut DuplexStream) -> Vec<u8> {
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(length @ 1..)) = timeout(AT_ONCE, io.read(&mut piece)).await {
        said.extend_from_slice(&piece[..length]);
    }
    said
}

fn judge(expect: &Expect, way: Way, heard: &Heard, received: &[Vec<u8>]) -> Result<(), String> {
    let all = answers(&heard.bytes)?;
    if let Some(cut) = all.iter().find(|answer| !answer.whole) {
        return Err(format!("an answer was cut short: {cut:?}"));
    }
    let mut expect = expect.clone();
    if way == Way::AfterGood {
        expect.statuses.insert(0, 200);
        expect.sent.splice(0..0, served().sent);
    }
    let mut said = &all[..];
    let mut went_on = !heard.closed_at_once();
    if way == Way::EvilBehind {
        went_on = false;
        if let [before @ .., last] = said
            && last.field("x-request-id") == Some("evil")
        {
            if last.status != 404 {
                return Err(format!("/evil was answered {}", last.status));
            }
            (said, went_on) = (before, true);
        }
    }
    let statuses: Vec<_> = said.iter().map(|answer| answer.status).collect();
    if statuses != expect.statuses {
        return Err(format!("answered {statuses:?} instead of {:?}", expect.statuses));
    }
    if said.iter().any(|answer| (answer.status == 200) != answer.is_from_upstream()) {
        return Err("an answer that is not what the upstream said".into());
    }
    let requests: Vec<_> = received.iter().map(|request| ours(request)).collect::<Result<_, _>>()?;
    if requests
        .iter()
        .map(|ours| (&ours.line, &ours.body))
        .ne(expect.sent.iter().map(|(line, body)| (line, body)))
    {
        return Err(format!("the upstream received something else than was asked: {requests:?}"));
    }
    let announced = said.last().is_none_or(Said::says_close);
    match (expect.end, went_on) {
        (End::GoesOn, false) => Err("the connection ended".into()),
        (End::Announced, true) => Err("the connection went on".into()),
        (End::Announced, false) if !announced => Err("the end of the connection was not announced".into()),
        _ => Ok(()),
    }
}

/// Nothing is left of an exchange, and nothing came back that must not.
fn clean(rig: &Rig, upstream: &Recorder, heard: &Heard) -> Result<(), String> {
    let rest = upstream.rest();
    if !rest.is_empty() {
        return Err(format!("the upstream received what is no whole request: {}", shown(&rest)));
    }
    if rig.gauge("ledger_open_holds") > 0.0 {
        return Err("a hold is open".into());
    }
    let text = String::from_utf8_lossy(&heard.bytes).to_lowercase();
    let (key, canary) = (rig.key.to_lowercase(), CANARY.to_lowercase());
    let unwanted =
        [&key, &canary, MARK, "\r\nset-cookie:", "\r\nupgrade:", "http/1.1 101", "x-request-id: smuggled"];
    match unwanted.iter().find(|unwanted| text.contains(**unwanted)) {
        Some(found) => Err(format!("{found:?} came back")),
        None => Ok(()),
    }
}

/// Tries every case every way, and tells of all that fail.
async fn prove(cases: Vec<Case>) {
    prove_with(&Setup::default(), cases).await;
}

async fn prove_with(setup: &Setup, cases: Vec<Case>) {
    let (rig, upstream) = Recorder::behind(setup);
    let mut failures = Vec::new();
    for Case { row, name, input, expect } in cases {
        for way in Way::ALL {
            let sent = way.bytes(&input);
            let heard = converse(&rig, &sent).await;
            let received = upstream.take();
            let judged = judge(&expect, way, &heard, &received).and_then(|()| clean(&rig, &upstream, &heard));
            if let Err(why) = judged {
                let (sent, heard) = (shown(&sent), shown(&heard.bytes));
                failures.push(format!("{row}, {name}, {way:?}: {why}\n  sent: {sent}\n  heard: {heard}"));
            }
        }
    }
    rig.settle().await;
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    let log: String = rig.records().iter().map(ToString::to_string).collect();
    for unwanted in [MARK, &rig.key, "smuggled"] {
        assert!(!log.contains(unwanted), "{unwanted:?} is in the log");
        assert!(!rig.metrics().contains(unwanted), "{unwanted:?} is in the metrics");
    }
}
