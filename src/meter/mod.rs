//! Metering: what a response says it cost, read while the response passes by.
//!
//! The meter looks at bytes by reference. It changes nothing, holds nothing back, keeps no frame,
//! and cannot fail: what it cannot read is simply no figure.

mod usage;
mod json;
mod sse;
mod unlabelled;

pub use usage::{Finish, Reading, Usage};

use http::{HeaderMap, header};

use self::unlabelled::{Turns, Unlabelled};

/// The observer of one response body.
#[derive(Debug)]
pub struct Meter(Kind);

#[derive(Debug)]
enum Kind {
    Json(Box<json::Scanner>),
    EventStream(Box<sse::EventStream>),
    /// Its label is missing, or says neither: its first bytes tell.
    Unlabelled(Unlabelled),
    /// A body that cannot carry a figure we could read.
    Opaque,
}

impl Meter {
    /// Chooses how to read a response by its head. Encoded content cannot be read (we ask for `identity`, so an honest
    /// upstream sends none); where the label is missing, or says neither JSON nor event stream, the first bytes tell.
    #[must_use]
    pub fn for_head(headers: &HeaderMap) -> Self {
        let encoded = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if encoded {
            return Self(Kind::Opaque);
        }
        if is_event_stream(headers) {
            return Self(Kind::EventStream(Box::new(sse::EventStream::new())));
        }
        if media_type(headers).eq_ignore_ascii_case(b"application/json") {
            return Self(Kind::Json(Box::new(json::Scanner::new())));
        }
        Self(Kind::Unlabelled(Unlabelled::default()))
    }

    /// Whether the body is, or has turned out to be, an event stream.
    #[must_use]
    pub fn reads_events(&self) -> bool {
        matches!(self.0, Kind::EventStream(_))
    }

    /// Whether the body has said that it is over, and what it cost: what follows changes neither.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(&self.0, Kind::EventStream(stream) if stream.is_over())
    }

    /// Looks at the next bytes of the body.
    pub fn look(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Json(scanner) => scanner.feed(bytes),
            Kind::EventStream(stream) => stream.look(bytes),
            Kind::Unlabelled(first) => {
                if let Some((turns, before)) = first.look(bytes) {
                    self.turn_out(turns, &before);
                    self.look(bytes);
                }
            }
            Kind::Opaque => {}
        }
    }

    fn turn_out(&mut self, turns: Turns, before: &[u8]) {
        self.0 = match turns {
            Turns::Json => Kind::Json(Box::new(json::Scanner::new())),
            Turns::EventStream => Kind::EventStream(Box::new(sse::EventStream::new())),
            Turns::Opaque => Kind::Opaque,
        };
        self.look(before);
    }

    /// The body is over, wholly (`complete`) or not.
    #[must_use]
    pub fn finish(mut self, complete: bool) -> Reading {
        if let Kind::Unlabelled(first) = &mut self.0 {
            let (turns, before) = std::mem::take(first).finish();
            self.turn_out(turns, &before);
        }
        match self.0 {
            Kind::Json(mut scanner) => {
                let document = scanner.finish();
                Reading {
                    usage: document.usage.unwrap_or_default(),
                    response_id: document.id,
                    finish: complete.then_some(Finish::Completed),
                }
            }
            Kind::EventStream(stream) => stream.finish(complete),
            Kind::Unlabelled(_) | Kind::Opaque => {
                Reading { finish: complete.then_some(Finish::Completed), ..Reading::default() }
            }
        }
    }
}

/// Whether a response head announces an event stream.
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    media_type(headers).eq_ignore_ascii_case(b"text/event-stream")
}

/// The media type without its parameters; empty when there is none.
fn media_type(headers: &HeaderMap) -> &[u8] {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().split(|&b| b == b';').next())
        .unwrap_or_default()
        .trim_ascii()
}

#[cfg(test)]
mod tests;
