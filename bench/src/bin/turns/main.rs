//! What it costs to hold credits durably where one gateway writes a file, and where several share a ledger in PostgreSQL: calls a
//! second, turns, and how long a call waits for its hold.

mod database;
mod desks;

use std::path::Path;
use std::time::Duration;

use clap::Parser;

use self::database::Database;
use self::desks::{Home, Kind, Measured, at_rate, held_at_once};

#[derive(Debug, Parser)]
struct Arguments {
    /// One short round: whether it runs at all.
    #[arg(long)]
    quick: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), String> {
    let Arguments { quick } = Arguments::parse();
    let seconds = Duration::from_millis(if quick { 300 } else { 5000 });
    let folder = std::env::temp_dir().join(format!("mavera-turns-{}", std::process::id()));
    let measured = measure(&folder, seconds).await;
    // Whatever it came to, nothing is left behind.
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

async fn measure(folder: &Path, time: Duration) -> Result<(), String> {
    let database = Database::start(&folder.join("database"))?;
    println!(
        "Holds, as many at once as stand there, each settled when it is durable, for {} s; and how long a call waits for its hold at \
         so many calls a second, in milliseconds.\n",
        time.as_secs_f64()
    );
    for kind in [Kind::File("os"), Kind::File("fsync"), Kind::Shared(1), Kind::Shared(3)] {
        // One after the other: they would be in each other's way.
        let home = Home::open(kind, folder, &database).await?;
        println!("{}", home.name);
        for at_once in [1, 16, 64, 256] {
            let taken = || match kind {
                Kind::File(_) => Ok(0.0),
                Kind::Shared(_) => database.turns(),
            };
            let before = taken()?;
            let Measured { calls, seconds, .. } = held_at_once(&home, at_once, time).await;
            let turns = (taken()? - before) / seconds;
            let turns = if turns > 0.0 { format!("{turns:>8.0} turns/s") } else { String::new() };
            println!("{at_once:>8} at once  {:>9.0} calls/s{turns}", calls / seconds);
        }
        for rate in [10, 1000] {
            let Measured { mut waits, .. } = at_rate(&home, rate, time).await;
            waits.sort_unstable();
            let at = |part: usize| {
                let wait =
                    waits.get((waits.len().saturating_sub(1)) * part / 100).copied().unwrap_or_default();
                wait.as_secs_f64() * 1000.0
            };
            println!("{rate:>8} calls/s  p50 {:>7.2}  p95 {:>7.2}  p99 {:>7.2}", at(50), at(95), at(99));
        }
        home.close().await;
    }
    Ok(())
}
