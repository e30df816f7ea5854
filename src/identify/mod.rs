//! Who calls? By a key, a token or a certificate, and one answer for every kind of bad credential. Whatever the way in, behind
//! this stage there is one [`Caller`].

mod credential;
mod certificate;
pub(crate) mod token;
mod may;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tower::{Layer, Service};

use self::credential::{Shown, shown};
pub(crate) use self::may::{may_ask, may_name};
use self::token::{Among, Unproven};
use crate::arrival::{Arrival, Refused};
use crate::books::keeper::Keeper;
use crate::head;
use crate::head::fields::X_GATEWAY_TEAM;
use crate::head::received::{Field, Received};
use crate::identity::Came;
use crate::identity::fetch::REQUEST_WAITS;
use crate::live::Snapshot;
use crate::live::directory::Caller;
use crate::live::members::Found;
use crate::peer::Peer;
use crate::record::Exchange;
use crate::refuse::{NotAllowed, Refusal};
use crate::routing::Routed;
use crate::stage::Fork;

/// A request by a caller we know.
pub struct Identified<B> {
    /// What came before.
    pub routed: Routed<B>,
    /// Who asks.
    pub caller: Caller,
}

/// The layer of [`Identify`].
#[derive(Clone, Debug)]
pub struct IdentifyLayer {
    /// Who knows whose things are.
    pub(crate) desk: Arc<Keeper>,
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        Identify { desk: Arc::clone(&self.desk), inner }
    }
}

/// The stage that turns a credential into a caller. It waits only where a token names a key that is being fetched.
#[derive(Clone, Debug)]
pub struct Identify<S> {
    desk: Arc<Keeper>,
    inner: S,
}

/// What a credential comes to.
enum Verdict {
    /// This.
    Now(Result<Caller, Refusal>),
    /// It can be told when a key set has been fetched.
    Later(watch::Receiver<()>),
}

impl<B, S> Service<Routed<B>> for Identify<S>
where
    B: Send + 'static,
    S: Service<Identified<B>, Error = Refused> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = Refused;
    type Future = Fork<S::Future, Pin<Box<dyn Future<Output = Result<S::Response, Refused>> + Send>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut routed: Routed<B>) -> Self::Future {
        match find(&mut routed.arrival, true) {
            Verdict::Now(Ok(caller)) if may_be_elsewhere(&self.desk, &caller, &routed) => {
                let next = self.inner.clone();
                let (mut inner, desk) = (std::mem::replace(&mut self.inner, next), Arc::clone(&self.desk));
                let future = Box::pin(async move {
                    desk.catch_up().await;
                    inner.call(allowed(&desk, routed, Ok(caller))?).await
                });
                Fork::Here { future }
            }
            Verdict::Now(found) => match allowed(&self.desk, routed, found) {
                Ok(identified) => Fork::Onward { future: self.inner.call(identified) },
                Err(refused) => Fork::Here { future: Box::pin(std::future::ready(Err(refused))) },
            },
            Verdict::Later(mut fetched) => {
                // The service that is ready goes with the call; its clone takes its place.
                let next = self.inner.clone();
                let (mut inner, desk) = (std::mem::replace(&mut self.inner, next), Arc::clone(&self.desk));
                let future = Box::pin(async move {
                    let end = routed.arrival.exchange.clock().now() + REQUEST_WAITS;
                    let _ = tokio::time::timeout_at(end, fetched.changed()).await;
                    let mut verdict = find(&mut routed.arrival, true);
                    // The fetch that was waited for may have begun before there was anything new: then there is one more.
                    if let Verdict::Later(again) = &mut verdict {
                        let _ = tokio::time::timeout_at(end, again.changed()).await;
                        verdict = find(&mut routed.arrival, false);
                    }
                    let found = match verdict {
                        Verdict::Now(found) => found,
                        Verdict::Later(_) => Err(UNAVAILABLE),
                    };
                    if let Ok(caller) = &found
                        && may_be_elsewhere(&desk, caller, &routed)
                    {
                        desk.catch_up().await;
                    }
                    inner.call(allowed(&desk, routed, found)?).await
                });
                Fork::Here { future }
            }
        }
    }
}

