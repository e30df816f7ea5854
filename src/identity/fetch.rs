//! Fetching key sets, in the background: by discovery (OpenID Connect Discovery 1.0 §4, RFC 8414 §3.3) or at a URL. No request
//! of a caller ever does it; some wait for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::Identities;
use super::issuer::Issuer;
use crate::clock::Clock;
use crate::config::identity::KeysFrom;
use crate::head::fields;
use crate::outbound::ask::{Bounds, ask};
use crate::outbound::connect::Connect;
use crate::outbound::origin::Origin;
use crate::token::KeySet;

/// What one answer may take. Key sets of the providers that are documented have a few kilobytes.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), bytes: 256 << 10 };
/// What all of it may take, reading a token's file included.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request waits for a key set that is being fetched.
pub(crate) const REQUEST_WAITS: Duration = Duration::from_secs(2);
/// How often is looked whether there are issuers that were not there before.
const LOOK: Duration = Duration::from_secs(1);
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Keeps the key sets of whatever issuers there are. Never returns; dropped, it lets go of what it is fetching.
pub async fn watch<C: Connect>(connect: C, clock: Clock, current: impl Fn() -> Arc<Identities>) {
    let mut fetching = JoinSet::new();
    loop {
        let identities = current();
        let now = clock.now();
        for issuer in identities.issuers().filter(|issuer| issuer.begins(now)) {
            let (connect, issuer) = (connect.clone(), Arc::clone(issuer));
            // What is wrong has been logged.
            fetching.spawn(async move { drop(fetch(&connect, &issuer, clock).await) });
        }
        let due = identities.issuers().filter_map(|issuer| issuer.due()).filter(|due| *due > now).min();
        let asked = Arc::clone(&identities.asked);
        // A configuration that is gone by then is not kept alive.
        drop(identities);
        tokio::select! {
            () = asked.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or(now + LOOK).min(now + LOOK)) => {}
        }
        while fetching.try_join_next().is_some() {}
    }
}

/// Fetches one key set, and tells the issuer.
///
/// # Errors
/// Why there is none.
pub(crate) async fn fetch<C: Connect>(connect: &C, issuer: &Issuer, clock: Clock) -> Result<(), String> {
    // Told of whatever becomes of it: nobody fetches it while this one does.
    let set = tokio::time::timeout(PATIENCE, key_set(connect, issuer)).await;
    let set = set.unwrap_or_else(|_| Err(format!("nothing within {PATIENCE:?}")));
    let fetched = set.as_ref().map(|_| ()).map_err(Clone::clone);
    issuer.fetched(set, clock.now(), clock.wall());
    fetched
}

/// What discovery says.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

async fn key_set<C: Connect>(connect: &C, issuer: &Issuer) -> Result<(KeySet, Duration), String> {
    let origin = issuer.origin.as_ref().ok_or("its keys stand in a file")?;
    let token = token(issuer).await?;
    let (headers, text) = match &issuer.tokens.keys {
        KeysFrom::Discovery(_) => {
            let (_, text) = get(connect, origin, WELL_KNOWN, token.as_ref()).await?;
            let document: Document = serde_json::from_slice(&text)
                .map_err(|error| format!("its discovery document cannot be read: {error}"))?;
            // Another's document would bring another's keys.
            if document.issuer != issuer.tokens.terms.issuer {
                return Err(format!("its discovery document is of {:?}", shortened(&document.issuer)));
            }
            let uri = document.jwks_uri.parse::<Uri>().ok();
            let at = uri.and_then(|uri| origin.beside(&uri));
            let (at, path) = at.ok_or_else(|| {
                format!("its `jwks_uri` cannot be used: {:?}", shortened(&document.jwks_uri))
            })?;
            // A token for the issuer is nobody else's to see.
            let token = token.filter(|_| at.is_at(origin));
            get(connect, &Arc::new(at), &path, token.as_ref()).await?
        }
        KeysFrom::Url(uri) => {
            let (at, path) = origin.beside(uri).ok_or("its URL cannot be used")?;
            get(connect, &Arc::new(at), &path, token.as_ref()).await?
        }
        KeysFrom::File(_) => return Err("its keys stand in a file".into()),
    };
    let keys = KeySet::read(&text).map_err(|why| format!("its key set cannot be used: {why}"))?;
    Ok((keys, max_age(&headers).unwrap_or_default()))
}

/// What is sent to an issuer that answers nobody else. Read each time: those of Kubernetes are replaced while they are used.
async fn token(issuer: &Issuer) -> Result<Option<HeaderValue>, String> {
    let Some(path) = issuer.tokens.token_file.clone() else { return Ok(None) };
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let text =
        read.map_err(|error| error.to_string())?.map_err(|error| format!("cannot read {shown}: {error}"))?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
        .map_err(|_| format!("{shown} does not hold a token"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

async fn get<C: Connect>(
    connect: &C,
    origin: &Arc<Origin>,
    path: &str,
    token: Option<&HeaderValue>,
) -> Result<(HeaderMap, Bytes), String> {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = origin.uri(path).ok_or("its path cannot be asked for")?;
    fields::add_own(request.headers_mut());
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        request.headers_mut().insert(header::AUTHORIZATION, token.clone());
    }
    let answer = ask(connect, origin, request, BOUNDS).await.map_err(|error| error.to_string())?;
    // Whoever redirects sends us where nobody has checked that the keys are the issuer's.
    if answer.status() != StatusCode::OK {
        return Err(format!("it answered {} to {:?}", answer.status(), shortened(path)));
    }
    let (head, body) = answer.into_parts();
    Ok((head.headers, body))
}

/// How long an answer is good (RFC 9111 §5.2.2.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let seconds = values.flat_map(|value| value.split(',')).find_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
    });
    seconds.map(Duration::from_secs)
}

/// What an issuer wrote, as much as is worth showing.
fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
