//! `credits reconcile`: the ledger beside the upstream's usage, or beside its list of charges.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::civil::Date;

use crate::cli::failure::{Failure, count, read_config, say};
use crate::clock::Clock;
use crate::credits::Credits;
use crate::ledger::facts::Booked;
use crate::ledger::{Adjustment, Span, home};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::outbound::connect::Tcp;
use crate::server::event_loop;
use crate::usage::{Comparison, compare_with};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReconcileArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// Lines of "upstream response id,credits", refunds negative, with or without a line of headings; "-" reads standard
    /// input.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The first day that the list tells of, like 2026-11-01. Default: that of its earliest call that is in the ledger.
    #[arg(long, value_name = "DAY", requires = "csv")]
    since: Option<Date>,
    /// The last day that the list tells of. Default: that of its latest call that is in the ledger.
    #[arg(long, value_name = "DAY", requires = "csv")]
    until: Option<Date>,
    /// Book the upstream's figure for every call of the list that differs. What was in doubt is final then.
    #[arg(long, requires = "csv")]
    book: bool,
}

pub(super) fn run(arguments: &ReconcileArguments) -> Result<(), Failure> {
    match &arguments.csv {
        Some(csv) => by_list(arguments, csv),
        None => by_usage(&arguments.config),
    }
}

/// The sums of the running billing period.
fn by_usage(path: &Path) -> Result<(), Failure> {
    let live = Live::load(path, &Metrics::new(), Clock::system())?;
    let snapshot = live.current();
    home::catch_up(&snapshot.config.ledger)?;
    let reads = home::reads(&snapshot.config.ledger);
    let compared = event_loop()?.block_on(compare_with(&Tcp, &snapshot, &reads));
    let comparison = compared.map_err(|error| Failure::System(std::io::Error::other(error.to_string())))?;
    let Comparison { theirs, settled, in_doubt } = comparison;
    say!("billing period       {:.0} to {:.0}", theirs.start, theirs.end)?;
    say!("upstream, everybody  {} of {}, {} left", theirs.used, theirs.included, theirs.remaining)?;
    say!("upstream, the API    {}", theirs.api_used)?;
    say!("ledger, settled      {settled}")?;
    say!("ledger, in doubt     {in_doubt}")?;
    if comparison.agrees() {
        say!("They agree: the API's bill is between what is settled and that with what is in doubt.")?;
        return Ok(());
    }
    say!("They differ by {} credits that nothing in doubt explains.", comparison.drift())?;
    Err(disagreement())
}

/// Call by call.
fn by_list(arguments: &ReconcileArguments, csv: &Path) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let theirs = read_csv(csv)?;
    let reader = home::reading(&config.ledger)?;
    let ours = reader.booked_by_response()?;
    let span = span_of(arguments, &theirs, &ours)?;
    let credits_of = |millionths: &i64| Credits::from_millionths(millionths.unsigned_abs());
    let (mut matched, mut missing) = (0, 0);
    let (mut differing, mut lines) = (Vec::new(), Vec::new());
    for (id, millionths) in &theirs {
        if *millionths < 0 {
            return Err(Failure::Usage(format!(
                "{}: {id} was refunded {} credits more than the list says it cost; the list has to tell of both",
                csv.display(),
                credits_of(millionths)
            )));
        }
        let credits = &credits_of(millionths);
        match ours.get(id) {
            Some(booked) if booked.credits == *credits => {
                matched += 1;
                if booked.in_doubt {
                    differing.push((booked, *credits));
                }
            }
            Some(booked) => {
                lines.push(format!(
                    "differs  {id}: upstream {credits}, ledger {} ({}, {})",
                    booked.credits, booked.day, booked.team
                ));
                differing.push((booked, *credits));
            }
            None => {
                missing += 1;
                lines.push(format!("missing  {id}: upstream {credits}, not in the ledger"));
            }
        }
    }
    let unknown = ours.iter().filter(|(id, booked)| {
        !theirs.contains_key(*id)
            && booked.credits > Credits::ZERO
            && (span.since..=span.until).contains(&booked.day)
    });
    let before = lines.len();
    lines.extend(unknown.map(|(id, booked)| {
        format!("extra    {id}: ledger {}, not upstream ({}, {})", booked.credits, booked.day, booked.team)
    }));
    let extra = lines.len() - before;
    let differ = differing.iter().filter(|(booked, figure)| booked.credits != *figure).count();
    let mut adjustments = Vec::new();
    // Before anything is told: whoever reads may stop reading, and what was asked for is done all the same.
    if arguments.book {
        let (at, reason) = (Clock::system().wall(), format!("reconciled with {}", csv.display()));
        adjustments.extend(differing.into_iter().map(|(booked, figure)| Adjustment {
            booked: booked.clone(),
            figure,
            reason: reason.clone(),
            at,
        }));
        home::upkeep(&config.ledger)?.adjust(&adjustments)?;
    }
    for line in lines {
        say!("{line}")?;
    }
    say!(
        "{matched} match, {differ} differ, {missing} are missing here, {extra} are missing upstream (of {}).",
        span.in_words()
    )?;
    if arguments.book {
        say!("{} booked at the upstream's figures now.", calls_are(adjustments.len()))?;
    }
    say!("{} credits are booked in doubt.", reader.in_doubt()?)?;
    if missing + extra == 0 && (differ == 0 || arguments.book) { Ok(()) } else { Err(disagreement()) }
}

