//! The bill as one page that can be printed: no script, no font and no picture from anywhere.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::bill::{Bill, Line};

const STYLE: &str = "\
body{font:11pt/1.45 system-ui,sans-serif;color:#111;background:#fff;max-width:46rem;margin:2.5rem auto;padding:0 1rem}\
h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:1.6rem 0 .3rem}p{margin:.2rem 0}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #bbb;vertical-align:top}\
th.n,td.n{text-align:right;white-space:nowrap}tfoot td{font-weight:600;border-bottom:3px double #111}\
.id{font:9pt ui-monospace,monospace;overflow-wrap:anywhere}.small{color:#444;font-size:9.5pt}\
@page{size:A4;margin:18mm}@media print{body{margin:0;max-width:none;padding:0}tr{break-inside:avoid}}";

/// Writes the page.
pub(super) fn write(out: &mut impl Write, bill: &Bill) -> io::Result<()> {
    let mut page = String::new();
    // Into memory: this cannot fail.
    let _ = fill(&mut page, bill);
    out.write_all(page.as_bytes())
}

fn fill(page: &mut String, bill: &Bill) -> std::fmt::Result {
    let (team, month) = (escaped(&bill.team), &bill.month);
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Credits of {team}, {month}</title>\
         <style>{STYLE}</style></head><body>\n<h1>Statement of credits</h1>\n\
         <p>Team <strong>{team}</strong>, {} to {} ({})</p>",
        bill.first_day,
        bill.last_day,
        escaped(&bill.time_zone)
    )?;
    if let Some(so_far) = bill.so_far() {
        writeln!(page, "<p><strong>{so_far}</strong></p>")?;
    }
    match &bill.budget {
        Some(budget) => writeln!(page, "<p>Budget: {} credits a {}</p>", budget.credits, budget.period)?,
        None => writeln!(page, "<p>Budget: none</p>")?,
    }
    if !bill.grants.is_empty() {
        writeln!(
            page,
            "<h2>Grants</h2>\n<table><thead><tr><th>Number</th><th>From</th><th>Until</th><th>Why</th><th class=\"n\">Credits</th></tr></thead><tbody>"
        )?;
        for grant in &bill.grants {
            let back = if grant.taken_back { " (taken back)" } else { "" };
            writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{}{back}</td><td>{}</td><td class=\"n\">{}</td></tr>",
                grant.number,
                grant.from,
                grant.until,
                escaped(&grant.why),
                grant.credits
            )?;
        }
        writeln!(page, "</tbody></table>")?;
    }
    let money = if bill.price.is_some() { "<th class=\"n\">Money</th>" } else { "" };
    writeln!(
        page,
        "<h2>Calls</h2>\n<table><thead><tr><th>Route</th><th>Member or key</th><th class=\"n\">Calls</th><th class=\"n\">Final</th>\
         <th class=\"n\">In doubt</th><th class=\"n\">Credits</th>{money}</tr></thead><tbody>"
    )?;
    for line in &bill.lines {
        row(page, bill, line)?;
    }
    writeln!(page, "</tbody><tfoot>")?;
    row(page, bill, &Line { route: "Total".into(), ..bill.total.clone() })?;
    writeln!(page, "</tfoot></table>")?;
    if !bill.corrections.is_empty() {
        writeln!(
            page,
            "<h2>Corrections, which are in the sums above</h2>\n<table><thead><tr><th>When</th><th>Call</th><th>Why</th><th class=\"n\">Credits</th></tr></thead><tbody>"
        )?;
        for correction in &bill.corrections {
            writeln!(
                page,
                "<tr><td>{:.0}</td><td class=\"id\">{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
                correction.at,
                escaped(&correction.request_id),
                escaped(&correction.why),
                correction.credits
            )?;
        }
        writeln!(page, "</tbody></table>")?;
    }
    if bill.open.calls > 0 {
        writeln!(
            page,
            "<p>{} calls go on, with {} credits held, which are not in the total.</p>",
            bill.open.calls, bill.open.held
        )?;
    }
    let rests_on = &bill.rests_on;
    writeln!(
        page,
        "<p class=\"small\">Rests on {} calls, {} corrections and {} grants of the ledger. SHA-256 of these entries: \
         <span class=\"id\">{}</span>. <span class=\"id\">mavera-gateway credits statement --team {team} --month {month} --digest …</span> \
         tells whether they are still the same.</p>\n</body></html>",
        rests_on.calls, rests_on.corrections, rests_on.grants, rests_on.sha256
    )
}

fn row(page: &mut String, bill: &Bill, line: &Line) -> std::fmt::Result {
    let money = bill.price.as_ref().map(|price| format!("<td class=\"n\">{}</td>", price.of(line.total)));
    writeln!(
        page,
        "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>{}</tr>",
        escaped(&line.route),
        escaped(&line.member),
        line.calls,
        line.known,
        line.in_doubt,
        line.total,
        money.unwrap_or_default()
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
