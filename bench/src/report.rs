//! The figures for people and for programs.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::figures::{Against, Aim, Figure};
use crate::instructions::Instructions;
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
type Row = [String; 8];

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
        let [nginx, haproxy, floor, os, fsync] = Kind::ALL.map(Kind::name);
        let head = ["lane", "figure", nginx, haproxy, floor, os, fsync, "target: os; fsync"];
        let mut rows = vec![head.map(str::to_owned)];
        let mut notes = String::new();
        for Measured { lane, figures, instructions } in &self.lanes {
            match figures {
                Ok(figures) => rows.extend((0..figures[0].len()).map(|index| row(lane, figures, index))),
                Err(why) => {
                    let _ = writeln!(notes, "\n{}: {why}.", lane.name);
                }
            }
            if let Some(Instructions { floor, gateway }) = instructions {
                let _ = writeln!(
                    notes,
                    "\n{}: a call takes the gateway, at os, {gateway:.0} instructions in user space, of {} at the most; the \
                     floor {floor:.0}.",
                    lane.name,
                    lane.instructions.unwrap_or_default()
                );
            }
        }
        let quick =
            if self.quick { " A quick run, with fewer streams open: its figures mean nothing." } else { "" };
        format!(
            "{}\n{} rounds at most; medians, ratios to nginx within a round and their range, and the gateway's to the floor.{quick}\n\n{}{notes}",
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
                        let to = |kind| figure.has_ratio().then(|| ratios(values, of(figures, kind, *figure)));
                        let (to_nginx, to_floor) = (to(Kind::Nginx), to(Kind::Floor));
                        json!({
                            "figure": figure.name(),
                            "unit": figure.unit(),
                            "rounds": values,
                            "median": median(values),
                            "ratios_to_nginx": to_nginx,
                            "median_ratio_to_nginx": to_nginx.as_deref().map(median),
                            "ratios_to_floor": to_floor,
                            "median_ratio_to_floor": to_floor.as_deref().map(median),
                        })
                    });
                    json!({ "proxy": kind.name(), "figures": of_proxy.collect::<Vec<_>>() })
                });
                let aims = lane.aims.iter().map(|aim| {
                    let against = match aim.against {
                        Against::Proxy(kind) => kind.name(),
                        Against::Nothing => "",
                    };
                    json!({ "figure": aim.figure.name(), "multiple_of": against, "os": aim.os, "fsync": aim.fsync })
                });
                json!({
                    "lane": lane.name,
                    "callers": lane.callers,
                    "work": format!("{:?}", lane.work),
                    "proxies": proxies.collect::<Vec<_>>(),
                    "instructions_per_call": instructions.map(|counted| counted.gateway),
                    "instructions_per_call_of_the_floor": instructions.map(|counted| counted.floor),
                    "instructions_at_most": lane.instructions,
                    "targets": aims.collect::<Vec<_>>(),
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
    let cell = |kind: Kind| {
        let values = of(figures, kind, figure);
        let value = format!("{} {}", digits(median(values)), figure.unit());
        if !figure.has_ratio() {
            let (least, most) = range(values);
            return format!("{value} ({}…{})", digits(least), digits(most));
        }
        if kind == Kind::Nginx {
            return value;
        }
        let of_nginx = ratios(values, of(figures, Kind::Nginx, figure));
        let (least, most) = range(&of_nginx);
        let value = format!("{value} = {:.2} × ({least:.2}–{most:.2})", median(&of_nginx));
        match kind {
            Kind::GatewayOs | Kind::GatewayFsync => {
                let of_floor = ratios(values, of(figures, Kind::Floor, figure));
                format!("{value}; {:.2} × floor", median(&of_floor))
            }
            _ => value,
        }
    };
    let aimed = lane.aims.iter().find(|aim| aim.figure == figure).map_or_else(String::new, |aim| {
        let os = judged(aim, figures, Kind::GatewayOs, aim.os);
        let fsync = aim.fsync.map(|most| judged(aim, figures, Kind::GatewayFsync, most));
        fsync.map_or_else(|| os.clone(), |fsync| format!("{os}; {fsync}"))
    });
    let name = if index == 0 { lane.name.to_owned() } else { String::new() };
    let [nginx, haproxy, floor, os, fsync] = Kind::ALL.map(cell);
    [name, figure.name().to_owned(), nginx, haproxy, floor, os, fsync, aimed]
}

/// What is aimed at, and whether it is met.
fn judged(aim: &Aim, figures: &[Figures], kind: Kind, most: f64) -> String {
    let ours = of(figures, kind, aim.figure);
    let (is, aimed) = match aim.against {
        Against::Proxy(other) => {
            (median(&ratios(ours, of(figures, other, aim.figure))), format!("≤ {most:.2} × {}", other.name()))
        }
        Against::Nothing => (median(ours), format!("≤ {most:.0} {}", aim.figure.unit())),
    };
    format!("{aimed}: {}", if is <= most { "met" } else { "missed" })
}

/// A figure of a proxy's, by round.
fn of(figures: &[Figures], kind: Kind, figure: Figure) -> &[f64] {
    Kind::ALL
        .iter()
        .position(|one| *one == kind)
        .and_then(|index| figures[index].iter().find(|(known, _)| *known == figure))
        .map_or(&[], |(_, values)| values)
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

    fn measured(floor: &[f64], gateway: &[f64]) -> Run {
        let of = |values: &[f64]| vec![(Figure::CpuPerCall, values.to_vec())];
        let figures = Kind::ALL.map(|kind| match kind {
            Kind::GatewayOs | Kind::GatewayFsync => of(gateway),
            _ => of(floor),
        });
        let mut lanes = vec![Measured {
            lane: LANES.into_iter().find(|lane| lane.name == "JSON, 16 callers").unwrap(),
            figures: Ok(figures.to_vec()),
            instructions: Some(Instructions { floor: 40_200.4, gateway: 100_400.6 }),
        }];
        lanes.push(Measured {
            lane: LANES.into_iter().last().unwrap(),
            figures: Err("no room".to_owned()),
            instructions: None,
        });
        Run { rounds: floor.len(), quick: false, lanes }
    }

    #[test]
    fn a_target_stands_beside_its_figure() {
        let table = measured(&[10.0, 20.0, 10.0], &[18.0, 36.0, 18.0]).markdown();
        assert!(table.contains("18.0 µs = 1.80 × (1.80–1.80); 1.80 × floor"), "{table}");
        assert!(table.contains("≤ 1.40 × floor: missed; ≤ 2.20 × floor: met"), "{table}");
        assert!(table.contains("9000 open streams: no room."), "{table}");
        let counted = "JSON, 16 callers: a call takes the gateway, at os, 100401 instructions in user space";
        assert!(table.contains(counted) && table.contains("the floor 40200."), "{table}");
    }
}
