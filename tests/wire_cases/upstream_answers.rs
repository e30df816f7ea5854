//! What an upstream may answer, which is not trusted either (cases 74 to 91): what cannot be passed on is a 502 of
//! ours, what breaks off ends as broken, and its connection serves nobody else. If the upstream may have worked, the
//! reserve stays booked as an estimate.

use super::{BODY, EVIL, Way, converse, good, with_length};
use crate::support::CANARY;
use crate::support::recorder::{ANSWER, Recorder, Said, answers, ours};
use crate::support::rig::{Rig, Setup, chat_path};

/// What an upstream answers, and what must come of it.
pub struct Faulty {
    pub row: u16,
    name: String,
    bytes: Vec<u8>,
    /// The upstream closes behind it.
    closes: bool,
    expect: Expect,
    basis: Option<&'static str>,
}

enum Expect {
    /// A refusal of ours with this status.
    Refused(u16),
    /// Passed on with this status and this body.
    Passed(u16, Vec<u8>),
    /// Passed on as far as it came, and broken off for the caller too.
    Broken(Vec<u8>),
}

impl Faulty {
    pub fn refused(row: u16, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let expect = Expect::Refused(502);
        Self { row, name: name.into(), bytes: bytes.into(), closes: true, expect, basis: Some("estimated") }
    }

    pub fn passed(row: u16, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let expect = Expect::Passed(200, ANSWER.into());
        Self { expect, basis: Some("final"), closes: false, ..Self::refused(row, name, bytes) }
    }

    pub fn broken(row: u16, name: impl Into<String>, bytes: impl Into<Vec<u8>>, body: &str) -> Self {
        Self { expect: Expect::Broken(body.into()), ..Self::refused(row, name, bytes) }
    }

    /// Passed on with another status, for which the upstream charges nothing.
    pub fn free(self, status: u16, body: &str) -> Self {
        Self { expect: Expect::Passed(status, body.into()), basis: None, ..self }
    }

    pub fn closing(self) -> Self {
        Self { closes: true, ..self }
    }
}

/// All that may stand in the head of an answer to a caller.
const ANSWER_FIELDS: [&str; 17] = [
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "retry-after",
    "trailer",
    "transfer-encoding",
    "x-credits-remaining",
    "x-gateway-error",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
    "x-should-retry",
];

/// The usual answer with these fields in its head.
pub fn usual_with(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{ANSWER}", ANSWER.len())
}

/// The usual answer with this framing and its body in one chunk.
pub fn usual_in_chunks(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{:x}\r\n{ANSWER}\r\n0\r\n\r\n", ANSWER.len())
}

