//! How single values are written in the file: durations as "30s", sizes as "1MiB", and a leaf that
//! remembers what was wrong with it instead of ending the reading.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::credits::Credits;
use crate::credits::period::Period;
use jiff::{Span, SpanRelativeTo};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};

/// One value of the file: absent, valid, or wrong with a reason. A wrong value does not stop the
/// rest from being read, so that `check` can report every problem at once.
#[derive(Clone, Debug)]
pub struct Leaf<T>(pub(super) Option<Result<T, String>>);

impl<T> Default for Leaf<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Leaf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        Ok(Self(Some(T::deserialize(value).map_err(|error| in_words(error.message())))))
    }
}

/// What the reader of a value says of its type, for whoever wrote it.
fn in_words(message: &str) -> String {
    if let Some((found, expected)) =
        message.strip_prefix("unknown variant ").and_then(|variants| variants.split_once(", expected "))
    {
        return format!("is {}, and has to be {}", found.replace('`', "\""), expected.replace('`', "\""));
    }
    let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|types| types.split_once(", expected "))
    else {
        return message.to_owned();
    };
    // What kind of number it is, is nothing to the reader.
    let found = ["integer ", "floating point ", "boolean ", "string "]
        .iter()
        .find_map(|kind| found.strip_prefix(kind))
        .unwrap_or(found);
    let found = match found {
        "sequence" => "a list",
        "map" => "a table",
        other => other,
    };
    let expected = match expected {
        "a string" | "path string" => "a text in quotes",
        "a sequence" => "a list in brackets",
        "a boolean" => "true or false",
        "socket address" => "an address with a port",
        "a TOML datetime" => "a time like 2027-01-01T00:00:00Z",
        "u32" | "u64" | "usize" | "f64" => "a number",
        other => other,
    };
    format!("is {}, and has to be {expected}", found.replace('`', ""))
}

impl<T: JsonSchema> JsonSchema for Leaf<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A length of time as written: `"30s"`, `"2m"`, `"1h 30m"`, `"90d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl FromStr for DurationText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a length of time; write it like \"30s\", \"2m\" or \"1h 30m\"");
        let span: Span = text.parse().map_err(|_| wrong())?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        Duration::try_from(duration).map(Self).map_err(|_| wrong())
    }
}

/// A number of bytes as written: `"16KiB"`, `"1MiB"`, `"1048576"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeText(pub usize);

impl FromStr for SizeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size; write it like \"64KiB\" or \"1MiB\"");
        let size: bytesize::ByteSize = text.parse().map_err(|_| wrong())?;
        usize::try_from(size.as_u64()).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(duration) => write!(f, "{duration:#}"),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

macro_rules! written_as_text {
    ($name:ident, $title:literal, $pattern:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

written_as_text!(DurationText, "Duration", r"^[0-9].*[a-z]$", "30s");
written_as_text!(SizeText, "Size", r"^[0-9]+ ?([KMG]i?)?B?$", "1MiB");

/// A point in time as TOML writes it, with its offset: `2027-01-01T00:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampText(pub jiff::Timestamp);

impl<'de> Deserialize<'de> for TimestampText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = toml::value::Datetime::deserialize(deserializer)?;
        written.to_string().parse().map(Self).map_err(|_| {
            D::Error::custom(format!(
                "{written} is not a full date and time with an offset; write it like 2027-01-01T00:00:00Z"
            ))
        })
    }
}

impl JsonSchema for TimestampText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// An amount of credits: a number, whole or with a fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreditsText(pub Credits);

impl<'de> Deserialize<'de> for CreditsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let text = match &value {
            toml::Value::Integer(whole) => whole.to_string(),
            toml::Value::Float(fraction) => fraction.to_string(),
            _ => String::new(),
        };
        Credits::from_json_number(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom("is not an amount of credits; write a number like 5 or 2.5"))
    }
}

impl JsonSchema for CreditsText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Credits".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

/// What is held for a call: an amount, or `"learned"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveText {
    /// Always this much.
    Fixed(Credits),
    /// What recent calls have cost.
    Learned,
}

impl<'de> Deserialize<'de> for ReserveText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        if value.as_str() == Some("learned") {
            return Ok(Self::Learned);
        }
        CreditsText::deserialize(value)
            .map(|amount| Self::Fixed(amount.0))
            .map_err(|_| D::Error::custom("is not an amount of credits and not \"learned\""))
    }
}

impl JsonSchema for ReserveText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Reserve".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "number", "minimum": 0 }, { "const": "learned" }] })
    }
}

/// So many credits per calendar period.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Budget {
    /// How many. Required.
    pub(super) credits: Leaf<CreditsText>,
    /// "day", "week" or "month", by the calendar of `credits.time_zone`. Required.
    pub(super) period: Leaf<Period>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        let duration = |text: &str| text.parse::<DurationText>().map(|d| d.0).ok();
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Some(Duration::from_mins(2)));
        assert_eq!(duration("1h 30m"), Some(Duration::from_mins(90)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("90d"), Some(Duration::from_hours(2160)));
        for wrong in ["", "30", "-5s", "soon", "1 month"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        let size = |text: &str| text.parse::<SizeText>().map(|s| s.0).ok();
        assert_eq!(size("1MiB"), Some(1 << 20));
        assert_eq!(size("64KiB"), Some(64 << 10));
        assert_eq!(size("large"), None);
    }
}
