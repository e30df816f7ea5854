//! From a refusal to its response, in the upstream's own envelope.

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderName, HeaderValue};
use serde::Serialize;

use super::message::listed;
use super::refusal::Refusal;
use crate::clock::ceil_seconds;

const X_GATEWAY_ERROR: HeaderName = HeaderName::from_static("x-gateway-error");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

impl Refusal {
    /// The response. `x-request-id` is added where every response gets it.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
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
        if let Some(challenge) = self.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
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
            if let Some(policy) = self.policy() {
                let text = |text: String| HeaderValue::from_str(&text).expect("digits and visible ASCII");
                let name = policy.split(';').next().unwrap_or_default();
                headers.insert(RATELIMIT_POLICY, text(policy.clone()));
                headers.insert(RATELIMIT, text(format!("{name};r=0;t={wait}")));
            }
        }
        response
    }

    /// What credential would do (RFC 6750 §3): one description for all that are not valid.
    const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::MissingApiKey => Some("Bearer realm=\"mavera-gateway\""),
            Self::InvalidApiKey => Some(
                "Bearer realm=\"mavera-gateway\", error=\"invalid_token\", error_description=\"The key or token is not valid here\"",
            ),
            Self::IdentityNotAllowed(_) => {
                Some("Bearer realm=\"mavera-gateway\", error=\"insufficient_scope\"")
            }
            _ => None,
        }
    }

    /// The limit that was hit, as draft-ietf-httpapi-ratelimit-headers writes a policy.
    fn policy(&self) -> Option<String> {
        match self {
            Self::RateLimited { per_minute, of, .. } => {
                let whose = if *of == "requests" { "team" } else { "questions" };
                Some(format!("\"{whose}\";q={per_minute};w=60"))
            }
            Self::ConcurrencyLimited { limit, .. } => {
                Some(format!("\"concurrency\";q={limit};qu=\"concurrent-requests\""))
            }
            Self::UpstreamWindowFull { per_minute, .. } => Some(format!("\"upstream\";q={per_minute};w=60")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_refusal_says_whose_limit_how_much_and_when() {
        let refusal = Refusal::RateLimited {
            team: "growth".into(),
            per_minute: 60,
            burst: 10,
            of: "requests",
            retry_after: Duration::from_millis(1200),
        };
        let response = refusal.response();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(response.status(), 429);
        assert_eq!(header("retry-after"), "2");
        assert_eq!(header("ratelimit-policy"), "\"team\";q=60;w=60");
        assert_eq!(header("ratelimit"), "\"team\";r=0;t=2");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        assert!(body["error"]["param"].is_null());
        assert_eq!(
            body["error"]["message"],
            "Team growth has used its 10 requests at once; it may make 60 a minute. Try again in 2 seconds."
        );
    }
}
