//! `plan`: what another configuration would have made of the calls of the last weeks.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::failure::{Failure, read_config};
use super::table::table as aligned;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::credits::period::{day_of, written};
use crate::ledger::home;
use crate::plan::{Fares, OfTeam, Plan, Served, Traffic, plan as replay};

/// Where a configuration is unless said otherwise.
const IN_FORCE: &str = "config/gateway.toml";

#[derive(Debug, clap::Args)]
pub(super) struct PlanArguments {
    /// The configuration to try.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The configuration that was in force. Its ledger is read, and nothing is written; what a replay of it comes to is what the
    /// other is held against, so that only what differs between the two is told. Default: config/gateway.toml, if that is there,
    /// and else the ledger is the one that the configuration to try names.
    #[arg(long, value_name = "FILE")]
    in_force: Option<PathBuf>,
    /// Since when: a number of days like 30d, or the first day, like 2026-11-01.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = since)]
    since: Since,
    /// How much of the traffic there is: 2.0 is twice as much.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = rate)]
    rate: f64,
    /// Another window of the upstream's, in requests a minute: what another plan has.
    #[arg(long, value_name = "REQUESTS")]
    plan: Option<std::num::NonZeroU32>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

#[derive(Clone, Copy, Debug)]
enum Since {
    Day(Date),
    Ago(Duration),
}

/// Days are whole: what had been spent before is known by the day.
fn since(text: &str) -> Result<Since, String> {
    text.parse()
        .map(Since::Day)
        .or_else(|_| config::duration(text).map(Since::Ago))
        .map_err(|_| "write a number of days like 30d, or a day like 2026-11-01".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=100.0).contains(rate));
    rate.ok_or_else(|| "write a factor between 0.01 and 100, like 2.0".to_owned())
}

pub(super) fn run(arguments: &PlanArguments) -> Result<(), Failure> {
    let mut config = read_config(&arguments.config)?;
    if let Some(window) = arguments.plan {
        config.upstream.requests_per_minute = window;
    }
    let usual = Some(PathBuf::from(IN_FORCE)).filter(|path| path.exists());
    let in_force = arguments.in_force.clone().or(usual).map(|path| read_config(&path)).transpose()?;
    let ledger = in_force.as_ref().map_or(&config.ledger, |in_force| &in_force.ledger);
    let (now, zone) = (Clock::system().wall(), config.credits.zone.clone());
    let first = match arguments.since {
        Since::Day(day) => day,
        Since::Ago(ago) => {
            let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX);
            day_of(now.saturating_sub(ago).unwrap_or(Timestamp::MIN), &zone)
        }
    };
    if first > day_of(now, &zone) {
        return Err(Failure::Usage(format!("--since {first} is to come: nothing was asked since then")));
    }
    let reading = home::reading(ledger)?;
    let traffic = Traffic::read(&*reading, first, now, &zone)?;
    let mut plan = replay(&config, &traffic, arguments.rate);
    if let Some(in_force) = &in_force {
        plan = plan.held_against(&replay(in_force, &traffic, 1.0));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match arguments.format {
        Format::Table => table(&mut out, &plan, &config, &arguments.config)?,
        Format::Csv => csv(&mut out, &plan)?,
        Format::Json => writeln!(out, "{:#}", serde_json::to_value(&plan).map_err(std::io::Error::from)?)?,
    }
    out.flush()?;
    Ok(())
}

