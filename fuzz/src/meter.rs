//! What a response says it cost, read from the whole of it at once.

use mavera_gateway::credits::Credits;
use mavera_gateway::meter::{Figures, Finish, Meter, Reading, Usage};

use crate::json::{self, Json, Text};
use crate::split;

/// A meter for a content type.
pub fn meter(content_type: &'static str) -> Meter {
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    Meter::for_head(&headers, Figures::Usage)
}

/// What the gateway's meter reads of `body`, which must be the same however the body is cut.
pub fn metered(content_type: &'static str, body: &[u8]) -> Reading {
    let [whole, others @ ..] = split::seeds(body);
    let read = |seed| {
        let mut meter = meter(content_type);
        split::frames(body, seed, |frame| meter.look(frame));
        meter.finish(true)
    };
    let reading = read(whole);
    for seed in others {
        assert_eq!(read(seed), reading, "cut by {seed}, another reading");
    }
    // Small enough to try every place for one cut.
    for at in 0..if body.len() <= 96 { body.len() } else { 0 } {
        let mut meter = meter(content_type);
        meter.look(&body[..at]);
        meter.look(&body[at..]);
        assert_eq!(meter.finish(true), reading, "cut at {at}, another reading");
    }
    reading
}

/// Longest name, id or figure that is looked at; no real one comes near.
const LONGEST: usize = 128;

/// What one JSON document says at the documented places.
#[derive(Debug, Default)]
pub struct Document {
    /// The event's type.
    pub kind: Option<String>,
    /// The response's id.
    pub id: Option<String>,
    /// What it cost.
    pub usage: Option<Usage>,
    /// Whether it is an error.
    pub error: bool,
}

impl Document {
    /// Reads a document. Nothing where the gateway need not read what this reads: where it is not JSON, and where a
    /// member that counts is given twice.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let value = json::read(bytes)?;
        let mut document = Self::default();
        let Some(root) = value.members() else { return Some(document) };
        document.kind = text(only(root, "type")?);
        document.id = text(only(root, "id")?);
        document.error = match only(root, "error")? {
            None | Some(Json::Scalar("null" | "false" | "0")) => false,
            Some(Json::String(text)) => !text.0.is_empty(),
            Some(_) => true,
        };
        let mut usages = vec![only(root, "usage")?];
        if let Some(response) = only(root, "response")?.and_then(Json::members) {
            if let Some(Json::String(id)) = only(response, "id")? {
                // An id too long to be one leaves it to the order of the text which other is told.
                document.id = Some(short(*id)?);
            }
            usages.push(only(response, "usage")?);
        }
        let mut usages = usages.into_iter().flatten().filter_map(Json::members);
        document.usage = match usages.next() {
            Some(members) => Some(figures(members)?),
            None => None,
        };
        // With two of them, the last in the order of the text counts; that order is not known here.
        usages.next().is_none().then_some(document)
    }
}

fn figures(members: &[(Text<'_>, Json<'_>)]) -> Option<Usage> {
    let number = |names: [&str; 2]| {
        let mut given = members.iter().filter(|(name, _)| names.iter().any(|wanted| name.is(wanted)));
        let figure = match given.next() {
            Some((_, Json::Scalar(text))) if text.len() <= LONGEST => Some(*text),
            _ => None,
        };
        given.next().is_none().then_some(figure)
    };
    let tokens = |text: &str| text.parse::<u64>().ok().filter(|count| *count <= 1_000_000_000_000);
    Some(Usage {
        credits: number(["credits_used", "credits_used"])?.and_then(Credits::from_json_number),
        input_tokens: number(["input_tokens", "prompt_tokens"])?.and_then(tokens),
        output_tokens: number(["output_tokens", "completion_tokens"])?.and_then(tokens),
    })
}

/// The one member of that name, or none; nothing if there are two.
#[expect(clippy::option_option, reason = "whether there is one answer, and whether that is a member")]
fn only<'j, 't>(members: &'j [(Text<'t>, Json<'t>)], name: &str) -> Option<Option<&'j Json<'t>>> {
    let mut given = members.iter().filter(|(given, _)| given.is(name)).map(|(_, value)| value);
    let first = given.next();
    given.next().is_none().then_some(first)
}

fn text(value: Option<&Json<'_>>) -> Option<String> {
    match value {
        Some(Json::String(text)) => short(*text),
        _ => None,
    }
}

fn short(text: Text<'_>) -> Option<String> {
    if text.0.len() <= LONGEST { text.spelt() } else { None }
}

/// What an event stream says, by the standard's own steps: lines, fields, events. Nothing where an event's data is
/// one that [`Document`] has no opinion about.
pub fn event_stream(body: &[u8]) -> Option<Reading> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let (mut reading, mut offered) = (Reading::default(), None);
    let (mut name, mut data): (Vec<u8>, Vec<&[u8]>) = Default::default();
    // A stream that breaks off has its last event read all the same: the figure was sent.
    for line in lines(body).into_iter().chain([&b""[..]]) {
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            // A field without a colon has an empty value by the standard; nobody writes one, and the meter is free
            // in what it makes of it.
            b"data" | b"event" if field.len() == line.len() => return None,
            b"event" => name = value.to_vec(),
            b"data" => data.push(value),
            b"" if line.is_empty() => {
                if !data.is_empty() {
                    dispatch(&mut reading, &mut offered, &name, &data.join(&b'\n'))?;
                }
                name.clear();
                data.clear();
            }
            _ => {}
        }
    }
    end(&mut reading, &mut offered);
    Some(reading)
}

/// The last figure of the old generation is the cost once the stream has come to its end.
fn end(reading: &mut Reading, offered: &mut Option<Usage>) {
    if let Some(usage) = offered.take() {
        reading.usage = usage;
        reading.finish.get_or_insert(Finish::Completed);
    }
}

fn dispatch(reading: &mut Reading, offered: &mut Option<Usage>, name: &[u8], data: &[u8]) -> Option<()> {
    if data == b"[DONE]" {
        end(reading, offered);
        reading.finish.get_or_insert(Finish::Completed);
        return Some(());
    }
    let document = Document::read(data)?;
    let finish = match document.kind.as_deref() {
        Some("response.completed") => Some(Finish::Completed),
        Some("response.incomplete") => Some(Finish::Incomplete),
        Some("response.failed" | "error") => Some(Finish::Failed),
        _ if document.error || name == b"error" => Some(Finish::Failed),
        _ => None,
    };
    reading.finish = finish.or(reading.finish);
    if let Some(usage) = document.usage {
        let priced = usage.credits.is_some();
        if finish.is_some() {
            if priced || reading.usage.credits.is_none() {
                reading.usage = usage;
            }
            if priced {
                *offered = None;
            }
        } else if document.kind.is_none() && priced {
            *offered = Some(usage);
        }
    }
    reading.response_id = reading.response_id.take().or(document.id);
    Some(())
}

/// Lines end with a line feed, a carriage return, or both in that order.
fn lines(mut body: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(at) = body.iter().position(|byte| b"\r\n".contains(byte)) {
        lines.push(&body[..at]);
        body = &body[at + if body[at..].starts_with(b"\r\n") { 2 } else { 1 }..];
    }
    lines.push(body);
    lines
}
