//! What a caller wants a call to cost at the most: one that holds more is not made.

use http::header::HeaderName;

use crate::credits::Credits;
use crate::desk::Ask;
use crate::head::received::{Field, Received};
use crate::refuse::Refusal;

/// So many credits.
const CREDITS_MAX: HeaderName = HeaderName::from_static("x-credits-max");

/// Whether a call holds no more than its caller wants it to cost.
///
/// # Errors
/// That it does, or what is wrong with what the caller says.
pub(crate) fn within_max(head: &Received, ask: &Ask) -> Result<(), Refusal> {
    let mut values = head.values(Field::CreditsMax, CREDITS_MAX);
    let (Some(value), another) = (values.next(), values.next()) else { return Ok(()) };
    let said = value.to_str().ok().filter(|_| another.is_none());
    let Some(most) = said.and_then(|text| Credits::from_json_number(text.trim())) else {
        let reason = "must be one amount of credits, like 150".to_owned();
        return Err(Refusal::InvalidField { param: CREDITS_MAX.to_string(), reason });
    };
    if ask.reserve > most {
        return Err(Refusal::ReserveAboveMax { reserve: ask.reserve, most });
    }
    Ok(())
}
