//! The values that quirks take, by the words that they are written with.

use std::str::FromStr;

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
    /// Which of the two documented response shapes. Video chats alone are served in both.
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
    /// How the status of a job is written.
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
        /// 402: the pool is empty.
        Exhausted = "402_exhausted",
        /// 402: a workspace has reached its limit.
        OverBudget = "402_budget",
        /// 402: the subscription has lapsed.
        Lapsed = "402_lapsed",
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
    /// When a call is charged. A job is charged when it ends, unless it is before any work.
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
    /// Whether what fails is given back: a stream with a fault in it, or a job.
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
quirk! {
    /// Where a job says what it costs. The reference knows no such field, though the credits guide
    /// promises one in every answer: all the places are invented.
    JobPrice {
        /// Nowhere.
        Silent = "silent",
        /// `usage.credits_used` in the answer to its create, and from then on.
        Create = "create",
        /// `usage.credits_used`, once it has ended.
        Get = "get",
        /// `credits_charged` at the top, once it has ended.
        Charged = "charged",
        /// `credits_used` at the top, once it has ended.
        Top = "top",
    }
}
quirk! {
    /// What a stream of Mave or of a generation says about its cost. Its format is undocumented.
    Opaque {
        /// Nothing.
        Silent = "silent",
        /// `usage.credits_used` in a last event without a name.
        Usage = "usage",
    }
}
