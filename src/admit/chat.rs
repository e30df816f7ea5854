//! The chat schema, judged without copying: `messages` of 1 to 50 objects with a string `role` and a
//! `content`, `stream` a boolean if present (source: `chat-about-video-analysis` in Mavera's API
//! reference). Everything else is the upstream's to judge and goes on as it came.

use std::cell::RefCell;
use std::fmt;

use memchr::memchr2;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::refuse::Refusal;

/// Documented bound of `messages`.
const MAX_MESSAGES: usize = 50;
/// Deeper nesting serves no caller and strains parsers further on.
const MAX_NESTING: usize = 128;

/// What the gateway needs to know of a chat body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Whether an event stream is asked for.
    pub stream: bool,
}

/// Judges a chat body.
///
/// # Errors
/// A refusal that names the first field that is wrong, or the place where the JSON is.
pub fn judge(body: &[u8]) -> Result<Chat, Refusal> {
    let invalid_json = |detail: String| Refusal::InvalidJson { detail };
    if body.starts_with(b"\xEF\xBB\xBF") {
        return Err(invalid_json("it begins with a byte order mark, which JSON does not allow".into()));
    }
    if nesting(body) > MAX_NESTING {
        return Err(invalid_json(format!("it is nested more than {MAX_NESTING} levels deep")));
    }
    // Also where nobody here reads it (RFC 8259 §8.1): parsers differ in what they make of the rest.
    let text = std::str::from_utf8(body)
        .map_err(|error| invalid_json(format!("it is not UTF-8 behind byte {}", error.valid_up_to())))?;
    let found = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let judged =
        ChatSeed(&found).deserialize(&mut deserializer).and_then(|chat| deserializer.end().map(|()| chat));
    judged.map_err(|error| match found.take() {
        Some(refusal) => refusal,
        // Of another kind altogether: the parser would quote the whole of it.
        None if error.is_data() => invalid_json("it is not an object".into()),
        None => invalid_json(error.to_string()),
    })
}

/// The deepest nesting of brackets outside strings. Runs before the parser so that no parser has to
/// be trusted with depth.
fn nesting(mut bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => bytes = after_string(bytes),
            _ => {}
        }
    }
    deepest
}

fn after_string(mut bytes: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', bytes) {
        if bytes[at] == b'"' {
            return &bytes[at + 1..];
        }
        bytes = bytes.get(at + 2..).unwrap_or_default();
    }
    &[]
}

/// Where a seed leaves the refusal that explains its error; serde's errors carry only text.
type Found = RefCell<Option<Refusal>>;

fn wrong<T, E: serde::de::Error>(found: &Found, refusal: Refusal) -> Result<T, E> {
    *found.borrow_mut() = Some(refusal);
    Err(E::custom("refused"))
}

fn missing<T, E: serde::de::Error>(found: &Found, param: impl Into<String>) -> Result<T, E> {
    wrong(found, Refusal::MissingField { param: param.into() })
}

fn invalid<T, E: serde::de::Error>(found: &Found, param: impl Into<String>, reason: &str) -> Result<T, E> {
    wrong(found, Refusal::InvalidField { param: param.into(), reason: reason.into() })
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum ChatField {
    Messages,
    Stream,
    #[serde(other)]
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum MessageField {
    Role,
    Content,
    #[serde(other)]
    Other,
}

struct ChatSeed<'f>(&'f Found);

impl<'de> DeserializeSeed<'de> for ChatSeed<'_> {
    type Value = Chat;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Chat, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ChatSeed<'_> {
    type Value = Chat;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `messages`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Chat, A::Error> {
        let (mut messages, mut stream) = (false, None);
        while let Some(field) = map.next_key::<ChatField>()? {
            match field {
                ChatField::Messages if messages => return invalid(self.0, "messages", "is given twice"),
                ChatField::Messages => {
                    map.next_value_seed(Expect {
                        found: self.0,
                        param: "messages",
                        inner: MessagesSeed(self.0),
                    })?;
                    messages = true;
                }
                ChatField::Stream if stream.is_some() => return invalid(self.0, "stream", "is given twice"),
                ChatField::Stream => {
                    stream =
                        Some(map.next_value_seed(Expect { found: self.0, param: "stream", inner: Flag })?);
                }
                ChatField::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !messages {
            return missing(self.0, "messages");
        }
        Ok(Chat { stream: stream.unwrap_or(false) })
    }
}

struct Flag;

impl Visitor<'_> for Flag {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be true or false")
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}

struct MessagesSeed<'f>(&'f Found);

