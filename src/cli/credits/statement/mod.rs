//! `credits statement`: what a team has spent in a month, as a finance department files it: by route and member, with grants and
//! corrections, and the digest of the entries that it rests on.

mod bill;
mod digest;
mod page;
mod print;

use std::io::Write;
use std::path::PathBuf;

use jiff::ToSpan;
use jiff::civil::Date;

use self::bill::Bill;
use crate::cli::failure::{Failure, read_config};
use crate::clock::Clock;
use crate::credits::period::day_of;
use crate::ledger::{Span, home};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct StatementArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// The team. One that is in the configuration no more has a budget no more, and else is told all the same.
    #[arg(long, value_name = "NAME")]
    team: String,
    /// The month, like 2026-11. Default: the last that is over.
    #[arg(long, value_name = "MONTH", value_parser = month)]
    month: Option<Date>,
    /// How to print it: a table, CSV, JSON, or a page to be printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The digest of a statement that was made before: exits with 1 if the ledger has other entries now.
    #[arg(long, value_name = "HEX")]
    digest: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
    Html,
}

/// The first day of a month.
fn month(text: &str) -> Result<Date, String> {
    let first = Some(format!("{text}-01")).filter(|_| text.len() == 7).and_then(|day| day.parse().ok());
    first.ok_or_else(|| "write a month like 2026-11".to_owned())
}

pub(super) fn run(arguments: &StatementArguments) -> Result<(), Failure> {
    let config = read_config(&arguments.config)?;
    let today = day_of(Clock::system().wall(), &config.credits.zone);
    let last = today.first_of_month().checked_sub(1.month()).unwrap_or(today);
    let first = arguments.month.unwrap_or(last);
    if first > today {
        return Err(Failure::Usage(format!("{first} is to come; today is {today} in the ledger's zone")));
    }
    let span = Span { since: first, until: first.last_of_month() };
    let bill = Bill::read(&config, &*home::reading(&config.ledger)?, &arguments.team, span, today)?;
    if let Some(expected) = &arguments.digest
        && !expected.eq_ignore_ascii_case(&bill.rests_on.sha256)
    {
        return Err(Failure::Answer(format!(
            "the ledger has other entries of team {} in {} than when that statement was made: their digest is {} now, with {} \
             calls and {} corrections",
            bill.team, bill.month, bill.rests_on.sha256, bill.rests_on.calls, bill.rests_on.corrections
        )));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match arguments.format {
        Format::Table => print::table(&mut out, &bill)?,
        Format::Csv => print::csv(&mut out, &bill)?,
        Format::Json => writeln!(out, "{:#}", serde_json::to_value(&bill).map_err(std::io::Error::from)?)?,
        Format::Html => page::write(&mut out, &bill)?,
    }
    out.flush()?;
    Ok(())
}
