//! Changing caller keys: `/admin/v1/keys…`. Whoever asks shows a token made for that alone, or one of an operator, in
//! `Authorization`, which no page of another site can make a browser send.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::access::presented;
use super::answers::{Denied, document};
use super::board::Board;
use crate::config::values::DurationText;
use crate::identify::token::{Among, Unproven};
use crate::identity::fetch::REQUEST_WAITS;
use crate::keyring::{self, KeyError, Keyring, Wanted, told};
use crate::token::is_token;

/// Bytes of a request's body, and how long it may take.
const MOST: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// What is below the path.
pub(super) enum Asked<'p> {
    /// All keys.
    All,
    /// One.
    Key(&'p str),
    /// Its replacement.
    Rotate(&'p str),
}

impl<'p> Asked<'p> {
    /// What a path asks for, if it is for here.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        let rest = path.strip_prefix("/admin/v1/keys")?;
        if rest.is_empty() {
            return Some(Self::All);
        }
        let mut parts = rest.strip_prefix('/')?.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(id), None, None) if !id.is_empty() => Some(Self::Key(id)),
            (Some(id), Some("rotate"), None) if !id.is_empty() => Some(Self::Rotate(id)),
            _ => None,
        }
    }

    /// The methods that it takes.
    pub(super) const fn allow(&self) -> &'static str {
        match self {
            Self::All => "GET, HEAD, POST",
            Self::Key(_) => "PUT, DELETE",
            Self::Rotate(_) => "POST",
        }
    }
}

/// What is wanted of a key.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Change {
    team: Option<String>,
    id: Option<String>,
    sha256: Option<String>,
    expires: Option<Timestamp>,
    overlap: Option<DurationText>,
    why: Option<String>,
}

/// Who asks, in words for the events.
///
/// # Errors
/// That it may not.
pub(super) async fn operator(board: &Board, head: &Parts) -> Result<String, Denied> {
    // Browsers say where a request comes from; a page of another site has no business here, whatever it has got hold of.
    let site = head.headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Err(Denied::CrossSite);
    }
    let snapshot = board.live.current();
    let directory = &snapshot.directory;
    if snapshot.keys_token.is_none() && directory.operators.is_empty() {
        return Err(Denied::KeysNotEnabled);
    }
    let shown = presented(head).ok_or(Denied::NoOperator)?;
    if snapshot.keys_token.as_ref().is_some_and(|token| token.is(shown)) {
        return Ok("keys token".to_owned());
    }
    if !is_token(shown) {
        return Err(Denied::NotAnOperator);
    }
    let (identities, members, proven) =
        (&*snapshot.identities, &directory.operators, &directory.proven_operators);
    let among = Among { identities, members, proven, clock: board.recorder.clock() };
    let found = match among.find(shown, None, true) {
        Err(Unproven::Fetching(mut fetched)) => {
            let _ = tokio::time::timeout(REQUEST_WAITS, fetched.changed()).await;
            among.find(shown, None, false)
        }
        found => found,
    };
    match found {
        Ok(found) => found.are.first().map(|id| format!("operator {id}")).ok_or(Denied::OfNobody),
        Err(Unproven::Not(..)) => Err(Denied::NotAnOperator),
        Err(Unproven::Unavailable(_) | Unproven::Fetching(_)) => Err(Denied::Key {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "identity_unavailable",
            param: None,
            message: "The keys that verify your token cannot be had from its issuer at present.".into(),
        }),
    }
}

/// Does to keys what is asked for, and puts it in force here at once.
///
/// # Errors
/// Why not.
pub(super) async fn change<B>(
    board: &Board,
    (head, asked): (&Parts, Asked<'_>),
    body: B,
    by: String,
) -> Result<Response<Full<Bytes>>, Denied>
where
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let wanted: Change = read(head, body).await?;
    let method = head.method.clone();
    let (id, rotates) = match asked {
        Asked::All => (None, false),
        Asked::Key(id) => (Some(id.to_owned()), false),
        Asked::Rotate(id) => (Some(id.to_owned()), true),
    };
    let clock = board.recorder.clock();
    let done = keyring::change(&board.live, clock, by, move |keyring| {
        act(keyring, &method, id.as_deref(), rotates, wanted)
    });
    let (status, content) = done.await.map_err(|error| denied(&error))?;
    let mut response = document(&content);
    *response.status_mut() = status;
    Ok(response)
}

