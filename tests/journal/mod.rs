//! The ledger's journal: what was acknowledged is found again, whatever was cut off, damaged, left from before or merged
//! already; and merging comes to the same however the entries are split.

mod batches;
mod earlier;
mod files;
mod kills;
mod writer;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mavera_gateway::config::{Config, Durability, parse};
use mavera_gateway::credits::Credits;
use mavera_gateway::ledger::entry::Entry;
use mavera_gateway::ledger::file::{Store, catch_up};
use mavera_gateway::ledger::journal::{self, Journal, Position, Progress, Unmerged};
use mavera_gateway::ledger::{Account, Basis, CallId, Ending, LedgerError, NewEnding, NewHold};
use mavera_gateway::meter::Usage;
use mavera_gateway::route::Route;
use rusqlite::Connection;
use rusqlite::types::Value;

const DAY: jiff::civil::Date = jiff::civil::date(2026, 11, 23);

fn account(team: &str) -> Account {
    Account { team: team.into(), key_id: "abcd2345".into(), route: Route::named("video_chat") }
}

fn hold(call: CallId, team: &str) -> NewHold {
    NewHold {
        call,
        account: account(team),
        request_id: format!("request-{call}").into(),
        reserve: Credits::whole(5),
        at: Timestamp::from_microsecond(call).unwrap(),
        day: DAY,
        retry: None,
    }
}

fn ending(call: CallId, team: &str, credits: u64) -> NewEnding {
    NewEnding {
        call,
        account: account(team),
        reserve: Credits::whole(5),
        at: Timestamp::from_microsecond(call + 1).unwrap(),
        sent_at: None,
        outcome: "complete",
        response_id: Some(format!("resp_{call}")),
        usage: Usage::default(),
        ending: Ending::Settled { credits: Credits::whole(credits), basis: Basis::Final, reason: "" },
    }
}

/// A folder with a ledger, and the configuration that names it.
struct Place {
    folder: tempfile::TempDir,
    config: Config,
}

impl Place {
    fn new() -> Self {
        Self::with("os")
    }

    fn with(durability: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "mvra_live_plainly_fake_for_tests").unwrap();
        let config = configuration(folder.path(), durability);
        Self { folder, config }
    }

    fn path(&self) -> &Path {
        &self.config.ledger.file().unwrap().path
    }

    fn store(&self) -> Store {
        Store::open(self.path(), Durability::Os).unwrap()
    }

    /// As the files would be found if the process ended here and now. Nobody may write meanwhile.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
            let name = name.to_str().unwrap();
            if name.starts_with("ledger.db") && !name.ends_with("-shm") {
                std::fs::copy(path, copy.folder.path().join(name)).unwrap();
            }
        }
        copy
    }

    fn take_up(&self) -> Result<(), LedgerError> {
        catch_up(self.config.ledger.file().unwrap())
    }

    /// Rows of a table.
    fn count(&self, table: &str) -> usize {
        let count = format!("SELECT count(*) FROM {table}");
        let connection = Connection::open(self.path()).unwrap();
        connection.query_row(&count, [], |row| row.get::<_, u32>(0)).unwrap() as usize
    }

    /// All that is booked, and the number of the last entry.
    fn books(&self) -> Vec<Vec<Value>> {
        let connection = Connection::open(self.path()).unwrap();
        let mut all = Vec::new();
        for query in [
            "SELECT c.*, hold_seq, end_seq, held_at, ended_at, sent_at, retry_key, fingerprint, replica
             FROM calls c JOIN bookings USING (call) ORDER BY call",
            "SELECT day, t.name, k.name, m.name, r.name, o.name, calls, final, estimated, input_tokens, output_tokens
             FROM day_sums JOIN names t ON t.id = team JOIN names k ON k.id = key JOIN names m ON m.id = member
             JOIN names r ON r.id = route JOIN names o ON o.id = outcome ORDER BY 1, 2, 3, 4, 5, 6",
            "SELECT day, t.name, k.name, r.name, copies, credits FROM savings JOIN names t ON t.id = team
             JOIN names k ON k.id = key JOIN names r ON r.id = route ORDER BY 1, 2, 3, 4",
            "SELECT last_seq FROM progress",
        ] {
            let mut statement = connection.prepare(query).unwrap();
            let columns = statement.column_count();
            let rows = statement
                .query_map([], |row| (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>())
                .unwrap();
            all.extend(rows.map(Result::unwrap));
        }
        all
    }
}

fn configuration(folder: &Path, durability: &str) -> Config {
    let (key, ledger) = (folder.join("key"), folder.join("ledger.db"));
    let text = format!(
        "[upstream]\nbase_url = \"http://127.0.0.1:1/v1\"\napi_key = {{ file = '{}' }}\n\
         [ledger]\npath = '{}'\ndurability = \"{durability}\"\n",
        key.display(),
        ledger.display()
    );
    parse(&folder.join("gateway.toml"), &text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A journal with nothing merged, outside any ledger.
fn journal_in(folder: &Path) -> (Journal, Progress, PathBuf) {
    let progress = Progress { ledger: 7, merged: Position::default() };
    let path = folder.join("ledger.db");
    let [_, first] = journal::paths(&path);
    (Journal::open(&path, progress).unwrap(), progress, first)
}

/// Writes entries at once. Returns the end of what is written.
fn write(journal: &mut Journal, entries: &[Entry<'_>]) -> Position {
    for entry in entries {
        journal.stage(entry);
    }
    journal.write(false).unwrap();
    let mut unmerged = Unmerged::default();
    journal.hand_over(&mut unmerged);
    assert_eq!(read(&unmerged), entries, "what is merged is what was written");
    unmerged.end
}

/// The entries that are not merged.
fn read(unmerged: &Unmerged) -> Vec<Entry<'_>> {
    Entry::read_all(&unmerged.entries).collect()
}
