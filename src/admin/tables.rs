//! Every figure and table of the credits page as CSV: another form of what [`Look`] tells, asked for with the same query, for
//! whoever sums, files or sorts it elsewhere.

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use http_body_util::Full;
use serde_json::Value;

use super::answers::Denied;
use super::look::Look;
use super::spend::Spend;
use crate::ledger::Search;

/// A table: its name, where its rows are in a look, and its columns: what they are called, and where their cells are in a row.
type Table = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const TABLES: [Table; 7] = [
    (
        "teams",
        &["/overview/teams"],
        &[
            ("team", "/name"),
            ("period", "/standing/period"),
            ("budget_credits", "/standing/credits"),
            ("granted_credits", "/standing/granted"),
            ("used_credits", "/standing/used"),
            ("held_credits", "/standing/held"),
            ("left_credits", "/standing/left"),
            ("credits_a_day", "/standing/per_day"),
            ("runs_out", "/standing/runs_out"),
            ("resets", "/standing/resets"),
            ("saved_credits", "/saved"),
            ("calls_in_flight", "/calls_in_flight"),
            ("concurrency", "/concurrency"),
            ("calls_waiting", "/waiting"),
            ("least_wait_seconds", "/least_wait_seconds"),
            ("places_behind", "/places_behind"),
        ],
    ),
    (
        "jobs",
        &["/overview/jobs"],
        &[
            ("route", "/route"),
            ("limit", "/cap"),
            ("under_way", "/taken"),
            ("waiting", "/waiting"),
            ("answer_lost", "/unknown"),
            ("cost_in_doubt", "/in_doubt"),
        ],
    ),
    (
        "replicas",
        &["/overview/replicas"],
        &[
            ("id", "/id"),
            ("name", "/name"),
            ("version", "/version"),
            ("started", "/started"),
            ("calls_under_way", "/in_flight"),
            ("calls_waiting", "/waiting"),
            ("lease_seconds", "/lease_seconds"),
        ],
    ),
    ("refusals", &["/overview/refusals"], &[("team", "/team"), ("code", "/code"), ("calls", "/count")]),
    (
        "requests",
        &["/booked/requests/requests"],
        &[
            ("call", "/call"),
            ("at", "/at"),
            ("team", "/team"),
            ("key_id", "/key_id"),
            ("route", "/route"),
            ("request_id", "/request_id"),
            ("response_id", "/response_id"),
            ("outcome", "/outcome"),
            ("reserved_credits", "/reserved"),
            ("credits", "/credits"),
            ("basis", "/basis"),
            ("reason", "/reason"),
            ("input_tokens", "/input_tokens"),
            ("output_tokens", "/output_tokens"),
        ],
    ),
    (
        "callers",
        &["/booked/callers/keys", "/booked/callers/members"],
        &[
            ("id", "/id"),
            ("team", "/team"),
            ("key_of", "/source"),
            ("identity", "/identity"),
            ("proof", "/proof"),
            ("state", "/state"),
            ("expires", "/expires"),
            ("revoked", "/revoked"),
            ("last_used", "/last_used"),
            ("last_day", "/last_day"),
            ("spent_credits", "/spent"),
        ],
    ),
    (
        "grants",
        &["/booked/grants/list"],
        &[
            ("number", "/number"),
            ("whose", "/team"),
            ("credits", "/credits"),
            ("from", "/from"),
            ("until", "/until"),
            ("taken_back", "/taken_back"),
            ("why", "/why"),
        ],
    ),
];

/// The figures that stand by themselves: what they are called, and where they are in a look. Their units are in their names.
const FIGURES: [(&str, &str); 42] = [
    ("at", "/overview/at"),
    ("budget_credits", "/overview/organisation/credits"),
    ("budget_granted_credits", "/overview/organisation/granted"),
    ("budget_period", "/overview/organisation/period"),
    ("used_credits", "/overview/organisation/used"),
    ("held_credits", "/overview/organisation/held"),
    ("left_credits", "/overview/organisation/left"),
    ("credits_a_day", "/overview/organisation/per_day"),
    ("runs_out", "/overview/organisation/runs_out"),
    ("resets", "/overview/organisation/resets"),
    ("forecast_credits", "/overview/organisation/forecast/likely"),
    ("forecast_low_credits", "/overview/organisation/forecast/low"),
    ("forecast_high_credits", "/overview/organisation/forecast/high"),
    ("last_period_since", "/booked/last_period/since"),
    ("last_period_until", "/booked/last_period/until"),
    ("last_period_credits", "/booked/last_period/credits"),
    ("last_period_in_doubt_credits", "/booked/last_period/in_doubt"),
    ("saved_credits", "/overview/saved"),
    ("upstream_read_at", "/overview/upstream/read_at"),
    ("upstream_included_credits", "/overview/upstream/included"),
    ("upstream_used_credits", "/overview/upstream/used"),
    ("upstream_used_by_api_credits", "/overview/upstream/api_used"),
    ("upstream_booked_here_credits", "/overview/upstream/ours"),
    ("upstream_runs_out", "/overview/upstream/runs_out"),
    ("upstream_period_start", "/overview/upstream/period_start"),
    ("upstream_period_end", "/overview/upstream/period_end"),
    ("upstream_remaining_credits", "/overview/upstream/remaining"),
    ("upstream_in_doubt_credits", "/overview/upstream/in_doubt"),
    ("upstream_drift_credits", "/overview/upstream/drift"),
    ("window_used_requests", "/overview/window/used"),
    ("window_limit_requests", "/overview/window/limit"),
    ("requests_in_flight", "/overview/in_flight/requests"),
    ("requests_read_on_without_caller", "/overview/in_flight/draining"),
    ("held_in_flight_credits", "/overview/in_flight/held"),
    ("open_holds", "/overview/ledger/open_holds"),
    ("reserve_of_a_chat_credits", "/overview/reserve"),
    ("budgets_a_month_credits", "/booked/grants/budgets_a_month"),
    ("there_is_a_month_credits", "/booked/grants/there_is"),
    ("not_written_credits", "/not_written"),
    ("disk_free_bytes", "/booked/disk/free_bytes"),
    ("disk_total_bytes", "/booked/disk/total_bytes"),
    ("upstream_state", "/overview/upstream_state"),
];

