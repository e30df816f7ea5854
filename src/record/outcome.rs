//! How a call ended, in one word.

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream's answer was passed on whole.
    Completed,
    /// The answer broke off, or a stream ended without its terminal frame.
    Truncated,
    /// The caller left before the end. What the answer cost may be known all the same.
    ClientGone,
    /// The gateway refused the call.
    Refused,
    /// The upstream could not be reached or gave no usable answer.
    Failed,
    /// The gateway shut down before the call had ended.
    Cut,
}

impl Outcome {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Truncated => "truncated",
            Self::ClientGone => "client_gone",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cut => "cut",
        }
    }
}
