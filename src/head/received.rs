//! A head as it came, and which of the fields that some stage looks for are in it: found out once, in one pass. Nearly all of
//! them are in nearly no head, and each stage would look in vain.

use std::ops::Deref;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;

/// A head as it came. Nothing of it can be changed.
#[derive(Debug)]
pub struct Received {
    parts: Parts,
    /// A bit for each [`Field`].
    fields: u16,
}

/// A field that a stage looks for and that few requests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `Via`.
    Via,
    /// `Expect`.
    Expect,
    /// `Content-Encoding`.
    ContentEncoding,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `X-API-Key`.
    ApiKey,
    /// `X-Gateway-Team`.
    Team,
    /// `X-Gateway-Max-Wait`.
    MaxWait,
    /// `X-Stainless-Read-Timeout` and `X-Stainless-Timeout`.
    SdkTimeout,
    /// `X-Stainless-Retry-Count`.
    SdkRetries,
    /// `Idempotency-Key`.
    IdempotencyKey,
    /// `X-Credits-Max`.
    CreditsMax,
    /// `Traceparent` and `Tracestate`.
    Trace,
    /// `X-Request-Id`.
    RequestId,
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "via" => Self::Via,
            "expect" => Self::Expect,
            "content-encoding" => Self::ContentEncoding,
            "transfer-encoding" => Self::TransferEncoding,
            "x-api-key" => Self::ApiKey,
            "x-gateway-team" => Self::Team,
            "x-gateway-max-wait" => Self::MaxWait,
            "x-stainless-read-timeout" | "x-stainless-timeout" => Self::SdkTimeout,
            "x-stainless-retry-count" => Self::SdkRetries,
            "idempotency-key" => Self::IdempotencyKey,
            "x-credits-max" => Self::CreditsMax,
            "traceparent" | "tracestate" => Self::Trace,
            "x-request-id" => Self::RequestId,
            _ => return None,
        })
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Received {
    /// Whether it has a field. Where it has none, whoever reads that field need not look.
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        self.fields & field.bit() != 0
    }

    /// The values of a field, which has this name.
    pub fn values(&self, field: Field, name: HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.has(field).then(|| self.headers.get_all(name).iter()).into_iter().flatten()
    }
}

impl From<Parts> for Received {
    fn from(parts: Parts) -> Self {
        let fields = parts.headers.keys().filter_map(|name| Field::named(name.as_str()));
        Self { fields: fields.fold(0, |all, field| all | field.bit()), parts }
    }
}

impl Deref for Received {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;
    use crate::head::fields::{X_API_KEY, X_GATEWAY_TEAM};
    use crate::head::idempotency::{IDEMPOTENCY_KEY, X_STAINLESS_RETRY_COUNT};
    use crate::head::request_id::X_REQUEST_ID;
    use crate::trace::context::{TRACEPARENT, TRACESTATE};

    #[test]
    fn a_head_has_what_is_in_it_and_nothing_else() {
        let of = |names: &[&HeaderName]| {
            let request =
                names.iter().fold(http::Request::builder(), |request, name| request.header(*name, "x"));
            Received::from(request.body(()).unwrap().into_parts().0)
        };
        assert_eq!(of(&[&header::HOST, &header::ACCEPT, &header::AUTHORIZATION]).fields, 0);
        for (name, field) in [
            (&header::VIA, Field::Via),
            (&header::EXPECT, Field::Expect),
            (&header::CONTENT_ENCODING, Field::ContentEncoding),
            (&header::TRANSFER_ENCODING, Field::TransferEncoding),
            (&X_API_KEY, Field::ApiKey),
            (&X_GATEWAY_TEAM, Field::Team),
            (&X_STAINLESS_RETRY_COUNT, Field::SdkRetries),
            (&IDEMPOTENCY_KEY, Field::IdempotencyKey),
            (&TRACEPARENT, Field::Trace),
            (&TRACESTATE, Field::Trace),
            (&X_REQUEST_ID, Field::RequestId),
        ] {
            let head = of(&[&header::HOST, name]);
            assert!(head.has(field) && head.fields == field.bit(), "{name}");
        }
    }
}