/// Whether there is a table of that name.
pub(super) fn is_one(name: &str) -> bool {
    ["figures", "spend"].contains(&name) || TABLES.iter().any(|(table, ..)| *table == name)
}

/// The names of all.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ["figures", "spend"].into_iter().chain(TABLES.iter().map(|(name, ..)| *name))
}

/// The table of that name, as it is in a look.
pub(super) fn table(name: &str, look: Look) -> Result<Response<Full<Bytes>>, Denied> {
    let of_ledger = name == "spend"
        || TABLES.iter().any(|(table, rows, _)| *table == name && rows[0].starts_with("/booked"));
    let rows = match look.booked {
        // A table without rows would be told for one that has none.
        Err(denied) if of_ledger => return Err(denied),
        Ok(ref booked) if name == "spend" => spend(&booked.spend),
        // Its types have no map with keys that are not text, which is all that could fail.
        _ => cells(name, &serde_json::to_value(&look).unwrap_or_default(), &look.of),
    };
    let mut response = Response::new(Full::from(written(&rows)));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\"")) {
        fields.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

fn cells(name: &str, look: &Value, of: &Search) -> Vec<Vec<String>> {
    let cell = |of: &Value, at: &str| of.pointer(at).map(text).unwrap_or_default();
    let Some((_, rows, columns)) = TABLES.iter().find(|(table, ..)| *table == name) else {
        let headings = vec!["figure".to_owned(), "value".to_owned()];
        let figures = FIGURES.iter().map(|(name, at)| vec![(*name).to_owned(), cell(look, at)]);
        return std::iter::once(headings).chain(figures).collect();
    };
    let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let rows = rows.iter().filter_map(|rows| look.pointer(rows)?.as_array()).flatten();
    let rows = rows.filter(|row| is_of(name, row, of));
    let rows = rows.map(|row| columns.iter().map(|(_, at)| cell(row, at)).collect());
    std::iter::once(headings).chain(rows).collect()
}

/// Whether a row is of those that are looked at, as the page decides it. Calls and spend are already.
fn is_of(name: &str, row: &Value, Search { team, caller, .. }: &Search) -> bool {
    let is = |at: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| row[at] == wanted);
    match name {
        "teams" => is("name", team),
        "refusals" => is("team", team),
        "callers" => is("team", team) && is("id", caller),
        "grants" => is("team", team) || row["team"] == "organisation",
        _ => true,
    }
}

/// One row for each bar's part, so that a spreadsheet can pivot it.
fn spend(spend: &Spend) -> Vec<Vec<String>> {
    let headings = ["first_day", spend.by, "calls", "credits", "in_doubt_credits"].map(str::to_owned);
    let rows = spend.buckets.iter().enumerate().flat_map(|(at, day)| {
        let of_day = spend
            .series
            .iter()
            .filter(move |series| series.calls[at] > 0 || series.credits[at].as_f64() > 0.0);
        of_day.map(move |series| {
            let sums = [&series.credits, &series.in_doubt].map(|sums| sums[at].to_string());
            [day.to_string(), plain(&series.name), series.calls[at].to_string()]
                .into_iter()
                .chain(sums)
                .collect()
        })
    });
    std::iter::once(headings.to_vec()).chain(rows).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

/// A text that no spreadsheet takes for a formula: ids come from callers, and reasons from whoever gave one.
fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn written(rows: &[Vec<String>]) -> Vec<u8> {
    let mut out = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // All rows are as long as their headings, and memory takes them.
        let _ = out.write_record(row);
    }
    out.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_a_spreadsheet_would_run_stays_text_and_numbers_stay_numbers() {
        let look = serde_json::json!({ "booked": { "grants": { "list": [
            { "number": 3, "team": "growth", "credits": 20.5, "from": "2026-01-01", "until": "2026-02-01",
              "taken_back": false, "why": "=HYPERLINK(\"http://x\"), of \"Ann\"" },
        ] } } });
        let text = String::from_utf8(written(&cells("grants", &look, &Search::default()))).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "number,whose,credits,from,until,taken_back,why");
        assert_eq!(
            lines[1],
            r#"3,growth,20.5,2026-01-01,2026-02-01,false,"'=HYPERLINK(""http://x""), of ""Ann""""#
        );
        assert_eq!(plain("-2+3"), "'-2+3");
        assert_eq!(text_of(-2.5), "-2.5", "a number below zero is one");
    }

    fn text_of(number: f64) -> String {
        super::text(&number.into())
    }
}
