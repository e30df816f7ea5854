//! Trace context as W3C writes it (<https://www.w3.org/TR/trace-context/>): read strictly, written anew.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{SpanId, TraceId};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What a caller's `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    /// The trace that the call is part of.
    pub trace: TraceId,
    /// The caller's span.
    pub span: SpanId,
    /// Whether the caller keeps it.
    pub sampled: bool,
}

impl Parent {
    /// The one valid `traceparent` of a head. Anything else is as good as none.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return None };
        Self::parse(value.as_bytes())
    }

    /// `00-<32 hex>-<16 hex>-<2 hex>`, lower case. A later version may have more behind it, and is read by what this
    /// version knows of it.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(55)?;
        let [version, trace, span, flags] =
            <[&[u8]; 4]>::try_from(known.split(|&byte| byte == b'-').collect::<Vec<_>>()).ok()?;
        let version = hex::<1>(version)?[0];
        if version == 0xff || (version == 0 && !more.is_empty()) || !(more.is_empty() || more[0] == b'-') {
            return None;
        }
        let parent = Self {
            trace: TraceId::from_bytes(hex(trace)?),
            span: SpanId::from_bytes(hex(span)?),
            sampled: hex::<1>(flags)?[0] & 1 == 1,
        };
        (parent.trace != TraceId::INVALID && parent.span != SpanId::INVALID).then_some(parent)
    }
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = text.iter().all(|byte| !byte.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// The `traceparent` of a span of ours that is kept.
pub(super) fn traceparent(trace: TraceId, span: SpanId) -> HeaderValue {
    HeaderValue::from_str(&format!("00-{trace}-{span}-01"))
        .expect("hexadecimal digits and dashes are visible")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_valid_is_read_and_written_back_the_same() {
        let parent = Parent::parse(VALID.as_bytes()).unwrap();
        assert!(parent.sampled);
        assert_eq!(traceparent(parent.trace, parent.span), VALID);
        assert!(!Parent::parse(VALID.replace("-01", "-00").as_bytes()).unwrap().sampled);
        let later = format!("cc{}-what-the-future-holds", &VALID[2..]);
        assert_eq!(Parent::parse(later.as_bytes()), Some(parent));
    }

    #[test]
    fn anything_else_is_none() {
        let zeros =
            |from: usize, to: usize| format!("{}{}{}", &VALID[..from], "0".repeat(to - from), &VALID[to..]);
        for text in [
            String::new(),
            VALID[1..].to_owned(),
            VALID.to_uppercase(),
            format!("{VALID}-more"),
            format!("ff{}", &VALID[2..]),
            format!("01{}x", &VALID[2..]),
            zeros(3, 35),
            zeros(36, 52),
            VALID.replace('-', "_"),
            VALID.replace("4bf9", "4bg9"),
            "é".repeat(28),
        ] {
            assert_eq!(Parent::parse(text.as_bytes()), None, "{text}");
        }
        let mut twice = HeaderMap::new();
        twice.append(TRACEPARENT, HeaderValue::from_static(VALID));
        twice.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(Parent::of(&twice), None);
    }
}
