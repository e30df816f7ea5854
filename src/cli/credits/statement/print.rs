//! The bill as a table, and as CSV.

use std::io::{self, Write};

use super::bill::{Bill, Line};
use crate::cli::table::table as aligned;

/// So that it can be read.
pub(super) fn table(out: &mut impl Write, bill: &Bill) -> io::Result<()> {
    writeln!(out, "Team {}, {} to {} ({})", bill.team, bill.first_day, bill.last_day, bill.time_zone)?;
    if let Some(so_far) = bill.so_far() {
        writeln!(out, "{so_far}")?;
    }
    match &bill.budget {
        Some(budget) => writeln!(out, "Budget  {} credits a {}", budget.credits, budget.period)?,
        None => writeln!(out, "Budget  none")?,
    }
    for grant in &bill.grants {
        let back = if grant.taken_back { ", taken back" } else { "" };
        writeln!(
            out,
            "Grant {}  {} credits from {} until {}{back}: {}",
            grant.number, grant.credits, grant.from, grant.until, grant.why
        )?;
    }
    writeln!(out)?;
    let headings = ["route", "member", "calls", "final", "in doubt", "total", "money"].map(str::to_owned);
    let columns = if bill.price.is_some() { 7 } else { 6 };
    let total = Line { route: "total".into(), ..bill.total.clone() };
    let lines = bill.lines.iter().chain([&total]).map(|line| cells(bill, line));
    let rows: Vec<_> = [headings].into_iter().chain(lines).map(|row| row[..columns].to_vec()).collect();
    aligned(out, &rows, 2, true)?;
    writeln!(out)?;
    for correction in &bill.corrections {
        writeln!(
            out,
            "Correction {}  {:.0}  {} credits on {}: {}",
            correction.number, correction.at, correction.credits, correction.request_id, correction.why
        )?;
    }
    if bill.open.calls > 0 {
        writeln!(out, "Open  {} calls, {} credits held, not in the total", bill.open.calls, bill.open.held)?;
    }
    let rests_on = &bill.rests_on;
    writeln!(
        out,
        "Rests on {} calls, {} corrections and {} grants, SHA-256 {}",
        rests_on.calls, rests_on.corrections, rests_on.grants, rests_on.sha256
    )
}

fn cells(bill: &Bill, line: &Line) -> [String; 7] {
    [
        line.route.clone(),
        line.member.clone(),
        line.calls.to_string(),
        line.known.to_string(),
        line.in_doubt.to_string(),
        line.total.to_string(),
        bill.priced(line.total),
    ]
}

/// One line each, of one form, so that a spreadsheet can sort it.
pub(super) fn csv(out: impl Write, bill: &Bill) -> io::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record([
        "team",
        "month",
        "kind",
        "date",
        "route",
        "member",
        "reference",
        "text",
        "calls",
        "final",
        "in_doubt",
        "credits",
        "money",
    ])?;
    let money = |credits| bill.price.as_ref().map(|price| price.of(credits)).unwrap_or_default();
    let mut row = |kind: &str, cells: [&str; 10]| {
        let [date, route, member, reference, text, calls, known, in_doubt, credits, money] = cells;
        out.write_record([
            &bill.team,
            &bill.month,
            kind,
            date,
            route,
            member,
            reference,
            text,
            calls,
            known,
            in_doubt,
            credits,
            money,
        ])
    };
    let first = bill.first_day.to_string();
    if let Some(budget) = &bill.budget {
        let text = format!("a {}", budget.period);
        row("budget", [&first, "", "", "", &text, "", "", "", &budget.credits.to_string(), ""])?;
    }
    for grant in &bill.grants {
        let [from, number, credits] =
            [grant.from.to_string(), grant.number.to_string(), grant.credits.to_string()];
        row("grant", [&from, "", "", &number, &grant.why, "", "", "", &credits, ""])?;
    }
    let total = [("total", &bill.total)];
    for (kind, line) in bill.lines.iter().map(|line| ("calls", line)).chain(total) {
        let numbers = [line.calls.to_string(), line.known.to_string(), line.in_doubt.to_string()];
        let [calls, known, in_doubt] = &numbers;
        let (credits, money) = (line.total.to_string(), money(line.total));
        row(kind, [&first, &line.route, &line.member, "", "", calls, known, in_doubt, &credits, &money])?;
    }
    for correction in &bill.corrections {
        let (at, number) = (format!("{:.0}", correction.at), correction.number.to_string());
        let reference = format!("{number} {}", correction.request_id);
        row("correction", [&at, "", "", &reference, &correction.why, "", "", "", &correction.credits, ""])?;
    }
    if let Some(so_far) = bill.so_far() {
        row("unfinished", ["", "", "", "", so_far, "", "", "", "", ""])?;
    }
    let digest = &bill.rests_on.sha256;
    row("digest", ["", "", "", digest, "SHA-256 of the entries", "", "", "", "", ""])?;
    out.flush()
}
