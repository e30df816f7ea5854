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

/// One lane: CPU microseconds per request, by round.
struct Measured {
    lane: &'static Lane,
    gateway: Vec<f64>,
    nginx: Vec<f64>,
}

fn measure(
    binary: &std::path::Path,
    rounds: usize,
    upstream: std::net::SocketAddr,
    folder: &std::path::Path,
) -> Result<Vec<Measured>, String> {
    let nginx = Proxy::nginx(folder, upstream)?;
    let gateway = Proxy::gateway(binary, folder, upstream)?;
    let mut results = Vec::new();
    for lane in &LANES {
        let mut measured = Measured { lane, gateway: Vec::new(), nginx: Vec::new() };
        // Once for the caches, the connections and the allocators.
        for proxy in [&nginx, &gateway] {
            load::run(proxy, lane, lane.requests / 4)?;
        }
        for round in 0..rounds {
            let order = if round % 2 == 0 { [&nginx, &gateway] } else { [&gateway, &nginx] };
            for proxy in order {
                let before = proxy.cpu()?;
                load::run(proxy, lane, lane.requests)?;
                let spent = proxy.cpu()?.saturating_sub(before);
                let each = spent.as_secs_f64() * 1e6 / f64::from(lane.requests);
                if std::ptr::eq(proxy, &raw const nginx) {
                    &mut measured.nginx
                } else {
                    &mut measured.gateway
                }
                .push(each);
            }
        }
        eprintln!("  {} done", lane.name);
        results.push(measured);
    }
    Ok(results)
}

impl Measured {
    /// The gateway's cost as a multiple of nginx's: median over the rounds of the ratio within each.
    fn ratio(&self) -> f64 {
        median(self.gateway.iter().zip(&self.nginx).map(|(ours, theirs)| ours / theirs).collect())
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "lane": self.lane.name,
            "requests_per_round": self.lane.requests,
            "callers": self.lane.callers,
            "nginx_cpu_microseconds": self.nginx,
            "gateway_cpu_microseconds": self.gateway,
            "median_ratio": self.ratio(),
            "target_ratio": self.lane.target,
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(results: &[Measured], rounds: usize) {
    println!(
        "CPU per request, all threads of one proxy process group; medians of {rounds} interleaved rounds\n"
    );
    println!("{:<36} {:>12} {:>12} {:>8} {:>8}", "lane", "nginx", "gateway", "ratio", "target");
    for measured in results {
        println!(
            "{:<36} {:>9.1} µs {:>9.1} µs {:>7.2}x {:>7.2}x",
            measured.lane.name,
            median(measured.nginx.clone()),
            median(measured.gateway.clone()),
            measured.ratio(),
            measured.lane.target,
        );
    }
    println!("\nnginx: proxy_pass with keep-alive, buffering off, no log, no checks.");
    println!(
        "gateway: every check on (key, rate, concurrency, schema, window), meter, metrics, a record per request."
    );
}
