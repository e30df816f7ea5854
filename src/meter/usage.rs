//! What a call cost, as far as its response said.

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

/// How the content of a response ended, by its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// `response.completed`, `[DONE]`, the last chunk of the old generation, or a whole JSON body.
    Completed,
    /// `response.incomplete`: the answer was cut short upstream, on purpose.
    Incomplete,
    /// `response.failed`, an `error` event, or the error envelope inside a stream.
    Failed,
}

impl Finish {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
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
    /// The terminal frame, if one came. A stream without one was truncated.
    pub finish: Option<Finish>,
}