/// How long a caller should wait for the keys of an issuer: so often they are looked for where there are none.
const UNAVAILABLE: Refusal = Refusal::IdentityUnavailable { retry_after: Duration::from_secs(5) };

/// Whether what a caller asks about is nobody's as far as is known here, and another gateway may have made it a moment ago.
fn may_be_elsewhere<B>(desk: &Keeper, caller: &Caller, routed: &Routed<B>) -> bool {
    desk.shared().is_some() && may_ask(caller, &routed.target, &desk.owners).is_err()
}

/// A caller that was found may go on, if its team may ask for that.
fn allowed<B>(
    desk: &Arc<Keeper>,
    mut routed: Routed<B>,
    found: Result<Caller, Refusal>,
) -> Result<Identified<B>, Refused> {
    let exchange = &mut routed.arrival.exchange;
    let allowed = found.and_then(|caller| {
        exchange.identified(Arc::clone(&caller.who));
        caller.who.state.calls(exchange.came());
        let route = routed.target.route;
        if route.row().costs() {
            exchange.spends(desk, caller.budgets_of(route));
        }
        // To whoever may not use a route, what it asks for is nothing to know.
        let may = may_ask(&caller, &routed.target, &desk.owners)
            .and_then(|()| head::key_of_retries(routed.target.route.row(), &routed.arrival.head));
        match may {
            Ok(()) => Ok(caller),
            Err(refusal) => {
                // Who is refused before its rate is asked is told how that stands all the same.
                exchange.rate(caller.team.standing(desk).0);
                Err(refusal)
            }
        }
    });
    match allowed {
        Ok(caller) => Ok(Identified { routed, caller }),
        Err(refusal) => Err(Refused::new(routed.arrival.exchange, refusal)),
    }
}

/// Who this is. An address from which too many credentials came that are not valid is not looked at.
fn find<B>(arrival: &mut Arrival<B>, waits: bool) -> Verdict {
    let Arrival { snapshot, peer, exchange, head, .. } = arrival;
    let shown = match shown(head) {
        Ok(shown) => shown,
        Err(refusal) => return Verdict::Now(Err(refusal)),
    };
    // Who comes by a proxy that does not say for whom is anybody.
    let (server, clock) = (&snapshot.config.server, exchange.clock());
    let limit = server.bad_keys_per_minute.filter(|_| !server.trusted_proxies.have(peer.caller));
    if let Some(per_minute) = limit
        && shown != Shown::Nothing
        && let Some(retry_after) = snapshot.bad_keys.wait(peer.caller, per_minute, clock.now())
    {
        return Verdict::Now(Err(Refusal::TooManyBadKeys { per_minute, retry_after }));
    }
    let verdict = judge(exchange, (snapshot, peer), head, shown, waits);
    if let Some(per_minute) = limit
        && matches!(verdict, Verdict::Now(Err(Refusal::InvalidApiKey)))
    {
        snapshot.bad_keys.count(peer.caller, per_minute, clock.now());
    }
    verdict
}

