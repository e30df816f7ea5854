//! Compares what a request costs in the gateway, in nginx and in `HAProxy`: CPU time of all threads of the proxy, added
//! latency, time to the first byte, memory. The proxies take turns within one run, so that whatever else the machine
//! does hits all of them. `docs/benchmarks.md` has the method.
//!
//! `make bench` runs it. It prints a table and writes `target/bench.json`.

mod calls;
mod certificate;
mod descriptors;
mod figures;
mod instructions;
mod lanes;
mod load;
mod measure;
mod open;
mod process;
mod proxies;
mod report;
mod schedule;
mod statistics;
mod token;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use lanes::{LANES, Lane};
use measure::Ground;
use report::Run;

/// Compares what a request costs in the gateway and in other proxies.
#[derive(Debug, Parser)]
struct Arguments {
    /// The gateway's release binary.
    #[arg(long, value_name = "PATH", default_value = "target/release/mavera-gateway")]
    gateway: PathBuf,
    /// Rounds of each lane; of open streams a third. Default: 5, in a full run 10.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Only lanes with this in their name.
    #[arg(long, value_name = "SUBSTRING", default_value = "")]
    lane: String,
    /// Every lane, and more rounds.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// One short round, to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Print the table in Markdown.
    #[arg(long)]
    markdown: bool,
    /// Where every figure of every round goes.
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
    // Not the system's folder for such things: where that is memory, `fsync` costs nothing.
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    let folder = here.join(format!("target/bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let measured = measure(arguments, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    let run = measured?;
    print!("{}", if arguments.markdown { run.markdown() } else { run.text() });
    std::fs::write(&arguments.json, format!("{:#}\n", run.json()))
        .map_err(|error| format!("{}: {error}", arguments.json.display()))?;
    match run.lanes.iter().find(|measured| measured.is_above_its_bound()) {
        None => Ok(()),
        Some(above) => Err(format!("{}: a call takes more instructions than it may", above.lane.name)),
    }
}

fn measure(arguments: &Arguments, folder: &Path) -> Result<Run, String> {
    let Arguments { gateway, lane, full, quick, .. } = arguments;
    // A lane that is named is wanted, in whatever run it belongs.
    let wanted = |one: &Lane| one.name.contains(lane) && (*full || !one.full || !lane.is_empty());
    let rounds = match arguments.rounds {
        Some(rounds) => rounds.max(1),
        None if *quick => 1,
        None if *full => 10,
        None => 5,
    };
    let descriptors = descriptors::raise();
    let ground = Ground::prepare(gateway, folder)?;
    let mut lanes = Vec::new();
    for lane in LANES.into_iter().filter(wanted) {
        let began = now();
        let lane = if *quick { lane.quick() } else { lane };
        let mut measured = measure::lane(&ground, lane, rounds, descriptors)?;
        if measured.lane.instructions.is_some() {
            measured.instructions = Some(instructions::of(&ground, &measured.lane)?);
        }
        eprintln!("  {:<40} {:>6.1} s", measured.lane.name, (now() - began).as_secs_f64());
        lanes.push(measured);
    }
    if lanes.is_empty() {
        return Err(format!("no lane has {lane:?} in its name"));
    }
    Ok(Run { rounds, quick: *quick, lanes })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
