//! An upstream that keeps every byte it receives, and two strict little parsers: one for what the gateway sends
//! to it, one for what the gateway answers to a caller. Neither shares code with the gateway or with hyper.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::CANARY;
use super::rig::{Rig, Setup};
use super::script::{json_answer, write};

/// The body of every answer that the upstream has not been told to give otherwise.
pub const ANSWER: &str = "{\"id\":\"from_the_upstream\",\"usage\":{\"credits_used\":1}}";

/// Keeps what it receives, and answers every whole request. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Tape>>);

#[derive(Debug, Default)]
struct Tape {
    whole: Vec<Vec<u8>>,
    /// By connection: what came behind its last whole request.
    rest: BTreeMap<usize, Vec<u8>>,
    /// What is answered next, and whether the connection is closed with it.
    script: VecDeque<(Vec<u8>, bool)>,
}

impl Recorder {
    /// A rig in front of a new recorder.
    pub fn behind(setup: &Setup) -> (Rig, Self) {
        let recorder = Self::default();
        let tape = recorder.clone();
        (Rig::with_upstream(setup, move |io, connection| tape.clone().serve(io, connection)), recorder)
    }

    /// Answers the next request with these bytes, and perhaps closes.
    pub fn answer_next(&self, bytes: impl Into<Vec<u8>>, close: bool) {
        self.0.lock().unwrap().script.push_back((bytes.into(), close));
    }

    /// Whole requests that came since this was last asked, in order.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.lock().unwrap().whole)
    }

    /// Whole requests that wait to be taken.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().whole.len()
    }

    /// Bytes that belong to no whole request.
    pub fn rest(&self) -> Vec<u8> {
        self.0.lock().unwrap().rest.values().flatten().copied().collect()
    }

    /// Keeps bytes, and returns the answers to the requests that they make whole.
    fn receive(&self, connection: usize, bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut tape = self.0.lock().unwrap();
        let Tape { whole, rest, script } = &mut *tape;
        let rest = rest.entry(connection).or_default();
        rest.extend_from_slice(bytes);
        let mut answers = Vec::new();
        while let Some(end) = end_of_request(rest) {
            let after = rest.split_off(end);
            whole.push(std::mem::replace(rest, after));
            answers.push(script.pop_front().unwrap_or_else(|| (usual_answer(), false)));
        }
        answers
    }

    async fn serve(self, mut io: DuplexStream, connection: usize) {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = io.read(&mut piece).await {
            for (answer, close) in self.receive(connection, &piece[..length]) {
                write(&mut io, &answer).await;
                if close {
                    let _ = io.shutdown().await;
                    return;
                }
            }
        }
    }
}

/// With a field that is nobody's business but the upstream's.
pub fn usual_answer() -> Vec<u8> {
    json_answer(ANSWER).replacen("\r\n\r\n", "\r\nset-cookie: a=b\r\n\r\n", 1).into_bytes()
}

/// Where the first whole request ends. Only lengths are understood: what is framed otherwise never ends, and is
/// found in the rest.
fn end_of_request(bytes: &[u8]) -> Option<usize> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    if text.contains("\r\ntransfer-encoding:") {
        return None;
    }
    let length: usize =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let end = head.saturating_add(length);
    (end <= bytes.len()).then_some(end)
}

/// A request of the gateway's own making.
#[derive(Debug, PartialEq, Eq)]
pub struct Ours {
    pub line: String,
    pub fields: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// All that may stand in the head of one.
const OUR_FIELDS: [&str; 11] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-request-id",
];

