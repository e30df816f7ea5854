//! What a caller shows in a request's head.

use http::header::{self, HeaderValue};

use crate::head::fields::X_API_KEY;
use crate::head::received::{Field, Received};
use crate::refuse::Refusal;
use crate::token::is_token;

/// What a caller shows in a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown<'h> {
    /// Nothing.
    Nothing,
    /// What should be a key.
    Key(&'h [u8]),
    /// What should be a token.
    Token(&'h [u8]),
}

/// The one credential that was sent: a key from `Authorization: Bearer` or `x-api-key`, or a token as a bearer. Two are
/// refused, the same or not: which of them another hop would believe is nobody's guess to make.
pub(super) fn shown(head: &Received) -> Result<Shown<'_>, Refusal> {
    let one = |name| {
        let mut values = head.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (first, None) => Ok(first.map(HeaderValue::as_bytes)),
            _ => Err(Refusal::InvalidRequest { reason: "it carries more than one API key" }),
        }
    };
    let api_key = if head.has(Field::ApiKey) { one(X_API_KEY)? } else { None };
    match (one(header::AUTHORIZATION)?, api_key) {
        (None, None) => Ok(Shown::Nothing),
        (Some(_), Some(_)) => Err(Refusal::InvalidRequest { reason: "it carries more than one API key" }),
        (None, Some(key)) => Ok(Shown::Key(key)),
        (Some(authorization), None) => {
            let (scheme, key) = authorization
                .iter()
                .position(|&b| b == b' ')
                .map_or((authorization, &[][..]), |at| authorization.split_at(at));
            if !scheme.eq_ignore_ascii_case(b"bearer") {
                return Err(Refusal::InvalidApiKey);
            }
            let key = key.trim_ascii();
            if key.contains(&b',') {
                return Err(Refusal::InvalidRequest { reason: "it carries more than one API key" });
            }
            Ok(if is_token(key) { Shown::Token(key) } else { Shown::Key(key) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_words(fields: &[(&'static str, &'static str)]) -> Result<String, Refusal> {
        let request = fields
            .iter()
            .fold(http::Request::builder(), |request, (name, value)| request.header(*name, *value));
        let head = Received::from(request.body(()).unwrap().into_parts().0);
        let text = |of: &[u8]| String::from_utf8_lossy(of).into_owned();
        shown(&head).map(|shown| match shown {
            Shown::Nothing => "nothing".to_owned(),
            Shown::Key(key) => format!("key {}", text(key)),
            Shown::Token(token) => format!("token {}", text(token)),
        })
    }

    #[test]
    fn a_key_comes_as_bearer_or_x_api_key_and_a_token_as_bearer() {
        assert_eq!(in_words(&[("authorization", "Bearer k")]), Ok("key k".into()));
        assert_eq!(in_words(&[("authorization", "bearer  k ")]), Ok("key k".into()));
        assert_eq!(in_words(&[("x-api-key", "k")]), Ok("key k".into()));
        assert_eq!(in_words(&[]), Ok("nothing".into()));
        assert_eq!(in_words(&[("authorization", "Bearer a.b.c")]), Ok("token a.b.c".into()));
        assert_eq!(in_words(&[("x-api-key", "a.b.c")]), Ok("key a.b.c".into()));
        assert_eq!(in_words(&[("authorization", "Basic k")]), Err(Refusal::InvalidApiKey));
    }

    #[test]
    fn two_keys_are_refused_however_they_are_written() {
        for fields in [
            &[("authorization", "Bearer a"), ("authorization", "Bearer a")][..],
            &[("authorization", "Bearer a"), ("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-api-key", "b")],
            &[("authorization", "Bearer a, Bearer b")],
        ] {
            assert!(matches!(in_words(fields), Err(Refusal::InvalidRequest { .. })), "{fields:?}");
        }
    }
}
