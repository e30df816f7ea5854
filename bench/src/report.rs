//! The figures for people and for programs.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::figures::Figure;
use crate::measure::{Figures, Measured};
use crate::proxies::Kind;
use crate::statistics::{median, range, ratios};

/// What was run on what.
#[derive(Debug)]
pub struct Run {
    /// Rounds of each lane.
    pub rounds: usize,
    /// With how little: figures of a quick run mean nothing.
    pub quick: bool,
    /// The lanes.
    pub lanes: Vec<Measured>,
}

/// A line of the table: a figure in a lane.
type Row = [String; 7];

impl Run {
    /// The table in columns.
    pub fn text(&self) -> String {
        self.table(|rows| {
            let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
            let line = |row: &Row| {
                let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
                cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
            };
            rows.iter().map(line).collect()
        })
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        self.table(|rows| {
            let line = |row: &Row| format!("| {} |\n", row.join(" | "));
            let ruler = format!("|{}\n", " --- |".repeat(rows[0].len()));
            let (head, rest) = rows.split_at(1);
            head.iter().map(line).chain([ruler]).chain(rest.iter().map(line)).collect()
        })
    }

    fn table(&self, render: impl Fn(&[Row]) -> String) -> String {
        let head =
            ["lane", "figure", "nginx", "HAProxy", "gateway, os", "gateway, fsync", "target: os; fsync"];
        let mut rows = vec![head.map(str::to_owned)];
        let mut notes = String::new();
        for Measured { lane, figures, instructions } in &self.lanes {
            match figures {
                Ok(figures) => rows.extend((0..figures[0].len()).map(|index| row(lane, figures, index))),
                Err(why) => {
                    let _ = writeln!(notes, "\n{}: {why}.", lane.name);
                }
            }
            if let Some(count) = instructions {
                let _ = writeln!(
                    notes,
                    "\n{}: a call takes the gateway, at os, {count:.0} instructions in user space, of {} at the most.",
                    lane.name,
                    lane.instructions.unwrap_or_default()
                );
            }
        }
        let quick =
            if self.quick { " A quick run, with fewer streams open: its figures mean nothing." } else { "" };
        format!(
            "{}\n{} rounds at most; medians, ratios to nginx within a round, and their range.{quick}\n\n{}{notes}",
            machine().join("; "),
            self.rounds,
            render(&rows)
        )
    }

    /// Every figure of every round.
    pub fn json(&self) -> Value {
        let lanes = self.lanes.iter().map(|Measured { lane, figures, instructions }| match figures {
            Err(why) => json!({ "lane": lane.name, "skipped": why }),
            Ok(figures) => {
                let proxies = Kind::ALL.iter().zip(figures).map(|(kind, of_proxy)| {
                    let of_proxy = of_proxy.iter().map(|(figure, values)| {
                        let ratios = figure.has_ratio().then(|| ratios(values, of(&figures[0], *figure)));
                        json!({
                            "figure": figure.name(),
                            "unit": figure.unit(),
                            "rounds": values,
                            "median": median(values),
                            "ratios_to_nginx": ratios,
                            "median_ratio": ratios.as_deref().map(median),
                        })
                    });
                    json!({ "proxy": kind.name(), "figures": of_proxy.collect::<Vec<_>>() })
                });
                let aims = lane
                    .aims
                    .iter()
                    .map(|aim| json!({ "figure": aim.figure.name(), "os": aim.os, "fsync": aim.fsync }));
                json!({
                    "lane": lane.name,
                    "callers": lane.callers,
                    "work": format!("{:?}", lane.work),
                    "proxies": proxies.collect::<Vec<_>>(),
                    "instructions_per_call": instructions,
                    "instructions_at_most": lane.instructions,
                    "targets_as_multiples_of_nginx": aims.collect::<Vec<_>>(),
                })
            }
        });
        json!({
            "machine": machine(),
            "rounds": self.rounds,
            "quick": self.quick,
            "lanes": lanes.collect::<Vec<_>>(),
        })
    }
}

