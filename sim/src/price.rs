//! What things cost, and how an answer says so. The ranges are documented; the formulas inside them are
//! invented, and deterministic.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::quirks::UsageQuirk;

/// The price of a model's answer, 1 to 5: it grows with what is asked.
pub(super) fn chat(input_tokens: u64) -> u64 {
    1 + (input_tokens / 64).min(4)
}

/// A price that grows by one credit per `step` of `size`, up to the most that is documented.
pub(super) fn growing(range: &RangeInclusive<u64>, size: usize, step: usize) -> u64 {
    (range.start() + (size / step) as u64).min(*range.end())
}

/// A price anywhere in the range, so that two jobs seldom cost the same.
pub(super) fn spread(range: &RangeInclusive<u64>, size: usize) -> u64 {
    range.start() + size as u64 % (range.end() - range.start() + 1)
}

/// The tokens of a text, as far as anybody outside can tell.
pub(super) fn tokens(text: &str) -> u64 {
    text.len() as u64 / 4 + 1
}

/// The `usage` of an answer, as the quirk wants it: these tokens, and this cost.
pub(super) fn usage(mut tokens: Value, credits: u64, quirk: UsageQuirk) -> Option<Value> {
    if quirk == UsageQuirk::Absent {
        return None;
    }
    if let Some(credits) = said(credits, quirk) {
        tokens["credits_used"] = json!(credits);
    }
    Some(tokens)
}

/// The credits that an answer says it cost, if it does.
pub(super) fn said(credits: u64, quirk: UsageQuirk) -> Option<u64> {
    match quirk {
        UsageQuirk::Present => Some(credits),
        UsageQuirk::Zero => Some(0),
        UsageQuirk::Absent | UsageQuirk::NoCredits => None,
    }
}
