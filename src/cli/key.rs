//! `key new`: makes a caller key. Its text is printed once and stored nowhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::failure::Failure;
use crate::clock::Clock;
use crate::config::values::DurationText;
use crate::key::NewKey;

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeyCommand {
    /// Make a new caller key.
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
}

pub(super) fn run(command: &KeyCommand) -> Result<(), Failure> {
    let KeyCommand::New { team, expires } = command;
    if crate::config::is_reserved(team) {
        return Err(Failure::Usage(format!("{team:?} means something else in metrics; choose another name")));
    }
    if !crate::config::is_team_name(team) {
        return Err(Failure::Usage(format!(
            "{team:?} is not a team name: use 1 to 64 of a-z, 0-9, \"-\" and \"_\", a letter first"
        )));
    }
    let expires = expires.as_deref().map(expiry).transpose()?;
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
