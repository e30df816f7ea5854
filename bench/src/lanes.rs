//! What is measured: kinds of traffic.

use std::time::Duration;

use crate::figures::{Against, Aim, Figure};
use crate::proxies::Kind;

/// One kind of traffic.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of the traffic, whatever the others say"
)]
pub struct Lane {
    /// As printed.
    pub name: &'static str,
    /// What the upstream answers.
    pub answer: Answer,
    /// A read, which costs no credits and touches no ledger, instead of a chat.
    pub read: bool,
    /// Callers of the gateway show a token of an issuer instead of a key.
    pub token: bool,
    /// TLS between proxy and upstream.
    pub tls: bool,
    /// Callers, each with one connection and one call at a time.
    pub callers: u32,
    /// What the callers do.
    pub work: Work,
    /// What is aimed at.
    pub aims: &'static [Aim],
    /// What a call may take the gateway, at `os`, in instructions: the same on every machine, and so a bound.
    pub instructions: Option<u32>,
    /// Only in a full run.
    pub full: bool,
}

/// What callers do in a round.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// So many calls over all of them, each caller one after the other: as fast as it goes.
    BackToBack(u32),
    /// So many calls in all, so many each second, whether answers come or not.
    Scheduled { calls: u32, per_second: u32 },
    /// So many streams, one after the other, each timed to its first byte.
    FirstByte(u32),
    /// A stream each, all open at once, watched for so long.
    Open(Duration),
}

/// What the upstream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One JSON document.
    Json,
    /// A stream of this many events of so many bytes, with a pause between two.
    Events { count: usize, bytes: usize, pause: Duration },
}

/// CPU per call as a multiple of the floor's.
const fn cpu(os: f64, fsync: Option<f64>) -> Aim {
    Aim { figure: Figure::CpuPerCall, against: Against::Proxy(Kind::Floor), os, fsync }
}

const CPU: &[Aim] = &[cpu(1.4, None)];
const CPU_WITH_FSYNC: &[Aim] = &[cpu(1.4, Some(2.2))];
const CPU_OF_BURSTS: &[Aim] = &[cpu(1.0, None)];
const CPU_OF_EVENTS: &[Aim] = &[cpu(1.05, None)];
const CPU_OF_LARGE: &[Aim] = &[cpu(1.1, None)];
const ADDED_FIRST_BYTE: &[Aim] =
    &[Aim { figure: Figure::AddedFirstByte, against: Against::Nothing, os: 45.0, fsync: None }];
const MEMORY: &[Aim] =
    &[Aim { figure: Figure::Memory, against: Against::Proxy(Kind::Nginx), os: 1.0, fsync: None }];

/// Three in a hundred above what they take, so that a change which costs is seen; lowered as they fall. A chat takes 101,300 to
/// 101,700, with a token 106,000; a read 68,000; a stream 322,200.
const JSON_INSTRUCTIONS: u32 = 104_700;
const TOKEN_INSTRUCTIONS: u32 = 109_200;
const STREAM_INSTRUCTIONS: u32 = 331_800;
const READ_INSTRUCTIONS: u32 = 70_000;

const CHAT: Lane = Lane {
    name: "",
    answer: Answer::Json,
    read: false,
    token: false,
    tls: false,
    callers: 16,
    work: Work::BackToBack(16_000),
    aims: CPU,
    instructions: None,
    full: false,
};

const fn events(count: usize, bytes: usize, milliseconds: u64) -> Answer {
    Answer::Events { count, bytes, pause: Duration::from_millis(milliseconds) }
}

