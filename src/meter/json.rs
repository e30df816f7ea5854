//! A streaming look at one JSON document: finds the few fields the meter cares about at their exact
//! place, across any split, in constant memory, and skips the rest at memory speed.
//!
//! It is not a validator. What is not a JSON object yields nothing; text inside strings, however
//! much it looks like usage, is never looked at as structure.

use memchr::memchr2;

use super::text::{TOKEN, Text};
use super::usage::{Status, Usage};
use crate::credits::Credits;

/// What one document said at the places that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// Top-level `type`: the event type of a Responses stream.
    pub(super) kind: Option<EventKind>,
    /// `id`, or `response.id` where there is one.
    pub(super) id: Option<String>,
    /// `usage`, or `response.usage`.
    pub(super) usage: Option<Usage>,
    /// Top-level `credits_charged` and `credits_used`.
    pub(super) charged: Option<Credits>,
    pub(super) used: Option<Credits>,
    /// Top-level `status`.
    pub(super) status: Option<Status>,
    /// Top-level `thread_id` or `file_id`, the first of them.
    pub(super) beside: Option<String>,
    /// A top-level `error` that is not null or empty: Mavera's error envelope.
    pub(super) error: bool,
}

/// The event types that matter. A stream has thousands of the others: none of them is worth an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Completed,
    Incomplete,
    Failed,
    Other,
}

impl EventKind {
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"response.completed" => Self::Completed,
            b"response.incomplete" => Self::Incomplete,
            b"response.failed" | b"error" => Self::Failed,
            _ => Self::Other,
        }
    }
}

/// Containers whose members have a meaning. Everything else is `Elsewhere`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Root,
    Response,
    Usage,
    Elsewhere,
}

/// What the value that comes next would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Nothing,
    Kind,
    Id,
    ResponseId,
    Error,
    Enter(Place),
    Credits,
    InputTokens,
    OutputTokens,
    Charged,
    Used,
    Status,
    Beside,
}

impl Target {
    /// Whether the text of a string counts.
    const fn is_text(self) -> bool {
        matches!(self, Self::Kind | Self::Id | Self::ResponseId | Self::Error | Self::Status | Self::Beside)
    }

    fn of(place: Place, key: &[u8]) -> Self {
        match (place, key) {
            (Place::Root, b"type") => Self::Kind,
            (Place::Root, b"id") => Self::Id,
            (Place::Root, b"error") => Self::Error,
            (Place::Root, b"status") => Self::Status,
            (Place::Root, b"credits_charged") => Self::Charged,
            (Place::Root, b"credits_used") => Self::Used,
            (Place::Root, b"thread_id" | b"file_id") => Self::Beside,
            (Place::Root, b"response") => Self::Enter(Place::Response),
            (Place::Response, b"id") => Self::ResponseId,
            (Place::Root | Place::Response, b"usage") => Self::Enter(Place::Usage),
            (Place::Usage, b"credits_used") => Self::Credits,
            (Place::Usage, b"input_tokens" | b"prompt_tokens") => Self::InputTokens,
            (Place::Usage, b"output_tokens" | b"completion_tokens") => Self::OutputTokens,
            _ => Self::Nothing,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first byte that is not white space.
    Before,
    /// Between tokens, or inside a number or literal.
    Open,
    /// Inside a string; `key` if it names a member, `escaped` right after a backslash.
    String { key: bool, escaped: bool },
    /// After the document, or in something that is not an object.
    Ignoring,
}

/// Levels at which names can matter: root, `response`, `response.usage`.
const LEVELS: usize = 3;
/// Stands for a token that was not kept whole.
const TOO_LONG: &[u8] = &[b' '; TOKEN + 1];

/// Feeds on slices of a document, in order; [`Scanner::finish`] yields what was found.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    depth: u32,
    /// For depths 1 to `LEVELS`: the place, if that container is an object.
    places: [Option<Place>; LEVELS],
    /// The next string at this depth names a member.
    expects_key: bool,
    target: Target,
    token: Token,
    found: Document,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    bytes: [u8; TOKEN],
    len: usize,
    overflowed: bool,
}

impl Token {
    const fn new() -> Self {
        Self { bytes: [0; TOKEN], len: 0, overflowed: false }
    }

    fn clear(&mut self) {
        self.len = 0;
        self.overflowed = false;
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = TOKEN - self.len;
        let taken = bytes.len().min(room);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        self.overflowed |= taken < bytes.len();
    }

