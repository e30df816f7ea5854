//! Metering: what a response says it cost, read while the response passes by.
//!
//! The meter looks at bytes by reference. It changes nothing, holds nothing back, keeps no frame,
//! and cannot fail: what it cannot read is simply no figure.

mod usage;
mod text;
mod json;
mod sse;
mod unlabelled;

pub use usage::{Figures, Finish, Reading, Status, Usage};

use http::{HeaderMap, header};

use crate::credits::Credits;

use self::json::Document;
use self::unlabelled::{Turns, Unlabelled};

/// The observer of one response body.
#[derive(Debug)]
pub struct Meter {
    kind: Kind,
    figures: Figures,
}

#[derive(Debug)]
enum Kind {
    Json(Box<json::Scanner>),
    EventStream(Box<sse::EventStream>),
    /// Its label is missing, or says neither: its first bytes tell.
    Unlabelled(Unlabelled),
    /// A body that cannot carry a figure we could read.
    Opaque,
}

impl Kind {
    fn for_head(headers: &HeaderMap) -> Self {
        let encoded = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if encoded {
            return Self::Opaque;
        }
        match media_type(headers) {
            stream if stream.eq_ignore_ascii_case(EVENT_STREAM) => {
                Self::EventStream(Box::new(sse::EventStream::new()))
            }
            json if json.eq_ignore_ascii_case(b"application/json") => {
                Self::Json(Box::new(json::Scanner::new()))
            }
            _ => Self::Unlabelled(Unlabelled::default()),
        }
    }
}

impl Meter {
    /// Chooses how to read a response by its head. Encoded content cannot be read (we ask for `identity`, so an honest
    /// upstream sends none); where the label is missing, or says neither JSON nor event stream, the first bytes tell.
    /// `figures` is where its cost stands.
    #[must_use]
    pub fn for_head(headers: &HeaderMap, figures: Figures) -> Self {
        Self { kind: Kind::for_head(headers), figures }
    }

    /// Whether the body is, or has turned out to be, an event stream.
    #[must_use]
    pub fn reads_events(&self) -> bool {
        matches!(self.kind, Kind::EventStream(_))
    }

    /// Whether the body has said that it is over, and what it cost: what follows changes neither.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(&self.kind, Kind::EventStream(stream) if stream.is_over())
    }

    /// Looks at the next bytes of the body.
    pub fn look(&mut self, bytes: &[u8]) {
        match &mut self.kind {
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
        self.kind = match turns {
            Turns::Json => Kind::Json(Box::new(json::Scanner::new())),
            Turns::EventStream => Kind::EventStream(Box::new(sse::EventStream::new())),
            Turns::Opaque => Kind::Opaque,
        };
        self.look(before);
    }

    /// The body is over, wholly (`complete`) or not.
    #[must_use]
    pub fn finish(mut self, complete: bool) -> Reading {
        if let Kind::Unlabelled(first) = &mut self.kind {
            let (turns, before) = std::mem::take(first).finish();
            self.turn_out(turns, &before);
        }
        match self.kind {
            Kind::Json(mut scanner) => read(scanner.finish(), self.figures, complete),
            Kind::EventStream(stream) => stream.finish(complete, self.figures == Figures::Opaque),
            Kind::Unlabelled(_) | Kind::Opaque => {
                Reading { finish: complete.then_some(Finish::Completed), ..Reading::default() }
            }
        }
    }
}

/// What a document says that is the whole of an answer.
fn read(document: Document, figures: Figures, complete: bool) -> Reading {
    let Document { id, usage, charged, used, status, beside, .. } = document;
    let mut usage = usage.unwrap_or_default();
    match figures {
        Figures::Usage | Figures::Opaque => {}
        Figures::Charged => usage.credits = charged,
        Figures::Job => {
            let figure = usage.credits.or(charged).or(used);
            // Nothing yet is no cost.
            let is_final = status.is_some_and(Status::is_final);
            usage.credits = figure.filter(|figure| is_final || *figure > Credits::ZERO);
        }
    }
    let mut finish = complete.then_some(Finish::Completed);
    if figures == Figures::Usage && status == Some(Status::UnderWay) {
        // A figure of the moment is none.
        usage.credits = None;
        finish = finish.map(|_| Finish::UnderWay);
    }
    Reading { usage, response_id: id, beside, status, finish }
}

/// The media type of event streams.
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Whether a response head announces an event stream.
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    media_type(headers).eq_ignore_ascii_case(EVENT_STREAM)
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
