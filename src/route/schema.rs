//! Bodies, judged without copying by a list of rules: which members of a JSON object must be there, of which kind, within
//! which bounds. Whatever no rule names goes on as it came.

use std::cell::RefCell;
use std::fmt;

use memchr::memchr2;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::rule::{Kind, Need, Rule};
use super::thing::Thing;
use crate::refuse::Refusal;

/// Deeper nesting serves no caller and strains parsers further on.
const MAX_NESTING: usize = 128;

/// What the gateway needs to know of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether an event stream is asked for.
    pub stream: bool,
    /// What it names that may be another team's.
    pub names: Vec<(Thing, String)>,
}

/// Judges a body.
///
/// # Errors
/// A refusal that names the first member that is wrong, or the place where the JSON is.
pub fn judge(rules: &'static [Rule], body: &[u8]) -> Result<Asked, Refusal> {
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
    let judged = judge_names(rules, text, false);
    // A name with a lone surrogate is no text, and valid JSON all the same (RFC 8259 §8.2). The parser hands out such names
    // only together with those that have bare control characters, which are not.
    match judged {
        Err(Refusal::InvalidJson { .. }) if text.contains("\\u") && !has_bare_control_character(body) => {
            judge_names(rules, text, true)
        }
        judged => judged,
    }
}

fn judge_names(rules: &'static [Rule], text: &str, any_names: bool) -> Result<Asked, Refusal> {
    let scan = Scan { rules, any_names, asked: RefCell::default(), refusal: RefCell::default() };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let root = Value { scan: &scan, rule: None, place: Place::Root };
    match root.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
        Ok(()) => Ok(scan.asked.into_inner()),
        Err(error) => {
            let invalid = || Refusal::InvalidJson { detail: error.to_string() };
            Err(scan.refusal.into_inner().unwrap_or_else(invalid))
        }
    }
}

/// Whether a control character stands in a string as it is (RFC 8259 §7).
fn has_bare_control_character(mut bytes: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(b'"', bytes) {
        let rest = after_string(&bytes[at + 1..]);
        let string = &bytes[at + 1..bytes.len() - rest.len()];
        if string.iter().any(|byte| *byte < b' ') {
            return true;
        }
        bytes = rest;
    }
    false
}

/// The deepest nesting of brackets outside strings. Runs before the parser so that no parser has to be trusted with
/// depth.
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

/// One reading of a body.
struct Scan {
    rules: &'static [Rule],
    /// Whether names need not be text.
    any_names: bool,
    asked: RefCell<Asked>,
    /// What explains the error that the parser was stopped with: serde's errors carry only text.
    refusal: RefCell<Option<Refusal>>,
}

impl Scan {
    /// Stops the parser, and says why.
    fn stop<T, E: Error>(&self, refusal: Refusal) -> Result<T, E> {
        *self.refusal.borrow_mut() = Some(refusal);
        Err(E::custom("refused"))
    }

    fn invalid<T, E: Error>(&self, place: &Place<'_>, reason: impl Into<String>) -> Result<T, E> {
        self.stop(Refusal::InvalidField { param: place.to_string(), reason: reason.into() })
    }

    /// The rules of what stands right below `parent`, each with its number.
    fn below(&self, parent: Option<&Rule>) -> impl Iterator<Item = (usize, &'static Rule)> {
        let parent = parent.map_or("", |rule| rule.path);
        self.rules.iter().enumerate().filter(move |(_, rule)| rule.parent == parent)
    }
}

/// Where in a body a value stands. Written out only for a refusal.
#[derive(Clone, Copy)]
enum Place<'p> {
    Root,
    Member(&'p Place<'p>, &'static str),
    Item(&'p Place<'p>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Place::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value under a rule; the whole body where there is none. Of another kind than its rule wants, it is refused in the
/// rule's words; broken JSON stays broken JSON.
struct Value<'s> {
    scan: &'s Scan,
    rule: Option<&'static Rule>,
    place: Place<'s>,
}

impl Value<'_> {
    fn wrong<T, E: Error>(&self) -> Result<T, E> {
        match self.rule {
            Some(rule) => self.scan.invalid(&self.place, rule.kind.wanted()),
            None => self.scan.stop(Refusal::InvalidJson { detail: "it is not an object".into() }),
        }
    }

    fn kind(&self) -> Kind {
        match (self.rule, self.place) {
            (Some(rule), _) => rule.kind,
            (None, Place::Root) => Kind::Object { with: "" },
            // An item of a list of which no rule says more.
            (None, _) => Kind::Any,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.kind() {
            Kind::Any => deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the kind that its rule wants")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if self.kind() != Kind::Flag {
            return self.wrong();
        }
        if self.rule.is_some_and(|rule| rule.path == "stream") {
            self.scan.asked.borrow_mut().stream = value;
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let kind = self.kind();
        if !kind.takes(text) {
            return self.wrong();
        }
        if let Kind::Id(thing) = kind {
            self.scan.asked.borrow_mut().names.push((thing, text.to_owned()));
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Kind::List { most, one, many, shorten } = self.kind() else {
            if !matches!(self.kind(), Kind::TextOrItems { .. }) {
                return self.wrong();
            }
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let Self { scan, rule, place } = &self;
        let item = scan.below(*rule).map(|(_, item)| item).next();
        let mut count = 0;
        let next = |index| Value { scan, rule: item, place: Place::Item(place, index) };
        while items.next_element_seed(next(count))?.is_some() {
            count += 1;
            if count > most {
                return scan.invalid(place, format!("has more than {most} {many}; {shorten}"));
            }
        }
        if count == 0 {
            return scan.invalid(place, format!("is empty; send at least one {one}"));
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        if !matches!(self.kind(), Kind::Object { .. }) {
            return self.wrong();
        }
        let Self { scan, rule, place } = &self;
        let mut seen = 0u64;
        while let Some(found) = members.next_key_seed(Name { scan, parent: *rule })? {
            let Some((at, member)) = found else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            let place = Place::Member(place, member.step);
            if seen & 1 << at != 0 {
                return scan.invalid(&place, "is given twice");
            }
            seen |= 1 << at;
            members.next_value_seed(Value { scan, rule: Some(member), place })?;
        }
        let is_there =
            |name: &str| scan.below(*rule).any(|(at, member)| member.step == name && seen & 1 << at != 0);
        let missing = scan.below(*rule).find(|(at, member)| {
            seen & 1 << at == 0
                && match member.need {
                    Need::None => false,
                    Need::Must => true,
                    Need::Or(other) => !is_there(other),
                }
        });
        let Some((_, member)) = missing else { return Ok(()) };
        let param = Place::Member(place, member.step).to_string();
        scan.stop(match member.need {
            Need::Or(other) => Refusal::MissingEither { param, other },
            _ => Refusal::MissingField { param },
        })
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.wrong()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.wrong()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.wrong()
    }

    /// `null` is as good as nothing, where nothing may stand.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.rule.is_some_and(Rule::may_be_absent) { Ok(()) } else { self.wrong() }
    }
}

/// A member's name: its rule, if it has one.
struct Name<'s> {
    scan: &'s Scan,
    parent: Option<&'static Rule>,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<(usize, &'static Rule)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.scan.any_names {
            deserializer.deserialize_bytes(self)
        } else {
            deserializer.deserialize_identifier(self)
        }
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<(usize, &'static Rule)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        self.visit_bytes(name.as_bytes())
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(self.scan.below(self.parent).find(|(_, rule)| rule.step.as_bytes() == name))
    }
}

#[cfg(test)]
mod tests;
