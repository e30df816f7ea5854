//! `credits reconcile`: the ledger beside the upstream's usage, or beside its list of charges.

mod list;
mod pair;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use self::list::Charge;
use self::pair::Paired;
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
    /// input. A third column may have the id that the caller saw. With headings, columns are found by their names: `id`, `credits`,
    /// `request_id`, `time`, `route`. By time, and route, a charge is paired with a call in doubt that has no response id, where it
    /// can only be that one.
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

/// Lines of each kind that are printed.
const PRINTED: usize = 50;

/// Call by call.
fn by_list(arguments: &ReconcileArguments, csv: &Path) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let theirs = list::read(csv)?;
    let reader = home::reading(&config.ledger)?;
    let ours = reader.booked_by_response()?;
    let doubt = reader.doubt(None, usize::MAX)?;
    let span = span_of(arguments, &theirs, &ours)?;
    let Paired { by_id, by_request, by_time, left: missing } = pair::pair(&theirs, &ours, &doubt);
    let (mut matched, mut differ, mut told) = (0, 0, Told::default());
    let mut to_book = Vec::new();
    for (charge, booked) in by_id {
        if booked.credits == charge.credits {
            matched += 1;
            to_book.extend(booked.in_doubt.then_some((booked, charge.credits)));
            continue;
        }
        differ += 1;
        told.line(format!(
            "differs  {}: upstream {}, ledger {} ({}, {})",
            charge.id, charge.credits, booked.credits, booked.day, booked.team
        ));
        to_book.push((booked, charge.credits));
    }
    told.next();
    for (how, pairs) in [("request id", by_request), ("time", by_time)] {
        for (charge, booked) in pairs {
            differ += 1;
            told.line(format!(
                "paired   {} by its {how} with {}: upstream {}, ledger {} in doubt ({}, {})",
                charge.id, booked.request_id, charge.credits, booked.credits, booked.day, booked.team
            ));
            to_book.push((booked, charge.credits));
        }
    }
    told.next();
    for charge in &missing {
        told.line(format!("missing  {}: upstream {}, not in the ledger", charge.id, charge.credits));
    }
    told.next();
    let unknown = ours.iter().filter(|(id, booked)| {
        !theirs.contains_key(*id)
            && booked.credits > Credits::ZERO
            && (span.since..=span.until).contains(&booked.day)
    });
    let mut extra = 0;
    for (id, booked) in unknown {
        extra += 1;
        told.line(format!(
            "extra    {id}: ledger {}, not upstream ({}, {})",
            booked.credits, booked.day, booked.team
        ));
    }
    let missing = missing.len();
    let mut adjustments = Vec::new();
    // Before anything is told: whoever reads may stop reading, and what was asked for is done all the same.
    if arguments.book {
        let (at, reason) = (Clock::system().wall(), format!("reconciled with {}", csv.display()));
        adjustments.extend(to_book.into_iter().map(|(booked, figure)| Adjustment {
            booked: booked.clone(),
            figure,
            reason: reason.clone(),
            at,
        }));
        home::upkeep(&config.ledger)?.adjust(&adjustments)?;
    }
    for line in told.lines() {
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

/// Lines by what they tell: of many of a kind the first, and how many more there are.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    of_kind: usize,
}

impl Told {
    fn line(&mut self, line: String) {
        self.of_kind += 1;
        if self.of_kind <= PRINTED {
            self.lines.push(line);
        }
    }

    /// Another kind begins.
    fn next(&mut self) {
        if let Some(more @ 1..) = self.of_kind.checked_sub(PRINTED) {
            self.lines.push(format!("         … and {more} more of these"));
        }
        self.of_kind = 0;
    }

    fn lines(mut self) -> Vec<String> {
        self.next();
        self.lines
    }
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
    theirs: &BTreeMap<String, Charge>,
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
