//! `whoami`: which team and member a credential would be, and why it would be nobody's.

use std::path::{Path, PathBuf};

use super::failure::{Failure, say};
use crate::clock::Clock;
use crate::identify::token::{Among, Unproven};
use crate::identity::fetch::fetch;
use crate::ledger::{LedgerError, home};
use crate::live::Live;
use crate::live::Snapshot;
use crate::live::directory::Caller;
use crate::live::members::Found;
use crate::metrics::Metrics;
use crate::outbound::connect::Tcp;
use crate::server;
use crate::token::{Unverified, is_token};

#[derive(Debug, clap::Args)]
pub(super) struct WhoamiArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
    /// A file with the token, or the key, alone. Never an argument: those are for every process of the machine to see.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
}

pub(super) fn run(arguments: &WhoamiArguments) -> Result<(), Failure> {
    let WhoamiArguments { config, token_file } = arguments;
    let clock = Clock::system();
    let live = Live::load(config, &Metrics::new(), clock)?;
    // What the ledger says of keys is in force too, if there is one yet.
    match home::registered_keys(&live.current().config.ledger) {
        Ok(keys) => live.set_keys(1, keys),
        Err(LedgerError::Missing { .. } | LedgerError::Older { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let text = read(token_file)?;
    let credential = text.trim().as_bytes();
    let snapshot = live.current();
    if is_token(credential) {
        let runtime = server::event_loop()?;
        let found = runtime.block_on(find(&snapshot, credential, clock))?;
        return tell(&snapshot, credential, &found);
    }
    match snapshot.directory.find(credential, clock) {
        Ok(Caller { who, .. }) => say!("Key {} of team {}.", who.key_id, who.team).map_err(Failure::from),
        Err(Some(known)) => Err(Failure::Answer(format!(
            "Key {} of team {}, which has expired.",
            known.who.key_id, known.who.team
        ))),
        Err(None) => {
            Err(Failure::Answer("Not valid: it is no token, and no key of this configuration.".into()))
        }
    }
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<String>, Failure> {
    std::fs::read_to_string(path)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| Failure::Usage(format!("--token-file: cannot read {}: {error}", path.display())))
}

async fn find(
    snapshot: &Snapshot,
    token: &[u8],
    clock: Clock,
) -> Result<std::sync::Arc<Found<Caller>>, Failure> {
    let (identities, directory) = (&*snapshot.identities, &snapshot.directory);
    let unverified = Unverified::read(token).ok();
    let issuer = unverified.as_ref().and_then(|token| identities.issuer(token.issuer()?));
    if let Some((_, issuer)) = issuer
        && issuer.current(clock.wall()).is_none()
    {
        fetch(&Tcp, issuer, clock).await.map_err(|error| {
            Failure::Answer(format!(
                "Not judged: the key set of identity {} cannot be had: {error}.",
                issuer.name()
            ))
        })?;
    }
    let among = Among { identities, members: &directory.members, proven: &directory.proven_tokens, clock };
    among.find(token, None, false).map_err(|why| match why {
        Unproven::Not(_, fault) => Failure::Answer(format!("Not valid: {fault}.")),
        Unproven::Unavailable(_) | Unproven::Fetching(_) => {
            Failure::Answer("Not judged: no key set is known.".into())
        }
    })
}

fn tell(snapshot: &Snapshot, token: &[u8], found: &Found<Caller>) -> Result<(), Failure> {
    let identity = snapshot.identities.name(found.identity).unwrap_or_default();
    let Some(first) = found.are.first() else {
        return Err(Failure::Answer(format!(
            "Valid by identity {identity}, and nobody's: no team has a member that it belongs to. It says: {}",
            Unverified::read(token).map(|token| token.says().to_string()).unwrap_or_default()
        )));
    };
    for Caller { who, .. } in &*found.are {
        say!("Member {} of team {}, by identity {identity}.", who.key_id, who.team)?;
    }
    if found.are.iter().any(|caller| caller.who.team != first.who.team) {
        say!("As it is of several teams, each call must say which is meant: `x-gateway-team`.")?;
    }
    Ok(())
}
