//! Errors as the API writes them. Statuses and codes are documented (error, authentication, credit and
//! rate limit guides) except where a line says otherwise.

use serde_json::{Value, json};

use super::quirks::{OverConcurrency, Quirks};

/// One error answer.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: u16, kind: &str, code: &str, param: Option<&str>, message: &str) -> Self {
        let body = json!({"error": {"message": message, "type": kind, "code": code, "param": param}});
        Self { status, body, retry_after: None }
    }

    pub(super) fn authentication(code: &str) -> Self {
        let message = match code {
            "missing_api_key" => "No API key provided.",
            "revoked_api_key" => "This API key has been revoked.",
            "expired_api_key" => "This API key has expired.",
            _ => "The API key is invalid.",
        };
        Self::new(401, "authentication_error", code, None, message)
    }

    pub(super) fn invalid(code: &str, param: &str, message: &str) -> Self {
        Self::new(400, "invalid_request_error", code, Some(param), message)
    }

    /// A required field is missing.
    pub(super) fn missing(param: &str) -> Self {
        Self::invalid("missing_field", param, "A required field is missing.")
    }

    /// A field is not as it should be.
    pub(super) fn not_valid(param: &str) -> Self {
        Self::invalid("invalid_field", param, "The field is not valid.")
    }

    pub(super) fn credits_exhausted() -> Self {
        Self::new(
            402,
            "insufficient_credits",
            "credits_exhausted",
            None,
            "No credits remain in this billing period.",
        )
    }

    pub(super) fn workspace_budget() -> Self {
        Self::new(
            402,
            "insufficient_credits",
            "budget_exceeded",
            None,
            "The workspace has reached its usage limit.",
        )
    }

    /// The status is documented; type and code are invented.
    pub(super) fn lapsed() -> Self {
        Self::new(
            402,
            "insufficient_credits",
            "subscription_inactive",
            None,
            "The subscription is not active.",
        )
    }

    /// The type is invented.
    pub(super) fn not_found() -> Self {
        Self::new(404, "not_found_error", "resource_not_found", None, "The resource does not exist.")
    }

    /// The whole answer is invented: nothing is documented about it.
    pub(super) fn not_completed(status: u16) -> Self {
        Self::new(
            status,
            "invalid_request_error",
            "analysis_not_completed",
            Some("id"),
            "The analysis is not completed.",
        )
    }

    pub(super) fn rate_limited(retry_after: Option<u64>) -> Self {
        let mut error = Self::new(429, "rate_limit_error", "rate_limit_exceeded", None, "Too many requests.");
        error.retry_after = retry_after;
        error
    }

    /// A cap on concurrency is reached. The caps are documented, the answer is not; the wait is invented.
    pub(super) fn over_cap(quirks: &Quirks) -> Self {
        Self::rate_limited((quirks.over_concurrency == OverConcurrency::RetryAfter).then_some(15))
    }

    /// The type is invented.
    pub(super) fn internal() -> Self {
        Self::new(500, "api_error", "internal_error", None, "Something went wrong.")
    }

    /// The type is invented.
    pub(super) fn unavailable() -> Self {
        Self::new(503, "api_error", "service_unavailable", None, "Try again later.")
    }

    /// Undocumented; what servers do.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(405, "invalid_request_error", "method_not_allowed", None, "Method not allowed.")
    }
}
