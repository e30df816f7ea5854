//! Compares what a request costs in the gateway and in nginx's plain `proxy_pass`: CPU time of all
//! threads of the proxy, from the kernel's own accounts, with the two proxies taking turns within one
//! run, so that whatever else the machine does hits both.
//!
//! Usage: `make bench`, or `bench GATEWAY_BINARY [ROUNDS]`. Prints a table and writes
//! `target/bench.json`.

mod lanes;
mod load;
mod proxies;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use lanes::{LANES, Lane};
use proxies::Proxy;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(binary) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: bench GATEWAY_BINARY [ROUNDS]");
        return ExitCode::from(64);
    };
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    match run(&binary, rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(binary: &std::path::Path, rounds: usize) -> Result<(), String> {
    let upstream = upstream::start().map_err(|error| format!("upstream: {error}"))?;
    let folder = std::env::temp_dir().join(format!("mavera-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let measured = measure(binary, rounds, upstream, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    let results = measured?;
    print(&results, rounds);
    let json = results.iter().map(Measured::json).collect::<Vec<_>>();
    let report = json!({ "rounds": rounds, "lanes": json });
    std::fs::write("target/bench.json", format!("{report:#}\n"))
        .map_err(|error| format!("target/bench.json: {error}"))
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
    nginx: Cost,
    /// With the ledger at `os` and at `fsync`.
    gateways: [Cost; 2],
}

const DURABILITIES: [&str; 2] = ["os", "fsync"];

fn measure(
    binary: &std::path::Path,
    rounds: usize,
    upstream: std::net::SocketAddr,
    folder: &std::path::Path,
) -> Result<Vec<Measured>, String> {
    let proxies = [
        Proxy::nginx(folder, upstream)?,
        Proxy::gateway(binary, folder, upstream, DURABILITIES[0])?,
        Proxy::gateway(binary, folder, upstream, DURABILITIES[1])?,
    ];
    let mut results = Vec::new();
    for lane in &LANES {
        let mut costs: [Cost; 3] = Default::default();
        // Once for the caches, the connections and the allocators.
        for proxy in &proxies {
            load::run(proxy, lane, lane.requests / 4)?;
        }
        for round in 0..rounds {
            for turn in 0..proxies.len() {
                let index = (turn + round) % proxies.len();
                let (proxy, cost) = (&proxies[index], &mut costs[index]);
                let before = proxy.cpu()?;
                let latencies = load::run(proxy, lane, lane.requests)?;
                let spent = proxy.cpu()?.saturating_sub(before);
                cost.cpu.push(spent.as_secs_f64() * 1e6 / f64::from(lane.requests));
                cost.latency.push(median(latencies));
            }
        }
        eprintln!("  {} done", lane.name);
        let [nginx, os, fsync] = costs;
        results.push(Measured { lane, nginx, gateways: [os, fsync] });
    }
    Ok(results)
}

impl Measured {
    /// A gateway's cost as a multiple of nginx's: median over the rounds of the ratio within each.
    fn ratio(&self, gateway: &Cost) -> f64 {
        median(gateway.cpu.iter().zip(&self.nginx.cpu).map(|(ours, theirs)| ours / theirs).collect())
    }

    fn json(&self) -> serde_json::Value {
        let gateways = self.gateways.iter().zip(DURABILITIES).map(|(gateway, durability)| {
            json!({
                "ledger": durability,
                "cpu_microseconds": gateway.cpu,
                "median_latency_microseconds": gateway.latency,
                "median_ratio": self.ratio(gateway),
            })
        });
        json!({
            "lane": self.lane.name,
            "requests_per_round": self.lane.requests,
            "callers": self.lane.callers,
            "target_ratio": self.lane.target,
            "nginx": { "cpu_microseconds": self.nginx.cpu, "median_latency_microseconds": self.nginx.latency },
            "gateways": gateways.collect::<Vec<_>>(),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(results: &[Measured], rounds: usize) {
    println!(
        "CPU per request, all threads of a proxy; median latency of a call. Medians of {rounds} interleaved rounds.\n"
    );
    println!(
        "{:<34} {:>21} {:>30} {:>30} {:>7}",
        "lane", "nginx", "gateway, ledger at os", "gateway, ledger at fsync", "target"
    );
    for measured in results {
        let cost = |cost: &Cost| (median(cost.cpu.clone()), median(cost.latency.clone()));
        let (cpu, latency) = cost(&measured.nginx);
        print!("{:<34} {cpu:>9.1} µs {latency:>7.0} µs", measured.lane.name);
        for gateway in &measured.gateways {
            let (cpu, latency) = cost(gateway);
            print!(" {cpu:>9.1} µs {:>6.2}x {latency:>7.0} µs", measured.ratio(gateway));
        }
        println!(" {:>6.2}x", measured.lane.target);
    }
    println!("\nnginx: proxy_pass with keep-alive, buffering off, no log, no checks, no books.");
    println!(
        "gateway: every check on, budgets, a hold and an ending in the ledger, meter, metrics, a record per request."
    );
}