impl<'de> Visitor<'de> for MessagesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be an array of 1 to 50 messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut messages: A) -> Result<(), A::Error> {
        let mut count = 0;
        while messages.next_element_seed(MessageSeed { found: self.0, index: count })?.is_some() {
            count += 1;
            if count > MAX_MESSAGES {
                return invalid(self.0, "messages", "has more than 50 messages; leave out the oldest");
            }
        }
        if count == 0 {
            return invalid(self.0, "messages", "is empty; send at least one message");
        }
        Ok(())
    }
}

struct MessageSeed<'f> {
    found: &'f Found,
    index: usize,
}

impl MessageSeed<'_> {
    fn param(&self, field: &str) -> String {
        format!("messages[{}]{field}", self.index)
    }
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let (found, param) = (self.found, self.param(""));
        Expect { found, param: &param, inner: self }.deserialize(deserializer)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be an object with `role` and `content`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut role, mut content) = (false, false);
        while let Some(field) = map.next_key::<MessageField>()? {
            match field {
                MessageField::Role if role => {
                    return invalid(self.found, self.param(".role"), "is given twice");
                }
                MessageField::Role => {
                    let param = self.param(".role");
                    map.next_value_seed(Expect { found: self.found, param: &param, inner: Text })?;
                    role = true;
                }
                MessageField::Content if content => {
                    return invalid(self.found, self.param(".content"), "is given twice");
                }
                MessageField::Content => {
                    map.next_value::<IgnoredAny>()?;
                    content = true;
                }
                MessageField::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match (role, content) {
            (false, _) => missing(self.found, self.param(".role")),
            (_, false) => missing(self.found, self.param(".content")),
            _ => Ok(()),
        }
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a string")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a value of whatever kind and, where its visitor wants another kind, refuses the field in
/// the visitor's own words. Broken JSON stays broken JSON.
struct Expect<'f, V> {
    found: &'f Found,
    param: &'f str,
    inner: V,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Expect<'_, V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<V> Expect<'_, V> {
    fn refuse<'de, T, E: serde::de::Error>(self) -> Result<T, E>
    where
        V: Visitor<'de>,
    {
        let expected = (&self.inner as &dyn serde::de::Expected).to_string();
        invalid(self.found, self.param, &expected)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Expect<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<V::Value, E> {
        let Self { found, param, inner } = self;
        inner.visit_bool(value).or_else(|error: E| keep(found, param, error))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<V::Value, E> {
        let Self { found, param, inner } = self;
        inner.visit_str(value).or_else(|error: E| keep(found, param, error))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let Self { found, param, inner } = self;
        inner.visit_seq(seq).or_else(|error| keep(found, param, error))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Self { found, param, inner } = self;
        inner.visit_map(map).or_else(|error| keep(found, param, error))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<V::Value, E> {
        self.refuse()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<V::Value, E> {
        self.refuse()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<V::Value, E> {
        self.refuse()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.refuse()
    }
}

/// Keeps an error, and explains it by the field if it is one of the wrong kind.
fn keep<T, E: serde::de::Error>(found: &Found, param: &str, error: E) -> Result<T, E> {
    let text = error.to_string();
    if found.borrow().is_none()
        // The last one: before it stands what the caller sent, with whatever words are in it.
        && let Some((_, expected)) = text.rsplit_once("expected ")
        && text.starts_with("invalid type")
    {
        return invalid(found, param, expected.split(" at line").next().unwrap_or(expected));
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> Refusal {
        judge(body.as_bytes()).expect_err(body)
    }

    fn param(body: &str) -> (String, String) {
        match refusal(body) {
            Refusal::MissingField { param } => ("missing".into(), param),
            Refusal::InvalidField { param, reason } => (reason, param),
            other => (format!("{other:?}"), String::new()),
        }
    }

    #[test]
    fn the_documented_body_passes() {
        let body = r#"{"messages":[{"role":"user","content":"Which moment loses viewers?"}],"stream":false}"#;
        assert_eq!(judge(body.as_bytes()), Ok(Chat { stream: false }));
    }

    #[test]
    fn what_is_not_judged_goes_on() {
        for body in [
            r#"{"stream":true,"messages":[{"role":"x","content":[{"type":"text"}],"name":1}],"persona_id":"p","analysis_mode":true}"#,
            r#"{"stream":true,"messages":[{"role":"x","content":null}],"seed":1e400,"seed":2,"Stream":0}"#,
            r#" {"me\u0073sages":[{"role":"x","content":""}],"stream":true} "#,
        ] {
            assert_eq!(judge(body.as_bytes()), Ok(Chat { stream: true }), "{body}");
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let message = r#"{"role":"user","content":"x"}"#;
        let many = vec![message; 51].join(",");
        for (body, expected) in [
            ("{}".to_owned(), ("missing", "messages")),
            (r#"{"messages":[]}"#.to_owned(), ("is empty; send at least one message", "messages")),
            (r#"{"messages":"hi"}"#.to_owned(), ("must be an array of 1 to 50 messages", "messages")),
            (r#"{"messages":7}"#.to_owned(), ("must be an array of 1 to 50 messages", "messages")),
            (r#"{"messages":{}}"#.to_owned(), ("must be an array of 1 to 50 messages", "messages")),
            (
                format!("{{\"messages\":[{many}]}}"),
                ("has more than 50 messages; leave out the oldest", "messages"),
            ),
            (
                format!("{{\"messages\":[{message},\"x\"]}}"),
                ("must be an object with `role` and `content`", "messages[1]"),
            ),
            (r#"{"messages":[{"content":"x"}]}"#.to_owned(), ("missing", "messages[0].role")),
            (r#"{"messages":[{"role":"user"}]}"#.to_owned(), ("missing", "messages[0].content")),
            (
                r#"{"messages":[{"role":7,"content":"x"}]}"#.to_owned(),
                ("must be a string", "messages[0].role"),
            ),
            (
                r#"{"messages":[{"role":null,"content":"x"}]}"#.to_owned(),
                ("must be a string", "messages[0].role"),
            ),
            (format!("{{\"messages\":[{message}],\"stream\":\"yes\"}}"), ("must be true or false", "stream")),
            (
                r#"{"messages":[", expected nothing at line"]}"#.to_owned(),
                ("must be an object with `role` and `content`", "messages[0]"),
            ),
            (format!("{{\"messages\":[{message}],\"stream\":null}}"), ("must be true or false", "stream")),
            (
                format!("{{\"messages\":[{message}],\"stream\":true,\"str\\u0065am\":false}}"),
                ("is given twice", "stream"),
            ),
            (
                format!("{{\"messages\":[{message}],\"messages\":[{message}]}}"),
                ("is given twice", "messages"),
            ),
            (
                r#"{"messages":[{"role":"a","role":"b","content":"x"}]}"#.to_owned(),
                ("is given twice", "messages[0].role"),
            ),
        ] {
            assert_eq!(param(&body), (expected.0.to_owned(), expected.1.to_owned()), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_said_to_be_so_with_its_place() {
        for body in [
            "",
            "hello",
            "{",
            r#"{"messages":[{"role":"user","content":"x"}]} x"#,
            "{\"messages\":[}",
            "{'a':1}",
            "[1]",
            "\"x\"",
        ] {
            assert!(matches!(refusal(body), Refusal::InvalidJson { .. }), "{body}");
        }
        let Refusal::InvalidJson { detail } = refusal("{\n  \"messages\": [,]\n}") else {
            unreachable!("not JSON")
        };
        assert!(detail.contains("line 2"), "{detail}");
        assert!(matches!(refusal("\u{feff}{}"), Refusal::InvalidJson { .. }));
        let not_text = b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}";
        let detail = "it is not UTF-8 behind byte 39".to_owned();
        assert_eq!(judge(not_text), Err(Refusal::InvalidJson { detail }));
        let Refusal::InvalidJson { detail } = refusal(&format!("\"{}\"", "x".repeat(9999))) else {
            unreachable!("no object")
        };
        assert_eq!(detail, "it is not an object");
    }

    #[test]
    fn nesting_is_bounded_outside_strings_only() {
        let deep = |n: usize| {
            format!(r#"{{"x":{}{},"messages":[{{"role":"u","content":"c"}}]}}"#, "[".repeat(n), "]".repeat(n))
        };
        assert!(judge(deep(127).as_bytes()).is_ok());
        assert!(matches!(refusal(&deep(128)), Refusal::InvalidJson { .. }));
        let text = format!(r#"{{"messages":[{{"role":"u","content":"\"{}"}}]}}"#, "[".repeat(500));
        assert!(judge(text.as_bytes()).is_ok());
    }
}
