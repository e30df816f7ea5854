//! What forwarding costs in memory: allocations per frame, and bytes allocated for each MiB that passes.
//!
//! The gateway's real stack and server, with its ledger, in this process between two in-memory pipes. Each figure is
//! the difference between a long stream and a short one, divided by the frames that the long one has more: what a call
//! costs once cancels out. The same streams over the pipes alone say what of it the harness itself allocates, which is
//! taken off.

mod pipes;
mod rig;

use std::alloc::System;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use pipes::Stream;
use rig::Rig;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Counts what the gateway allocates for each frame that it forwards.
#[derive(Debug, Parser)]
struct Arguments {
    /// Print the table in Markdown.
    #[arg(long)]
    markdown: bool,
    /// Where the figures go.
    #[arg(long, value_name = "PATH", default_value = "target/bench-allocations.json")]
    json: PathBuf,
}

/// A kind of stream.
struct Case {
    name: &'static str,
    bytes: usize,
    /// Each frame waits until the caller has the one before, as events of a model do.
    one_at_a_time: bool,
    /// Frames of the short stream and of the long one.
    frames: [u32; 2],
}

const CASES: [Case; 4] = [
    Case { name: "events of 120 bytes, one at a time", bytes: 120, one_at_a_time: true, frames: [200, 2200] },
    Case { name: "events of 120 bytes, back to back", bytes: 120, one_at_a_time: false, frames: [200, 2200] },
    Case { name: "frames of 64 KiB, back to back", bytes: 64 << 10, one_at_a_time: false, frames: [20, 220] },
    Case { name: "frames of 1 MiB, back to back", bytes: 1 << 20, one_at_a_time: false, frames: [4, 36] },
];

/// Other threads write the ledger and the log meanwhile: the least of several runs has least of theirs in it.
const RUNS: usize = 7;

/// Per frame.
#[derive(Clone, Copy)]
struct Cost {
    allocations: f64,
    bytes: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let folder = std::env::temp_dir().join(format!("mavera-allocations-{}", std::process::id()));
    let measured = std::fs::create_dir_all(&folder)
        .map_err(|error| error.to_string())
        .and_then(|()| measure(&folder, &CASES));
    let _ = std::fs::remove_dir_all(&folder);
    match measured.and_then(|costs| report(&arguments, &costs)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("allocations: {error}");
            ExitCode::FAILURE
        }
    }
}

/// For each case, through the gateway and over the pipes alone.
fn measure(folder: &std::path::Path, cases: &[Case]) -> Result<Vec<[Cost; 2]>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let rig = Rig::new(folder)?;
        let mut costs = Vec::new();
        for case in cases {
            costs.push([cost(case, Some(&rig)).await?, cost(case, None).await?]);
        }
        Ok(costs)
    })
}

async fn cost(case: &Case, rig: Option<&Rig>) -> Result<Cost, String> {
    let [short, long] = case.frames;
    let [of_short, of_long] = [counted(case, rig, short).await?, counted(case, rig, long).await?];
    let frames = f64::from(long - short);
    Ok(Cost {
        allocations: (of_long.allocations - of_short.allocations) / frames,
        bytes: (of_long.bytes - of_short.bytes) / frames,
    })
}

/// What one stream of so many frames costs in all.
async fn counted(case: &Case, rig: Option<&Rig>, frames: u32) -> Result<Cost, String> {
    let stream = Stream::new(frames, case.bytes, case.one_at_a_time);
    let mut least = Cost { allocations: f64::INFINITY, bytes: f64::INFINITY };
    for run in 0..=RUNS {
        let (mut caller, request) = match rig {
            Some(rig) => (rig.connect(&stream), rig.request()),
            None => (pipes::upstream(&stream), pipes::BARE_REQUEST.to_vec()),
        };
        // A call before it, for what a connection allocates once.
        stream.call(&mut caller, &request).await.map_err(|error| error.to_string())?;
        let region = Region::new(COUNTING);
        stream.call(&mut caller, &request).await.map_err(|error| error.to_string())?;
        let change = region.change();
        // The first has more to set up.
        if run > 0 {
            least.allocations = least.allocations.min(number(change.allocations + change.reallocations));
            least.bytes = least.bytes.min(number(change.bytes_allocated));
        }
    }
    Ok(least)
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn report(arguments: &Arguments, costs: &[[Cost; 2]]) -> Result<(), String> {
    let head = ["stream", "allocations per frame", "bytes per frame", "bytes per MiB"];
    if arguments.markdown {
        println!("| {} |\n| --- | --- | --- | --- |", head.join(" | "));
    } else {
        println!("{:<36} {:>22} {:>16} {:>14}", head[0], head[1], head[2], head[3]);
    }
    let mut lanes = Vec::new();
    for (case, [through, alone]) in CASES.iter().zip(costs) {
        let allocations = through.allocations - alone.allocations;
        let bytes = through.bytes - alone.bytes;
        let frame = u32::try_from(case.bytes).map_or(f64::NAN, f64::from);
        let per_mebibyte = bytes * f64::from(1 << 20) / frame;
        if arguments.markdown {
            println!("| {} | {allocations:.2} | {bytes:.0} | {per_mebibyte:.0} |", case.name);
        } else {
            println!("{:<36} {allocations:>22.2} {bytes:>16.0} {per_mebibyte:>14.0}", case.name);
        }
        lanes.push(json!({
            "stream": case.name,
            "allocations_per_frame": allocations,
            "bytes_per_frame": bytes,
            "bytes_per_mebibyte": per_mebibyte,
            "of_the_pipes_alone": { "allocations_per_frame": alone.allocations, "bytes_per_frame": alone.bytes },
        }));
    }
    std::fs::write(&arguments.json, format!("{:#}\n", json!({ "streams": lanes })))
        .map_err(|error| format!("{}: {error}", arguments.json.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only test here: whatever ran beside it would be counted too.
    #[test]
    fn an_event_is_forwarded_without_an_allocation_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let costs = measure(folder.path(), &CASES[..2]).unwrap();
        let allocations = |[through, alone]: [Cost; 2]| through.allocations - alone.allocations;
        // Each goes on in a buffer of its own size, which has a count of owners; it is read into the one before it was.
        let alone = allocations(costs[0]);
        assert!(alone < 2.05, "{alone} for each event that comes alone");
        let bytes = costs[0][0].bytes - costs[0][1].bytes;
        assert!(bytes < 512.0, "{bytes} bytes for each event of 120 that comes alone");
        // Many share a read. What is left over is theirs together, and goes with the events that follow a buffer's end.
        let burst = allocations(costs[1]);
        assert!(burst < 0.1, "{burst} for each event of a burst");
    }
}
