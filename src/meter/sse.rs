//! Reads a `text/event-stream` as it passes (WHATWG HTML, "9.2 Server-sent events"), across any
//! split, without keeping a line of it.

use std::sync::LazyLock;

use aho_corasick::packed::Searcher;
use memchr::memchr2;
use memchr::memmem::{self, Finder};

use super::json::{EventKind, Scanner};
use super::usage::{Finish, Reading, Usage};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What ends an event where lines end as nearly everywhere.
const EVENT_END: &[u8] = b"\n\n";

/// Bytes that are searched for silent events at once: as many as leave together. An event may be larger, and is read as it comes.
const WINDOW: usize = if cfg!(test) { 100 } else { 16 << 10 };

/// Events without any of these, in whatever way they are written, say nothing that counts: no cost, no end, no failure.
/// A name in JSON could be spelled otherwise only by `\u` escapes. Names of events are looked for by their last part: every event
/// has the first. Nothing where the processor cannot search for all at once.
static TELLING: LazyLock<Option<Searcher>> = LazyLock::new(|| {
    Searcher::new(["usage", "error", "[DONE]", ".completed", ".incomplete", ".failed", "thread_id", "\\u"])
});

/// What an event with an answer's id has in it.
static ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"id\""));

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// In the field name, of which the start is kept.
    Name,
    /// Right after the colon, where one space is not part of the value.
    Colon(Field),
    Value(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Other,
}

/// The first bytes of something short, enough to recognise it.
#[derive(Debug, Default)]
struct Head {
    bytes: [u8; 8],
    len: usize,
}

impl Head {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..) {
            let length = room.len().min(bytes.len());
            room[..length].copy_from_slice(&bytes[..length]);
        }
        self.len += bytes.len();
    }

    /// The whole of it, if it was short.
    fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }
}

/// Whether `[DONE]` has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Awaited,
    Done,
}

/// The meter of one event stream.
#[derive(Debug)]
pub(super) struct EventStream {
    line: Line,
    name: Head,
    first_line: bool,
    after_cr: bool,
    event_name: Head,
    data: Head,
    has_data: bool,
    scanner: Scanner,
    /// What a chunk of the old generation said it cost. That counts once the stream has come to its end: an interim figure
    /// and a break tell nothing.
    offered: Option<Usage>,
    reading: Reading,
    end: End,
}

impl EventStream {
    pub(super) fn new() -> Self {
        Self {
            line: Line::Name,
            name: Head::default(),
            first_line: true,
            after_cr: false,
            event_name: Head::default(),
            data: Head::default(),
            has_data: false,
            scanner: Scanner::new(),
            offered: None,
            reading: Reading::default(),
            end: End::Awaited,
        }
    }

    /// Whether the terminal event has come, with what it cost: that of the new generation, or `[DONE]`.
    pub(super) fn is_over(&self) -> bool {
        self.end == End::Done || (self.reading.finish.is_some() && self.reading.usage.credits.is_some())
    }

    /// Looks at the next bytes of the stream. Whole events that say nothing, as nearly all do, are passed over together:
    /// reading them line by line would come to the same.
    pub(super) fn look(&mut self, mut bytes: &[u8]) {
        let mut skips = true;
        while !bytes.is_empty() {
            let (silent, searched) = if skips { self.silent(bytes) } else { (0, 0) };
            bytes = &bytes[silent..];
            let behind = self.read(bytes);
            // Where nothing was found to pass over behind this event either, lines end otherwise, or every event may say
            // something: then searching on would look at the same bytes for every event.
            skips &= silent > 0 || searched <= bytes.len() - behind.len();
            bytes = behind;
        }
    }

    /// How many bytes there are of whole events that say nothing, in front of one that may; and how many were searched for that.
    fn silent(&self, bytes: &[u8]) -> (usize, usize) {
        let between_events = self.line == Line::Name
            && self.name.len == 0
            && self.event_name.len == 0
            && !self.has_data
            && !self.first_line
            && !self.after_cr;
        let Some(telling) = TELLING.as_ref().filter(|_| between_events) else { return (0, 0) };
        let bytes = &bytes[..bytes.len().min(WINDOW)];
        let searched = telling.find(bytes).map_or(bytes, |found| &bytes[..found.start()]);
        let id = if self.reading.response_id.is_none() { ID.find(searched) } else { None };
        let silent = id.map_or(searched, |at| &searched[..at]);
        let events = memmem::rfind(silent, EVENT_END).map_or(0, |at| at + EVENT_END.len());
        (events, searched.len())
    }