/// The lanes of the design's speed table.
pub const LANES: [Lane; 14] = [
    Lane {
        name: "JSON read, no ledger, 16 callers",
        read: true,
        instructions: Some(READ_INSTRUCTIONS),
        ..CHAT
    },
    Lane { name: "JSON, 1 caller", callers: 1, work: Work::BackToBack(1000), ..CHAT },
    Lane { name: "JSON, 8 callers", callers: 8, ..CHAT },
    Lane { name: "JSON, 16 callers", aims: CPU_WITH_FSYNC, instructions: Some(JSON_INSTRUCTIONS), ..CHAT },
    // The same with a token that is known: within 5 % of a key's.
    Lane { name: "JSON, a token, 16 callers", token: true, instructions: Some(TOKEN_INSTRUCTIONS), ..CHAT },
    Lane { name: "JSON, 256 callers", callers: 256, work: Work::BackToBack(12_800), ..CHAT },
    Lane { name: "JSON, TLS upstream, 16 callers", tls: true, ..CHAT },
    Lane {
        name: "JSON, 1000 a second, 32 callers",
        callers: 32,
        work: Work::Scheduled { calls: 4000, per_second: 1000 },
        aims: &[],
        ..CHAT
    },
    Lane {
        name: "stream, 100 events back to back",
        answer: events(100, 120, 0),
        callers: 8,
        work: Work::BackToBack(3200),
        aims: CPU_OF_BURSTS,
        instructions: Some(STREAM_INSTRUCTIONS),
        ..CHAT
    },
    Lane {
        name: "stream, 50 events 5 ms apart",
        answer: events(50, 120, 5),
        callers: 100,
        work: Work::BackToBack(400),
        aims: CPU_OF_EVENTS,
        ..CHAT
    },
    Lane {
        name: "stream, 20 frames of 1 MiB",
        answer: events(20, 1 << 20, 0),
        callers: 2,
        work: Work::BackToBack(40),
        aims: CPU_OF_LARGE,
        ..CHAT
    },
    Lane {
        name: "stream, first byte, 1 caller",
        answer: events(3, 120, 0),
        callers: 1,
        work: Work::FirstByte(600),
        aims: ADDED_FIRST_BYTE,
        ..CHAT
    },
    Lane {
        name: "2000 open streams",
        answer: events(24, 120, 500),
        callers: 2000,
        work: Work::Open(Duration::from_secs(4)),
        aims: MEMORY,
        ..CHAT
    },
    Lane {
        name: "9000 open streams",
        // A minute: all of them must be open before the first ends, also on a machine with little to spare.
        answer: events(60, 120, 1000),
        callers: 9000,
        work: Work::Open(Duration::from_secs(5)),
        aims: &[],
        full: true,
        ..CHAT
    },
];

impl Lane {
    /// The same in little: shows that everything works, and measures nothing well.
    pub fn quick(self) -> Self {
        let work = match self.work {
            Work::BackToBack(calls) => Work::BackToBack((calls / 16).max(self.callers)),
            Work::Scheduled { calls, per_second } => Work::Scheduled { calls: calls / 8, per_second },
            Work::FirstByte(calls) => Work::FirstByte(calls / 16),
            Work::Open(_) => Work::Open(Duration::from_millis(500)),
        };
        let answer = match (work, self.answer) {
            (Work::Open(_), Answer::Events { bytes, .. }) => events(20, bytes, 100),
            (_, answer) => answer,
        };
        let callers = if matches!(work, Work::Open(_)) { 200 } else { self.callers };
        Self { answer, callers, work, ..self }
    }

    /// What went wrong with a proxy, as it is told.
    pub fn failed(&self, kind: Kind, error: &str) -> String {
        format!("{}, {}: {error}", self.name, kind.name())
    }

    /// Descriptors that the harness and each proxy need at most: both ends of a call, and some for themselves.
    pub fn descriptors(&self) -> u64 {
        2 * u64::from(self.callers) + 512
    }
}

impl Answer {
    /// The name under which the upstream knows it, in the request's body.
    pub fn marker(self) -> String {
        match self {
            Self::Json => "json".to_owned(),
            Self::Events { count, bytes, pause } => format!("events-{count}-{bytes}-{}", pause.as_millis()),
        }
    }

    /// The answer that a request's body asks for.
    pub fn asked_for(body: &str) -> Self {
        let Some((_, spec)) = body.split_once("events-") else { return Self::Json };
        let spec = spec.split('"').next().unwrap_or_default();
        let mut numbers = spec.split('-').map(|number| number.parse::<usize>().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self::Events { count: next(), bytes: next(), pause: Duration::from_millis(next() as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_understands_what_callers_ask_for() {
        for lane in LANES {
            let body = format!(r#"{{"messages":[],"answer":"{}"}}"#, lane.answer.marker());
            assert_eq!(Answer::asked_for(&body), lane.answer, "{}", lane.name);
        }
    }
}
