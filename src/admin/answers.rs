//! What operators are answered with: documents, plain words, and why there is no data.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::{Value, json};

/// Why an operator gets no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    TokenRequired,
    TokenInvalid,
    NotLoopback,
    Parameter(String),
    Unreadable,
    /// Nobody may change keys over this listener.
    KeysNotEnabled,
    /// Nothing shown lets anybody change keys.
    NoOperator,
    /// What is shown lets nobody change keys.
    NotAnOperator,
    /// The token that is shown is valid, and of no operator.
    OfNobody,
    /// A page of another site asks.
    CrossSite,
    /// What is to be done to a key cannot be.
    Key {
        status: StatusCode,
        code: &'static str,
        param: Option<&'static str>,
        message: String,
    },
}

impl Denied {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::TokenRequired => "token_required",
            Self::TokenInvalid => "token_invalid",
            Self::NotLoopback => "loopback_only",
            Self::Parameter(_) => "invalid_parameter",
            Self::Unreadable => "ledger_unreadable",
            Self::KeysNotEnabled => "keys_not_enabled",
            Self::NoOperator => "keys_token_required",
            Self::NotAnOperator => "keys_token_invalid",
            Self::OfNobody => "identity_not_allowed",
            Self::CrossSite => "cross_site",
            Self::Key { code, .. } => code,
        }
    }

    const fn param(&self) -> Option<&'static str> {
        match self {
            Self::Key { param, .. } => *param,
            _ => None,
        }
    }

    /// What stands in an answer under `error`.
    pub(super) fn error(&self) -> Value {
        let (_, kind, message) = self.told();
        json!({ "message": message, "type": kind, "code": self.code(), "param": self.param() })
    }

    /// Status, type and message.
    fn told(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Self::TokenRequired => (
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "This gateway wants its admin token: send it as `Authorization: Bearer …`.",
            ),
            Self::TokenInvalid => (
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "That is not this gateway's admin token. It may have been replaced.",
            ),
            Self::NotLoopback => (
                StatusCode::FORBIDDEN,
                "permission_error",
                "Without a token, credits are shown on the gateway's own machine alone, at http://localhost or a loopback address. Set `admin.token` in the configuration, or forward the port: ssh -L 9464:localhost:9464 HOST.",
            ),
            Self::Parameter(message) => (StatusCode::BAD_REQUEST, "invalid_request_error", message.as_str()),
            Self::KeysNotEnabled => (
                StatusCode::FORBIDDEN,
                "permission_error",
                "Keys are changed here by nobody: set `admin.keys_token` or `admin.operators` in the configuration, or use the command line (`mavera-gateway key`).",
            ),
            Self::NoOperator => (
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "Changing keys wants the keys token, or an operator's token: send it as `Authorization: Bearer …`.",
            ),
            Self::NotAnOperator => (
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "That is not this gateway's keys token, and no operator's. The token of the credits page is another one.",
            ),
            Self::OfNobody => (
                StatusCode::FORBIDDEN,
                "permission_error",
                "Your token is valid, and no operator's: `admin.operators` says whose may change keys.",
            ),
            Self::CrossSite => {
                (StatusCode::FORBIDDEN, "permission_error", "Keys are not changed by pages of other sites.")
            }
            Self::Key { status, message, .. } => (
                *status,
                if status.is_server_error() { "overloaded_error" } else { "invalid_request_error" },
                message.as_str(),
            ),
            Self::Unreadable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded_error",
                "The ledger cannot be read at the moment; the gateway's log says why.",
            ),
        }
    }

    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let status = self.told().0;
        let mut response = document(&json!({ "error": self.error() }));
        *response.status_mut() = status;
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub(super) fn document(content: &impl Serialize) -> Response<Full<Bytes>> {
    // Its types have no map with keys that are not text, which is all that could fail.
    let text = serde_json::to_vec(content).unwrap_or_default();
    let mut response = Response::new(Full::from(text));
    let fields = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
