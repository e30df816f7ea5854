//! Refusals in words, with the numbers in them.

use std::time::Duration;

use http::Method;

use super::refusal::{NotAllowed, Refusal};
use crate::clock::ceil_seconds;

impl Refusal {
    /// One sentence for the person who reads it, with the numbers in it.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::InvalidJson { detail } => format!("The request body is not valid JSON: {detail}."),
            Self::MissingField { param } => format!("The field `{param}` is required."),
            Self::MissingEither { param, other } => format!("The field `{param}` or `{other}` is required."),
            Self::InvalidField { param, reason } => format!("The field `{param}` {reason}."),
            Self::InvalidRequest { reason } => format!("The request was not forwarded: {reason}."),
            Self::UnsupportedCoding => "The only transfer coding accepted is `chunked`.".into(),
            Self::MissingApiKey => "No API key was sent. Send your team's gateway key as `Authorization: Bearer mvgw_…`, or your workload's token as a bearer.".into(),
            Self::InvalidApiKey => "The API key, token or certificate is not valid here. Use your team's gateway key (`mvgw_…`) or a token that is meant for this gateway; it may have expired or been replaced.".into(),
            Self::AnalysisNotAllowed { team, what } => format!("Team {team} may not {what}. Ask the gateway's operators to extend `analyses`; what a team makes through the gateway is its own."),
            Self::KeysNotSelfService { team } => format!("Team {team} may not replace its keys itself. Ask the gateway's operators to set `self_service_keys`."),
            Self::KeyNotReplaced { reason } => format!("Your key was not replaced: {reason}."),
            Self::IdentityNotAllowed(why) => why.in_words(),
            Self::IdentityUnavailable { retry_after } => format!("The keys that verify your token cannot be had from its issuer at present. Try again in {}.", seconds(*retry_after)),
            Self::UnknownRoute { hint } => format!("There is nothing at this path. {hint}"),
            Self::MethodNotAllowed { allow } => format!("This path accepts {} only.", listed(allow)),
            Self::RetryKeyRequired => "This call is too dear to be made twice by mistake: send an `Idempotency-Key`, a new one for each call and the same for its retries (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).".into(),
            Self::RetryKeyReused => "This `Idempotency-Key` was sent with another request. A key names one call and its retries, which are the same to the byte: use a new one for a new call.".into(),
            Self::RetryInProgress => "The call that this `Idempotency-Key` names is under way, and its answer is too large to be given to a second caller. It is not made again.".into(),
            Self::RetryAnswerGone { credits, response_id } => {
                let cost = credits.as_ref().map(|credits| format!(" for {credits} credits")).unwrap_or_default();
                let response = response_id.as_ref().map(|id| format!(", as response {id}")).unwrap_or_default();
                format!("The call that this `Idempotency-Key` names was answered{cost}{response}, and the answer is not kept. It is not made again: a new key is a new call, and a new payment.")
            }
            Self::RetryOutcomeUnknown => "The call that this `Idempotency-Key` names may have been answered and charged; its answer was lost. It is not made again: a new key is a new call, and may be a second payment.".into(),
            Self::Misdirected => "The request target names another host than the Host field.".into(),
            Self::LoopDetected => "The request has already passed through this gateway: its upstream base URL points back at itself.".into(),
            Self::RequestTimeout { after } => format!("The request body did not arrive within {}.", seconds(*after)),
            Self::HeadTimeout { after } => format!("The request head did not arrive within {}.", seconds(*after)),
            Self::BodyTooLarge { limit } => format!("The request body is larger than {}, your team's limit.", bytesize::ByteSize(*limit as u64).display().iec()),
            Self::ExpectationFailed { reason } | Self::UnsupportedMediaType { reason } => format!("{reason}."),
            Self::RateLimited { team, per_minute, burst, of, retry_after } => format!("Team {team} has used its {burst} {of} at once; it may make {per_minute} a minute. Try again in {}.", seconds(*retry_after)),
            Self::TooManyBadKeys { per_minute, retry_after } => format!("More than {per_minute} requests a minute with a key that is not valid came from your address, so no key from there is looked at. Try again in {}, with a valid one.", seconds(*retry_after)),
            Self::ConcurrencyLimited { team, limit, of } => format!("Team {team} has {limit} {of} in flight, as many as it may. Try again when one has ended."),
            Self::RouteFull { team, route, limit, jobs } => {
                let (whose, why) = match team {
                    Some(team) => (format!("Team {team}"), "it may have"),
                    None => ("The organisation".to_owned(), "Mavera takes at once"),
                };
                let what = if *jobs { "jobs" } else { "calls" };
                format!("{whose} has {limit} {what} of {route} under way, as many as {why}. Try again when one has ended.")
            }
            Self::ReserveAboveMax { reserve, most } => format!("This call may cost {reserve} credits, which is what is held for it, and `x-credits-max` is {most}. It was not made."),
            Self::RouteNotAllowed { team, route } => format!("Team {team} may not use {route}. Ask the gateway's operators to extend `routes`."),
            Self::UpstreamWindowFull { per_minute, position, waited, can_wait, retry_after } => {
                let turn = match (waited.is_zero(), can_wait.is_zero()) {
                    (true, true) => String::new(),
                    (true, false) => format!(" This call would be number {position} in turn, later than the {} it can wait.", seconds(*can_wait)),
                    (false, _) => format!(" This call has waited its turn for {} and is number {position} yet.", seconds(*waited)),
                };
                format!("The organisation has used its {per_minute} upstream requests per minute, shared by all teams.{turn} Try again in {}.", seconds(*retry_after))
            }
            Self::QueueFull { team, waiting, retry_after } => format!("Team {team} has {waiting} calls that wait for a place among the organisation's upstream requests per minute, as many as may. Try again in {}.", seconds(*retry_after)),
            Self::UpstreamWindowClosed { retry_after } => format!("Mavera has asked the organisation to wait. Try again in {}.", seconds(*retry_after)),
            Self::CreditsHeld { whose, left, held, reserve } => format!("{whose} has {left} credits free, and {held} are held for calls in flight; a call needs {reserve} to be free. Try again when some have ended."),
            Self::BudgetExceeded { whose, period, budget, used, held, reserve, resets } => format!(
                "{whose} has used {used} of {budget} credits of this {}, and {held} are held for calls in flight; \
                 a call needs {reserve} to be free. The budget resets at {resets}.",
                period.noun()
            ),
            Self::UpstreamCreditsExhausted { resets } => format!(
                "The organisation's pool of credits at Mavera is empty, so nothing was sent and nothing was charged.{} \
                 The gateway's operators see it too.",
                resets.as_ref().map(|at| format!(" It is filled again at {at}.")).unwrap_or_default()
            ),
            Self::UpstreamWorkspaceLimit => "A usage limit that the organisation has set for a workspace at Mavera is reached, so nothing was sent and nothing was charged. Ask the gateway's operators to raise it.".into(),
            Self::UpstreamSubscriptionLapsed => "The organisation's subscription at Mavera has lapsed, so nothing was sent and nothing was charged. The gateway's operators see it too.".into(),
            Self::UpstreamDown { retry_after } => format!("The Mavera API cannot be reached at present. Nothing was sent and nothing was charged. Try again in {}.", seconds(*retry_after)),
            Self::LedgerUnavailable => {
                "The gateway cannot write its ledger, so nothing was sent and nothing was charged. Try again.".into()
            }
            Self::UpstreamUnreachable => "The Mavera API could not be reached. Nothing was sent and nothing was charged.".into(),
            Self::UpstreamProtocol => "The Mavera API did not give a usable answer. The call may have been charged.".into(),
            Self::UpstreamCredentials => "The Mavera API refused the gateway's own key. Your key is fine; tell the gateway's operators, whose log and metrics say so too.".into(),
            Self::UpstreamTimeout { after } => format!("The Mavera API did not answer within {}. The call may have been charged.", seconds(*after)),
            Self::Draining => "This gateway is shutting down. Try again.".into(),
        }
    }
}

impl NotAllowed {
    fn in_words(&self) -> String {
        match self {
            Self::Nobody => "Your token or certificate is valid, but no team here has such a member. Ask the gateway's operators to add it to `members`: their log says what it claims.".into(),
            Self::OfSeveral(teams) => format!("You are a member of several teams: {}. Say which is meant with `x-gateway-team`.", teams.join(", ")),
            Self::NotOfThatTeam => "`x-gateway-team` names a team that you are no member of.".into(),
            Self::AnotherTeam => "Your key or token is of one team, and your certificate of another. Both must be of the same.".into(),
            Self::WithoutCertificate => "This gateway takes keys and tokens only beside a client certificate of a member of the same team.".into(),
        }
    }
}

/// As `Allow` has it (RFC 9110 §10.2.1).
pub(super) fn listed(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

fn seconds(duration: Duration) -> String {
    match ceil_seconds(duration).max(1) {
        1 => "1 second".to_owned(),
        n => format!("{n} seconds"),
    }
}