pub fn cases() -> Vec<Faulty> {
    [framing(), broken(), heads(), statuses(), super::upstream_manners::cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn framing() -> Vec<Faulty> {
    vec![
        Faulty::passed(
            74,
            "a length, then chunked",
            usual_in_chunks("content-length: 3\r\ntransfer-encoding: chunked\r\n"),
        ),
        Faulty::passed(
            74,
            "chunked, then a length",
            usual_in_chunks("transfer-encoding: chunked\r\ncontent-length: 3\r\n"),
        ),
        Faulty::refused(75, "two lengths", usual_with("content-length: 3\r\n")),
        Faulty::passed(
            75,
            "the same length twice",
            usual_with(&format!("content-length: {}\r\n", ANSWER.len())),
        ),
        Faulty::refused(75, "a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}"),
        Faulty::refused(75, "a signed length", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}"),
        Faulty::refused(
            75,
            "a length beyond 64 bits",
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551617\r\n\r\n{}",
        ),
        Faulty::refused(76, "chunked, identity", usual_in_chunks("transfer-encoding: chunked, identity\r\n")),
        Faulty::refused(76, "gzip, chunked", usual_in_chunks("transfer-encoding: gzip, chunked\r\n")),
        Faulty::refused(76, "identity", usual_in_chunks("transfer-encoding: identity\r\n")),
        Faulty::refused(76, "chunked twice", usual_in_chunks(&"transfer-encoding: chunked\r\n".repeat(2))),
        Faulty::refused(
            77,
            "1.0 and chunked",
            usual_in_chunks("transfer-encoding: chunked\r\n").replacen("1.1", "1.0", 1),
        ),
        Faulty::passed(77, "1.0 with a length", usual_with("").replacen("1.1", "1.0", 1)).closing(),
        Faulty::passed(77, "1.0 to the end of the connection", format!("HTTP/1.0 200 OK\r\n\r\n{ANSWER}"))
            .closing(),
    ]
}

fn broken() -> Vec<Faulty> {
    let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    vec![
        Faulty::broken(
            78,
            "a length cut short",
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"usage\":",
            "{\"usage\":",
        ),
        Faulty::broken(78, "nothing of its length", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", ""),
        Faulty::broken(78, "a chunk cut short", format!("{begun}64\r\n{{\"usage\":"), "{\"usage\":"),
        Faulty::broken(78, "no last chunk", format!("{begun}3\r\nabc\r\n"), "abc"),
        // The head has gone on by then: it is not held back for what may come behind it.
        Faulty::broken(79, "a broken size before the first byte", format!("{begun}zz\r\nabc\r\n"), ""),
        Faulty::broken(79, "a size beyond 64 bits", format!("{begun}fffffffffffffffff\r\nabc\r\n"), ""),
        Faulty::broken(
            79,
            "a broken size later",
            format!("{begun}3\r\nabc\r\n+3\r\nabc\r\n0\r\n\r\n"),
            "abc",
        ),
        Faulty::broken(79, "more data than its size", format!("{begun}2\r\nabc\r\n0\r\n\r\n"), "ab"),
    ]
}

fn heads() -> Vec<Faulty> {
    let fields = |count| usual_with(&"x-a: b\r\n".repeat(count));
    vec![
        Faulty::refused(80, "a folded field", usual_with("x-a: b\r\n c\r\n")),
        Faulty::refused(80, "CR in a value", usual_with("x-a: b\rc\r\n")),
        Faulty::refused(80, "NUL in a value", usual_with("x-a: b\0c\r\n")),
        Faulty::refused(80, "a space before the colon", usual_with("x-a : b\r\n")),
        Faulty::refused(
            80,
            "a space before the colon of a length",
            "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n{}",
        ),
        Faulty::refused(80, "an empty name", usual_with(": b\r\n")),
        Faulty::refused(80, "no HTTP", "SSH-2.0-OpenSSH_9.2\r\n"),
        Faulty::refused(80, "nothing", ""),
        Faulty::passed(88, "100 fields", fields(99)),
        Faulty::refused(88, "101 fields", fields(100)),
        Faulty::refused(88, "a head of 500 KiB", usual_with(&format!("x-a: {}\r\n", "b".repeat(500 << 10)))),
    ]
}

fn statuses() -> Vec<Faulty> {
    let mut cases: Vec<_> = ["099", "1000", "999", "000", "2OO", "20", "-20", "600", ""]
        .into_iter()
        .map(|status| {
            Faulty::refused(81, format!("the status {status:?}"), usual_with("").replacen("200", status, 1))
        })
        .collect();
    let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\nfoo bar";
    cases.push(Faulty::refused(82, "an upgrade nobody asked for", switching));
    for status in ["300", "301", "302", "303", "304", "307", "308"] {
        let bytes =
            format!("HTTP/1.1 {status} X\r\nlocation: http://sink.example/\r\ncontent-length: 0\r\n\r\n");
        cases.push(Faulty::refused(87, format!("a redirect, {status}"), bytes));
    }
    cases
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_passed_on_whole_or_broken_off_or_replaced_by_a_502() {
    let mut failures = Vec::new();
    for faulty in cases() {
        let (rig, upstream) = Recorder::behind(&Setup::default());
        for way in Way::ALL {
            if let Err(why) = tried(&rig, &upstream, &faulty, way).await {
                failures.push(format!("{}, {}, {way:?}: {why}", faulty.row, faulty.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Alone; on an upstream connection that has served one already; with `/evil` behind the call. After each, somebody
/// else asks.
async fn tried(rig: &Rig, upstream: &Recorder, faulty: &Faulty, way: Way) -> Result<(), String> {
    if way == Way::AfterGood {
        let said = answers(&converse(rig, good()).await.bytes)?;
        (said.len() == 1 && said[0].is_from_upstream()).then_some(()).ok_or("the good request before it")?;
    }
    upstream.answer_next(faulty.bytes.clone(), faulty.closes);
    let asked = with_length("x-request-id: asked\r\n", BODY);
    let asked = if way == Way::EvilBehind { format!("{asked}{EVIL}") } else { asked };
    let heard = converse(rig, asked).await;
    let mut said = answers(&heard.bytes)?;
    if said.len() == 2 && way == Way::EvilBehind {
        let evil = said.pop().filter(|evil| (evil.status, evil.field("x-request-id")) == (404, Some("evil")));
        evil.ok_or("what was behind got another's answer")?;
    }
    let [said] = &said[..] else { return Err(format!("{} answers to one request", said.len())) };
    fits(&faulty.expect, said)?;
    if let Expect::Broken(_) = faulty.expect
        && !heard.closed_at_once()
    {
        return Err("the connection goes on behind half an answer".into());
    }
    let others = answers(&converse(rig, good()).await.bytes)?;
    if others.len() != 1 || !others[0].is_from_upstream() {
        return Err(format!("somebody else was answered {others:?}"));
    }
    let sent = upstream.take();
    for request in &sent {
        let line = ours(request)?.line;
        if line != format!("POST {} HTTP/1.1", chat_path()) {
            return Err(format!("the upstream was asked for {line}"));
        }
    }
    if sent.len() != 2 + usize::from(way == Way::AfterGood) || !upstream.rest().is_empty() {
        return Err(format!("{} requests and {} odd bytes went upstream", sent.len(), upstream.rest().len()));
    }
    booked(rig, faulty.basis).await
}

fn fits(expect: &Expect, said: &Said) -> Result<(), String> {
    let mismatch = || Err(format!("answered {} {:?}", said.head, said.body.escape_ascii().to_string()));
    let fits = match expect {
        Expect::Refused(status) => {
            let code = said.field("x-gateway-error");
            let retry = said.field("x-should-retry");
            said.whole
                && said.status == *status
                && code == Some("upstream_protocol_error")
                && retry == Some("false")
        }
        Expect::Passed(status, body) => said.whole && said.status == *status && said.body == *body,
        Expect::Broken(body) => !said.whole && said.status == 200 && said.body == *body,
    };
    if !fits || said.field("x-request-id") != Some("asked") {
        return mismatch();
    }
    let fields = said.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    for (name, value) in fields {
        let ours = ANSWER_FIELDS.contains(&name) || (name == "connection" && value == "close");
        if !ours || value.contains(CANARY) {
            return Err(format!("{name}:{value} came back"));
        }
    }
    Ok(())
}

/// What was booked for the call, and that nothing is held.
async fn booked(rig: &Rig, basis: Option<&str>) -> Result<(), String> {
    rig.settle().await;
    let records = rig.records();
    let record = records.iter().rfind(|record| record["request_id"] == "asked").ok_or("no record")?;
    let held = rig.gauge("ledger_open_holds");
    let credits = match basis {
        Some("estimated") => 5,
        Some(_) => 1,
        None => 0,
    };
    if held > 0.0 || record["basis"].as_str() != basis || record["booked"] != credits {
        return Err(format!("{held} are held, and it was booked as {record}"));
    }
    Ok(())
}
