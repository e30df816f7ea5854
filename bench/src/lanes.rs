//! What is measured.

use std::time::Duration;

/// One kind of traffic.
#[derive(Debug)]
pub struct Lane {
    /// As printed.
    pub name: &'static str,
    /// What the upstream answers.
    pub answer: Answer,
    /// A read, which costs no credits and touches no ledger, instead of a chat.
    pub read: bool,
    /// Callers, each with one connection and one call at a time.
    pub callers: u32,
    /// Requests per round, over all callers.
    pub requests: u32,
    /// The multiple of nginx's cost that is aimed at.
    pub target: f64,
}

/// What the upstream answers.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// One JSON document.
    Json,
    /// A stream of this many events of so many bytes, with a pause between two.
    Events { count: usize, bytes: usize, pause: Duration },
}

/// The lanes of the design's speed table.
pub const LANES: [Lane; 7] = [
    Lane {
        name: "JSON read, no ledger, 16 callers",
        answer: Answer::Json,
        read: true,
        callers: 16,
        requests: 16_000,
        target: 1.0,
    },
    Lane {
        name: "JSON, 1 caller",
        answer: Answer::Json,
        read: false,
        callers: 1,
        requests: 4000,
        target: 1.0,
    },
    Lane {
        name: "JSON, 16 callers",
        answer: Answer::Json,
        read: false,
        callers: 16,
        requests: 16_000,
        target: 1.0,
    },
    Lane {
        name: "JSON, 256 callers",
        answer: Answer::Json,
        read: false,
        callers: 256,
        requests: 25_600,
        target: 1.0,
    },
    Lane {
        name: "stream, 100 events back to back",
        answer: Answer::Events { count: 100, bytes: 120, pause: Duration::ZERO },
        read: false,
        callers: 8,
        requests: 4000,
        target: 1.0,
    },
    Lane {
        name: "stream, 50 events 5 ms apart",
        answer: Answer::Events { count: 50, bytes: 120, pause: Duration::from_millis(5) },
        read: false,
        callers: 64,
        requests: 640,
        target: 1.0,
    },
    Lane {
        name: "stream, 20 frames of 1 MiB",
        answer: Answer::Events { count: 20, bytes: 1 << 20, pause: Duration::ZERO },
        read: false,
        callers: 2,
        requests: 60,
        target: 0.3,
    },
];

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
