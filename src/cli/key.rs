//! `key`: caller keys, made for the configuration, or registered in the ledger while gateways run. A key's text is printed once
//! and stored nowhere.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Failure, read_config, say};
use crate::clock::Clock;
use crate::config;
use crate::config::values::DurationText;
use crate::key::NewKey;
use crate::keyring::{self, KeyError, Keyring, Listed, Made, Wanted};
use crate::ledger::{Hand, KeyEvent, home};

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeyCommand {
    /// Make a new caller key, for the configuration.
    ///
    /// Prints the key, for its owner alone, and the line that lets it in, within its team's table. The
    /// key cannot be shown again: the configuration holds only its digest.
    New {
        /// The team the key is for.
        #[arg(long, value_name = "NAME")]
        team: String,
        /// How long the key is to work, like 90d or 12h. Default: until it is removed.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Register a key in the ledger: it is in force within a second, without a change of the configuration.
    ///
    /// With --id and --sha256 of a key that `key new` has made where it is needed, no secret leaves that place, and the command
    /// can be repeated. Without, a key is made here, and printed once.
    Add {
        #[command(flatten)]
        ledger: LedgerOf,
        /// The team the key is for.
        #[arg(long, value_name = "NAME")]
        team: String,
        #[command(flatten)]
        made: MadeElsewhere,
    },
    /// List all keys, of the configuration and of the ledger, and how they stand.
    List {
        #[command(flatten)]
        ledger: LedgerOf,
        /// What was done to keys in the ledger, when, and by whom, in place of the keys.
        #[arg(long)]
        events: bool,
    },
    /// Register a key in place of another, which goes on for a while.
    Rotate {
        #[command(flatten)]
        ledger: LedgerOf,
        /// The key to be replaced, by its id: the part behind `mvgw_`.
        #[arg(value_name = "ID")]
        key: String,
        /// How long the old key goes on, like 24h; never beyond its own end. Default: `keys.overlap`.
        #[arg(long, value_name = "TIME")]
        overlap: Option<String>,
        #[command(flatten)]
        made: MadeElsewhere,
    },
    /// Revoke a key, for good: it is refused within a second, also where the configuration lists it.
    Revoke {
        #[command(flatten)]
        ledger: LedgerOf,
        /// The key, by its id: the part behind `mvgw_`.
        #[arg(value_name = "ID")]
        key: String,
        /// Why, for whoever reads the events later.
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct LedgerOf {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
}

/// A key that may have been made elsewhere.
#[derive(Debug, clap::Args)]
pub(super) struct MadeElsewhere {
    /// The id of a key that was made where it is needed.
    #[arg(long, value_name = "ID", requires = "sha256")]
    id: Option<String>,
    /// Its SHA-256, 64 hexadecimal digits, as `key new` has printed it.
    #[arg(long, value_name = "HEX", requires = "id")]
    sha256: Option<String>,
    /// How long the new key is to work, like 90d or 12h. Default: `keys.max_lifetime`, or as long as the key that it replaces.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

impl MadeElsewhere {
    fn wanted(&self) -> Result<Wanted, Failure> {
        let expires = self.expires.as_deref().map(expiry).transpose()?;
        Ok(Wanted { made: self.id.clone().zip(self.sha256.clone()), expires })
    }
}

pub(super) fn run(command: &KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::New { team, expires } => new(team, expires.as_deref()),
        KeyCommand::Add { ledger, team, made } => with_keyring(ledger, |keyring| {
            let made = keyring.add(team, &made.wanted()?)?;
            tell(&made)?;
            let known = if made.is_new { "is registered" } else { "was registered already" };
            say!("Key {} of team {team} {known}{}. {SOON}", made.key.id, until(made.key.expires))?;
            Ok(())
        }),
        KeyCommand::List { ledger: LedgerOf { config }, events: false } => {
            let config = read_config(config)?;
            let registered = home::registered_keys(&config.ledger)?;
            list(&keyring::all(&config, &registered, Clock::system().wall()))
        }
        KeyCommand::List { ledger, events: true } => events(ledger),
        KeyCommand::Rotate { ledger, key, overlap, made } => with_keyring(ledger, |keyring| {
            let overlap = overlap.as_deref().map(config::duration).transpose().map_err(Failure::Usage)?;
            let (made, ends) = keyring.replace(key, &made.wanted()?, overlap)?;
            tell(&made)?;
            say!("Key {} takes the place of {key}{}. {SOON}", made.key.id, until(made.key.expires))?;
            say!("Key {key} works{}.", until(ends))?;
            Ok(())
        }),
        KeyCommand::Revoke { ledger, key, why } => with_keyring(ledger, |keyring| {
            let (key, done) = keyring.revoke(key, why)?;
            let done = if done { "is revoked" } else { "was revoked already" };
            say!("Key {} of team {} {done}. {SOON}", key.id, key.team)?;
            Ok(())
        }),
    }
}

const SOON: &str = "A running gateway knows within a second.";

fn until(expires: Option<jiff::Timestamp>) -> String {
    expires.map_or_else(String::new, |at| format!(", until {at:.0}"))
}

/// Opens the ledger of a configuration for what is done to its keys.
fn with_keyring(
    LedgerOf { config }: &LedgerOf,
    work: impl FnOnce(&mut Keyring<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = read_config(config)?;
    let by = format!("command line, user {}", rustix::process::getuid().as_raw());
    let hand = Hand { by: &by, at: Clock::system().wall() };
    work(&mut Keyring::new(&config, home::keys(&config.ledger)?, hand))
}

/// Shows a key that was made here.
fn tell(made: &Made) -> Result<(), Failure> {
    let Some(text) = &made.text else { return Ok(()) };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", **text)?;
    writeln!(out)?;
    if out.is_terminal() {
        eprintln!("(the key above will not be shown again, and is now in your terminal's history)");
    }
    Ok(())
}

fn list(keys: &[Listed]) -> Result<(), Failure> {
    say!("{:<12} {:<24} {:<9} {:<13} {}", "id", "team", "state", "where", "until")?;
    for Listed { id, team, state, source, expires, revoked, .. } in keys {
        let until = revoked.or(*expires).map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        say!("{id:<12} {team:<24} {:<9} {source:<13} {until}", state.as_str())?;
    }
    Ok(())
}

fn events(LedgerOf { config }: &LedgerOf) -> Result<(), Failure> {
    const AT_ONCE: usize = 1000;
    let config = read_config(config)?;
    let register = home::keys(&config.ledger)?;
    let mut last = 0;
    loop {
        let events = register.events_after(last, AT_ONCE)?;
        for KeyEvent { seq, at, key_id, team, kind, by, detail, .. } in &events {
            let detail = detail.as_ref().map_or_else(String::new, |detail| match kind.as_str() {
                "replaced" => format!(" by {detail}"),
                _ => format!(": {detail}"),
            });
            say!("{at:.0} key {key_id} of team {team} {kind}{detail} ({by})")?;
            last = *seq;
        }
        if events.len() < AT_ONCE {
            return Ok(());
        }
    }
}

fn new(team: &str, expires: Option<&str>) -> Result<(), Failure> {
    if crate::config::is_reserved(team) {
        return Err(Failure::Usage(format!("{team:?} means something else in metrics; choose another name")));
    }
    if !crate::config::is_team_name(team) {
        return Err(Failure::Usage(format!(
            "{team:?} is not a team name: use 1 to 64 of a-z, 0-9, \"-\" and \"_\", a letter first"
        )));
    }
    let expires = expires.map(expiry).transpose()?;
    let key = NewKey::generate().map_err(std::io::Error::other)?;
    let expires = expires.map_or_else(String::new, |at| format!(", expires = {at:.0}"));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", *key.text)?;
    writeln!(out)?;
    writeln!(out, "# Give the key above to team {team}; it will not be shown again.")?;
    writeln!(
        out,
        "# If the team is in the configuration already, add the line in `keys` to its own; if not, all of this:"
    )?;
    writeln!(out, "[[team]]")?;
    writeln!(out, "name = \"{team}\"")?;
    writeln!(out, "keys = [")?;
    writeln!(out, "  {{ id = \"{}\", sha256 = \"{}\"{expires} }},", key.id, key.sha256)?;
    writeln!(out, "]")?;
    if out.is_terminal() {
        eprintln!("(the key is now in your terminal's history; clear it when you have passed it on)");
    }
    Ok(())
}

fn expiry(text: &str) -> Result<jiff::Timestamp, Failure> {
    let wrong =
        || Failure::Usage(format!("{text:?} is not a time to come; write it like \"90d\" or \"12h\""));
    let DurationText(time) = text.parse().map_err(|_| wrong())?;
    if time < Duration::from_secs(1) {
        return Err(wrong());
    }
    Clock::system()
        .wall()
        .checked_add(time)
        .map_err(|_| Failure::Usage(format!("{text} from now is beyond the calendar")))
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Ledger(error) => Self::Ledger(error),
            KeyError::System(error) => Self::System(std::io::Error::other(error)),
            error => Self::Usage(error.to_string()),
        }
    }
}
