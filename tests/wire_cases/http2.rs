//! HTTP/2 in frames (cases 92 to 102): what floods, lies about windows or goes on after its end is cut, stream by
//! stream or with its connection, and the books know nothing of it.

use std::collections::BTreeMap;

use super::{BODY, Heard, Way, converse, http2_fields};
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, REFUSED_STREAM, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, fields, frame, frames,
};
use crate::support::recorder::{ANSWER, Recorder, ours};
use crate::support::rig::{Rig, Setup, chat_path};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const PROTOCOL_ERROR: u32 = 1;
pub const STREAM_CLOSED: u32 = 5;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Frames of an attack on a stream, and what must come of it.
pub struct Case {
    pub row: u16,
    pub name: String,
    pub frames: Attack,
    pub expect: Expect,
}

/// The frames, given the key and the number of the stream.
pub type Attack = Box<dyn Fn(&str, u32) -> Vec<u8>>;

#[derive(Debug, PartialEq, Eq)]
pub enum Expect {
    /// The upstream received one chat, and its answer is the stream's.
    Served,
    /// A refusal of ours with this code.
    Refused(&'static str),
    /// A head and no body: hyper's own refusal, before any service is asked.
    Bare,
    /// The stream is reset with this error; the connection goes on.
    Reset(u32),
    /// The connection ends with this error.
    Over(u32),
    /// Nothing: it is as if nobody had asked.
    Silence,
}

/// The fields of a chat.
pub fn chat(key: &str) -> Vec<(&'static str, String)> {
    vec![
        (":method", "POST".into()),
        (":scheme", "http".into()),
        (":path", chat_path()),
        (":authority", "gw".into()),
        ("authorization", format!("Bearer {key}")),
    ]
}

pub fn block(pairs: &[(&'static str, String)]) -> Vec<u8> {
    fields(&pairs.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

/// A head, and a body that ends the stream.
pub fn request(stream: u32, block: &[u8], body: &[u8]) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, block), frame(DATA, END_STREAM, stream, body)].concat()
}

pub fn good(key: &str, stream: u32) -> Vec<u8> {
    request(stream, &block(&chat(key)), BODY.as_bytes())
}

fn evil(stream: u32) -> Vec<u8> {
    let evil = fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/evil"), (":authority", "gw")]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &evil)
}

pub fn case(
    row: u16,
    name: impl Into<String>,
    frames: impl Fn(&str, u32) -> Vec<u8> + 'static,
    expect: Expect,
) -> Case {
    Case { row, name: name.into(), frames: Box::new(frames), expect }
}

pub fn cases() -> Vec<Case> {
    [floods(), ends(), http2_fields::cases()].into_iter().flatten().collect()
}

/// So many requests that are reset before anybody has looked at them, small enough to come in one read.
fn resets(count: u32, stream: u32) -> Vec<u8> {
    let reset = |stream| [evil(stream), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat();
    (0..count).flat_map(|number| reset(stream + 10 + 2 * number)).collect()
}

fn floods() -> Vec<Case> {
    let long_head = |pieces: usize, key: &str, stream: u32| {
        let more = fields(&[("x-a", &"b".repeat(900))]);
        let mut frames = frame(HEADERS, END_STREAM, stream, &block(&chat(key)));
        frames.extend(frame(CONTINUATION, 0, stream, &more).repeat(pieces));
        frames.extend(frame(CONTINUATION, END_HEADERS, stream, &[]));
        frames
    };
    vec![
        case(92, "19 streams opened and reset", |_, stream| resets(19, stream), Expect::Silence),
        case(
            92,
            "30 streams opened and reset",
            |_, stream| resets(30, stream),
            Expect::Over(ENHANCE_YOUR_CALM),
        ),
        case(
            93,
            "an increment of nothing",
            |_, _| frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            Expect::Over(PROTOCOL_ERROR),
        ),
        case(
            93,
            "an increment of nothing for a stream",
            |key, stream| {
                let head = frame(HEADERS, END_HEADERS, stream, &block(&chat(key)));
                [head, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
            },
            Expect::Over(PROTOCOL_ERROR),
        ),
        case(
            94,
            "a head in 40 pieces",
            move |key, stream| long_head(40, key, stream),
            Expect::Over(ENHANCE_YOUR_CALM),
        ),
        case(
            95,
            "10,000 empty pieces of a body",
            |key, stream| {
                let head = frame(HEADERS, END_HEADERS, stream, &block(&chat(key)));
                [head, frame(DATA, 0, stream, &[]).repeat(10_000)].concat()
            },
            Expect::Over(ENHANCE_YOUR_CALM),
        ),
        // All are answered, to whoever reads; who does not is held back by the socket.
        case(96, "5,000 pings", |_, _| frame(PING, 0, 0, b"anybody?").repeat(5000), Expect::Silence),
        case(96, "5,000 settings", |_, _| frame(SETTINGS, 0, 0, &[]).repeat(5000), Expect::Silence),
        case(
            98,
            "a stream too many",
            |key, stream| {
                let head = block(&chat(key));
                let open = |number: u32| frame(HEADERS, END_HEADERS, stream + 10 + 2 * number, &head);
                // Those before it stay open, because their bodies do not come.
                let mut frames: Vec<u8> = (0..101).flat_map(open).collect();
                frames.extend((0..100).flat_map(|number: u32| {
                    frame(RST_STREAM, 0, stream + 10 + 2 * number, &8u32.to_be_bytes())
                }));
                frames
            },
            Expect::Reset(REFUSED_STREAM),
        ),
    ]
}

fn ends() -> Vec<Case> {
    let reset = |stream| frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    vec![
        case(
            99,
            "a body behind its reset",
            move |key, stream| {
                let head = frame(HEADERS, END_HEADERS, stream, &block(&chat(key)));
                [head, reset(stream), frame(DATA, END_STREAM, stream, BODY.as_bytes())].concat()
            },
            Expect::Reset(STREAM_CLOSED),
        ),
        case(
            99,
            "a head behind its reset",
            move |key, stream| {
                let head = frame(HEADERS, END_HEADERS, stream, &block(&chat(key)));
                [head.clone(), reset(stream), head].concat()
            },
            Expect::Over(PROTOCOL_ERROR),
        ),
        case(
            99,
            "a body on a stream that nobody opened",
            |_, stream| frame(DATA, END_STREAM, stream, BODY.as_bytes()),
            Expect::Over(PROTOCOL_ERROR),
        ),
        case(
            99,
            "a reset of a stream that nobody opened",
            move |_, stream| reset(stream),
            Expect::Over(PROTOCOL_ERROR),
        ),
    ]
}

/// What came on each stream, and the error that the connection ended with.
#[derive(Debug, Default)]
struct Conversation {
    streams: BTreeMap<u32, Vec<Frame>>,
    over: Option<u32>,
}

impl Conversation {
    fn of(heard: &Heard) -> Self {
        let mut conversation = Self::default();
        for frame in frames(&heard.bytes) {
            match frame.kind {
                GOAWAY if frame.error() != 0 => conversation.over = Some(frame.error()),
                _ if frame.stream > 0 => conversation.streams.entry(frame.stream).or_default().push(frame),
                _ => {}
            }
        }
        conversation
    }

    /// What a stream came to.
    fn outcome(&self, stream: u32) -> String {
        let Some(frames) = self.streams.get(&stream) else { return "silence".into() };
        if let Some(reset) = frames.iter().find(|frame| frame.kind == RST_STREAM && frame.error() != 0) {
            return format!("reset {}", reset.error());
        }
        let body: Vec<u8> = frames
            .iter()
            .filter(|frame| frame.kind == DATA)
            .flat_map(|frame| frame.payload.clone())
            .collect();
        if body == ANSWER.as_bytes() {
            return "served".into();
        }
        let refusal: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        refusal["error"]["code"].as_str().unwrap_or("bare").to_owned()
    }

    /// A stream reset by the gateway, if there is one.
    fn reset(&self) -> Option<u32> {
        let frames = self.streams.values().flatten();
        frames.filter(|frame| frame.kind == RST_STREAM).map(Frame::error).find(|error| *error != 0)
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_nobody_honest_sends_are_cut_and_cost_nothing() {
    let (rig, upstream) = Recorder::behind(&Setup::default());
    let mut failures = Vec::new();
    for case in cases() {
        for way in Way::ALL {
            if let Err(why) = tried(&rig, &upstream, &case, way).await {
                failures.push(format!("{}, {}, {way:?}: {why}", case.row, case.name));
            }
        }
    }
    rig.settle().await;
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The attack on a stream; a good call or `/evil` on another of the same connection.
async fn tried(rig: &Rig, upstream: &Recorder, case: &Case, way: Way) -> Result<(), String> {
    let (before, stream, behind) = match way {
        Way::Alone => (vec![], 1, vec![]),
        Way::AfterGood => (good(&rig.key, 1), 3, vec![]),
        Way::EvilBehind => (vec![], 1, evil(501)),
    };
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let heard = converse(rig, [hello, before, (case.frames)(&rig.key, stream), behind].concat()).await;
    rig.settle().await;
    let (said, requests) = (Conversation::of(&heard), upstream.take());
    let over = matches!(case.expect, Expect::Over(_));
    let outcome = said.outcome(stream);
    let fits = match &case.expect {
        Expect::Served => outcome == "served",
        Expect::Refused(code) => outcome == *code,
        Expect::Bare => outcome == "bare",
        Expect::Reset(error) => said.reset() == Some(*error),
        Expect::Over(error) => said.over == Some(*error) && heard.closed_at_once(),
        Expect::Silence => said.streams.keys().all(|other| *other != stream),
    };
    if !fits || (said.over.is_some() && !over) {
        return Err(format!("{outcome}, {:?}, {:?} instead of {:?}", said.reset(), said.over, case.expect));
    }
    // A connection that ends with an error may take the others with it, and answers nobody wrongly.
    let (good, evil) = (said.outcome(1), said.outcome(501));
    if way == Way::AfterGood && good != "served" && !(over && good == "silence") {
        return Err(format!("the good call before it came to {good}"));
    }
    if way == Way::EvilBehind && evil != "unknown_route" && !(over && evil == "silence") {
        return Err(format!("/evil came to {evil}"));
    }
    let mut expected = usize::from(case.expect == Expect::Served) + usize::from(way == Way::AfterGood);
    if over && way == Way::AfterGood {
        expected = requests.len().min(1);
    }
    for request in &requests {
        let ours = ours(request)?;
        if ours.line != format!("POST {} HTTP/1.1", chat_path()) || ours.body != BODY.as_bytes() {
            return Err(format!("the upstream was asked for {ours:?}"));
        }
    }
    if requests.len() != expected || !upstream.rest().is_empty() || rig.gauge("ledger_open_holds") > 0.0 {
        return Err(format!("{} requests went upstream instead of {expected}", requests.len()));
    }
    Ok(())
}
