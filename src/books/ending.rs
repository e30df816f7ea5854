//! How a hold ends, by what became of its call.

use http::StatusCode;

use crate::credits::Credits;
use crate::ledger::{Basis, Ending, NEVER_SENT};
use crate::meter::{Finish, Reading};
use crate::route::Cost;

/// Answers that are known to be free: the upstream refused before it worked. Each status with why; what
/// is not here and gives no figure is in doubt, and stays booked.
///
/// Sources: Mavera's error guide lists 400, 401, 402, 403, 404 and 429 as refusals of the request itself,
/// its credit guide charges "operations", and its rate limit guide has 429 answered in place of the
/// operation. 405, 409, 413, 415 and 422 say that the request could not be fulfilled (RFC 9110 §15.5).
const FREE: [(StatusCode, &str); 11] = [
    (StatusCode::BAD_REQUEST, "refused_by_upstream"),
    (StatusCode::UNAUTHORIZED, "key_refused"),
    (StatusCode::PAYMENT_REQUIRED, "no_credits_upstream"),
    (StatusCode::FORBIDDEN, "refused_by_upstream"),
    (StatusCode::NOT_FOUND, "refused_by_upstream"),
    (StatusCode::METHOD_NOT_ALLOWED, "refused_by_upstream"),
    (StatusCode::CONFLICT, "refused_by_upstream"),
    (StatusCode::PAYLOAD_TOO_LARGE, "refused_by_upstream"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "refused_by_upstream"),
    (StatusCode::UNPROCESSABLE_ENTITY, "refused_by_upstream"),
    (StatusCode::TOO_MANY_REQUESTS, "rate_limited_upstream"),
];

/// Why a final figure is not the upstream's own word: its price list says it.
const FIXED_PRICE: &str = "fixed_price";
/// Why what a job costs is booked by estimate: it goes on.
const JOB: &str = "job";

/// Decides the ending of a hold of a call that costs like this. `answered` is the status of the upstream's answer, if there was one;
/// `whole` whether its body came to its end.
#[must_use]
pub fn decide(
    cost: &Cost,
    reserve: Credits,
    sent: bool,
    answered: Option<StatusCode>,
    whole: bool,
    reading: &Reading,
) -> Ending {
    if !sent {
        return Ending::Voided { reason: NEVER_SENT };
    }
    if let Some(credits) = reading.usage.credits {
        return Ending::Settled { credits, basis: Basis::Final, reason: "" };
    }
    let estimated = |reason| Ending::Settled { credits: reserve, basis: Basis::Estimated, reason };
    let Some(status) = answered else { return estimated("no_answer") };
    if let Some((_, reason)) = FREE.iter().find(|(free, _)| *free == status) {
        return Ending::Voided { reason };
    }
    match cost {
        // What was made has its price, whatever became of the rest of its answer.
        Cost::Fixed(credits) if status.is_success() => {
            return Ending::Settled { credits: *credits, basis: Basis::Final, reason: FIXED_PRICE };
        }
        Cost::Job(_) if status.is_success() => return estimated(JOB),
        _ => {}
    }
    match (status.is_success(), whole, reading.finish) {
        (false, ..) => estimated("upstream_error"),
        (true, false, _) | (true, true, None) => estimated("truncated"),
        (true, true, Some(Finish::Failed | Finish::Incomplete)) => estimated("failed_in_stream"),
        (true, true, Some(Finish::Completed)) => estimated("no_usage"),
        (true, true, Some(Finish::UnderWay)) => estimated("under_way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Usage;

    const RESERVE: Credits = Credits::whole(5);

    fn reading(credits: Option<u64>, finish: Option<Finish>) -> Reading {
        let usage = Usage { credits: credits.map(Credits::whole), ..Usage::default() };
        Reading { usage, finish, ..Reading::default() }
    }

    #[test]
    fn every_way_a_call_can_go_has_its_ending() {
        let done = Some(Finish::Completed);
        let settled =
            |credits| Ending::Settled { credits: Credits::whole(credits), basis: Basis::Final, reason: "" };
        let doubt = |reason| Ending::Settled { credits: RESERVE, basis: Basis::Estimated, reason };
        let void = |reason| Ending::Voided { reason };
        for (what, sent, status, whole, reading, expected) in [
            ("never sent", false, None, false, reading(None, None), void(NEVER_SENT)),
            ("a figure", true, Some(200), true, reading(Some(3), done), settled(3)),
            ("a figure of nothing", true, Some(200), true, reading(Some(0), done), settled(0)),
            ("dearer than held", true, Some(200), true, reading(Some(9), done), settled(9)),
            ("a figure, then broken", true, Some(200), false, reading(Some(3), done), settled(3)),
            ("a refusal with a figure", true, Some(400), true, reading(Some(1), done), settled(1)),
            ("no figure", true, Some(200), true, reading(None, done), doubt("no_usage")),
            (
                "in the background",
                true,
                Some(200),
                true,
                reading(None, Some(Finish::UnderWay)),
                doubt("under_way"),
            ),
            ("no terminal frame", true, Some(200), true, reading(None, None), doubt("truncated")),
            ("broken", true, Some(200), false, reading(None, None), doubt("truncated")),
            ("failed", true, Some(200), true, reading(None, Some(Finish::Failed)), doubt("failed_in_stream")),
            ("no answer", true, None, false, reading(None, None), doubt("no_answer")),
            ("500", true, Some(500), true, reading(None, done), doubt("upstream_error")),
            ("502", true, Some(502), true, reading(None, done), doubt("upstream_error")),
            ("418", true, Some(418), true, reading(None, done), doubt("upstream_error")),
            ("404", true, Some(404), true, reading(None, done), void("refused_by_upstream")),
            ("401", true, Some(401), false, reading(None, None), void("key_refused")),
            ("402", true, Some(402), true, reading(None, done), void("no_credits_upstream")),
            ("429", true, Some(429), true, reading(None, done), void("rate_limited_upstream")),
        ] {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            assert_eq!(decide(&Cost::InAnswer, RESERVE, sent, status, whole, &reading), expected, "{what}");
        }
        let fixed = Cost::Fixed(Credits::whole(50));
        let at_its_price =
            Ending::Settled { credits: Credits::whole(50), basis: Basis::Final, reason: "fixed_price" };
        let job = Cost::Job(Credits::whole(2)..=RESERVE);
        for (what, cost, status, whole, reading, expected) in [
            ("made", &fixed, 201, true, reading(None, done), at_its_price),
            ("made, its answer cut", &fixed, 201, false, reading(None, None), at_its_price),
            ("made at another price", &fixed, 201, true, reading(Some(40), done), settled(40)),
            ("not made", &fixed, 400, true, reading(None, done), void("refused_by_upstream")),
            ("perhaps made", &fixed, 500, true, reading(None, done), doubt("upstream_error")),
            ("begun", &job, 201, true, reading(None, done), doubt("job")),
            ("begun, its answer cut", &job, 201, false, reading(None, None), doubt("job")),
            ("begun, and priced", &job, 201, true, reading(Some(4), done), settled(4)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(decide(cost, RESERVE, true, Some(status), whole, &reading), expected, "{what}");
        }
    }
}
