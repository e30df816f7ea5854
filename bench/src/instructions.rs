//! What a call costs in instructions: the same on every machine, where times are not.
//!
//! The floor and the gateway run under callgrind, each twice, with a different number of the same calls. The difference of the two counts,
//! divided by the difference of the calls, is what one call takes in user space, over all threads and with what is done
//! behind its answer; starting and stopping cancel out.

use std::path::Path;

use crate::lanes::Lane;
use crate::load;
use crate::measure::Ground;
use crate::proxies::Kind;

/// Calls of the shorter run and of the longer one.
const CALLS: [u32; 2] = [800, 4800];

/// What a call takes.
#[derive(Clone, Copy, Debug)]
pub struct Instructions {
    /// The parts alone.
    pub floor: f64,
    /// The gateway, with the ledger at `os`.
    pub gateway: f64,
}

/// Counts what a call of a lane takes.
pub fn of(ground: &Ground, lane: &Lane) -> Result<Instructions, String> {
    let counted =
        |kind| per_call(ground, lane, kind).map_err(|error| lane.failed(kind, &format!("counting: {error}")));
    Ok(Instructions { floor: counted(Kind::Floor)?, gateway: counted(Kind::GatewayOs)? })
}

fn per_call(ground: &Ground, lane: &Lane, kind: Kind) -> Result<f64, String> {
    let [short, long] = CALLS;
    let few = run(ground, lane, kind, short)?;
    let more = run(ground, lane, kind, long)?.saturating_sub(few);
    #[expect(clippy::cast_precision_loss, reason = "some billions")]
    let more = more as f64;
    Ok(more / f64::from(long - short))
}

fn run(ground: &Ground, lane: &Lane, kind: Kind, calls: u32) -> Result<u64, String> {
    // A new one, so that no run has the ledger of another to take up.
    let folder = ground.folder().join("counted");
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let out = folder.join("callgrind.out");
    let proxy = ground.start_in(&folder, &callgrind(&out), lane, kind)?;
    load::run(&proxy.target, lane, calls)?;
    // Asked to stop: what it counted is written when it has.
    drop(proxy);
    let text = std::fs::read_to_string(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    // For whoever asks where they go: `callgrind_annotate --inclusive=yes`.
    let name = format!("{}, {}", lane.name, kind.name()).replace([' ', ','], "-");
    let kept = std::path::Path::new("target").join(format!("callgrind-{name}.out"));
    std::fs::rename(&out, &kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    total(&text).ok_or_else(|| format!("{} has no total", out.display()))
}

fn callgrind(out: &Path) -> [String; 4] {
    let out = format!("--callgrind-out-file={}", out.display());
    ["valgrind".into(), "--tool=callgrind".into(), "--quiet".into(), out]
}

/// The figure of callgrind's line `totals: 123`.
fn total(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_the_end() {
        let text = "version: 1\nevents: Ir\n\nfn=(1) main\n1 7\ntotals: 42\n";
        assert_eq!(total(text), Some(42));
        assert_eq!(total("fn=(1) main\n"), None);
    }
}
