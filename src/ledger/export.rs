//! Calls as they are written out before they are removed: a line each, in units that a spreadsheet sums.

use std::io::Write;

use jiff::Timestamp;

use super::entry::day_of;
use super::facts::CallId;
use crate::credits::Credits;

/// What the columns are called. Amounts are credits, times are UTC.
const HEADINGS: [&str; 18] = [
    "call",
    "day",
    "held_at",
    "ended_at",
    "team",
    "key_id",
    "route",
    "request_id",
    "response_id",
    "outcome",
    "reserved_credits",
    "credits",
    "corrected_by_credits",
    "basis",
    "reason",
    "input_tokens",
    "output_tokens",
    "waited_seconds",
];

/// A call, as a table has it: amounts in millionths, times in microseconds, days since the epoch.
#[derive(Clone, Debug)]
pub(super) struct Exported {
    pub(super) call: CallId,
    pub(super) day: i64,
    pub(super) held: i64,
    pub(super) ended: Option<i64>,
    pub(super) team: String,
    pub(super) key_id: String,
    pub(super) route: String,
    pub(super) request_id: String,
    pub(super) response_id: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) reserve: i64,
    /// As it was booked first.
    pub(super) booked: i64,
    /// What corrections have changed.
    pub(super) corrected: i64,
    pub(super) basis: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) input_tokens: Option<i64>,
    pub(super) output_tokens: Option<i64>,
    pub(super) queued: i64,
}

/// The file in the making.
pub(super) struct Export<'o> {
    lines: csv::Writer<&'o mut dyn Write>,
    count: usize,
}

impl<'o> Export<'o> {
    pub(super) fn begin(out: &'o mut dyn Write) -> csv::Result<Self> {
        let mut lines = csv::Writer::from_writer(out);
        lines.write_record(HEADINGS)?;
        Ok(Self { lines, count: 0 })
    }

    pub(super) fn take(&mut self, call: &Exported) -> csv::Result<()> {
        let time = |micros: i64| {
            Timestamp::from_microsecond(micros).map(|at| format!("{at:.6}")).unwrap_or_default()
        };
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let micros = call.queued.unsigned_abs();
        self.count += 1;
        self.lines.write_record([
            call.call.to_string(),
            day_of(call.day).to_string(),
            time(call.held),
            call.ended.map(time).unwrap_or_default(),
            call.team.clone(),
            call.key_id.clone(),
            call.route.clone(),
            call.request_id.clone(),
            text(&call.response_id),
            text(&call.outcome),
            credits(call.reserve),
            credits(call.booked + call.corrected),
            credits(call.corrected),
            text(&call.basis),
            text(&call.reason),
            number(call.input_tokens),
            number(call.output_tokens),
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        ])
    }

    /// Returns how many calls are in it.
    pub(super) fn finish(mut self) -> std::io::Result<usize> {
        self.lines.flush()?;
        Ok(self.count)
    }
}

fn credits(millionths: i64) -> String {
    let sign = if millionths < 0 { "-" } else { "" };
    format!("{sign}{}", Credits::from_millionths(millionths.unsigned_abs()))
}
