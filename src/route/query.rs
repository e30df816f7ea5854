//! Queries: which parameters a route takes, and what their values may be. A query goes on as it came, so it is made of
//! nothing that two readers could take for two things.

use std::sync::Arc;

use crate::refuse::Refusal;

/// A parameter of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    name: &'static str,
    value: Value,
}

/// What the value of a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// 1 to 128 of letters, digits, "_" and "-".
    Word,
    /// Words, with commas between them.
    Words,
    /// What the upstream gave out: also what Base64 has, plain or encoded as in a URL.
    Cursor,
}

impl Parameter {
    /// One with a word or a number as its value.
    #[must_use]
    pub const fn word(name: &'static str) -> Self {
        Self { name, value: Value::Word }
    }

    /// One with a list of words.
    #[must_use]
    pub const fn words(name: &'static str) -> Self {
        Self { name, value: Value::Words }
    }

    /// One with what an earlier answer said.
    #[must_use]
    pub const fn cursor(name: &'static str) -> Self {
        Self { name, value: Value::Cursor }
    }
}

/// What of Base64 has another meaning in a query, as it is encoded there (RFC 3986 §2.1).
const ENCODED: [&str; 6] = ["%2B", "%2F", "%3D", "%2b", "%2f", "%3d"];

impl Value {
    fn takes(self, text: &str) -> bool {
        match self {
            Self::Word => is_word(text),
            Self::Words => text.len() <= 1024 && text.split(',').all(is_word),
            Self::Cursor => {
                let plain = ENCODED.iter().fold(text.to_owned(), |text, encoded| text.replace(encoded, "="));
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~:=".contains(&b);
                (1..=1024).contains(&text.len()) && plain.bytes().all(is_plain)
            }
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Word => "must be 1 to 128 of letters, digits, \"_\" and \"-\"",
            Self::Words => "must be words of letters, digits, \"_\" and \"-\", with commas between them",
            Self::Cursor => "must be what an earlier answer gave as `next_cursor`",
        }
    }
}

/// 1 to 128 of letters, digits, "_" and "-": what every id is made of.
#[must_use]
pub fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A query of the documented parameters, once each, with plain values.
pub(super) fn checked(query: &str, parameters: &'static [Parameter]) -> Result<Arc<str>, Refusal> {
    if parameters.is_empty() {
        return Err(Refusal::InvalidRequest { reason: "this route takes no query parameters" });
    }
    let mut seen = Vec::with_capacity(parameters.len());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // The name is quoted only if it is one we know: keys end up in query strings.
        let known = parameters.iter().find(|known| known.name == name);
        let refuse = |reason: String| {
            let param = known.map_or("query", |known| known.name).into();
            Err(Refusal::InvalidField { param, reason })
        };
        let Some(known) = known else { return refuse(format!("takes {} only", listed(parameters))) };
        if seen.contains(&name) {
            return refuse("is given twice".into());
        }
        if !known.value.takes(value) {
            return refuse(known.value.wanted().into());
        }
        seen.push(name);
    }
    Ok(query.into())
}

fn listed(parameters: &[Parameter]) -> String {
    let quoted: Vec<_> = parameters.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_its_parameter_wants_and_nothing_that_reads_in_two_ways() {
        let (long, longer) = ("a".repeat(128), "a".repeat(129));
        for (value, text, takes) in [
            (Value::Word, "completed", true),
            (Value::Word, "", false),
            (Value::Word, &*long, true),
            (Value::Word, &*longer, false),
            (Value::Word, "%31", false),
            (Value::Words, "a,b", true),
            (Value::Words, "a,,b", false),
            (Value::Words, "a%2Cb", false),
            (Value::Cursor, "eyJpZCI6MX0=", true),
            (Value::Cursor, "eyJ%2Fp%3D%3d", true),
            (Value::Cursor, "%%2B3D", false),
            (Value::Cursor, "a%00", false),
            (Value::Cursor, "a+b", false),
            (Value::Cursor, "", false),
        ] {
            assert_eq!(value.takes(text), takes, "{value:?} {text}");
        }
    }
}