fn row(lane: &crate::lanes::Lane, figures: &[Figures], index: usize) -> Row {
    let figure = figures[0][index].0;
    let nginx = of(&figures[0], figure);
    let cell = |proxy: usize| {
        let values = of(&figures[proxy], figure);
        let value = format!("{} {}", digits(median(values)), figure.unit());
        if !figure.has_ratio() {
            let (least, most) = range(values);
            format!("{value} ({}…{})", digits(least), digits(most))
        } else if proxy == 0 {
            value
        } else {
            let ratios = ratios(values, nginx);
            let (least, most) = range(&ratios);
            format!("{value} = {:.2} × ({least:.2}–{most:.2})", median(&ratios))
        }
    };
    let aimed = lane.aims.iter().find(|aim| aim.figure == figure).map_or_else(String::new, |aim| {
        let said = |proxy: usize, most: f64| {
            let met =
                if multiple(figure, of(&figures[proxy], figure), nginx) <= most { "met" } else { "missed" };
            format!("≤ {most:.1} × {met}")
        };
        let os = said(2, aim.os);
        aim.fsync.map_or_else(|| os.clone(), |most| format!("{os}; {}", said(3, most)))
    });
    let name = if index == 0 { lane.name.to_owned() } else { String::new() };
    [name, figure.name().to_owned(), cell(0), cell(1), cell(2), cell(3), aimed]
}

/// The multiple of nginx's figure by which a target is judged.
fn multiple(figure: Figure, ours: &[f64], nginx: &[f64]) -> f64 {
    if figure.has_ratio() { median(&ratios(ours, nginx)) } else { median(ours) / median(nginx) }
}

fn of(figures: &Figures, figure: Figure) -> &[f64] {
    figures.iter().find(|(known, _)| *known == figure).map_or(&[], |(_, values)| values)
}

fn digits(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// What it ran on.
fn machine() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':']).to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    vec![
        format!("{cores} cores of {processor}"),
        format!("Linux {kernel}"),
        version("nginx"),
        version("haproxy"),
    ]
}

fn version(program: &str) -> String {
    // One of them says it on standard error.
    let said = Command::new(program)
        .arg("-v")
        .output()
        .map_or_else(|_| Vec::new(), |output| [output.stdout, output.stderr].concat());
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or_default();
    line.split(" - ").next().unwrap_or_default().trim_start_matches("nginx version: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::LANES;

    fn measured(nginx: &[f64], gateway: &[f64]) -> Run {
        let of = |values: &[f64]| vec![(Figure::CpuPerCall, values.to_vec())];
        let figures = vec![of(nginx), of(nginx), of(gateway), of(gateway)];
        let mut lanes = vec![Measured {
            lane: LANES.into_iter().nth(2).unwrap(),
            figures: Ok(figures),
            instructions: Some(100_400.6),
        }];
        lanes.push(Measured {
            lane: LANES.into_iter().last().unwrap(),
            figures: Err("no room".to_owned()),
            instructions: None,
        });
        Run { rounds: nginx.len(), quick: false, lanes }
    }

    #[test]
    fn a_target_stands_beside_its_figure() {
        let table = measured(&[10.0, 20.0, 10.0], &[12.0, 24.0, 12.0]).markdown();
        assert!(table.contains("12.0 µs = 1.20 × (1.20–1.20)"), "{table}");
        assert!(table.contains("≤ 1.0 × missed; ≤ 1.4 × met"), "{table}");
        assert!(table.contains("9000 open streams: no room."), "{table}");
        assert!(
            table.contains("JSON, 16 callers: a call takes the gateway, at os, 100401 instructions"),
            "{table}"
        );
    }

    #[test]
    fn differences_are_compared_by_their_medians() {
        // Next to nothing in one round must not decide.
        assert!(multiple(Figure::AddedMedian, &[10.0, 10.0, 10.0], &[20.0, 0.01, 20.0]) < 1.0);
    }
}
