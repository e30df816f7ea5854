//! `credits report`: sums by any of team, route, key, day and outcome, as a table, CSV or JSON; by team beside its budget.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use jiff::civil::Date;
use serde::Serialize;

use super::standing::{Stands, standing};
use crate::cli::failure::{Failure, read_config};
use crate::cli::table::table;
use crate::clock::Clock;
use crate::credits::Credits;
use crate::ledger::{Saving, Span, Spend, home};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReportArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// What to add up by: one, or several, like team,route. A key is told with its team.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "team")]
    by: Vec<By>,
    /// Of this team alone.
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Of this route alone, by its name in metrics.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Of this key or member alone, by its id.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
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
    /// What it is the sum of; of several, with spaces between.
    name: String,
    /// The same, one by one.
    of: Vec<String>,
    calls: u64,
    credits: Credits,
    in_doubt: Credits,
    input_tokens: u64,
    output_tokens: u64,
    /// Copies that were given the answer of a call, and what they would have cost.
    copies: u64,
    saved: Credits,
    /// The team's own budget, in the period that runs, whatever the days of the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Stands>,
}

const SUMS: [&str; 7] = ["calls", "credits", "in_doubt", "input_tokens", "output_tokens", "copies", "saved"];
const BUDGET: [&str; 3] = ["budget", "granted", "left"];

impl Line {
    fn of(of: Vec<String>) -> Self {
        Self { name: of.join(" "), of, ..Self::default() }
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

    fn cells(&self, columns: usize, with_budget: bool) -> Vec<String> {
        let mut cells = self.of.clone();
        cells.resize(columns, String::new());
        cells.extend([
            self.calls.to_string(),
            self.credits.to_string(),
            self.in_doubt.to_string(),
            self.input_tokens.to_string(),
            self.output_tokens.to_string(),
            self.copies.to_string(),
            self.saved.to_string(),
        ]);
        if with_budget {
            let told = self.budget.as_ref().map(|budget| {
                let per = format!("{}/{}", budget.credits, budget.period);
                [per, budget.granted.to_string(), budget.left.to_string()]
            });
            cells.extend(told.unwrap_or_default());
        }
        cells
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
    let wanted = |team: &str, route: &str, key: &str| {
        let is = |filter: &Option<String>, value: &str| filter.as_ref().is_none_or(|filter| filter == value);
        is(&arguments.team, team) && is(&arguments.route, route) && is(&arguments.key, key)
    };
    let (mut spends, mut savings) = (reading.spends(span)?, reading.savings(span)?);
    spends.retain(|spend| wanted(&spend.team, &spend.route, &spend.key_id));
    savings.retain(|saving| wanted(&saving.team, &saving.route, &saving.key_id));
    let by = dimensions(&arguments.by);
    let mut lines: BTreeMap<Vec<String>, Line> = BTreeMap::new();
    let mut total = Line::of(vec!["total".into()]);
    for spend in &spends {
        line(&mut lines, by.iter().map(|by| by.name(spend)).collect()).add(spend);
        total.add(spend);
    }
    for saving in &savings {
        line(&mut lines, by.iter().map(|by| by.name_of_saving(saving)).collect()).save(saving);
        total.save(saving);
    }
    // A budget is a team's: beside anything smaller it would be told over and over.
    let with_budget = by == [By::Team];
    if with_budget {
        for (team, stands) in standing(&config, &*reading, Clock::system().wall())? {
            if arguments.team.as_ref().is_none_or(|wanted| *wanted == team) {
                line(&mut lines, vec![team]).budget = Some(stands);
            }
        }
    }
    let lines: Vec<_> = lines.into_values().collect();
    let headings =
        by.iter().map(|by| by.heading()).chain(SUMS).chain(BUDGET.into_iter().filter(|_| with_budget));
    let headings: Vec<_> = headings.map(str::to_owned).collect();
    let cells = |line: &Line| line.cells(by.len(), with_budget);
    let mut out = std::io::stdout().lock();
    match arguments.format {
        Format::Table => {
            let rows: Vec<_> =
                [headings].into_iter().chain(lines.iter().chain([&total]).map(cells)).collect();
            table(&mut out, &rows, by.len(), true)?;
        }
        Format::Csv => {
            let mut out = csv::Writer::from_writer(out);
            out.write_record(headings).map_err(std::io::Error::from)?;
            for line in &lines {
                out.write_record(cells(line)).map_err(std::io::Error::from)?;
            }
            out.flush()?;
        }
        Format::Json => {
            let by = by.iter().map(|by| by.heading()).collect::<Vec<_>>().join(",");
            let report = serde_json::json!({ "by": by, "lines": lines, "total": total });
            writeln!(out, "{report:#}")?;
        }
    }
    Ok(())
}

/// Each once; a key with its team in front, because its id alone says nothing.
fn dimensions(asked: &[By]) -> Vec<By> {
    let mut by: Vec<By> = Vec::new();
    for one in asked {
        if *one == By::Key && !asked.contains(&By::Team) {
            by.push(By::Team);
        }
        if !by.contains(one) {
            by.push(*one);
        }
    }
    by
}

/// The line of that name.
fn line(lines: &mut BTreeMap<Vec<String>, Line>, of: Vec<String>) -> &mut Line {
    lines.entry(of).or_insert_with_key(|of| Line::of(of.clone()))
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
