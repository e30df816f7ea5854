//! What the simulator can be told to do differently: everything that is undocumented about the real
//! API, inconsistent between its pages, or simply a fault of networks.
//!
//! Quirks are written `name=value`, several separated by `;`. They are set at start
//! (`sim --quirks`), for all calls from now on (`PUT /sim/quirks`), or for one call: in the field
//! `x-sim-quirks`, or in the member `sim` of a chat body, which survives a gateway that passes on
//! bodies but not fields.

use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// How the simulator deviates from its plainest behaviour. `Default` is that behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Shape of answers: `generation=new|old`.
    pub generation: Generation,
    /// Which events a new-form stream has: `frames=full|six|extra`.
    pub frames: Frames,
    /// How a stream ends: `terminator=both|completed|done|neither`.
    pub terminator: Terminator,
    /// What the answer says about its cost: `usage=present|absent|no_credits|zero`.
    pub usage: UsageQuirk,
    /// How a stream is cut into writes: `framing=frame|split|many|crlf|comments|bom`.
    pub framing: Framing,
    /// What goes wrong inside a stream: `fault=none|error_event|envelope|failed|incomplete|close|reset|stall`.
    pub fault: Fault,
    /// Before which event it goes wrong: `at=3`.
    pub at: usize,
    /// How an analysis' status is written: `status_case=lower|upper|unknown`.
    pub status_case: StatusCase,
    /// What happens instead of an answer: `answer=ok|429|429_bare|500|503|html|empty|not_json|slow_head|slow_body|reset_before|reset_after`.
    pub answer: Answer,
    /// Whether answers carry `X-RateLimit-*`: `rate_headers=present|absent`.
    pub rate_headers: RateHeaders,
    /// When a chat is charged: `charging=always|before|end`.
    pub charging: Charging,
    /// Whether a chat that fails is given back: `refund=no|yes`.
    pub refund: Refund,
    /// Status of a chat about an analysis that is not completed: `not_completed=409|400|422`.
    pub not_completed: NotCompleted,
    /// Whether being over a concurrency cap names a wait: `over_concurrency=429|429_bare`.
    pub over_concurrency: OverConcurrency,
    /// Text events of a stream: `events=8`.
    pub events: usize,
    /// Bytes of text in each event: `bytes=0` for words of the answer.
    pub bytes: usize,
    /// Time between two events: `pace=20ms`.
    pub pace: Duration,
    /// Time until the head of an answer: `delay=0s`.
    pub delay: Duration,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            generation: Generation::New,
            frames: Frames::Full,
            terminator: Terminator::Both,
            usage: UsageQuirk::Present,
            framing: Framing::Frame,
            fault: Fault::None,
            at: 4,
            status_case: StatusCase::Lower,
            answer: Answer::Ok,
            rate_headers: RateHeaders::Present,
            charging: Charging::Always,
            refund: Refund::No,
            not_completed: NotCompleted::Conflict,
            over_concurrency: OverConcurrency::RetryAfter,
            events: 8,
            bytes: 0,
            pace: Duration::ZERO,
            delay: Duration::ZERO,
        }
    }
}

macro_rules! quirk {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// Every value, for tests that try them all.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is none of {}", [$($text),+].join(", "))),
                }
            }
        }
    };
}

