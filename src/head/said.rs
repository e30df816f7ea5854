//! What an answer of the upstream says about the window of the key: `X-RateLimit-*` on any, `Retry-After` on a 429.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;

use super::fields::{X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET};
use crate::desk::{Said, WINDOW};

/// How long to stay away after a 429 that does not say.
const UNSAID: Duration = Duration::from_secs(1);
/// The longest that an answer of the upstream can close the window for.
const LONGEST_CLOSURE: Duration = Duration::from_hours(1);

/// What this head says, at this time of the wall's clock.
#[must_use]
pub fn said(status: StatusCode, headers: &HeaderMap, wall: Timestamp) -> Said {
    let number = |name: HeaderName| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
    let reset = headers
        .get(X_RATELIMIT_RESET)
        .and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok())
        .map(|at| Duration::from_secs(u64::try_from(at.saturating_sub(wall.as_second())).unwrap_or(0)))
        // Beyond a window it is no time of ours, but a figure in another unit.
        .map(|reset| reset.min(WINDOW));
    let closed_for = (status == StatusCode::TOO_MANY_REQUESTS).then(|| {
        let wait = headers.get(header::RETRY_AFTER).and_then(|value| retry_after(value, wall));
        wait.or(reset.filter(|reset| !reset.is_zero())).unwrap_or(UNSAID).min(LONGEST_CLOSURE)
    });
    Said { limit: number(X_RATELIMIT_LIMIT), remaining: number(X_RATELIMIT_REMAINING), reset, closed_for }
}

/// Seconds or a date (RFC 9110 §10.2.3).
fn retry_after(value: &HeaderValue, wall: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    Duration::try_from(at.duration_since(wall)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, fields: &[(&'static str, &str)]) -> Said {
        let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let wall = "2030-01-15T12:00:00Z".parse().unwrap();
        said(StatusCode::from_u16(status).unwrap(), &fields.collect(), wall)
    }

    #[test]
    fn a_429_says_how_long_to_stay_away_in_seconds_or_by_a_date_or_not_at_all() {
        for (fields, expected) in [
            (vec![("retry-after", "7")], 7),
            (vec![("retry-after", "Tue, 15 Jan 2030 12:00:30 GMT")], 30),
            (vec![("retry-after", "86400")], 3600),
            (vec![("retry-after", "soon")], 1),
            (vec![("x-ratelimit-reset", "1894708809")], 9),
            (vec![], 1),
        ] {
            assert_eq!(of(429, &fields).closed_for, Some(Duration::from_secs(expected)), "{fields:?}");
            assert_eq!(of(200, &fields).closed_for, None);
        }
    }

    #[test]
    fn what_is_left_of_the_window_is_read_and_nonsense_is_not() {
        let limits = [
            ("x-ratelimit-limit", "100"),
            ("x-ratelimit-remaining", " 1 "),
            ("x-ratelimit-reset", "1894708810"),
        ];
        let reset = Some(Duration::from_secs(10));
        let expected = Said { limit: Some(100), remaining: Some(1), reset, closed_for: None };
        assert_eq!(of(200, &limits), expected);
        assert_eq!(
            of(200, &[("x-ratelimit-limit", "many"), ("x-ratelimit-remaining", "-1")]),
            Said::default()
        );
    }
}
