//! Why a call is not served, and what follows from that: the status, and whether and when to come back.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::tz::TimeZone;

use super::code::Code;
use crate::credits::Credits;
use crate::credits::budget::{Standing, Whose};
use crate::credits::period::{Period, written};

/// How long a caller should wait for somebody else's call to end. When that will be is not
/// knowable; a second is short beside any chat.
const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);
/// The same where jobs are under way, whose ends are looked for so often (source: Mavera's video guide, 15 to 30 seconds).
const JOB_RETRY: Duration = Duration::from_secs(30);
/// How long a caller should wait for the ledger: it tries again every second.
const LEDGER_RETRY: Duration = Duration::from_secs(2);
/// How long a copy should wait for the call that it repeats. Without a word SDKs would come back at once.
const IN_PROGRESS_RETRY: Duration = Duration::from_secs(2);
/// The longest `Retry-After` that the OpenAI SDKs heed (source: their `_calculate_retry_timeout` and
/// `retryRequest`).
const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// How long a caller should wait for another instance to take over.
const DRAINING_RETRY: Duration = Duration::from_secs(2);

/// Why a credential that is valid lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// No team has such a member.
    Nobody,
    /// Several teams have, and nothing says which is meant.
    OfSeveral(Vec<String>),
    /// The team that is asked for is not one of those.
    NotOfThatTeam,
    /// The certificate of the connection is of a member of another team.
    AnotherTeam,
    /// No certificate of a member was shown, and none enters without.
    WithoutCertificate,
}