/// Reads a request that the upstream received, or says what of it the gateway would not have written.
pub fn ours(request: &[u8]) -> Result<Ours, String> {
    let end = memmem::find(request, b"\r\n\r\n").ok_or("a head without an end")?;
    let (head, body) = (&request[..end], request[end + 4..].to_vec());
    let head = std::str::from_utf8(head).map_err(|error| format!("a head that is no text: {error}"))?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let mut fields = BTreeMap::new();
    for text in lines {
        let (name, value) = text.split_once(": ").ok_or_else(|| format!("{text:?} is no field"))?;
        if !OUR_FIELDS.contains(&name) || fields.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("{text:?} has no place in a request of ours"));
        }
        if !value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
            return Err(format!("{text:?} is not plain text"));
        }
    }
    for (name, value) in [
        ("host", "127.0.0.1:1"),
        ("authorization", &format!("Bearer {CANARY}")),
        ("via", "1.1 mavera-gateway"),
        ("accept-encoding", "identity"),
    ] {
        if fields.get(name).map(String::as_str) != Some(value) {
            return Err(format!("its {name} is {:?}", fields.get(name)));
        }
    }
    let length = fields.get("content-length").cloned();
    let expected = line.starts_with("POST ").then(|| body.len().to_string());
    if length != expected || (expected.is_none() && !body.is_empty()) {
        return Err(format!("its length is {length:?} for {} bytes", body.len()));
    }
    let is_ours = |path: &str| path.starts_with("/api/v1/video-analyses");
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("POST" | "GET"), Some(path), Some("HTTP/1.1"), None) if is_ours(path) => {}
        _ => return Err(format!("{line:?} is no request line of ours")),
    }
    Ok(Ours { line, fields, body })
}

/// One answer on a caller's connection.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// It came to the end that its framing promised.
    pub whole: bool,
}

impl Said {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Says that the connection ends with it. To HTTP/1.0 that goes without saying.
    pub fn says_close(&self) -> bool {
        self.head.starts_with("HTTP/1.0 ")
            || self.field("connection").is_some_and(|value| value.contains("close"))
    }

    /// The upstream's usual answer, and not one of the gateway's.
    pub fn is_from_upstream(&self) -> bool {
        self.body == ANSWER.as_bytes()
    }
}

/// The answers on a connection. One that is cut short is the last.
pub fn answers(mut bytes: &[u8]) -> Result<Vec<Said>, String> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let end = memmem::find(bytes, b"\r\n\r\n").ok_or("an answer without an end to its head")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or_else(|| format!("no status in {head:?}"))?;
        let mut said = Said { status, head, body: Vec::new(), whole: true };
        bytes = &bytes[end..];
        let framing = (said.field("content-length").is_some(), said.field("transfer-encoding").is_some());
        match framing {
            (true, true) => return Err("an answer framed in two ways".into()),
            (false, true) => (said.body, said.whole, bytes) = dechunked(bytes),
            (_, false) => {
                let length = match said.field("content-length") {
                    Some(length) => length.parse().map_err(|_| "a length that is no number")?,
                    None => 0,
                };
                let (body, rest) = bytes.split_at(bytes.len().min(length));
                (said.body, said.whole, bytes) = (body.to_vec(), body.len() == length, rest);
            }
        }
        answers.push(said);
    }
    Ok(answers)
}

/// A chunked body without trailers, whether it came to its end, and what is behind it.
fn dechunked(mut bytes: &[u8]) -> (Vec<u8>, bool, &[u8]) {
    let mut body = Vec::new();
    loop {
        let Some(end) = memmem::find(bytes, b"\r\n") else { return (body, false, &[]) };
        let size =
            std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let (Some(size), rest) = (size, &bytes[end + 2..]) else { return (body, false, &[]) };
        let Some(data) = rest.get(..size + 2).filter(|data| data.ends_with(b"\r\n")) else {
            body.extend_from_slice(&rest[..rest.len().min(size)]);
            return (body, false, &[]);
        };
        bytes = &rest[size + 2..];
        if size == 0 {
            return (body, true, bytes);
        }
        body.extend_from_slice(&data[..size]);
    }
}

/// Bytes for a person to read.
pub fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(800)].escape_ascii().to_string()
}
