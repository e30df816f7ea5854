//! Compares what a request costs in the gateway, in nginx and in HAProxy: CPU time of all threads of the proxy, from
//! the kernel's own accounts, with the proxies taking turns within one run, so that whatever else the machine does
//! hits all of them.
//!
//! `make bench` runs it. It prints a table and writes `target/bench.json`.

mod lanes;
mod load;
mod process;
mod proxies;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use lanes::{LANES, Lane};
use proxies::{Kind, Proxy, Site};

/// Compares what a request costs in the gateway, in nginx and in HAProxy.
#[derive(Debug, Parser)]
struct Arguments {
    /// The gateway's release binary.
    #[arg(long, value_name = "PATH", default_value = "target/release/mavera-gateway")]
    gateway: PathBuf,
    /// Rounds of each lane.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Only lanes with this in their name.
    #[arg(long, value_name = "SUBSTRING", default_value = "")]
    lane: String,
    /// Where the figures go.
    #[arg(long, value_name = "PATH", default_value = "target/bench.json")]
    json: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let upstream = upstream::start().map_err(|error| format!("upstream: {error}"))?;
    let folder = std::env::temp_dir().join(format!("mavera-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let measured = measure(arguments, upstream, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    let results = measured?;
    print(&results, arguments.rounds);
    let json = results.iter().map(Measured::json).collect::<Vec<_>>();
    let report = json!({ "rounds": arguments.rounds, "lanes": json });
    std::fs::write(&arguments.json, format!("{report:#}\n"))
        .map_err(|error| format!("{}: {error}", arguments.json.display()))
}

/// One proxy in one lane, by round.
#[derive(Default)]
struct Cost {
    /// CPU microseconds per request.
    cpu: Vec<f64>,
    /// Median time of a call in microseconds.
    latency: Vec<f64>,
}

/// One lane.
struct Measured {
    lane: &'static Lane,
    /// In the order of [`Kind::ALL`].
    costs: [Cost; 4],
}

fn measure(
    arguments: &Arguments,
    upstream: std::net::SocketAddr,
    folder: &Path,
) -> Result<Vec<Measured>, String> {
    let mut results = Vec::new();
    for lane in LANES.iter().filter(|lane| lane.name.contains(&arguments.lane)) {
        let site =
            Site { gateway: &arguments.gateway, folder, upstream, roots: None, callers: lane.callers };
        let mut costs: [Cost; 4] = Default::default();
        let proxies: Vec<_> =
            Kind::ALL.into_iter().map(|kind| Proxy::start(kind, &site)).collect::<Result<_, _>>()?;
        // Once for the caches, the connections and the allocators.
        for proxy in &proxies {
            load::run(&proxy.target, lane, lane.requests / 4)
                .map_err(|error| format!("{}: {error}", proxy.kind.name()))?;
        }
        for round in 0..arguments.rounds {
            for turn in 0..proxies.len() {
                let index = (turn + round) % proxies.len();
                let (proxy, cost) = (&proxies[index], &mut costs[index]);
                let before = proxy.cpu()?;
                let latencies = load::run(&proxy.target, lane, lane.requests)?;
                let spent = proxy.cpu()?.saturating_sub(before);
                cost.cpu.push(spent.as_secs_f64() * 1e6 / f64::from(lane.requests));
                cost.latency.push(median(latencies));
            }
        }
        eprintln!("  {} done", lane.name);
        results.push(Measured { lane, costs });
    }
    if results.is_empty() {
        return Err(format!("no lane has {:?} in its name", arguments.lane));
    }
    Ok(results)
}

impl Measured {
    /// A proxy's cost as a multiple of nginx's: median over the rounds of the ratio within each.
    fn ratio(&self, cost: &Cost) -> f64 {
        median(cost.cpu.iter().zip(&self.costs[0].cpu).map(|(ours, theirs)| ours / theirs).collect())
    }

    fn json(&self) -> serde_json::Value {
        let proxies = self.costs.iter().zip(Kind::ALL).map(|(cost, kind)| {
            json!({
                "proxy": kind.name(),
                "cpu_microseconds": cost.cpu,
                "median_latency_microseconds": cost.latency,
                "median_ratio": self.ratio(cost),
            })
        });
        json!({
            "lane": self.lane.name,
            "requests_per_round": self.lane.requests,
            "callers": self.lane.callers,
            "target_ratio": self.lane.target,
            "proxies": proxies.collect::<Vec<_>>(),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(results: &[Measured], rounds: usize) {
    println!("CPU per request, multiple of nginx's, median time of a call; medians of {rounds} rounds.\n");
    for measured in results {
        println!("{} (target {:.2}x)", measured.lane.name, measured.lane.target);
        for (cost, kind) in measured.costs.iter().zip(Kind::ALL) {
            let (cpu, latency) = (median(cost.cpu.clone()), median(cost.latency.clone()));
            println!(
                "  {:<16} {cpu:>9.1} µs {:>6.2}x {latency:>9.0} µs",
                kind.name(),
                measured.ratio(cost)
            );
        }
    }
}