    fn text(&self) -> Option<&str> {
        if self.overflowed {
            return None;
        }
        std::str::from_utf8(&self.bytes[..self.len]).ok()
    }
}

impl Scanner {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Before,
            depth: 0,
            places: [None; LEVELS],
            expects_key: false,
            target: Target::Nothing,
            token: Token::new(),
            found: Document {
                kind: None,
                id: None,
                usage: None,
                charged: None,
                used: None,
                status: None,
                beside: None,
                error: false,
            },
        }
    }

    /// Looks at the next bytes of the document.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Ignoring => return,
                State::String { key, escaped } => self.in_string(bytes, key, escaped),
                State::Before => {
                    self.begin(bytes[0]);
                    &bytes[1..]
                }
                State::Open => self.between(bytes),
            };
        }
    }

    /// Ends the document, however far it came, and makes the scanner ready for the next.
    pub(super) fn finish(&mut self) -> Document {
        let found = std::mem::take(&mut self.found);
        self.state = State::Before;
        self.depth = 0;
        self.token.clear();
        found
    }

    fn begin(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' => {
                self.target = Target::Enter(Place::Root);
                self.state = State::Open;
                self.open_container(true);
            }
            _ => self.state = State::Ignoring,
        }
    }

    /// Inside a string: jump to the next quote or backslash.
    fn in_string<'b>(&mut self, bytes: &'b [u8], key: bool, escaped: bool) -> &'b [u8] {
        let keeps = key || self.target.is_text();
        if escaped {
            if keeps {
                self.token.push(&bytes[..1]);
            }
            self.state = State::String { key, escaped: false };
            return &bytes[1..];
        }
        let Some(at) = memchr2(b'"', b'\\', bytes) else {
            if keeps {
                self.token.push(bytes);
            }
            return &[];
        };
        if bytes[at] == b'\\' {
            if keeps {
                self.token.push(&bytes[..=at]);
            }
            self.state = State::String { key, escaped: true };
        } else {
            self.state = State::Open;
            if !keeps {
                self.end_string(key, Text::Plain(&[]));
            } else if self.token.len == 0 {
                // Almost every string lies within one frame and has no escapes: it is judged where it stands.
                self.end_string(key, Text::Plain(&bytes[..at]));
            } else {
                self.token.push(&bytes[..at]);
                let Token { bytes: copy, len, overflowed } = self.token;
                self.end_string(key, Text::Raw(if overflowed { TOO_LONG } else { &copy[..len] }));
            }
        }
        &bytes[at + 1..]
    }

    /// Between strings: structure, white space, numbers and literals.
    fn between<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => {
                    self.token.clear();
                    let key = self.expects_key;
                    self.state = State::String { key, escaped: false };
                    return &bytes[at + 1..];
                }
                b'{' | b'[' => self.open_container(byte == b'{'),
                b'}' | b']' => {
                    self.end_scalar();
                    self.close_container();
                    if self.depth == 0 {
                        self.state = State::Ignoring;
                        return &[];
                    }
                }
                b',' => {
                    self.end_scalar();
                    self.expects_key = self.place().is_some();
                }
                b':' => self.expects_key = false,
                b' ' | b'\t' | b'\r' | b'\n' => self.end_scalar(),
                _ if self.target != Target::Nothing => self.token.push(&[byte]),
                _ => {}
            }
        }
        &[]
    }

    /// The meaning of the innermost container, if it is an object at a level that can have one.
    fn place(&self) -> Option<Place> {
        let level = usize::try_from(self.depth).ok()?.checked_sub(1)?;
        *self.places.get(level)?
    }

    fn open_container(&mut self, object: bool) {
        let entered = match std::mem::replace(&mut self.target, Target::Nothing) {
            Target::Enter(place) => place,
            Target::Error => {
                self.found.error = true;
                Place::Elsewhere
            }
            _ => Place::Elsewhere,
        };
        self.depth = self.depth.saturating_add(1);
        if let Some(slot) = self.places.get_mut(self.depth as usize - 1) {
            *slot = object.then_some(entered);
        }
        self.expects_key = self.place().is_some();
        if object && entered == Place::Usage {
            // The last `usage` of a document counts, whole: never a mix of two.
            self.found.usage = Some(Usage::default());
        }
        self.token.clear();
    }

    fn close_container(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.expects_key = false;
        self.target = Target::Nothing;
    }

    fn end_string(&mut self, key: bool, text: Text<'_>) {
        if key {
            self.target = match (self.place(), text.unescaped()) {
                (Some(place), Some(name)) => Target::of(place, &name),
                _ => Target::Nothing,
            };
            self.expects_key = false;
        } else {
            match std::mem::replace(&mut self.target, Target::Nothing) {
                Target::Kind => self.found.kind = text.unescaped().map(|name| EventKind::of(&name)),
                // Inside a stream the response is one level down; there its id is the better one.
                Target::Id if self.found.id.is_none() => self.found.id = text.owned(),
                Target::ResponseId => self.found.id = text.owned(),
                Target::Error => self.found.error |= !text.is_empty(),
                Target::Status => self.found.status = text.unescaped().map(|word| Status::of(&word)),
                Target::Beside if self.found.beside.is_none() => self.found.beside = text.owned(),
                _ => {}
            }
        }
        self.token.clear();
    }

    fn end_scalar(&mut self) {
        if self.token.len == 0 {
            return;
        }
        let target = std::mem::replace(&mut self.target, Target::Nothing);
        if let Some(text) = self.token.text() {
            match (target, &mut self.found.usage) {
                (Target::Credits, Some(usage)) => usage.credits = Credits::from_json_number(text),
                (Target::InputTokens, Some(usage)) => usage.input_tokens = tokens(text),
                (Target::OutputTokens, Some(usage)) => usage.output_tokens = tokens(text),
                (Target::Charged, _) => self.found.charged = Credits::from_json_number(text),
                (Target::Used, _) => self.found.used = Credits::from_json_number(text),
                (Target::Error, _) => self.found.error |= !matches!(text, "null" | "false" | "0"),
                _ => {}
            }
        }
        self.token.clear();
    }
}

/// A count of tokens; what no answer can have is no figure.
fn tokens(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count| *count <= 1_000_000_000_000)
}

#[cfg(test)]
mod tests;
