//! What a call cost, as far as its response said.

use serde::{Deserialize, Serialize};

use crate::credits::Credits;

/// The figures of one `usage` object. A field the upstream did not send, or sent as something that
/// cannot be booked, is `None`; zero is a figure like any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `credits_used`: the same name in both generations of the API.
    pub credits: Option<Credits>,
    /// `input_tokens` (Responses) or `prompt_tokens` (Chat Completions).
    pub input_tokens: Option<u64>,
    /// `output_tokens` (Responses) or `completion_tokens` (Chat Completions).
    pub output_tokens: Option<u64>,
}

/// Where in an answer its cost stands (source: Mavera's API reference, page by page).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figures {
    /// `usage.credits_used`; in a stream that of its last event.
    Usage,
    /// The same. What its event streams are made of is not documented: one that is whole has come to its end.
    Opaque,
    /// `credits_charged`, beside everything else.
    Charged,
    /// Of a job no page shows one and a guide promises one: wherever other answers have it, `credits_used` beside everything
    /// else included.
    Job,
}

/// How far what is told of has come, by its `status`. Pages disagree on how the words are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// `completed`.
    Completed,
    /// `failed`.
    Failed,
    /// `in_progress`, `queued`: an answer that is made in the background.
    UnderWay,
    /// Any other word.
    Other,
}

impl Status {
    pub(super) fn of(word: &[u8]) -> Self {
        for (known, status) in [
            (&b"completed"[..], Self::Completed),
            (b"failed", Self::Failed),
            (b"in_progress", Self::UnderWay),
            (b"queued", Self::UnderWay),
        ] {
            if word.eq_ignore_ascii_case(known) {
                return status;
            }
        }
        Self::Other
    }

    /// Whether nothing more becomes of it. A word that nobody knows says no such thing.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// How the content of a response ended, by its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// `response.completed`, `[DONE]`, the last chunk of the old generation, or a whole JSON body.
    Completed,
    /// `response.incomplete`: the answer was cut short upstream, on purpose.
    Incomplete,
    /// `response.failed`, an `error` event, or the error envelope inside a stream.
    Failed,
    /// It has not ended: the answer is made in the background, and what it costs is not known yet.
    UnderWay,
}

impl Finish {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::UnderWay => "under_way",
        }
    }
}

/// Everything the meter read from one response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The last figures that stood at a documented place.
    pub usage: Usage,
    /// The upstream's own id of the response (`resp_…` or `chatcmpl_…`).
    pub response_id: Option<String>,
    /// The id of what the answer goes with: a thread, or a file that was not there before.
    pub beside: Option<String>,
    /// How far what it tells of has come.
    pub status: Option<Status>,
    /// The terminal frame, if one came. A stream without one was truncated.
    pub finish: Option<Finish>,
}
