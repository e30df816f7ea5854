//! Whose key is this? One answer for every kind of bad key.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{self, HeaderValue};

use crate::arrival::{Arrival, Refused};
use crate::books::local::LocalDesk;
use crate::books::owners::Owners;
use crate::config::Analyses;
use crate::head;
use crate::head::fields::X_API_KEY;
use crate::live::directory::Caller;
use crate::refuse::Refusal;
use crate::route::{Ids, Target, Thing};
use crate::routing::Routed;
use crate::stage::Check;

/// A request by a caller we know.
pub struct Identified<B> {
    /// What came before.
    pub routed: Routed<B>,
    /// Who asks.
    pub caller: Caller,
}

/// The stage that turns a caller key into a caller.
#[derive(Clone, Debug)]
pub struct Identify {
    /// Who knows whose things are.
    pub(crate) desk: Arc<LocalDesk>,
}

impl<B> Check<Routed<B>> for Identify {
    type Out = Identified<B>;

    fn check(&self, mut routed: Routed<B>) -> Result<Identified<B>, Refused> {
        let arrival = &mut routed.arrival;
        let found = find(arrival);
        let allowed = found.and_then(|caller| {
            arrival.exchange.identified(Arc::clone(&caller.who));
            // To whoever may not use a route, what it asks for is nothing to know.
            let may = may_ask(&caller, &routed.target, &self.desk.owners)
                .and_then(|()| head::key_of_retries(routed.target.route.row(), &arrival.head));
            match may {
                Ok(()) => Ok(caller),
                Err(refusal) => {
                    // Who is refused before its rate is asked is told how that stands all the same.
                    arrival.exchange.rate(caller.team.rate.standing());
                    Err(refusal)
                }
            }
        });
        match allowed {
            Ok(caller) => Ok(Identified { routed, caller }),
            Err(refusal) => Err(Refused::new(routed.arrival.exchange, refusal)),
        }
    }
}

/// Who has this key. An address from which too many came that are not valid is not looked at.
fn find<B>(arrival: &mut Arrival<B>) -> Result<Caller, Refusal> {
    let Arrival { snapshot, peer, exchange, head, .. } = arrival;
    let key = presented(&head.headers)?;
    let clock = exchange.clock();
    // Who comes by a proxy that does not say for whom is anybody.
    let server = &snapshot.config.server;
    let limit = server.bad_keys_per_minute.filter(|_| !server.trusted_proxies.have(peer.caller));
    if let Some(per_minute) = limit
        && let Some(retry_after) = snapshot.bad_keys.wait(peer.caller, per_minute, clock.now())
    {
        return Err(Refusal::TooManyBadKeys { per_minute, retry_after });
    }
    let known = match snapshot.directory.find(key, clock.wall()) {
        Ok(caller) => return Ok(caller.clone()),
        Err(known) => known,
    };
    if let Some(per_minute) = limit {
        snapshot.bad_keys.count(peer.caller, per_minute, clock.now());
    }
    // The caller is told no more than any stranger; the log names the key that has expired.
    if let Some(known) = known {
        exchange.identified(Arc::clone(&known.who));
    }
    Err(Refusal::InvalidApiKey)
}

/// The one key that was sent, from `Authorization: Bearer` or `x-api-key`. Two keys are refused, the
/// same or not: which of them another hop would believe is nobody's guess to make.
fn presented(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (first, None) => Ok(first.map(HeaderValue::as_bytes)),
            _ => Err(Refusal::InvalidRequest { reason: "it carries more than one API key" }),
        }
    };
    match (one(header::AUTHORIZATION)?, one(X_API_KEY)?) {
        (None, None) => Err(Refusal::MissingApiKey),
        (Some(_), Some(_)) => Err(Refusal::InvalidRequest { reason: "it carries more than one API key" }),
        (None, Some(key)) => Ok(key),
        (Some(authorization), None) => {
            let (scheme, key) = authorization
                .iter()
                .position(|&b| b == b' ')
                .map_or((authorization, &[][..]), |at| authorization.split_at(at));
            if !scheme.eq_ignore_ascii_case(b"bearer") {
                return Err(Refusal::InvalidApiKey);
            }
            let key = key.trim_ascii();
            if key.contains(&b',') {
                return Err(Refusal::InvalidRequest { reason: "it carries more than one API key" });
            }
            Ok(key)
        }
    }
}

/// Whether the caller's team may use this route, and ask about this analysis.
///
/// # Errors
/// That it may not.
pub(crate) fn may_ask(caller: &Caller, target: &Target, owners: &Owners) -> Result<(), Refusal> {
    let team = || caller.team.name.to_string();
    if !caller.team.routes.allow(target.route) {
        return Err(Refusal::RouteNotAllowed { team: team(), route: target.route.label() });
    }
    match (target.route.row().ids, &target.id) {
        (Ids::One(thing), Some(id)) => may_name(caller, owners, thing, id),
        (Ids::All(things), _) if !matches!(caller.team.analyses, Analyses::All) => {
            Err(Refusal::AnalysisNotAllowed { team: team(), what: format!("list all {}", things.plural()) })
        }
        _ => Ok(()),
    }
}

/// Whether the caller's team may ask about this: it may see it, or has made it.
///
/// # Errors
/// That it may not.
pub(crate) fn may_name(caller: &Caller, owners: &Owners, thing: Thing, id: &str) -> Result<(), Refusal> {
    let analyses = &caller.team.analyses;
    let may = match thing {
        Thing::Analysis => analyses.allow(id),
        _ => matches!(analyses, Analyses::All),
    };
    if may || owners.belongs(thing, id, &caller.team.name) {
        return Ok(());
    }
    // What stands in a body may be anything.
    let is_plain = id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
    let what = format!("ask about {} {}", thing.name(), if is_plain { id } else { "of that id" });
    Err(Refusal::AnalysisNotAllowed { team: caller.team.name.to_string(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(fields: &[(&'static str, &'static str)]) -> Result<Vec<u8>, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        presented(&headers).map(<[u8]>::to_vec)
    }

    #[test]
    fn a_key_comes_as_bearer_or_x_api_key() {
        assert_eq!(key_of(&[("authorization", "Bearer k")]), Ok(b"k".to_vec()));
        assert_eq!(key_of(&[("authorization", "bearer  k ")]), Ok(b"k".to_vec()));
        assert_eq!(key_of(&[("x-api-key", "k")]), Ok(b"k".to_vec()));
        assert_eq!(key_of(&[]), Err(Refusal::MissingApiKey));
        assert_eq!(key_of(&[("authorization", "Basic k")]), Err(Refusal::InvalidApiKey));
    }

    #[test]
    fn two_keys_are_refused_however_they_are_written() {
        for fields in [
            &[("authorization", "Bearer a"), ("authorization", "Bearer a")][..],
            &[("authorization", "Bearer a"), ("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-api-key", "b")],
            &[("authorization", "Bearer a, Bearer b")],
        ] {
            assert!(matches!(key_of(fields), Err(Refusal::InvalidRequest { .. })), "{fields:?}");
        }
    }
}