/// Why a call was not served. Closed: whatever goes wrong is one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named for what they hold, and `message` says it in words")]
pub enum Refusal {
    /// The body is not JSON.
    InvalidJson { detail: String },
    /// A field the schema requires is not there.
    MissingField { param: String },
    /// One of two fields must be there.
    MissingEither { param: String, other: &'static str },
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
    /// The team may not ask about this thing of another's, or may not list all of its kind.
    AnalysisNotAllowed { team: String, what: String },
    /// The token or certificate is valid, and lets nobody in.
    IdentityNotAllowed(NotAllowed),
    /// No key set is there to judge the token by.
    IdentityUnavailable { retry_after: Duration },
    /// The team may not replace its keys itself.
    KeysNotSelfService { team: String },
    /// The key cannot be replaced.
    KeyNotReplaced { reason: String },
    /// The team may not use this route.
    RouteNotAllowed { team: String, route: &'static str },
    /// No such path, and a sentence on that.
    UnknownRoute { hint: String },
    /// The path exists, for another method.
    MethodNotAllowed { allow: Vec<Method> },
    /// The call is too dear to be made twice by mistake, and nothing in it tells a retry from another call.
    RetryKeyRequired,
    /// The key names another call.
    RetryKeyReused,
    /// The call that the key names is under way, and its answer too large to be had from here.
    RetryInProgress,
    /// The call that the key names was answered and paid for, and its answer is not kept.
    RetryAnswerGone { credits: Option<Credits>, response_id: Option<String> },
    /// The call that the key names may have been answered and paid for; nobody knows.
    RetryOutcomeUnknown,
    /// The authority of the target is not the one in `Host`.
    Misdirected,
    /// Our own `Via` came back.
    LoopDetected,
    /// The head did not arrive in time.
    HeadTimeout { after: Duration },
    /// The body did not arrive in time.
    RequestTimeout { after: Duration },
    /// The caller waits to be asked for its body, and cannot be asked on HTTP/2, or expects something else.
    ExpectationFailed { reason: &'static str },
    /// The body is over the team's bound.
    BodyTooLarge { limit: usize },
    /// The body is not declared as plain JSON.
    UnsupportedMediaType { reason: &'static str },
    /// The team's requests per minute, or its questions to the gateway itself, are used up.
    RateLimited { team: String, per_minute: u32, burst: u32, of: &'static str, retry_after: Duration },
    /// Too many keys that are not valid came from the caller's address.
    TooManyBadKeys { per_minute: u32, retry_after: Duration },
    /// The team has as many calls in flight, or questions to the gateway itself, as it may.
    ConcurrencyLimited { team: String, limit: usize, of: &'static str },
    /// As many calls of a route are in flight, or jobs of it under way, as may be.
    RouteFull { team: Option<String>, route: &'static str, limit: usize, jobs: bool },
    /// The call would hold more than its caller wants it to cost.
    ReserveAboveMax { reserve: Credits, most: Credits },
    /// The organisation's window at the upstream is full.
    UpstreamWindowFull {
        per_minute: u32,
        position: usize,
        waited: Duration,
        can_wait: Duration,
        retry_after: Duration,
    },
    /// The upstream has asked to wait.
    UpstreamWindowClosed { retry_after: Duration },
    /// As many calls of the team wait for their turn as may.
    QueueFull { team: String, waiting: usize, retry_after: Duration },
    /// Credits that would do are held for other calls.
    CreditsHeld { whose: String, left: Credits, held: Credits, reserve: Credits },
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
    /// The organisation's pool at the upstream is empty.
    UpstreamCreditsExhausted { resets: Option<String> },
    /// A limit that the organisation has set for a workspace or a project of its own, at the upstream, is reached.
    UpstreamWorkspaceLimit,
    /// The subscription at the upstream has lapsed.
    UpstreamSubscriptionLapsed,
    /// No connection could be made for a while; nothing was sent.
    UpstreamDown { retry_after: Duration },
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

impl Refusal {
    /// The refusal of a call that needs `reserve` of a budget that stands like this: for good, or for as long as other calls
    /// hold what it needs.
    #[must_use]
    pub fn of_budget(standing: &Standing, reserve: Credits, zone: &TimeZone) -> Self {
        let Standing { whose, budget, tally, resets } = standing;
        let whose = match whose {
            Whose::Organisation => "The organisation".to_owned(),
            Whose::Team(name) => format!("Team {name}"),
            Whose::Key(id) => format!("Key {id}"),
            Whose::Route { team, label, .. } => format!("Team {team}, on {label},"),
        };
        if tally.would_fit_without_holds(reserve) {
            return Self::CreditsHeld { whose, left: tally.left(), held: tally.held, reserve };
        }
        Self::BudgetExceeded {
            whose,
            period: budget.period,
            budget: tally.whole,
            used: tally.used,
            held: tally.held,
            reserve,
            resets: written(*resets, zone),
        }
    }

    /// The refusal's stable name.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidJson { .. } => Code::InvalidJson,
            Self::MissingField { .. } | Self::MissingEither { .. } => Code::MissingField,
            Self::InvalidField { .. } => Code::InvalidField,
            Self::InvalidRequest { .. } => Code::InvalidRequest,
            Self::UnsupportedCoding => Code::UnsupportedTransferCoding,
            Self::MissingApiKey => Code::MissingApiKey,
            Self::InvalidApiKey => Code::InvalidApiKey,
            Self::AnalysisNotAllowed { .. } => Code::AnalysisNotAllowed,
            Self::RouteNotAllowed { .. } | Self::KeysNotSelfService { .. } => Code::RouteNotAllowed,
            Self::KeyNotReplaced { .. } => Code::KeyNotReplaced,
            Self::IdentityNotAllowed(_) => Code::IdentityNotAllowed,
            Self::IdentityUnavailable { .. } => Code::IdentityUnavailable,
            Self::UnknownRoute { .. } => Code::UnknownRoute,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::RetryKeyRequired => Code::IdempotencyKeyRequired,
            Self::RetryKeyReused => Code::IdempotencyKeyReused,
            Self::RetryInProgress => Code::IdempotencyInProgress,
            Self::RetryAnswerGone { .. } => Code::IdempotencyAnswerGone,
            Self::RetryOutcomeUnknown => Code::IdempotencyOutcomeUnknown,
            Self::Misdirected => Code::MisdirectedRequest,
            Self::LoopDetected => Code::LoopDetected,
            Self::HeadTimeout { .. } | Self::RequestTimeout { .. } => Code::RequestTimeout,
            Self::ExpectationFailed { .. } => Code::ExpectationFailed,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::UnsupportedMediaType { .. } => Code::UnsupportedMediaType,
            Self::RateLimited { .. } | Self::TooManyBadKeys { .. } => Code::RateLimitExceeded,
            Self::RouteFull { jobs: true, .. } => Code::JobLimitReached,
            Self::ConcurrencyLimited { .. } | Self::RouteFull { .. } => Code::ConcurrencyLimitExceeded,
            Self::ReserveAboveMax { .. } => Code::ReserveAboveMax,
            Self::UpstreamWindowFull { .. } | Self::UpstreamWindowClosed { .. } => Code::UpstreamWindowFull,
            Self::QueueFull { .. } => Code::QueueFull,
            Self::BudgetExceeded { .. } => Code::BudgetExceeded,
            Self::CreditsHeld { .. } => Code::CreditsHeld,
            Self::UpstreamCreditsExhausted { .. } | Self::UpstreamWorkspaceLimit => {
                Code::UpstreamCreditsExhausted
            }
            Self::UpstreamSubscriptionLapsed => Code::UpstreamSubscriptionLapsed,
            Self::UpstreamDown { .. } => Code::UpstreamDown,
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
            Code::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Code::IdempotencyInProgress
            | Code::IdempotencyAnswerGone
            | Code::IdempotencyOutcomeUnknown
            | Code::KeyNotReplaced => StatusCode::CONFLICT,
            Code::UnsupportedTransferCoding => StatusCode::NOT_IMPLEMENTED,
            Code::MissingApiKey | Code::InvalidApiKey => StatusCode::UNAUTHORIZED,
            Code::AnalysisNotAllowed | Code::RouteNotAllowed | Code::IdentityNotAllowed => {
                StatusCode::FORBIDDEN
            }
            Code::UnknownRoute => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::MisdirectedRequest => StatusCode::MISDIRECTED_REQUEST,
            Code::LoopDetected => StatusCode::LOOP_DETECTED,
            Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Code::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::RateLimitExceeded
            | Code::ConcurrencyLimitExceeded
            | Code::JobLimitReached
            | Code::UpstreamWindowFull
            | Code::QueueFull
            | Code::CreditsHeld => StatusCode::TOO_MANY_REQUESTS,
            Code::UpstreamUnreachable | Code::UpstreamProtocolError | Code::UpstreamCredentialsRejected => {
                StatusCode::BAD_GATEWAY
            }
            Code::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Code::BudgetExceeded
            | Code::ReserveAboveMax
            | Code::UpstreamCreditsExhausted
            | Code::UpstreamSubscriptionLapsed => StatusCode::PAYMENT_REQUIRED,
            Code::LedgerUnavailable | Code::IdentityUnavailable | Code::UpstreamDown | Code::Draining => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Whether the call had been sent on, or was about to be, when the upstream failed it.
    #[must_use]
    pub const fn is_upstream_failure(&self) -> bool {
        matches!(self.status(), StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
    }

    pub(super) fn kind(&self) -> &'static str {
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

    pub(super) fn param(&self) -> Option<&str> {
        match self {
            Self::MissingField { param }
            | Self::MissingEither { param, .. }
            | Self::InvalidField { param, .. } => Some(param),
            _ => None,
        }
    }

    /// How long to wait before the same call can be served.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. }
            | Self::TooManyBadKeys { retry_after, .. }
            | Self::UpstreamWindowFull { retry_after, .. }
            | Self::UpstreamWindowClosed { retry_after }
            | Self::UpstreamDown { retry_after }
            | Self::IdentityUnavailable { retry_after }
            | Self::QueueFull { retry_after, .. } => Some(*retry_after),
            Self::ConcurrencyLimited { .. }
            | Self::RouteFull { jobs: false, .. }
            | Self::CreditsHeld { .. } => Some(CONCURRENCY_RETRY),
            Self::RouteFull { jobs: true, .. } => Some(JOB_RETRY),
            Self::RetryInProgress => Some(IN_PROGRESS_RETRY),
            Self::LedgerUnavailable => Some(LEDGER_RETRY),
            Self::Draining => Some(DRAINING_RETRY),
            _ => None,
        }
    }

    /// `false` where a retry by the caller's SDK could be charged twice: the upstream may have done
    /// the work already, and it knows no idempotency keys. Also where no retry can help before a budget
    /// resets, or before a time that SDKs do not wait for: they would come back at once, and in vain.
    pub(super) fn is_worth_retrying(&self) -> bool {
        let too_long = self.retry_after().is_some_and(|wait| wait > LONGEST_RETRY);
        !too_long
            && !matches!(
                self,
                Self::UpstreamProtocol
                    | Self::UpstreamTimeout { .. }
                    | Self::UpstreamCredentials
                    | Self::UpstreamCreditsExhausted { .. }
                    | Self::UpstreamWorkspaceLimit
                    | Self::UpstreamSubscriptionLapsed
                    | Self::BudgetExceeded { .. }
                    | Self::ReserveAboveMax { .. }
                    | Self::RetryKeyReused
                    | Self::KeyNotReplaced { .. }
                    | Self::RetryAnswerGone { .. }
                    | Self::RetryOutcomeUnknown
            )
    }

    /// Whether the connection ends with it, on HTTP/1.1: two hops may not agree on what such a request was or
    /// where it ended, so what is behind it is nobody's; or its end has been waited for in vain.
    pub(super) const fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::InvalidRequest { .. }
                | Self::UnsupportedCoding
                | Self::Misdirected
                | Self::ExpectationFailed { .. }
                | Self::HeadTimeout { .. }
                | Self::RequestTimeout { .. }
        )
    }
}
