//! How a body breaks off.

use std::time::Duration;

/// Why a body broke off. The caller sees a message that did not end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream closed, reset or garbled it.
    #[error("the upstream's answer broke off: {0}")]
    Upstream(#[from] hyper::Error),
    /// It broke off for all who were given it.
    #[error("{0}")]
    Shared(std::sync::Arc<str>),
    /// The upstream fell silent, or went on for too long.
    #[error("the upstream's answer did not go on within {0:?}")]
    TimedOut(Duration),
}
