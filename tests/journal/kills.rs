//! A process that writes more than the files hold, killed at any moment, over and over on one ledger.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use mavera_gateway::clock::Clock;
use mavera_gateway::config::Durability;
use mavera_gateway::ledger::counts::Counts;
use mavera_gateway::ledger::file::{SqliteLedger, Store, catch_up, lock};
use mavera_gateway::ledger::journal::paths;
use mavera_gateway::ledger::{CallId, Ledger};
use mavera_gateway::metrics::Metrics;
use rusqlite::Connection;

use super::{Place, configuration, ending, hold};
use crate::support::rig::sample;

const CHILD: &str = "LEDGER_OF_A_CHILD";
/// Holds that wait together.
const TOGETHER: CallId = 64;

/// A long name, so that a few thousand calls fill a file.
fn team() -> String {
    "t".repeat(2000)
}

/// Holds and ends calls until it is killed. Says which are acknowledged, the last of each group.
fn write_until_killed(folder: &Path, durability: &str) {
    let config = configuration(folder, durability);
    catch(&config);
    let store =
        Store::open(&config.ledger.file().unwrap().path, config.ledger.file().unwrap().durability).unwrap();
    let mut call = store.last_call().unwrap();
    let lock = lock(&config.ledger.file().unwrap().path).unwrap();
    let metrics = Arc::new(Metrics::new());
    let ledger = SqliteLedger::start(
        store,
        config.ledger.file().unwrap().durability,
        lock,
        Clock::system(),
        Arc::new(Counts::new(&metrics)),
    )
    .unwrap();
    let unmerged =
        || sample(&String::from_utf8(metrics.render().1).unwrap(), "mavera_gateway_ledger_unmerged_bytes");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        let group: Vec<_> = (call + 1..=call + TOGETHER).collect();
        let receipts: Vec<_> = group.iter().map(|call| ledger.hold(hold(*call, &team()))).collect();
        for receipt in receipts {
            runtime.block_on(receipt).unwrap();
        }
        call += TOGETHER;
        if writeln!(out, "acknowledged {call}").and_then(|()| out.flush()).is_err() {
            return;
        }
        for call in group {
            ledger.end(ending(call, &team(), 1));
        }
        // Files turn where the database keeps up.
        while unmerged() > f64::from(3 << 20) {
            std::thread::yield_now();
        }
    }
}

fn catch(config: &mavera_gateway::config::Config) {
    Store::open(&config.ledger.file().unwrap().path, config.ledger.file().unwrap().durability).unwrap();
    catch_up(config.ledger.file().unwrap()).unwrap();
}

/// Kills a process after each of some numbers of acknowledged calls, and looks for them.
fn kill_again_and_again(test: &str, durability: Durability, rounds: &[CallId]) {
    let name = if durability == Durability::Os { "os" } else { "fsync" };
    if let Some(folder) = std::env::var_os(CHILD) {
        return write_until_killed(folder.as_ref(), name);
    }
    let place = Place::with(name);
    let mut before = 0;
    for round in rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("journal::kills::{test}"), "--exact", "--nocapture"])
            .env(CHILD, place.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut acknowledged =
            lines.filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse::<CallId>().ok());
        let mut last =
            acknowledged.find(|call| *call >= before + round).expect("it goes on until it is killed");
        child.kill().unwrap();
        // What it said before it was killed counts too.
        last = acknowledged.last().unwrap_or(last);
        child.wait().unwrap();
        catch(&place.config);
        let connection = Connection::open(place.path()).unwrap();
        let count = |what: &str| connection.query_row(what, [], |row| row.get::<_, CallId>(0)).unwrap();
        let held = count(&format!("SELECT count(*) FROM bookings WHERE call <= {last}"));
        assert_eq!(held, last, "{durability:?}: calls were acknowledged and are not there");
        let gaps = count("SELECT max(call) - count(*) FROM bookings");
        assert_eq!(gaps, 0);
        before = count("SELECT max(call) FROM bookings");
    }
    let generation = place.store().progress().unwrap().merged.generation;
    assert!(generation >= rounds.len() as u64 + 2, "the files were never turned: {generation}");
    let bytes: u64 = paths(place.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes < 48 << 20, "they are written over, and do not grow: {bytes}");
}

#[test]
fn killed_at_os_durability_no_acknowledged_hold_is_lost_however_often_the_files_turn() {
    let test = "killed_at_os_durability_no_acknowledged_hold_is_lost_however_often_the_files_turn";
    kill_again_and_again(test, Durability::Os, &[64, 3000, 700, 4500]);
}

#[test]
fn killed_at_fsync_durability_no_acknowledged_hold_is_lost_however_often_the_files_turn() {
    let test = "killed_at_fsync_durability_no_acknowledged_hold_is_lost_however_often_the_files_turn";
    kill_again_and_again(test, Durability::Fsync, &[64, 3000, 700, 4500]);
}
