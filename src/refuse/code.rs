//! The stable names of refusals.

/// The stable name of a refusal: `error.code`, `x-gateway-error` and the label in metrics.
macro_rules! codes {
    ($($name:ident => $text:literal),+ $(,)?) => {
        /// Machine-readable name of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`")] $name),+
        }

        impl Code {
            /// All of them, for metrics that exist from the start.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As it is sent.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }
        }
    };
}

codes! {
    InvalidJson => "invalid_json",
    MissingField => "missing_field",
    InvalidField => "invalid_field",
    InvalidRequest => "invalid_request",
    IdempotencyKeyRequired => "idempotency_key_required",
    IdempotencyKeyReused => "idempotency_key_reused",
    IdempotencyInProgress => "idempotency_in_progress",
    IdempotencyAnswerGone => "idempotency_answer_gone",
    IdempotencyOutcomeUnknown => "idempotency_outcome_unknown",
    UnsupportedTransferCoding => "unsupported_transfer_coding",
    MissingApiKey => "missing_api_key",
    InvalidApiKey => "invalid_api_key",
    AnalysisNotAllowed => "analysis_not_allowed",
    RouteNotAllowed => "route_not_allowed",
    KeyNotReplaced => "key_not_replaced",
    IdentityNotAllowed => "identity_not_allowed",
    IdentityUnavailable => "identity_unavailable",
    UnknownRoute => "unknown_route",
    MethodNotAllowed => "method_not_allowed",
    MisdirectedRequest => "misdirected_request",
    LoopDetected => "loop_detected",
    RequestTimeout => "request_timeout",
    ExpectationFailed => "expectation_failed",
    BodyTooLarge => "body_too_large",
    UnsupportedMediaType => "unsupported_media_type",
    RateLimitExceeded => "rate_limit_exceeded",
    ConcurrencyLimitExceeded => "concurrency_limit_exceeded",
    JobLimitReached => "job_limit_reached",
    UpstreamWindowFull => "upstream_window_full",
    QueueFull => "queue_full",
    BudgetExceeded => "budget_exceeded",
    ReserveAboveMax => "reserve_above_max",
    CreditsHeld => "credits_held",
    UpstreamCreditsExhausted => "upstream_credits_exhausted",
    UpstreamSubscriptionLapsed => "upstream_subscription_lapsed",
    UpstreamDown => "upstream_down",
    LedgerUnavailable => "ledger_unavailable",
    UpstreamUnreachable => "upstream_unreachable",
    UpstreamProtocolError => "upstream_protocol_error",
    UpstreamCredentialsRejected => "upstream_credentials_rejected",
    UpstreamTimeout => "upstream_timeout",
    Draining => "draining",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct() {
        let distinct: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(distinct.len(), Code::ALL.len());
    }
}
