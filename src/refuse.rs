//! Every refusal the gateway can give: its status, code, words and headers, and the one place that
//! turns it into a response.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::clock::{Clock, ceil_seconds};
use crate::credits::Credits;
use crate::credits::budget::{Standing, Whose};
use crate::credits::period::Period;

/// Why a call was not served. Closed: whatever goes wrong is one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named for what they hold, and `message` says it in words")]
pub enum Refusal {
    /// The body is not JSON.
    InvalidJson { detail: String },
    /// A field the schema requires is not there.
    MissingField { param: String },
    /// A field is there and cannot be right.
    InvalidField { param: String, reason: String },
    /// The head of the request is one that a gateway must not forward.
    InvalidRequest { reason: &'static str },
    /// A transfer coding that is not implemented.
    UnsupportedCoding,
    /// No key was sent.
    MissingApiKey,
    /// The key is unknown, wrong, expired or revoked; deliberately not said which.
    InvalidApiKey,
    /// The team may not ask about this analysis, or may not list analyses.
    AnalysisNotAllowed { team: String, what: String },
    /// No such path; what there is.
    UnknownRoute { served: &'static str },
    /// The path exists, for another method.
    MethodNotAllowed { allow: Vec<Method> },
    /// The call is too dear to be made twice by mistake, and nothing in it tells a retry from another call.
    RetryKeyRequired,
    /// The authority of the target is not the one in `Host`.
    Misdirected,
    /// Our own `Via` came back.
    LoopDetected,
    /// The body did not arrive in time.
    RequestTimeout { after: Duration },
    /// The body is over the team's bound.
    BodyTooLarge { limit: usize },
    /// The body is not declared as plain JSON.
    UnsupportedMediaType { reason: &'static str },
    /// The team's requests per minute are used up.
    RateLimited { team: String, per_minute: u32, retry_after: Duration },
    /// The team has as many calls in flight as it may.
    ConcurrencyLimited { team: String, limit: usize },
    /// The organisation's window at the upstream is full.
    UpstreamWindowFull { per_minute: u32, retry_after: Duration },
    /// A budget has not enough left for this call.
    BudgetExceeded {
        whose: String,
        period: Period,
        budget: Credits,
        used: Credits,
        held: Credits,
        reserve: Credits,
        resets: String,
    },
    /// The ledger cannot write, so nothing is sent.
    LedgerUnavailable,
    /// No connection could be made; nothing was sent.
    UpstreamUnreachable,
    /// What came back was not an HTTP response one may forward.
    UpstreamProtocol,
    /// The upstream refused the organisation's key.
    UpstreamCredentials,
    /// The upstream did not answer in time.
    UpstreamTimeout { after: Duration },
    /// The gateway is shutting down.
    Draining,
}

/// The stable name of a refusal: `error.code`, `x-gateway-error` and the label in metrics.
macro_rules! codes {
    ($($name:ident => $text:literal),+ $(,)?) => {
        /// Machine-readable name of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    UnsupportedTransferCoding => "unsupported_transfer_coding",
    MissingApiKey => "missing_api_key",
    InvalidApiKey => "invalid_api_key",
    AnalysisNotAllowed => "analysis_not_allowed",
    UnknownRoute => "unknown_route",
    MethodNotAllowed => "method_not_allowed",
    MisdirectedRequest => "misdirected_request",
    LoopDetected => "loop_detected",
    RequestTimeout => "request_timeout",
    BodyTooLarge => "body_too_large",
    UnsupportedMediaType => "unsupported_media_type",
    RateLimitExceeded => "rate_limit_exceeded",
    ConcurrencyLimitExceeded => "concurrency_limit_exceeded",
    UpstreamWindowFull => "upstream_window_full",
    BudgetExceeded => "budget_exceeded",
    LedgerUnavailable => "ledger_unavailable",
    UpstreamUnreachable => "upstream_unreachable",
    UpstreamProtocolError => "upstream_protocol_error",
    UpstreamCredentialsRejected => "upstream_credentials_rejected",
    UpstreamTimeout => "upstream_timeout",
    Draining => "draining",
}

/// How long a caller should wait for somebody else's call to end. When that will be is not
/// knowable; a second is short beside any chat.
const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);
/// How long a caller should wait for the ledger: it tries again every second.
const LEDGER_RETRY: Duration = Duration::from_secs(2);
/// How long a caller should wait for another instance to take over.
const DRAINING_RETRY: Duration = Duration::from_secs(2);

const X_GATEWAY_ERROR: HeaderName = HeaderName::from_static("x-gateway-error");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Refusal {
    /// The refusal of a call that needs `reserve` of a budget that stands like this.
    #[must_use]
    pub fn of_budget(standing: &Standing, reserve: Credits, zone: &TimeZone) -> Self {
        let Standing { whose, budget, granted, used, held, resets } = standing;
        Self::BudgetExceeded {
            whose: match whose {
                Whose::Organisation => "The organisation".to_owned(),
                Whose::Team(name) => format!("Team {name}"),
                Whose::Key(id) => format!("Key {id}"),
            },
            period: budget.period,
            budget: budget.credits + *granted,
            used: *used,
            held: *held,
            reserve,
            resets: format!("{:.0}", resets.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z")),
        }
    }

    /// The refusal's stable name.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidJson { .. } => Code::InvalidJson,
            Self::MissingField { .. } => Code::MissingField,
            Self::InvalidField { .. } => Code::InvalidField,
            Self::InvalidRequest { .. } => Code::InvalidRequest,
            Self::UnsupportedCoding => Code::UnsupportedTransferCoding,
            Self::MissingApiKey => Code::MissingApiKey,
            Self::InvalidApiKey => Code::InvalidApiKey,
            Self::AnalysisNotAllowed { .. } => Code::AnalysisNotAllowed,
            Self::UnknownRoute { .. } => Code::UnknownRoute,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::RetryKeyRequired => Code::IdempotencyKeyRequired,
            Self::Misdirected => Code::MisdirectedRequest,
            Self::LoopDetected => Code::LoopDetected,
            Self::RequestTimeout { .. } => Code::RequestTimeout,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::UnsupportedMediaType { .. } => Code::UnsupportedMediaType,
            Self::RateLimited { .. } => Code::RateLimitExceeded,
            Self::ConcurrencyLimited { .. } => Code::ConcurrencyLimitExceeded,
            Self::UpstreamWindowFull { .. } => Code::UpstreamWindowFull,
            Self::BudgetExceeded { .. } => Code::BudgetExceeded,
            Self::LedgerUnavailable => Code::LedgerUnavailable,
            Self::UpstreamUnreachable => Code::UpstreamUnreachable,
            Self::UpstreamProtocol => Code::UpstreamProtocolError,
            Self::UpstreamCredentials => Code::UpstreamCredentialsRejected,
            Self::UpstreamTimeout { .. } => Code::UpstreamTimeout,
            Self::Draining => Code::Draining,
        }
    }

    /// The HTTP status (RFC 9110 §15).
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self.code() {
            Code::InvalidJson
            | Code::MissingField
            | Code::InvalidField
            | Code::InvalidRequest
            | Code::IdempotencyKeyRequired => StatusCode::BAD_REQUEST,
            Code::UnsupportedTransferCoding => StatusCode::NOT_IMPLEMENTED,
            Code::MissingApiKey | Code::InvalidApiKey => StatusCode::UNAUTHORIZED,
            Code::AnalysisNotAllowed => StatusCode::FORBIDDEN,
            Code::UnknownRoute => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::MisdirectedRequest => StatusCode::MISDIRECTED_REQUEST,
            Code::LoopDetected => StatusCode::LOOP_DETECTED,
            Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::RateLimitExceeded | Code::ConcurrencyLimitExceeded | Code::UpstreamWindowFull => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Code::UpstreamUnreachable | Code::UpstreamProtocolError | Code::UpstreamCredentialsRejected => {
                StatusCode::BAD_GATEWAY
            }
            Code::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Code::BudgetExceeded => StatusCode::PAYMENT_REQUIRED,
            Code::LedgerUnavailable | Code::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the call had been sent on, or was about to be, when the upstream failed it.
    #[must_use]
    pub const fn is_upstream_failure(&self) -> bool {
        matches!(self.status(), StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
    }

    fn kind(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::PAYMENT_REQUIRED => "insufficient_credits",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            _ if self.is_upstream_failure() => "upstream_error",
            _ => "invalid_request_error",
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::MissingField { param } | Self::InvalidField { param, .. } => Some(param),
            _ => None,
        }
    }

    /// How long to wait before the same call can be served.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::UpstreamWindowFull { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::ConcurrencyLimited { .. } => Some(CONCURRENCY_RETRY),
            Self::LedgerUnavailable => Some(LEDGER_RETRY),
            Self::Draining => Some(DRAINING_RETRY),
            _ => None,
        }
    }

    /// `false` where a retry by the caller's SDK could be charged twice: the upstream may have done
    /// the work already, and it knows no idempotency keys. Also where no retry can help before a budget
    /// resets.
    const fn is_worth_retrying(&self) -> bool {
        !matches!(
            self,
            Self::UpstreamProtocol
                | Self::UpstreamTimeout { .. }
                | Self::UpstreamCredentials
                | Self::BudgetExceeded { .. }
        )
    }

    /// Whether the connection ends with it, on HTTP/1.1: two hops may not agree on what such a request was or
    /// where it ended, so what is behind it is nobody's; or its end has been waited for in vain.
    const fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::InvalidRequest { .. }
                | Self::UnsupportedCoding
                | Self::Misdirected
                | Self::RequestTimeout { .. }
        )
    }

    /// One sentence for the person who reads it, with the numbers in it.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::InvalidJson { detail } => format!("The request body is not valid JSON: {detail}."),
            Self::MissingField { param } => format!("The field `{param}` is required."),
            Self::InvalidField { param, reason } => format!("The field `{param}` {reason}."),
            Self::InvalidRequest { reason } => format!("The request was not forwarded: {reason}."),
            Self::UnsupportedCoding => "The only transfer coding accepted is `chunked`.".into(),
            Self::MissingApiKey => "No API key was sent. Send your team's gateway key as `Authorization: Bearer mvgw_…`.".into(),
            Self::InvalidApiKey => "The API key is not valid here. Use your team's gateway key (`mvgw_…`); it may have expired or been replaced.".into(),
            Self::AnalysisNotAllowed { team, what } => format!("Team {team} may not {what}. Ask the gateway's operators to extend `analyses`."),
            Self::UnknownRoute { served } => format!("There is nothing at this path. The gateway serves {served}."),
            Self::MethodNotAllowed { allow } => format!("This path accepts {} only.", listed(allow)),
            Self::RetryKeyRequired => "This call is too dear to be made twice by mistake: send an `Idempotency-Key`, a new one for each call and the same for its retries.".into(),
            Self::Misdirected => "The request target names another host than the Host field.".into(),
            Self::LoopDetected => "The request has already passed through this gateway: its upstream base URL points back at itself.".into(),
            Self::RequestTimeout { after } => format!("The request body did not arrive within {}.", seconds(*after)),
            Self::BodyTooLarge { limit } => format!("The request body is larger than {}, your team's limit.", bytesize::ByteSize(*limit as u64).display().iec()),
            Self::UnsupportedMediaType { reason } => format!("{reason}."),
            Self::RateLimited { team, per_minute, retry_after } => format!("Team {team} has used its {per_minute} requests per minute. Try again in {}.", seconds(*retry_after)),
            Self::ConcurrencyLimited { team, limit } => format!("Team {team} has {limit} calls in flight, as many as it may. Try again when one has ended."),
            Self::UpstreamWindowFull { per_minute, retry_after } => format!("The organisation has used its {per_minute} upstream requests per minute, shared by all teams. Try again in {}.", seconds(*retry_after)),
            Self::BudgetExceeded { whose, period, budget, used, held, reserve, resets } => format!(
                "{whose} has used {used} of {budget} credits of this {}, and {held} are held for calls in flight; \
                 a call needs {reserve} to be free. The budget resets at {resets}.",
                period.noun()
            ),
            Self::LedgerUnavailable => {
                "The gateway cannot write its ledger, so nothing was sent and nothing was charged. Try again.".into()
            }
            Self::UpstreamUnreachable => "The Mavera API could not be reached. Nothing was sent and nothing was charged.".into(),
            Self::UpstreamProtocol => "The Mavera API did not give a usable answer. The call may have been charged.".into(),
            Self::UpstreamCredentials => "The Mavera API refused the gateway's own key. Your key is fine; the gateway's operators have been alerted.".into(),
            Self::UpstreamTimeout { after } => format!("The Mavera API did not answer within {}. The call may have been charged.", seconds(*after)),
            Self::Draining => "This gateway is shutting down. Try again.".into(),
        }
    }

    /// The response. `x-request-id` is added where every response gets it.
    #[must_use]
    pub fn response(&self, clock: Clock) -> Response<Bytes> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Body<'a>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            message: String,
            r#type: &'a str,
            code: &'a str,
            param: Option<&'a str>,
        }
        let code = self.code().as_str();
        let error = Body { message: self.message(), r#type: self.kind(), code, param: self.param() };
        let body = serde_json::to_vec(&Envelope { error }).expect("strings serialise");
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_GATEWAY_ERROR, HeaderValue::from_static(code));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(header::ALLOW, HeaderValue::from_str(&listed(allow)).expect("methods are tokens"));
        }
        if self.ends_connection() {
            // Where it means nothing, on HTTP/2, hyper leaves it out.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !self.is_worth_retrying() {
            headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(wait) = self.retry_after() {
            let wait = ceil_seconds(wait).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
            if let Some((policy, quota)) = self.policy() {
                let text = |text: String| HeaderValue::from_str(&text).expect("digits and visible ASCII");
                let name = policy.split(';').next().unwrap_or_default();
                headers.insert(RATELIMIT_POLICY, text(policy.clone()));
                headers.insert(RATELIMIT, text(format!("{name};r=0;t={wait}")));
                headers.insert(X_RATELIMIT_LIMIT, HeaderValue::from(quota));
                headers.insert(X_RATELIMIT_REMAINING, HeaderValue::from(0));
                let reset = clock.wall().as_second() + i64::try_from(wait).unwrap_or(i64::MAX / 2);
                headers.insert(X_RATELIMIT_RESET, HeaderValue::from(reset));
            }
        }
        response
    }

    /// The limit that was hit, as draft-ietf-httpapi-ratelimit-headers writes a policy, and its quota.
    fn policy(&self) -> Option<(String, u64)> {
        match self {
            Self::RateLimited { per_minute, .. } => {
                Some((format!("\"team\";q={per_minute};w=60"), u64::from(*per_minute)))
            }
            Self::ConcurrencyLimited { limit, .. } => {
                Some((format!("\"concurrency\";q={limit};qu=\"concurrent-requests\""), *limit as u64))
            }
            Self::UpstreamWindowFull { per_minute, .. } => {
                Some((format!("\"upstream\";q={per_minute};w=60"), u64::from(*per_minute)))
            }
            _ => None,
        }
    }
}

/// As `Allow` has it (RFC 9110 §10.2.1).
fn listed(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

fn seconds(duration: Duration) -> String {
    match ceil_seconds(duration).max(1) {
        1 => "1 second".to_owned(),
        n => format!("{n} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_refusal_says_whose_limit_how_much_and_when() {
        let wall = "2030-01-01T00:00:00Z".parse().unwrap();
        let refusal = Refusal::RateLimited {
            team: "growth".into(),
            per_minute: 60,
            retry_after: Duration::from_millis(1200),
        };
        let response = refusal.response(Clock::starting_at(wall));
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(response.status(), 429);
        assert_eq!(header("retry-after"), "2");
        assert_eq!(header("ratelimit-policy"), "\"team\";q=60;w=60");
        assert_eq!(header("ratelimit"), "\"team\";r=0;t=2");
        assert_eq!(header("x-ratelimit-reset"), (wall.as_second() + 2).to_string());
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        assert!(body["error"]["param"].is_null());
        assert_eq!(
            body["error"]["message"],
            "Team growth has used its 60 requests per minute. Try again in 2 seconds."
        );
    }

    #[test]
    fn codes_are_distinct() {
        let distinct: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(distinct.len(), Code::ALL.len());
    }
}