fn act(
    keyring: &mut Keyring<'_>,
    method: &Method,
    id: Option<&str>,
    rotates: bool,
    wanted: Change,
) -> Result<(StatusCode, serde_json::Value), KeyError> {
    let Change { team, id: new, sha256, expires, overlap, why } = wanted;
    let id = id.unwrap_or_default();
    if *method == Method::DELETE {
        let (key, _) = keyring.revoke(id, why.as_deref().unwrap_or_default())?;
        return Ok((StatusCode::OK, told(&key, None)));
    }
    let needed =
        |name, value: Option<String>| value.ok_or_else(|| KeyError::Wrong(name, "is required".into()));
    let made = match (*method == Method::PUT, new, sha256) {
        (true, _, sha256) => Some((id.to_owned(), needed("sha256", sha256)?)),
        (false, None, None) => None,
        (false, new, sha256) => Some((needed("id", new)?, needed("sha256", sha256)?)),
    };
    let wanted = Wanted { made, expires };
    if rotates {
        let (made, ends) = keyring.replace(id, &wanted, overlap.map(|overlap| overlap.0))?;
        return Ok((made.status(), made.told_in_place_of(id, ends)));
    }
    let made = keyring.add(&needed("team", team)?, &wanted)?;
    Ok((made.status(), made.told()))
}

/// The JSON of a body; all of its members may be left out.
async fn read<T, B>(head: &Parts, body: B) -> Result<T, Denied>
where
    T: DeserializeOwned + Default,
    B: Body<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let failed =
        |status, code, message: &str| Denied::Key { status, code, param: None, message: message.to_owned() };
    let wrong = |message: String| failed(StatusCode::BAD_REQUEST, "invalid_json", &message);
    let whole = tokio::time::timeout(PATIENCE, Limited::new(body, MOST).collect()).await;
    let whole = whole.map_err(|_| {
        failed(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body did not arrive in time.")
    })?;
    let text = whole
        .map_err(|_| {
            let message = "The body is larger than 16 KiB, or broke off.";
            failed(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        })?
        .to_bytes();
    if text.is_empty() {
        return Ok(T::default());
    }
    let media =
        head.headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Denied::Key {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code: "unsupported_media_type",
            param: None,
            message: "The body is JSON, and says so: `Content-Type: application/json`.".into(),
        });
    }
    // What is wrong is told by its place; nothing of the body is quoted, for it may hold a key.
    serde_json::from_slice(&text).map_err(|error| {
        let fields = "`team`, `id`, `sha256`, `expires` (RFC 3339), `overlap` (like \"24h\") and `why`";
        wrong(format!(
            "The body cannot be read, at column {} of line {}; it may have {fields}.",
            error.column(),
            error.line()
        ))
    })
}

fn denied(error: &KeyError) -> Denied {
    let message = {
        let text = error.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{}.", letters.as_str())
    };
    let (status, code, param) = match error {
        KeyError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_key", None),
        KeyError::NoTeam(_) => (StatusCode::BAD_REQUEST, "invalid_field", Some("team")),
        KeyError::Wrong(param, reason) if reason == "is required" => {
            (StatusCode::BAD_REQUEST, "missing_field", Some(*param))
        }
        KeyError::Wrong(param, _) => (StatusCode::BAD_REQUEST, "invalid_field", Some(*param)),
        KeyError::Taken(_)
        | KeyError::Gone(_)
        | KeyError::TooMany(_)
        | KeyError::HasBudget(_)
        | KeyError::Full => (StatusCode::CONFLICT, "key_conflict", None),
        KeyError::Ledger(error) => {
            tracing::warn!(%error, "cannot change a caller key");
            return Denied::Key {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: "ledger_unavailable",
                param: None,
                message: "The ledger cannot be written at the moment, so nothing was changed; the gateway's log says why.".into(),
            };
        }
        KeyError::System(_) => (StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", None),
    };
    Denied::Key { status, code, param, message }
}
