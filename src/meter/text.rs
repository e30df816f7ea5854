//! The strings of a JSON document that count, read where they stand.

use std::borrow::Cow;

/// Longest token kept. Names and figures are far shorter; an id longer than this is not one.
pub(super) const TOKEN: usize = 128;

/// The content of a JSON string.
#[derive(Clone, Copy)]
pub(super) enum Text<'b> {
    /// There are no escapes in it.
    Plain(&'b [u8]),
    /// There may be.
    Raw(&'b [u8]),
}

impl<'b> Text<'b> {
    pub(super) const fn is_empty(self) -> bool {
        let (Self::Plain(raw) | Self::Raw(raw)) = self;
        raw.is_empty()
    }

    /// With its escapes resolved; nothing if it is longer than any that counts, or no text.
    pub(super) fn unescaped(self) -> Option<Cow<'b, [u8]>> {
        match self {
            Self::Plain(raw) | Self::Raw(raw) if raw.len() > TOKEN => None,
            Self::Plain(raw) => Some(Cow::Borrowed(raw)),
            Self::Raw(raw) if memchr::memchr(b'\\', raw).is_none() => Some(Cow::Borrowed(raw)),
            Self::Raw(raw) => {
                let text = std::str::from_utf8(raw).ok()?;
                let text = serde_json::from_str::<String>(&format!("\"{text}\"")).ok()?;
                Some(Cow::Owned(text.into_bytes()))
            }
        }
    }

    /// The same as an owned text.
    pub(super) fn owned(self) -> Option<String> {
        self.unescaped().and_then(|text| String::from_utf8(text.into_owned()).ok())
    }
}