quirk! {
    /// Which of the two documented response shapes.
    Generation {
        /// Responses, from April 2026.
        New = "new",
        /// Chat Completions.
        Old = "old",
    }
}
quirk! {
    /// Events of a new-form stream.
    Frames {
        /// As OpenAI sends them.
        Full = "full",
        /// The six names of Mavera's streaming guide alone.
        Six = "six",
        /// With event types nobody knows.
        Extra = "extra",
    }
}
quirk! {
    /// End of a stream.
    Terminator {
        /// `response.completed` and `[DONE]`.
        Both = "both",
        /// Without `[DONE]`.
        Completed = "completed",
        /// Without `response.completed`, and so without a cost.
        Done = "done",
        /// The connection's end alone.
        Neither = "neither",
    }
}
quirk! {
    /// What the answer says about its cost.
    UsageQuirk {
        /// Everything documented.
        Present = "present",
        /// No `usage` at all.
        Absent = "absent",
        /// Tokens without credits.
        NoCredits = "no_credits",
        /// A cost of nothing.
        Zero = "zero",
    }
}
quirk! {
    /// How a stream is cut into writes.
    Framing {
        /// One event per write.
        Frame = "frame",
        /// Seven bytes per write: through lines and UTF-8 sequences.
        Split = "split",
        /// All events in one write.
        Many = "many",
        /// Lines end with CRLF.
        Crlf = "crlf",
        /// A comment before each event.
        Comments = "comments",
        /// A byte order mark first.
        Bom = "bom",
    }
}
quirk! {
    /// What goes wrong inside a stream.
    Fault {
        /// Nothing.
        None = "none",
        /// `event: error` with OpenAI's flat body.
        ErrorEvent = "error_event",
        /// Mavera's error envelope as an event.
        Envelope = "envelope",
        /// `response.failed`.
        Failed = "failed",
        /// `response.incomplete`.
        Incomplete = "incomplete",
        /// The connection closes in the middle of the message.
        Close = "close",
        /// The connection is reset.
        Reset = "reset",
        /// Nothing more comes.
        Stall = "stall",
    }
}
quirk! {
    /// How an analysis' status is written.
    StatusCase {
        /// `completed`, as the reference has it.
        Lower = "lower",
        /// `COMPLETED`, as guides have it.
        Upper = "upper",
        /// A word nobody knows.
        Unknown = "unknown",
    }
}
quirk! {
    /// What happens instead of an answer.
    Answer {
        /// An answer.
        Ok = "ok",
        /// 429 with `Retry-After`.
        RateLimited = "429",
        /// 429 without.
        RateLimitedBare = "429_bare",
        /// 500 with the error envelope.
        InternalError = "500",
        /// 503 with the error envelope.
        Unavailable = "503",
        /// 502 with a page of HTML, as an edge would send.
        Html = "html",
        /// 200 with no content.
        Empty = "empty",
        /// 200 with something that is not JSON.
        NotJson = "not_json",
        /// The head takes a second per step of `at`.
        SlowHead = "slow_head",
        /// The body comes a byte per ten milliseconds.
        SlowBody = "slow_body",
        /// The connection is reset before the head.
        ResetBefore = "reset_before",
        /// The connection is reset after the body.
        ResetAfter = "reset_after",
    }
}
quirk! {
    /// Whether answers carry `X-RateLimit-*`.
    RateHeaders {
        /// On every answer, as documented.
        Present = "present",
        /// On none.
        Absent = "absent",
    }
}
quirk! {
    /// When a chat is charged.
    Charging {
        /// At its end, whether or not the client is still there.
        Always = "always",
        /// Before any work.
        Before = "before",
        /// At its end, only if the client is still there.
        AtEnd = "end",
    }
}
quirk! {
    /// Whether a chat that fails is given back.
    Refund {
        /// It is not.
        No = "no",
        /// It is.
        Yes = "yes",
    }
}
quirk! {
    /// Status of a chat about an analysis that is not completed. Undocumented; these are invented.
    NotCompleted {
        /// 409
        Conflict = "409",
        /// 400
        BadRequest = "400",
        /// 422
        Unprocessable = "422",
    }
}
quirk! {
    /// Whether being over a concurrency cap names a wait.
    OverConcurrency {
        /// 429 with `Retry-After`.
        RetryAfter = "429",
        /// 429 without.
        Bare = "429_bare",
    }
}

impl Quirks {
    /// These quirks, changed by `text`.
    ///
    /// # Errors
    /// The first part that names no quirk or none of its values.
    pub fn with(&self, text: &str) -> Result<Self, String> {
        let mut quirks = self.clone();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not name=value"))?;
            quirks.set(name.trim(), value.trim()).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(quirks)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<usize>().map_err(|error| error.to_string());
        let time = || {
            let span: Span = value.parse().map_err(|error: jiff::Error| error.to_string())?;
            let time =
                span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
            Duration::try_from(time).map_err(|error| error.to_string())
        };
        match name {
            "generation" => self.generation = value.parse()?,
            "frames" => self.frames = value.parse()?,
            "terminator" => self.terminator = value.parse()?,
            "usage" => self.usage = value.parse()?,
            "framing" => self.framing = value.parse()?,
            "fault" => self.fault = value.parse()?,
            "at" => self.at = number()?,
            "status_case" => self.status_case = value.parse()?,
            "answer" => self.answer = value.parse()?,
            "rate_headers" => self.rate_headers = value.parse()?,
            "charging" => self.charging = value.parse()?,
            "refund" => self.refund = value.parse()?,
            "not_completed" => self.not_completed = value.parse()?,
            "over_concurrency" => self.over_concurrency = value.parse()?,
            "events" => self.events = number()?.min(1_000_000),
            "bytes" => self.bytes = number()?.min(16 << 20),
            "pace" => self.pace = time()?,
            "delay" => self.delay = time()?,
            _ => return Err("is not a quirk".into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks_are_read_as_written() {
        let quirks = Quirks::default().with("generation=old; fault=reset; at=2; pace=5ms").unwrap();
        assert_eq!((quirks.generation, quirks.fault, quirks.at), (Generation::Old, Fault::Reset, 2));
        assert_eq!(quirks.pace, Duration::from_millis(5));
        for wrong in ["generation=newest", "colour=red", "pace"] {
            assert!(Quirks::default().with(wrong).is_err(), "{wrong}");
        }
    }
}
