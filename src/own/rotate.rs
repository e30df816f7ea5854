//! `POST /gateway/v1/keys/rotate`: a team replaces the key that it calls with, where its operators allow that.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::clock::Clock;
use crate::config::values::DurationText;
use crate::keyring::{self, KeyError, Wanted};
use crate::live::Live;
use crate::live::directory::Caller;
use crate::refuse::Refusal;

/// What may stand in the body; all of it may be left out.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    id: Option<String>,
    sha256: Option<String>,
    overlap: Option<DurationText>,
}

/// Registers a successor of the caller's own key, and puts it in force here at once.
pub(super) async fn rotate(
    live: &Arc<Live>,
    clock: Clock,
    caller: &Caller,
    body: &[u8],
) -> Result<(StatusCode, Value), Refusal> {
    let team = &caller.team;
    if !team.self_service_keys {
        return Err(Refusal::KeysNotSelfService { team: team.name.to_string() });
    }
    let id = caller.who.key_id.to_string();
    if !caller.by_key {
        let reason = "you have shown a token or a certificate, which its issuer replaces";
        return Err(Refusal::KeyNotReplaced { reason: reason.into() });
    }
    let Asked { id: new, sha256, overlap } = if body.is_empty() {
        Asked::default()
    } else {
        // Nothing of it is quoted: it may hold a key.
        serde_json::from_slice(body).map_err(|error| {
            let place = format!("column {} of line {}", error.column(), error.line());
            Refusal::InvalidJson { detail: format!("at {place}; it may have `id`, `sha256` and `overlap`") }
        })?
    };
    let made = match (new, sha256) {
        (None, None) => None,
        (Some(id), Some(sha256)) => Some((id, sha256)),
        (None, _) => return Err(Refusal::MissingField { param: "id".into() }),
        (_, None) => return Err(Refusal::MissingField { param: "sha256".into() }),
    };
    let team = Arc::clone(&team.name);
    let done = keyring::change(live, clock, format!("key {id}"), move |keyring| {
        if keyring.find(&id)?.team != *team {
            // Its id is a key's of another team, by some mistake of the configuration.
            return Err(KeyError::Taken(id));
        }
        let wanted = Wanted { made, expires: None };
        let (made, ends) = keyring.replace(&id, &wanted, overlap.map(|overlap| overlap.0))?;
        Ok((made.status(), made.told_in_place_of(&id, ends)))
    });
    done.await.map_err(|error| match error {
        KeyError::Wrong(param, reason) => Refusal::InvalidField { param: param.into(), reason },
        KeyError::Ledger(_) | KeyError::System(_) => {
            tracing::warn!(%error, "cannot replace a caller key");
            Refusal::LedgerUnavailable
        }
        error => Refusal::KeyNotReplaced { reason: error.to_string() },
    })
}
