//! `credits report`: sums by team, route, key, day or outcome, as a table, CSV or JSON.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use jiff::civil::Date;
use serde::Serialize;

use crate::cli::failure::{Failure, read_config};
use crate::credits::Credits;
use crate::ledger::{Saving, Span, Spend, home};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReportArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// What to add up by.
    #[arg(long, value_enum, default_value_t = By::Team)]
    by: By,
    /// The first day, like 2026-11-01. Default: the first there is.
    #[arg(long, value_name = "DAY")]
    since: Option<Date>,
    /// The last day. Default: the last there is.
    #[arg(long, value_name = "DAY")]
    until: Option<Date>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum By {
    Team,
    Route,
    Key,
    Day,
    Outcome,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// One line of a report.
#[derive(Clone, Debug, Default, Serialize)]
struct Line {
    name: String,
    calls: u64,
    credits: Credits,
    in_doubt: Credits,
    input_tokens: u64,
    output_tokens: u64,
    /// Copies that were given the answer of a call, and what they would have cost.
    copies: u64,
    saved: Credits,
}

/// How many columns a report has.
const COLUMNS: usize = 8;

impl Line {
    fn of(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    fn add(&mut self, spend: &Spend) {
        self.calls += spend.calls;
        self.credits += spend.credits();
        self.in_doubt += spend.estimated;
        self.input_tokens += spend.input_tokens;
        self.output_tokens += spend.output_tokens;
    }

    fn save(&mut self, saving: &Saving) {
        self.copies += saving.copies;
        self.saved += saving.credits;
    }

    fn cells(&self) -> [String; COLUMNS] {
        [
            self.name.clone(),
            self.calls.to_string(),
            self.credits.to_string(),
            self.in_doubt.to_string(),
            self.input_tokens.to_string(),
            self.output_tokens.to_string(),
            self.copies.to_string(),
            self.saved.to_string(),
        ]
    }
}

pub(super) fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    if let (Some(since), Some(until)) = (arguments.since, arguments.until)
        && since > until
    {
        return Err(Failure::Usage(format!(
            "--since {since} is after --until {until}: there are no such days"
        )));
    }
    let config = read_config(&arguments.config)?;
    let span = Span {
        since: arguments.since.unwrap_or(Span::ALL.since),
        until: arguments.until.unwrap_or(Span::ALL.until),
    };
    let reading = home::reading(&config.ledger)?;
    let (spends, savings) = (reading.spends(span)?, reading.savings(span)?);
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    let mut total = Line::of("total".into());
    for spend in &spends {
        line(&mut lines, arguments.by.name(spend)).add(spend);
        total.add(spend);
    }
    for saving in &savings {
        line(&mut lines, arguments.by.name_of_saving(saving)).save(saving);
        total.save(saving);
    }
    let lines: Vec<_> = lines.into_values().collect();
    let mut out = std::io::stdout().lock();
    match arguments.format {
        Format::Table => table(&mut out, arguments.by, &lines, &total)?,
        Format::Csv => csv(&mut out, arguments.by, &lines)?,
        Format::Json => {
            let report = serde_json::json!({ "by": arguments.by.heading(), "lines": lines, "total": total });
            writeln!(out, "{report:#}")?;
        }
    }
    Ok(())
}

/// The line of that name.
fn line(lines: &mut BTreeMap<String, Line>, name: String) -> &mut Line {
    lines.entry(name).or_insert_with_key(|name| Line::of(name.clone()))
}

impl By {
    const fn heading(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Route => "route",
            Self::Key => "key",
            Self::Day => "day",
            Self::Outcome => "outcome",
        }
    }

    fn name(self, spend: &Spend) -> String {
        match self {
            Self::Team => spend.team.clone(),
            Self::Route => spend.route.clone(),
            Self::Key => spend.key_id.clone(),
            Self::Day => spend.day.to_string(),
            Self::Outcome => spend.outcome.clone(),
        }
    }

    fn name_of_saving(self, saving: &Saving) -> String {
        match self {
            Self::Team => saving.team.clone(),
            Self::Route => saving.route.clone(),
            Self::Key => saving.key_id.clone(),
            Self::Day => saving.day.to_string(),
            // Copies end as they end; what they have in common is that they were none of these calls.
            Self::Outcome => "copy".to_owned(),
        }
    }
}

fn headings(by: By) -> [String; COLUMNS] {
    [by.heading(), "calls", "credits", "in_doubt", "input_tokens", "output_tokens", "copies", "saved"]
        .map(str::to_owned)
}

fn table(out: &mut impl Write, by: By, lines: &[Line], total: &Line) -> std::io::Result<()> {
    let rows: Vec<_> =
        [headings(by)].into_iter().chain(lines.iter().chain([total]).map(Line::cells)).collect();
    let widths: Vec<_> =
        (0..COLUMNS).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for (index, row) in rows.iter().enumerate() {
        write!(out, "{:<width$}", row[0], width = widths[0])?;
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            write!(out, "  {cell:>width$}")?;
        }
        writeln!(out)?;
        if index == 0 || index + 2 == rows.len() {
            writeln!(out, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * (COLUMNS - 1)))?;
        }
    }
    Ok(())
}

fn csv(out: impl Write, by: By, lines: &[Line]) -> std::io::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record(headings(by))?;
    for line in lines {
        out.write_record(line.cells())?;
    }
    out.flush()
}
