//! How long a call can wait for its turn: as configured, or less where the caller says so.

use std::time::Duration;

use http::header::HeaderName;

use crate::config::{Config, duration};
use crate::desk::Patience;
use crate::head::received::{Field, Received};
use crate::live::directory::Team;
use crate::refuse::Refusal;

/// The longest that a caller wants to wait, in seconds or as a length of time like `2m`.
const MAX_WAIT: HeaderName = HeaderName::from_static("x-gateway-max-wait");
/// What the OpenAI SDKs say of the time they have, in seconds: openai-python on every call, openai-node where the call sets one.
const OF_SDKS: [HeaderName; 2] =
    [HeaderName::from_static("x-stainless-read-timeout"), HeaderName::from_static("x-stainless-timeout")];
/// The part of an SDK's time that may go by before a call is sent, as Kubernetes' API Priority and Fairness has it: the rest
/// is for the answer.
const PART: u32 = 4;

/// How long a call with this head can wait. A caller can only ask to be told sooner.
pub(super) fn patience(config: &Config, team: &Team, head: &Received) -> Result<Patience, Refusal> {
    let mut most = Duration::MAX;
    if head.has(Field::MaxWait)
        && let Some(value) = head.headers.get(MAX_WAIT)
    {
        let text = value.to_str().unwrap_or_default().trim();
        let said = seconds(text).or_else(|| duration(text).ok());
        most = said.ok_or_else(|| Refusal::InvalidField {
            param: MAX_WAIT.to_string(),
            reason: "must be a length of time, in seconds or like `2m`".to_owned(),
        })?;
    }
    for name in OF_SDKS.iter().filter(|_| head.has(Field::SdkTimeout)) {
        // An SDK without a timeout says so in words.
        let said = head.headers.get(name).and_then(|value| seconds(value.to_str().ok()?.trim()));
        most = said.map_or(most, |said| most.min(said / PART));
    }
    let turn = config.queue.wait.min(team.max_wait).min(most);
    Ok(Patience { turn, credits: config.credits.wait.min(most), most })
}

/// A number of seconds, whole or not.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}