fn table(out: &mut impl Write, plan: &Plan, config: &Config, file: &Path) -> std::io::Result<()> {
    let zone = &config.credits.zone;
    writeln!(
        out,
        "{}, on what was asked from {} to {}{}:",
        file.display(),
        written(plan.since, zone),
        written(plan.until, zone),
        if (plan.rate - 1.0).abs() < 1e-9 {
            String::new()
        } else {
            format!(", {} times as much of it", plan.rate)
        },
    )?;
    if plan.asked == 0 {
        return writeln!(out, "nothing was asked. A gateway writes down what is asked as it runs.");
    }
    let headings = ["team", "", "asked", "served", "refused", "waited p50", "p95", "worst", "credits"];
    let mut rows = vec![headings.map(str::to_owned)];
    for team in &plan.teams {
        rows.push(row(&team.team, "was", &team.was));
        rows.push(row("", "would be", &team.would));
    }
    aligned(out, &rows, 2, false)?;
    writeln!(out)?;
    for team in &plan.teams {
        details(out, team, config)?;
    }
    let named = |fares: Fares| {
        let names = plan.teams.iter().filter(|team| team.fares() == fares).map(|team| team.team.as_str());
        let names: Vec<_> = names.collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    writeln!(out, "Better off: {}. Worse off: {}.", named(Fares::Better), named(Fares::Worse))?;
    if plan.rests_on > 0 {
        writeln!(
            out,
            "Of {} that asked, {} were refused for a limit, and are known by the second alone; {} of those would have been served. \
             Some may have been one call, made again and again.",
            plan.asked, plan.rests_on, plan.rests_on_served
        )?;
    }
    if plan.is_held_against_another() {
        writeln!(
            out,
            "The configuration in force, replayed, serves or refuses at least {} of them otherwise than they were: it cannot have been in force all the \
             time. Take this for an estimate, or look at days since its limits changed last (--since).",
            plan.in_force_differs
        )?;
    }
    Ok(())
}

fn row(team: &str, which: &str, served: &Served) -> [String; 9] {
    let waits = &served.waits;
    [
        team.to_owned(),
        which.to_owned(),
        served.asked.to_string(),
        served.served.to_string(),
        served.refused_in_all().to_string(),
        seconds(waits.p50),
        seconds(waits.p95),
        seconds(waits.worst),
        served.credits.to_string(),
    ]
}

fn seconds(wait: Duration) -> String {
    format!("{:.1} s", wait.as_secs_f64())
}

/// What of a team's calls a table of numbers does not say: why they were refused, and how its budget goes.
fn details(out: &mut impl Write, team: &OfTeam, config: &Config) -> std::io::Result<()> {
    let codes = team.was.refused.keys().chain(team.would.refused.keys());
    let codes: std::collections::BTreeSet<_> = codes.collect();
    let count = |served: &Served, code: &str| served.refused.get(code).copied().unwrap_or(0);
    let changes: Vec<_> = codes
        .into_iter()
        .map(|code| format!("{code} {} → {}", count(&team.was, code), count(&team.would, code)))
        .collect();
    if !changes.is_empty() {
        writeln!(out, "{}: {}", team.team, changes.join(", "))?;
    }
    let Some(course) = &team.budget else { return Ok(()) };
    let used = course.days.last().map(|(_, used)| *used).unwrap_or_default();
    let short = course.short_from.map_or_else(
        || "never in the way".to_owned(),
        |at| format!("in the way from {} on", written(at, &config.credits.zone)),
    );
    writeln!(
        out,
        "{}: its budget of {} a {} is {short}; {used} are spent at the end",
        team.team, course.credits, course.period
    )
}

fn csv(out: impl Write, plan: &Plan) -> std::io::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record([
        "team",
        "which",
        "asked",
        "served",
        "refused",
        "waited_p50_seconds",
        "waited_p95_seconds",
        "waited_worst_seconds",
        "waited_calls",
        "credits",
        "refused_by",
    ])?;
    for team in &plan.teams {
        for (which, served) in [("was", &team.was), ("would_be", &team.would)] {
            let by: Vec<_> = served.refused.iter().map(|(code, count)| format!("{code}={count}")).collect();
            let waits = [served.waits.p50, served.waits.p95, served.waits.worst];
            let waits = waits.map(|wait| wait.as_secs_f64().to_string());
            let [asked, let_through, refused, waited] =
                [served.asked, served.served, served.refused_in_all(), served.waits.calls]
                    .map(|n| n.to_string());
            let credits = served.credits.to_string();
            let [p50, p95, worst] = waits;
            out.write_record([
                &team.team,
                which,
                &asked,
                &let_through,
                &refused,
                &p50,
                &p95,
                &worst,
                &waited,
                &credits,
                &by.join(" "),
            ])?;
        }
    }
    out.flush()
}
