//! From a refusal to its response, in the upstream's own envelope.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use super::message::listed;
use super::refusal::Refusal;
use crate::clock::{Clock, ceil_seconds};

const X_GATEWAY_ERROR: HeaderName = HeaderName::from_static("x-gateway-error");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Refusal {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_refusal_says_whose_limit_how_much_and_when() {
        let wall = "2030-01-01T00:00:00Z".parse().unwrap();
        let refusal = Refusal::RateLimited {
            team: "growth".into(),
            per_minute: 60,
            burst: 10,
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
            "Team growth has used its 10 requests at once; it may make 60 a minute. Try again in 2 seconds."
        );
    }
}
