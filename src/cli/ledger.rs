//! `ledger`: what is done to a ledger in PostgreSQL by hand, and the ways between it and one in a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::failure::{ConfigArgument, Failure, count, read_config, say};
use crate::config::{Durability, Ledger, LedgerFile, Postgres};
use crate::ledger::LedgerError;
use crate::ledger::postgres::{self, Books, Fenced, Listed, Moved, Standbys, Status};

#[derive(Debug, clap::Subcommand)]
pub(super) enum LedgerCommand {
    /// Make the ledger's tables in PostgreSQL, or bring them up to date.
    ///
    /// Before gateways of a new version are started: none of them changes a table. Those of the version before go on
    /// meanwhile. Can be repeated.
    Migrate(ConfigArgument),
    /// Show how the ledger in PostgreSQL is: server, standbys, size, and every gateway.
    ///
    /// Exits with 1 if this program cannot work with it as it is.
    Status {
        #[command(flatten)]
        of: ConfigArgument,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Bring a ledger's file into PostgreSQL, where nothing is yet.
    ///
    /// All of it or nothing. Stop the file's gateway first. The file stays, with all that is in it.
    Import {
        /// The ledger's file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        of: ConfigArgument,
    },
    /// Write the ledger in PostgreSQL to a ledger's file, for a single gateway.
    ///
    /// All of it or nothing. Stop all gateways first. The database stays as it is.
    Export {
        /// The file to write. It must not be there yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        of: ConfigArgument,
    },
    /// Put out a gateway that hangs, without waiting for its lease to be over.
    ///
    /// What it had open is booked in doubt, by the next turn of another gateway. If it was not dead, it can book nothing more
    /// under its number.
    Fence {
        /// The number of the gateway, as `ledger status` lists it.
        #[arg(value_name = "ID", value_parser = clap::value_parser!(i32).range(1..))]
        id: i32,
        #[command(flatten)]
        of: ConfigArgument,
    },
}

pub(super) fn run(command: &LedgerCommand) -> Result<(), Failure> {
    match command {
        LedgerCommand::Migrate(of) => migrate(&settings(of)?),
        LedgerCommand::Status { of, json } => status(&postgres::status(&settings(of)?)?, *json),
        LedgerCommand::Import { file, of } => import(&settings(of)?, file, of),
        LedgerCommand::Export { file, of } => export(&settings(of)?, file),
        LedgerCommand::Fence { id, of } => fence(&settings(of)?, *id),
    }
}

/// The ledger's, which has to be in PostgreSQL.
fn settings(ConfigArgument { config }: &ConfigArgument) -> Result<Postgres, Failure> {
    match read_config(config)?.ledger {
        Ledger::Postgres(settings) => Ok(settings),
        file @ Ledger::File(_) => Err(Failure::Usage(format!(
            "the ledger is in a file: {file}; this command is for one in PostgreSQL, which [ledger.postgres] in {} would name",
            config.display()
        ))),
    }
}

fn migrate(settings: &Postgres) -> Result<(), Failure> {
    let schema = &settings.schema;
    match postgres::migrate(settings)?.last() {
        None => say!("The ledger in schema {schema} is up to date; nothing was changed.")?,
        Some(version) => {
            say!("The ledger in schema {schema} has version {version} now, which this program needs.")?;
        }
    }
    Ok(())
}

fn status(status: &Status, json: bool) -> Result<(), Failure> {
    if json {
        say!("{:#}", serde_json::json!(status))?;
    } else {
        say!("{}", in_words(status).trim_end())?;
    }
    match &status.problem {
        None => Ok(()),
        Some(problem) => Err(Failure::Answer(problem.clone())),
    }
}

fn in_words(status: &Status) -> String {
    let Status { place, server, schema_version, needs_version, problem: _, standbys, books } = status;
    let mut text = format!("{place}\n");
    let mut line = |name: &str, told: String| {
        let _ = writeln!(text, "  {name:<10}{told}");
    };
    line("server", format!("PostgreSQL {server}"));
    line(
        "tables",
        match schema_version {
            0 => "none yet".to_owned(),
            has => format!("version {has}; this program needs {needs_version}"),
        },
    );
    line("standbys", of_standbys(standbys));
    let Some(Books { last_turn, turns_kept, bytes, gateways }) = books else { return text };
    line("turns", format!("{last_turn} taken, the last {turns_kept} kept"));
    line("size", bytesize::ByteSize(bytes.unsigned_abs()).display().iec().to_string());
    let running = gateways.iter().filter(|gateway| gateway.state == "running").count();
    line("gateways", format!("{running} running"));
    if gateways.is_empty() {
        return text;
    }
    let _ = writeln!(
        text,
        "\n{:>6}  {:<20} {:<10} {:<8} {:<20} {:>6} {:>9} {:>7} {:>6}",
        "id", "name", "version", "state", "since", "lease", "in flight", "waiting", "open"
    );
    for Listed { id, name, version, state, started, lease_left, in_flight, waiting, open } in gateways {
        let (lease, started) = (format!("{}s", lease_left.as_secs()), format!("{started:.0}"));
        let _ = writeln!(
            text,
            "{id:>6}  {name:<20} {version:<10} {state:<8} {started:<20} {lease:>6} {in_flight:>9} {waiting:>7} {open:>6}"
        );
    }
    if gateways.iter().any(|gateway| matches!(&*gateway.state, "silent" | "fenced")) {
        text.push_str(
            "\nWhat a silent or fenced gateway has open is booked in doubt by the next turn of another.\n",
        );
    }
    text
}

fn of_standbys(Standbys { waited_for, attached, hidden }: &Standbys) -> String {
    match (waited_for.as_str(), &attached[..]) {
        ("", _) => "commits wait for none (synchronous_standby_names is empty)".to_owned(),
        (names, []) if *hidden > 0 => format!(
            "commits wait for {names}; who is attached this user may not see (GRANT pg_read_all_stats would show it)"
        ),
        (names, []) => format!("NONE IS ATTACHED, and every commit waits for {names}"),
        (names, attached) => format!("commits wait for {names}; attached: {}", attached.join(", ")),
    }
}

fn import(
    settings: &Postgres,
    file: &Path,
    ConfigArgument { config }: &ConfigArgument,
) -> Result<(), Failure> {
    if !file.is_file() {
        return Err(Failure::Usage(format!("{}: there is no such file", file.display())));
    }
    let from = LedgerFile { path: file.to_owned(), durability: Durability::Fsync };
    let moved = postgres::import(settings, &from).map_err(|error| match error {
        LedgerError::InUse { .. } => Failure::Answer(format!(
            "the ledger {} is in use: stop its gateway first, and import it then; nothing was brought over",
            file.display()
        )),
        error => error.into(),
    })?;
    tell(
        &moved,
        "calls and the sums of every day, team and key are the same in the database as in the file",
    )?;
    let (config, file) = (config.display(), file.display());
    say!("The gateways' turns go on behind {}. What is left to do:", moved.turn)?;
    say!("  1. mavera-gateway credits verify --config {config}")?;
    say!("  2. start the gateways with this configuration")?;
    say!("  3. keep {file}, and start no gateway on it again: what it booked would be missing here")?;
    Ok(())
}

fn export(settings: &Postgres, file: &Path) -> Result<(), Failure> {
    if file.exists() {
        return Err(Failure::Usage(format!("{} is there already; name a new file", file.display())));
    }
    let moved = postgres::export(settings, file)?;
    tell(
        &moved,
        "calls and the sums of every day, team and key are the same in the file as in the database",
    )?;
    let file = file.display();
    say!("{file}: written, and verified. What is left to do:")?;
    say!("  1. in the configuration, take [ledger.postgres] out, and name the file in `ledger.path`")?;
    say!(
        "  2. start one gateway with it, and none with the database again: what it booked would be missing here"
    )?;
    Ok(())
}

/// What was brought over.
fn tell(Moved { rows, credits, turn: _ }: &Moved, same: &str) -> std::io::Result<()> {
    for (table, rows) in rows {
        say!("  {table:<12}{rows:>12}")?;
    }
    say!("{credits} credits are booked in it; {same}.")
}

fn fence(settings: &Postgres, id: i32) -> Result<(), Failure> {
    match postgres::fence(settings, id)? {
        Fenced::Done { name, open, others } => {
            let open = count(usize::try_from(open).unwrap_or(0), "call");
            let by = match others {
                0 => "no other gateway runs, and the first that starts books them in doubt".to_owned(),
                _ => "the next turn of another gateway books them in doubt, within seconds".to_owned(),
            };
            say!("Gateway {id} ({name}) is put out. It had {open} open: {by}.")?;
            say!("If it is not dead, stop its process: it can book nothing more under this number.")?;
        }
        Fenced::GoneAlready => say!("Gateway {id} has gone already, and nothing of it is open.")?,
        Fenced::Unknown => {
            let remedy = "`mavera-gateway ledger status` lists them";
            return Err(Failure::Usage(format!("no gateway of this ledger has the number {id}; {remedy}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_for_a_ledger_say_who_runs_and_what_every_commit_waits_for() {
        let standbys = Standbys { waited_for: "b".to_owned(), attached: Vec::new(), hidden: 0 };
        let gateway = Listed {
            id: 7,
            name: "gw-a".to_owned(),
            version: "0.1.0".to_owned(),
            state: "silent".to_owned(),
            started: "2030-01-15T12:00:00.5Z".parse().unwrap(),
            lease_left: jiff::SignedDuration::from_secs(12),
            in_flight: 3,
            waiting: 0,
            open: 2,
        };
        let books = Books { last_turn: 9, turns_kept: 4, bytes: 2048, gateways: vec![gateway] };
        let mut status = Status {
            place: "PostgreSQL at db:5432, schema mavera".to_owned(),
            server: "16.2".to_owned(),
            schema_version: 1,
            needs_version: 1,
            problem: None,
            standbys,
            books: Some(books),
        };
        let words = in_words(&status);
        for told in ["NONE IS ATTACHED", "0 running", "2.0 KiB", "gw-a", "silent", "12s", "booked in doubt"] {
            assert!(words.contains(told), "{told}: {words}");
        }
        (status.schema_version, status.books) = (0, None);
        assert!(
            in_words(&status)
                .ends_with("none yet\n  standbys  NONE IS ATTACHED, and every commit waits for b\n")
        );
        assert_eq!(serde_json::json!(status)["books"], serde_json::Value::Null);
    }
}