/// What a request's credential and its connection's certificate come to, together.
fn judge(
    exchange: &mut Exchange,
    (snapshot, peer): (&Snapshot, &Peer),
    head: &Received,
    shown: Shown<'_>,
    waits: bool,
) -> Verdict {
    let (identities, directory, clock) = (&snapshot.identities, &snapshot.directory, exchange.clock());
    let refuse = |refusal| Verdict::Now(Err(refusal));
    let mut vouched = Vec::new();
    let certificate = peer
        .certificate
        .as_ref()
        .map(|certificate| certificate::find(snapshot, certificate, shown == Shown::Nothing, clock.wall()));
    if let Some(None) = certificate {
        // It was revoked, or its authority is gone: whoever shows it is not believed, whatever else it shows.
        identities.counts.came(None, Came::Certificate);
        return refuse(Refusal::InvalidApiKey);
    }
    let certificate = certificate.flatten();
    vouched.extend(certificate.as_ref().map(|found| found.identity));
    let token;
    let bearer = match shown {
        Shown::Nothing => None,
        Shown::Key(key) => match directory.find(key, clock) {
            Ok(caller) => Some(std::slice::from_ref(caller)),
            Err(known) => {
                // The caller is told no more than any stranger; the log names the key that has expired.
                if let Some(expired) = known {
                    exchange.identified(Arc::clone(&expired.who));
                }
                return refuse(Refusal::InvalidApiKey);
            }
        },
        Shown::Token(text) => {
            let (members, proven) = (&directory.members, &directory.proven_tokens);
            let digest = peer.certificate.as_ref().map(|certificate| &certificate.digest);
            match (Among { identities, members, proven, clock }).find(text, digest, waits) {
                Ok(found) => {
                    vouched.push(found.identity);
                    token = found;
                    Some(&*token.are)
                }
                Err(Unproven::Fetching(fetched)) => return Verdict::Later(fetched),
                Err(Unproven::Unavailable(issuer)) => {
                    identities.counts.came(Some(issuer.name()), Came::Unavailable);
                    return refuse(UNAVAILABLE);
                }
                Err(Unproven::Not(issuer, fault)) => {
                    tracing::debug!(request_id = %exchange.id(), %fault, "a token is not valid");
                    identities.counts.came(issuer.as_ref().map(|of| of.name()), Came::Faulty(fault));
                    return refuse(Refusal::InvalidApiKey);
                }
            }
        }
    };
    let mut teams = head.values(Field::Team, X_GATEWAY_TEAM);
    let wanted = teams.next().map(http::HeaderValue::as_bytes);
    if teams.next().is_some() {
        return refuse(Refusal::InvalidRequest { reason: "it names its team more than once" });
    }
    let found = meant(bearer, certificate.as_deref(), identities.require_certificates(), wanted);
    let came = if found.is_ok() { Came::Accepted } else { Came::NotAllowed };
    for identity in vouched {
        identities.counts.came(identities.name(identity), came);
    }
    Verdict::Now(found)
}

/// The one caller that is meant: of those that a key or token may be, and those that a certificate may be. Where both were
/// shown, they must lead to the same team; a certificate of nobody counts for none.
fn meant(
    bearer: Option<&[Caller]>,
    certificate: Option<&Found<Caller>>,
    is_certificate_required: bool,
    wanted: Option<&[u8]>,
) -> Result<Caller, Refusal> {
    let not = |why| Err(Refusal::IdentityNotAllowed(why));
    let shown = certificate.is_some();
    let certificate = certificate.map(|found| &*found.are).filter(|are| !are.is_empty());
    if is_certificate_required && certificate.is_none() && bearer.is_some() {
        return not(NotAllowed::WithoutCertificate);
    }
    let may_be: Vec<&Caller> = match (bearer, certificate) {
        (None, None) if shown => return not(NotAllowed::Nobody),
        (None, None) => return Err(Refusal::MissingApiKey),
        (Some(are), None) | (None, Some(are)) => are.iter().collect(),
        (Some(are), Some(also)) => {
            let both: Vec<_> =
                are.iter().filter(|one| also.iter().any(|other| is_same_team(one, other))).collect();
            if both.is_empty() && !are.is_empty() {
                return not(NotAllowed::AnotherTeam);
            }
            both
        }
    };
    let Some(first) = may_be.first() else { return not(NotAllowed::Nobody) };
    if let Some(wanted) = wanted {
        let of_it = may_be.iter().find(|caller| caller.team.name.as_bytes() == wanted);
        return of_it.map_or_else(|| not(NotAllowed::NotOfThatTeam), |caller| Ok((*caller).clone()));
    }
    if may_be.iter().all(|caller| is_same_team(caller, first)) {
        return Ok((*first).clone());
    }
    let mut teams: Vec<_> = may_be.iter().map(|caller| caller.team.name.to_string()).collect();
    teams.dedup();
    not(NotAllowed::OfSeveral(teams))
}

fn is_same_team(one: &Caller, other: &Caller) -> bool {
    Arc::ptr_eq(&one.team, &other.team)
}
