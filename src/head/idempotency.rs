//! The key that names one call over all its retries (draft-ietf-httpapi-idempotency-key-header-07).

use http::HeaderMap;
use http::header::HeaderName;

use crate::refuse::Refusal;

/// The field's name.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How often this call was made before, as the OpenAI SDKs say.
pub(super) const X_STAINLESS_RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");
/// Characters of a key, as Stripe has it.
const LONGEST: usize = 255;

/// The key of a call, if it has one: a structured field's string (RFC 9651 §3.3.3), as the draft wants it, or the same
/// without its quotes, as most clients send it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let wrong = |reason: &str| {
        Err(Refusal::InvalidField { param: IDEMPOTENCY_KEY.to_string(), reason: reason.to_owned() })
    };
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.as_bytes().trim_ascii(),
        (Some(_), Some(_)) => return wrong("is there more than once"),
    };
    if !value.iter().all(u8::is_ascii_graphic) {
        return wrong("must be visible ASCII characters, without spaces");
    }
    let text = String::from_utf8_lossy(value);
    let key = match text.strip_prefix('"') {
        None if text.contains('"') => return wrong("has a quote in its midst"),
        None => text.into_owned(),
        Some(quoted) => match unquoted(quoted) {
            Some(key) => key,
            None => {
                return wrong(
                    r#"must end where its quotes do, and only `\"` and `\\` may be escaped in them"#,
                );
            }
        },
    };
    if !(1..=LONGEST).contains(&key.len()) {
        return wrong("must be 1 to 255 characters long");
    }
    Ok(Some(key))
}

/// What stands between the quotes, of which the first has been taken.
fn unquoted(quoted: &str) -> Option<String> {
    let mut key = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return rest.next().is_none().then_some(key),
            '\\' => key.push(rest.next().filter(|escaped| ['"', '\\'].contains(escaped))?),
            plain => key.push(plain),
        }
    }
}

/// How often an SDK says that it has made this call before; nothing if it is no SDK that says so.
pub(crate) fn sdk_retries(headers: &HeaderMap) -> Option<u32> {
    headers.get(X_STAINLESS_RETRY_COUNT)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_str(value).unwrap());
        }
        key(&headers)
    }

    #[test]
    fn quoted_and_bare_are_one_key() {
        assert_eq!(of(&[]), Ok(None));
        for (value, expected) in [
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (" \"a\" ", "a"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r"a\b", r"a\b"),
        ] {
            assert_eq!(of(&[value]), Ok(Some(expected.to_owned())), "{value}");
        }
        assert_eq!(of(&[&"k".repeat(255)]).unwrap().map(|key| key.len()), Some(255));
    }

    proptest! {
        #[test]
        fn every_key_is_one_however_it_is_written(text in "[!-~]{1,255}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(of(&[&quoted]), Ok(Some(text.clone())));
            if !text.contains('"') {
                prop_assert_eq!(of(&[&text]), Ok(Some(text)));
            }
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_key() {
        let long = "k".repeat(256);
        for values in [
            &["a", "a"][..],
            &[""],
            &["\"\""],
            &["a b"],
            &["\"a b\""],
            &["\"a"],
            &["a\""],
            &["\"a\"b"],
            &["\"a\";p=1"],
            &["\"a\", \"b\""],
            &[r#""a\n""#],
            &[&long],
        ] {
            let refusal = of(values).unwrap_err();
            assert_eq!(
                (refusal.status().as_u16(), refusal.code().as_str()),
                (400, "invalid_field"),
                "{values:?}"
            );
        }
    }
}
