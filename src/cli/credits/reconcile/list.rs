//! The upstream's list of charges, as a spreadsheet or a script writes it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::{fs, io};

use jiff::Timestamp;

use crate::cli::failure::Failure;
use crate::credits::Credits;

/// What the upstream has charged for one response, refunds taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    /// The upstream's id of the response.
    pub(super) id: String,
    pub(super) credits: Credits,
    /// The id that the caller saw, if the list has it.
    pub(super) request_id: Option<String>,
    /// When it was charged, if the list says.
    pub(super) at: Option<Timestamp>,
    /// On which route, if the list says.
    pub(super) route: Option<String>,
}

/// Where what stands in a line.
#[derive(Clone, Copy)]
struct Columns {
    id: usize,
    credits: usize,
    request_id: Option<usize>,
    at: Option<usize>,
    route: Option<usize>,
}

/// Without headings.
const BY_PLACE: Columns = Columns { id: 0, credits: 1, request_id: Some(2), at: None, route: None };

/// What headings are called.
const ID: [&str; 7] = ["id", "response_id", "response id", "response", "charge", "charge_id", "call"];
const CREDITS: [&str; 6] = ["credits", "credits_used", "amount", "cost", "credit", "charged"];
const REQUEST_ID: [&str; 4] = ["request_id", "request id", "x-request-id", "request"];
const AT: [&str; 7] = ["time", "at", "date", "timestamp", "created_at", "created", "charged_at"];
const ROUTE: [&str; 3] = ["route", "endpoint", "operation"];

impl Columns {
    /// As the names say; nothing if these are no names.
    fn named(line: &csv::StringRecord) -> Option<Self> {
        let find =
            |names: &[&str]| line.iter().position(|cell| names.contains(&cell.to_ascii_lowercase().as_str()));
        let request_id = find(&REQUEST_ID);
        // A list that has one kind of id alone calls it what it likes.
        let id = find(&ID).or(request_id)?;
        let credits = find(&CREDITS).unwrap_or(1);
        Some(Self {
            id,
            credits,
            request_id: request_id.filter(|at| *at != id),
            at: find(&AT),
            route: find(&ROUTE),
        })
    }
}

/// The charges of a list, added up by id. Its first line may be headings: known ones, or any two words.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Charge>, Failure> {
    let shown = path.display();
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|error| Failure::Usage(format!("{shown}: cannot be read: {error}")))?;
    // Spreadsheets put a byte order mark in front.
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let mut lines =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
    let mut columns = BY_PLACE;
    let mut charges: BTreeMap<String, (Charge, i64)> = BTreeMap::new();
    for (index, line) in lines.records().enumerate() {
        let line = line.map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
        let cell = |at| line.get(at).unwrap_or_default();
        let given = |at: Option<usize>| at.map(cell).filter(|cell| !cell.is_empty());
        if index == 0
            && millionths(cell(1)).is_none()
            && let Some(named) = Columns::named(&line)
        {
            columns = named;
            continue;
        }
        let (id, amount) = (cell(columns.id), cell(columns.credits));
        let at = line.position().map_or(0, csv::Position::line);
        match millionths(amount) {
            Some(amount) if !id.is_empty() => {
                let moment = given(columns.at).map(|text| {
                    moment(text).ok_or_else(|| {
                        Failure::Usage(format!(
                            "{shown}:{at}: {text:?} is not a time like 2026-11-01T12:00:00Z, nor seconds of the epoch"
                        ))
                    })
                });
                let moment = moment.transpose()?;
                let (charge, sum) = charges.entry(id.to_owned()).or_insert_with(|| {
                    let [request_id, route] =
                        [columns.request_id, columns.route].map(|at| given(at).map(str::to_owned));
                    (Charge { id: id.to_owned(), credits: Credits::ZERO, request_id, at: None, route }, 0)
                });
                *sum = sum.saturating_add(amount);
                charge.at = charge.at.or(moment);
            }
            None if index == 0 && is_heading(id, amount) => {}
            _ => {
                let found = line.iter().collect::<Vec<_>>().join(",");
                return Err(Failure::Usage(format!(
                    "{shown}:{at}: expected \"response id,credits\", found {found:?}"
                )));
            }
        }
    }
    let whole = |(id, (charge, sum)): (String, (Charge, i64))| {
        let credits = Credits::from_millionths(sum.unsigned_abs());
        if sum < 0 {
            return Err(Failure::Usage(format!(
                "{shown}: {id} was refunded {credits} credits more than the list says it cost; the list has to tell of both"
            )));
        }
        Ok((id, Charge { credits, ..charge }))
    };
    charges.into_iter().map(whole).collect()
}

fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| Timestamp::from_second(text.parse().ok()?).ok())
}

/// A number of credits, negative for a refund.
fn millionths(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let amount = i64::try_from(Credits::from_json_number(digits)?.millionths()).ok()?;
    Some(if negative { -amount } else { amount })
}

/// Two words, of which the second is one without a digit. A charge of which the amount cannot be read is no heading.
fn is_heading(id: &str, amount: &str) -> bool {
    !amount.is_empty() && !amount.bytes().any(|byte| byte.is_ascii_digit()) && !id.starts_with("resp")
}