fn calls_are(number: usize) -> String {
    format!("{} {}", count(number, "call"), if number == 1 { "is" } else { "are" })
}

fn disagreement() -> Failure {
    Failure::System(std::io::Error::other("the ledger and the upstream do not agree"))
}

/// The days that a list tells of: those of the statement, or from the first to the last of its calls. What the ledger has
/// of other days is not missing upstream.
fn span_of(
    arguments: &ReconcileArguments,
    theirs: &BTreeMap<String, i64>,
    ours: &BTreeMap<String, Booked>,
) -> Result<Span, Failure> {
    let days = || theirs.keys().filter_map(|id| ours.get(id)).map(|booked| booked.day);
    let today = Clock::system().wall().to_zoned(jiff::tz::TimeZone::UTC).date();
    let since = arguments.since.or_else(|| days().min()).unwrap_or(today);
    let until = arguments.until.or_else(|| days().max()).unwrap_or(today);
    if since > until {
        return Err(Failure::Usage(format!(
            "the list would tell of days from {since} until {until}: there are none such"
        )));
    }
    Ok(Span { since, until })
}

/// What headings of the first column are called, without a call of that id.
const HEADINGS: [&str; 8] =
    ["id", "response_id", "response id", "response", "request_id", "request id", "charge", "call"];

/// The charges of a list in millionths of a credit, added up by id. Its first line may be headings: known ones, or any two
/// words.
fn read_csv(path: &Path) -> Result<BTreeMap<String, i64>, Failure> {
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
    let mut charges = BTreeMap::new();
    for (index, line) in lines.records().enumerate() {
        let line = line.map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
        let cell = |at| line.get(at).unwrap_or_default();
        let (id, amount) = (cell(0), cell(1));
        match millionths(amount) {
            Some(amount) if !id.is_empty() => {
                let sum = charges.entry(id.to_owned()).or_insert(0i64);
                *sum = sum.saturating_add(amount);
            }
            None if index == 0 && is_heading(id, amount) => {}
            _ => {
                let at = line.position().map_or(0, csv::Position::line);
                let found = line.iter().collect::<Vec<_>>().join(",");
                return Err(Failure::Usage(format!(
                    "{shown}:{at}: expected \"response id,credits\", found {found:?}"
                )));
            }
        }
    }
    Ok(charges)
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

/// Two words, of which the first is a usual name of a column or the second is one without a digit. A charge of which the
/// amount cannot be read is no heading.
fn is_heading(id: &str, amount: &str) -> bool {
    let known = HEADINGS.contains(&id.to_ascii_lowercase().as_str());
    known
        || (!amount.is_empty()
            && !amount.bytes().any(|byte| byte.is_ascii_digit())
            && !id.starts_with("resp"))
}