    /// Reads line by line as far as the event goes. Returns what is behind it.
    fn read<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        if bytes.is_empty() {
            return bytes;
        }
        // Only the line feed right behind a carriage return belongs to it, also where it comes alone.
        if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
            bytes = &bytes[1..];
        }
        while !bytes.is_empty() {
            if let Some(at) = memchr2(b'\n', b'\r', bytes) {
                self.in_line(&bytes[..at]);
                let is_over = self.end_line();
                let crlf = bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
                self.after_cr = bytes[at] == b'\r' && at + 1 == bytes.len();
                bytes = &bytes[at + 1 + usize::from(crlf)..];
                if is_over {
                    return bytes;
                }
            } else {
                self.in_line(bytes);
                return &[];
            }
        }
        bytes
    }

    /// Ends the stream, wholly (`complete`) or not. An event without its blank line is read all the same: the figure was
    /// sent. Of one that is `opaque` nobody knows which event is its last: where it is whole, it has ended.
    pub(super) fn finish(mut self, complete: bool, opaque: bool) -> Reading {
        self.end_line();
        self.dispatch();
        if complete {
            self.take_offered();
        }
        if complete && opaque {
            self.reading.finish.get_or_insert(Finish::Completed);
        }
        self.reading
    }

    /// The stream has come to its end, so the last figure of the old generation is its cost.
    fn take_offered(&mut self) {
        if let Some(usage) = self.offered.take() {
            self.reading.usage = usage;
            self.reading.finish.get_or_insert(Finish::Completed);
        }
    }

    fn in_line(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            match self.line {
                Line::Name => {
                    let Some(colon) = memchr::memchr(b':', bytes) else {
                        self.name.push(bytes);
                        return;
                    };
                    self.name.push(&bytes[..colon]);
                    self.line = Line::Colon(self.field());
                    bytes = &bytes[colon + 1..];
                }
                Line::Colon(field) => {
                    self.begin_value(field);
                    self.line = Line::Value(field);
                    if first == b' ' {
                        bytes = &bytes[1..];
                    }
                }
                Line::Value(field) => {
                    match field {
                        Field::Data => {
                            self.data.push(bytes);
                            self.scanner.feed(bytes);
                        }
                        Field::Event => self.event_name.push(bytes),
                        Field::Other => {}
                    }
                    return;
                }
            }
        }
    }

    fn field(&self) -> Field {
        let name = self.name.whole().map(|name| match name.strip_prefix(BOM) {
            Some(rest) if self.first_line => rest,
            _ => name,
        });
        match name {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Event,
            _ => Field::Other,
        }
    }

    /// Further `data` lines of one event are joined by a line feed; the last `event` line counts.
    fn begin_value(&mut self, field: Field) {
        match field {
            Field::Data => {
                if self.has_data {
                    self.data.push(b"\n");
                    self.scanner.feed(b"\n");
                }
                self.has_data = true;
            }
            Field::Event => self.event_name = Head::default(),
            Field::Other => {}
        }
    }

    /// Ends a line. Returns whether that was the end of an event.
    fn end_line(&mut self) -> bool {
        let blank = self.line == Line::Name
            && match self.name.whole() {
                Some(name) => name.is_empty() || (self.first_line && name == BOM),
                None => false,
            };
        if let Line::Colon(field) = self.line {
            self.begin_value(field);
        }
        self.line = Line::Name;
        self.name = Head::default();
        self.first_line = false;
        if blank {
            self.dispatch();
        }
        blank
    }

    fn dispatch(&mut self) {
        let event_name = std::mem::take(&mut self.event_name);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        let document = self.scanner.finish();
        if data.whole() == Some(b"[DONE]") {
            self.take_offered();
            self.reading.finish.get_or_insert(Finish::Completed);
            self.end = End::Done;
            return;
        }
        let reading = &mut self.reading;
        let finish = match document.kind {
            Some(EventKind::Completed) => Some(Finish::Completed),
            Some(EventKind::Incomplete) => Some(Finish::Incomplete),
            Some(EventKind::Failed) => Some(Finish::Failed),
            _ if document.error || event_name.whole() == Some(b"error") => Some(Finish::Failed),
            _ => None,
        };
        reading.finish = finish.or(reading.finish);
        match document.usage {
            // Of the new generation only the last event says what it cost (source: Mavera's streaming guide).
            Some(usage) if finish.is_some() => {
                // One without a figure takes none away.
                if usage.credits.is_some() || reading.usage.credits.is_none() {
                    reading.usage = usage;
                }
                if usage.credits.is_some() {
                    self.offered = None;
                }
            }
            // The old one names no event.
            Some(usage) if document.kind.is_none() && usage.credits.is_some() => self.offered = Some(usage),
            _ => {}
        }
        // Every event of the new generation may have ids of items; only a response's own counts,
        // and that is the one `response.created` opens the stream with.
        if reading.response_id.is_none() {
            reading.response_id = document.id;
        }
        if reading.beside.is_none() {
            reading.beside = document.beside;
        }
    }
}
