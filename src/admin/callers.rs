//! Keys and members: who may call, how, and what each has done lately.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::board::Board;
use crate::config::identity::Proof;
use crate::credits::Credits;
use crate::keyring::{self, Listed};
use crate::ledger::{CallerUse, Span};

/// Everybody who may call, or might once.
#[derive(Serialize)]
pub(super) struct Callers {
    at: Timestamp,
    /// Whether anybody may change keys over this listener.
    changeable: bool,
    /// The days that `spent` is of.
    since: Date,
    until: Date,
    keys: Vec<Key>,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Key {
    #[serde(flatten)]
    listed: Listed,
    #[serde(flatten)]
    has: Done,
}

#[derive(Serialize)]
struct Member {
    id: String,
    team: String,
    identity: String,
    /// What its identity must say of it.
    proof: String,
    #[serde(flatten)]
    has: Done,
}

/// What a caller has done.
#[derive(Serialize)]
struct Done {
    /// When it called last, as far as this process knows.
    last_used: Option<Timestamp>,
    /// The last day on which a call of it was booked.
    last_day: Option<Date>,
    /// On the days that are looked at.
    spent: Credits,
}

/// Puts it together.
pub(super) fn of(board: &Board, span: Span, uses: Vec<CallerUse>) -> Callers {
    let snapshot = board.live.current();
    let (config, directory) = (&snapshot.config, &snapshot.directory);
    let (_, registered) = board.live.keys();
    let uses: HashMap<_, _> = uses.into_iter().map(|of| (of.key_id.clone(), of)).collect();
    let has = |id: &str| {
        let booked = uses.get(id);
        Done {
            last_used: directory.last_used(id),
            last_day: booked.map(|of| of.last_day),
            spent: booked.map_or(Credits::ZERO, |of| of.spent),
        }
    };
    let keys = keyring::all(config, &registered, board.now());
    let keys = keys.into_iter().map(|listed| Key { has: has(&listed.id), listed });
    let members = config.teams.iter().flat_map(|team| team.members.iter().map(move |member| (team, member)));
    let members = members.map(|(team, member)| Member {
        id: member.id.clone(),
        team: team.name.clone(),
        identity: config.identities[member.identity].name.clone(),
        proof: in_words(&member.proof),
        has: has(&member.id),
    });
    Callers {
        at: board.now(),
        changeable: snapshot.keys_token.is_some() || !directory.operators.is_empty(),
        since: span.since,
        until: span.until,
        keys: keys.collect(),
        members: members.collect(),
    }
}

fn in_words(proof: &Proof) -> String {
    match proof {
        Proof::San(name) => name.as_str().to_owned(),
        Proof::Claims(claims) => {
            let claims = claims.iter().map(|(name, pattern)| format!("{name}={}", pattern.as_str()));
            claims.collect::<Vec<_>>().join(" ")
        }
    }
}
